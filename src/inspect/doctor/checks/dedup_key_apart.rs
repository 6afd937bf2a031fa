//! Duplicates that lie in several partitions, where nobody knows them.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, sample) in with_sample(facts) {
        if let Some((first, second)) = &sample.key_apart {
            found.add(
                Warning,
                own.name(),
                second,
                format!(
                    "{first} and {second} have the same key of pipeline.dedup and lie in different partitions: a \
                     duplicate is known within its partition alone"
                ),
                "have the producers choose the partition by the field of pipeline.dedup.key, as by making it the \
                 key of the message",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_key_in_two_partitions_is_a_warning_that_names_both_records() {
        let mut facts = enrichment();
        assert_silent("dedup_key_apart", &facts);
        let apart = ("user-events:0:7".to_owned(), "user-events:1:3".to_owned());
        sample(&mut facts).key_apart = Some(apart);
        let finding = one("dedup_key_apart", &facts);
        assert_eq!(
            (finding.level, &*finding.place),
            (Warning, "user-events:1:3")
        );
        assert!(finding.message.contains("user-events:0:7"), "{finding:?}");
    }
}
