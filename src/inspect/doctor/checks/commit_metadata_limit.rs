//! The broker takes less beside a commit than the ranges that are named in it may need.

use super::prelude::*;

/// What a commit carries at the most.
const NEEDED: i64 = 1024;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let limit = kafka.broker.get("offset.metadata.max.bytes");
        let limit = limit.and_then(|limit| limit.parse::<i64>().ok());
        if let Some(limit) = limit.filter(|limit| *limit < NEEDED) {
            found.add(
                Error,
                own.name(),
                "offset.metadata.max.bytes",
                format!(
                    "the broker takes {limit} bytes of metadata with a commit (offset.metadata.max.bytes), and \
                     a commit that names ranges needs up to {NEEDED}: it would be refused"
                ),
                "set offset.metadata.max.bytes to 4096, the default, on every broker",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_limit_below_what_a_commit_carries_is_an_error() {
        for (limit, is_found) in [
            ("4096", false),
            ("1024", false),
            ("1023", true),
            ("0", true),
        ] {
            let mut facts = enrichment();
            let broker = &mut kafka_of(&mut facts).broker;
            broker.insert("offset.metadata.max.bytes".to_owned(), limit.to_owned());
            let found = found("commit_metadata_limit", &facts);
            assert_eq!(!found.is_empty(), is_found, "{limit}");
            assert!(found.iter().all(|f| f.level == Error));
        }
    }
}
