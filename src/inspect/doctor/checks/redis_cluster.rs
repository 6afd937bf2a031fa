//! A Redis in cluster mode, whose nodes each have a part of the keys.

use secrecy::ExposeSecret as _;

use super::prelude::*;
use crate::config::redacted;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        let redis = own.redis.as_ref().and_then(Reached::facts);
        if redis.is_some_and(|redis| redis.is_cluster) {
            found.add(
                Error,
                own.name(),
                redacted(own.pipeline.redis.url.expose_secret()),
                "redis runs in cluster mode: one node has a part of the keys, and many keys in one request are \
                 refused (CROSSSLOT, MOVED)",
                "use a Redis without cluster mode, a replica that has all keys, or a proxy before the cluster",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn many_keys_in_one_request_need_a_redis_that_has_them_all() {
        let mut facts = enrichment();
        assert_silent("redis_cluster", &facts);
        facts.pipelines[0].redis = Some(Reached::Yes(RedisFacts {
            is_cluster: true,
            ..RedisFacts::default()
        }));
        assert_eq!(one("redis_cluster", &facts).level, Error);
    }
}
