//! Redis does not answer.

use super::prelude::*;
use crate::config::OnUnavailable;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        let Some(Reached::No(why)) = &own.redis else {
            continue;
        };
        let url = own.pipeline.redis.label();
        let waits = lookup(own).is_some_and(|l| l.on_unavailable == OnUnavailable::Wait);
        let effect = match waits {
            true => "the pipeline waits for it",
            false => "rows take the defaults of their profile columns",
        };
        found.add(
            Error,
            own.name(),
            &url,
            format!("{url} does not answer ({effect}): {why}"),
            "start Redis, correct redis.url, or open the way to it",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_redis_that_does_not_answer_is_an_error_that_shows_no_password() {
        let mut facts = enrichment();
        assert_silent("redis_unreachable", &facts);
        facts.pipelines[0].redis = Some(Reached::No("refused".to_owned()));
        let finding = one("redis_unreachable", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("refused") && !finding.message.contains("hush"));
    }
}
