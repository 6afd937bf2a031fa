//! Redis answers, and wants another user or password.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        if let Some(Reached::Refused(why)) = &own.redis {
            let url = own.pipeline.redis.label();
            found.add(
                Error,
                own.name(),
                &url,
                format!("{url} does not take this user in: {why}"),
                "correct redis.user and redis.password (or password_file), or the user in redis.url",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_redis_that_wants_another_password_is_reached() {
        let mut facts = enrichment();
        assert_silent("redis_authentication", &facts);
        facts.pipelines[0].redis = Some(Reached::Refused("WRONGPASS".to_owned()));
        let finding = one("redis_authentication", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("WRONGPASS"));
        assert_silent("redis_unreachable", &facts);
    }
}
