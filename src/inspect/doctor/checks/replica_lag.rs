//! A replica that is behind the others, or cannot be written.

use super::prelude::*;

const DELAY_SECONDS: u64 = 60;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        for (url, server) in with_facts(own) {
            for table in &server.tables {
                let Some(replica) = &table.replica else {
                    continue;
                };
                if replica.is_readonly {
                    found.add(
                        Error,
                        own.name(),
                        url,
                        format!("the replica of {} at {url} is read-only: inserts wait for it", table.name),
                        "look whether the server reaches Keeper, and at system.replicas (zookeeper_exception)",
                    );
                } else if replica.delay_seconds > DELAY_SECONDS {
                    found.add(
                        Warning,
                        own.name(),
                        url,
                        format!(
                            "the replica of {} at {url} is {} s behind, with {} entries in its queue",
                            table.name, replica.delay_seconds, replica.queue
                        ),
                        "look at system.replication_queue (last_exception); a look at the table waits for the \
                         replica",
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_replica_that_is_behind_or_read_only_is_named() {
        let mut facts = enrichment();
        let replica = |is_readonly, delay_seconds| {
            Some(ReplicaFacts {
                is_readonly,
                delay_seconds,
                queue: 3,
            })
        };
        table(&mut facts).replica = replica(false, 60);
        assert_silent("replica_lag", &facts);
        table(&mut facts).replica = replica(false, 61);
        assert_eq!(one("replica_lag", &facts).level, Warning);
        table(&mut facts).replica = replica(true, 0);
        assert_eq!(one("replica_lag", &facts).level, Error);
    }
}
