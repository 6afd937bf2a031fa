//! Records of the sample that become dead letters, or halt the pipeline.

use std::collections::BTreeMap;

use super::prelude::*;
use crate::decode::Reason;

/// Below this many records a share says little.
const JUDGED_MIN: usize = 20;
/// Said by checks of their own.
const ELSEWHERE: [&str; 2] = ["co_partitioning", "partitioned_by"];

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, sample) in with_sample(facts) {
        let counts = |reason: Reason| {
            !matches!(
                reason,
                Reason::Late | Reason::RuleFailed | Reason::Duplicate
            )
        };
        let dead = sample.dead_letters().filter(|r| counts(r.reason)).count();
        let share = dead as f64 / sample.judged.max(1) as f64;
        let ratio_max = own.pipeline.dead_letter.ratio_max;
        let halts = share > ratio_max && sample.judged >= JUDGED_MIN;
        let mut by_reason: BTreeMap<Reason, Vec<&super::super::sample::RefusedRecord>> =
            BTreeMap::new();
        for refused in sample
            .dead_letters()
            .filter(|r| r.reason != Reason::ImplausibleTime)
        {
            by_reason.entry(refused.reason).or_default().push(refused);
        }
        for (reason, records) in by_reason {
            let first = records[0];
            let (level, effect) = match halts && counts(reason) {
                true => (
                    Error,
                    format!(", and above {ratio_max} (dead_letter.ratio_max) the pipeline halts"),
                ),
                false => (Warning, String::new()),
            };
            found.add(
                level,
                own.name(),
                &first.address,
                format!(
                    "{} of {} records of the sample become dead letters with reason {reason}{effect}: {}: {}",
                    records.len(),
                    sample.judged,
                    first.address,
                    first.detail
                ),
                format!(
                    "look at it with `streamweir explain {}`; docs/dead-letters.md says what {reason} means",
                    first.address
                ),
            );
        }
        let mut said = vec![];
        for (address, reason, advice) in &sample.halts {
            if !ELSEWHERE.contains(reason) && !said.contains(reason) {
                said.push(*reason);
                found.add(
                    Error,
                    own.name(),
                    address,
                    format!("{address} halts the pipeline with reason {reason}"),
                    advice,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::decode::Reason;

    fn refused(reason: Reason, count: usize) -> Vec<RefusedRecord> {
        let record = |offset| RefusedRecord {
            reason,
            detail: "event_id".to_owned(),
            address: format!("user-events:0:{offset}"),
        };
        (0..count).map(record).collect()
    }

    #[test]
    fn each_reason_is_told_with_its_count_and_an_address() {
        let mut facts = enrichment();
        assert_silent("sample_rejects", &facts);
        sample(&mut facts).refused = refused(Reason::MissingField, 3);
        sample(&mut facts)
            .refused
            .extend(refused(Reason::InvalidJson, 1));
        sample(&mut facts).refused.extend(refused(Reason::Late, 50));
        let found = found("sample_rejects", &facts);
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .all(|f| f.level == Warning && f.place == "user-events:0:0")
        );
        assert!(found[1].message.contains("3 of 100 records"), "{found:?}");
        assert!(found[1].message.contains("missing_field"));
    }

    #[test]
    fn a_share_above_the_ratio_halts_the_pipeline() {
        let mut facts = enrichment();
        sample(&mut facts).refused = refused(Reason::MissingField, 11);
        assert_eq!(one("sample_rejects", &facts).level, Error);
        sample(&mut facts).judged = 12;
        assert_eq!(one("sample_rejects", &facts).level, Warning);
    }

    #[test]
    fn a_record_that_halts_the_pipeline_is_an_error() {
        let mut facts = cdc();
        let halt = |n: usize| {
            (
                format!("shop.public.orders:0:{n}"),
                "debezium",
                "declare it".to_owned(),
            )
        };
        sample(&mut facts).halts = vec![halt(1), halt(2)];
        let finding = one("sample_rejects", &facts);
        assert_eq!(
            (finding.level, &*finding.place),
            (Error, "shop.public.orders:0:1")
        );
        assert_eq!(finding.advice, "declare it");
    }
}
