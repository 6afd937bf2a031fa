//! The reverse: a guarantee is broken on purpose, and the proof must notice.

use sandbox::topic::{self, Record};

use super::{Attempt, RECORDS_PER_SECOND, Run, Trial};
use crate::support::PATIENCE;
use crate::support::joins::Kind;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "join-broken-transaction",
            "joined records sent without a transaction, then SIGKILL before the offsets are committed",
            1,
            1,
            transaction,
        ),
        Trial::new(
            "join-broken-rows",
            "a joined record lost, altered, invented and doubled by hand",
            1,
            1,
            rows,
        ),
    ]
}

fn transaction(run: &mut Run) {
    run.prove_noticed("event doubled", |run| {
        let joins = run.joins(Kind::Left);
        let traffic = joins.traffic(RECORDS_PER_SECOND);
        let failpoints = "break_transaction=return;before_transaction_commit=8*off->return";
        let hasty = joins.start("hasty", failpoints);
        let status = hasty.process.wait(PATIENCE);
        status.unwrap_or_else(|e| panic!("{e}: {}", hasty.log()));
        let produced = traffic.finish();
        joins.close();
        let proof = joins.compare(produced).map(drop);
        Attempt { produced, proof }
    });
}

fn rows(run: &mut Run) {
    let joins = run.joins(Kind::Left);
    let produced = joins.produce(2_000);
    joins.close();
    run.prove_joins(&joins, produced);
    let bootstrap = joins.job.bootstrap();
    let output = joins.job.output_topic();
    let must_notice = |words: &str| {
        let noticed = joins.compare(produced).expect_err(words);
        assert!(noticed.contains(words), "{words}: {noticed}");
    };
    let write = |value: String, like: &topic::Received| {
        let key = like.key.clone().expect("a key");
        let record = Record::new(value).key(key).partition(like.partition);
        topic::produce(bootstrap, output, [record]).expect("written");
    };
    let joined = joins.job.joined();
    let first = joined.iter().find(|record| record.key.is_some());
    let first = first.expect("a record with a key");
    let value = String::from_utf8(first.value.clone().expect("a value")).expect("a text");
    topic::delete_records_before(bootstrap, output, first.partition, first.offset + 1)
        .expect("deleted");
    must_notice("event missing");
    // Each is told of before what was spoilt earlier.
    let altered = value.replace("\"page_url\":\"/", "\"page_url\":\"/x");
    assert_ne!(altered, value);
    write(altered, first);
    must_notice("event not joined as in an undisturbed run");
    write(value.replace("\"event_id\":\"e", "\"event_id\":\"x"), first);
    must_notice("record of no event");
    write(value, first);
    must_notice("event doubled");
    run.result = "noticed: each of 4".to_owned();
}
