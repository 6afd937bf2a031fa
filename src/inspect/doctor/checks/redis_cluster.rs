//! A Redis in cluster mode, whose nodes each have a part of the keys.

use super::prelude::*;
use crate::config::RedisForm;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        let Some(redis) = own.redis.as_ref().and_then(Reached::facts) else {
            continue;
        };
        let config = &own.pipeline.redis;
        if redis.is_cluster_down {
            found.add(
                Error,
                own.name(),
                config.label(),
                "the cluster is down (CLUSTERDOWN): keys have no node that serves them",
                "start the nodes that are missing, or see `redis-cli --cluster check`",
            );
        } else if redis.is_cluster && config.form == RedisForm::Server {
            found.add(
                Warning,
                own.name(),
                config.label(),
                "redis runs in cluster mode, and redis.cluster is not set: that shows with the first request \
                 (MOVED, CROSSSLOT), and one address alone is of no use while its node is away",
                "set redis.cluster = true, and redis.urls to several nodes",
            );
        } else if !redis.is_cluster && config.form == RedisForm::Cluster {
            found.add(
                Error,
                own.name(),
                config.label(),
                "redis does not run in cluster mode, and redis.cluster is set",
                "remove redis.cluster",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_cluster_is_to_be_known_as_one_and_to_serve_its_keys() {
        let mut facts = enrichment();
        assert_silent("redis_cluster", &facts);
        let mut seen = |is_cluster, is_cluster_down, form: RedisForm| {
            facts.pipelines[0].redis = Some(Reached::Yes(RedisFacts {
                is_cluster,
                is_cluster_down,
                ..RedisFacts::default()
            }));
            let pipeline = std::sync::Arc::make_mut(&mut facts.pipelines[0].pipeline);
            pipeline.redis.form = form;
            let found = found("redis_cluster", &facts);
            found.first().map(|finding| finding.level)
        };
        assert_eq!(seen(true, false, RedisForm::Server), Some(Warning));
        assert_eq!(seen(true, false, RedisForm::Cluster), None);
        assert_eq!(seen(true, true, RedisForm::Cluster), Some(Error));
        assert_eq!(seen(false, false, RedisForm::Cluster), Some(Error));
    }
}
