//! Keys that belong together lie on different partitions.

use super::prelude::*;

/// Reasons by which a pipeline halts at a record that lies where it does not belong.
const HALTS: [&str; 2] = ["co_partitioning", "partitioned_by"];

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        if let Some(advice) = &kafka.co_partitioning {
            let (what, how) = advice.rsplit_once(": ").unwrap_or((advice, ""));
            let topics: Vec<&str> = own.pipeline.topics.iter().map(|t| t.as_str()).collect();
            found.add(Error, own.name(), topics.join(", "), what, how);
        }
    }
    for (own, sample) in with_sample(facts) {
        let halts = sample.halts.iter();
        if let Some((address, reason, advice)) = halts.clone().find(|(_, r, _)| HALTS.contains(r)) {
            let count = halts.filter(|(_, r, _)| HALTS.contains(r)).count();
            found.add(
                Error,
                own.name(),
                address,
                format!("{count} records of the sample halt the pipeline with reason {reason}, as {address} does"),
                advice,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn topics_that_are_joined_and_lie_apart_are_an_error() {
        let mut facts = joined();
        assert_silent("co_partitioning", &facts);
        kafka_of(&mut facts).co_partitioning =
            Some("keys must meet: key 7 lies apart: do it".to_owned());
        let finding = one("co_partitioning", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("key 7"));
        assert_eq!(finding.advice, "do it");
    }

    #[test]
    fn a_record_that_lies_where_it_does_not_belong_is_named() {
        let mut facts = windows();
        let halt = (
            "sales-events:1:7".to_owned(),
            "partitioned_by",
            "why".to_owned(),
        );
        let other = ("sales-events:1:8".to_owned(), "paths", "other".to_owned());
        sample(&mut facts).halts = vec![halt, other];
        let finding = one("co_partitioning", &facts);
        assert_eq!(
            (finding.level, &*finding.place),
            (Error, "sales-events:1:7")
        );
    }
}
