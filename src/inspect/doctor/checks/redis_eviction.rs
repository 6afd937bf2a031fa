//! A Redis that throws profiles away when its memory is full.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        let Some(redis) = own.redis.as_ref().and_then(Reached::facts) else {
            continue;
        };
        let policy = &redis.maxmemory_policy;
        if redis.maxmemory > 0 && !policy.is_empty() && policy != "noeviction" {
            found.add(
                Warning,
                own.name(),
                own.pipeline.redis.label(),
                format!(
                    "redis evicts keys ({policy}) when it holds {} bytes (maxmemory): rows of users whose \
                     profile is gone take the defaults, unsaid",
                    redis.maxmemory
                ),
                "set maxmemory-policy noeviction where profiles are the source of truth, or enough maxmemory for all",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn only_a_full_redis_with_a_policy_evicts() {
        for (maxmemory, policy, is_found) in [
            (0, "allkeys-lru", false),
            (1 << 20, "noeviction", false),
            (1 << 20, "", false),
            (1 << 20, "allkeys-lru", true),
            (1 << 20, "volatile-ttl", true),
        ] {
            let mut facts = enrichment();
            facts.pipelines[0].redis = Some(Reached::Yes(RedisFacts {
                maxmemory,
                maxmemory_policy: policy.to_owned(),
                ..RedisFacts::default()
            }));
            let found = found("redis_eviction", &facts);
            assert_eq!(!found.is_empty(), is_found, "{maxmemory} {policy}");
            assert!(found.iter().all(|f| f.level == Warning));
        }
    }
}
