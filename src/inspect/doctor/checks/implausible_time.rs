//! Event times of the sample that look like another unit than the one that is read.

use super::prelude::*;
use crate::decode::Reason;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, sample) in with_sample(facts) {
        let refused = || {
            sample
                .refused
                .iter()
                .filter(|r| r.reason == Reason::ImplausibleTime)
        };
        if let Some(first) = refused().next() {
            let share = refused().count() as f64 / sample.judged.max(1) as f64;
            let level = match share > own.pipeline.dead_letter.ratio_max {
                true => Error,
                false => Warning,
            };
            found.add(
                level,
                own.name(),
                &first.address,
                format!(
                    "{} of {} records of the sample have a number as a time that would lie in 1970 and looks like \
                     seconds: {}: {}",
                    refused().count(),
                    sample.judged,
                    first.address,
                    first.detail
                ),
                "declare what numbers are: time_unit = \"s\" (or \"ms\", \"us\", \"ns\") in the pipeline, or unit in \
                 [pipeline.columns]",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::decode::Reason;

    #[test]
    fn a_time_in_seconds_names_the_key_to_set() {
        let mut facts = enrichment();
        assert_silent("implausible_time", &facts);
        let record = |offset| RefusedRecord {
            reason: Reason::ImplausibleTime,
            detail: "timestamp 1763719200".to_owned(),
            address: format!("user-events:0:{offset}"),
        };
        sample(&mut facts).refused = vec![record(7)];
        let finding = one("implausible_time", &facts);
        assert_eq!(
            (finding.level, &*finding.place),
            (Warning, "user-events:0:7")
        );
        assert!(finding.advice.contains("time_unit"));
        assert_silent("sample_rejects", &facts);
        sample(&mut facts).refused = (0..50).map(record).collect();
        assert_eq!(one("implausible_time", &facts).level, Error);
    }
}
