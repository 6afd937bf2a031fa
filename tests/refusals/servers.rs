//! Several addresses of servers: whatever one of them does, the others are used.

use sandbox::clickhouse::ClickHouse;
use sandbox::fault::{Fault, Injection, Matcher, Proxy};

use crate::refusals::columns::{PROVENANCE, job, produce};
use crate::support::{Job, PATIENCE};

const CLOSED: &str = "http://127.0.0.1:1";
const FIELDS: &str = r#""v":12.34"#;

/// A job with an address where nobody listens, and two proxies before the server.
fn behind_three_addresses(name: &str, columns: &str) -> (Job, Proxy, Proxy) {
    let mut job = job(name, columns);
    job.set("pipeline.clickhouse.insert_lease", "1s");
    job.set("pipeline.clickhouse.insert_timeout", "1s");
    let proxy = || Proxy::start(&job.clickhouse_url).expect("a proxy");
    let (first, second) = (proxy(), proxy());
    let urls = vec![CLOSED.to_owned(), first.url(), second.url()];
    job.unset("clickhouse.url");
    job.set("clickhouse.urls", urls);
    (job, first, second)
}

fn all(proxy: &Proxy, fault: Fault) -> Injection {
    proxy.inject(Matcher::any(), fault, usize::MAX)
}

#[test]
fn a_server_that_is_dead_frozen_behind_or_refuses_is_no_outage() {
    let columns = format!(
        "CONSTRAINT c CHECK v < 1000, v Float64, w String DEFAULT concat('w', toString(id)), {PROVENANCE}"
    );
    let (job, first, second) = behind_three_addresses("failover", &columns);
    // The second server is of an older version, which nobody has asked yet.
    let settings = ["deduplicate_insert", "max_insert_block_size_bytes"];
    let body = settings.map(|name| format!("{{\"name\":\"{name}\"}}\n"));
    let formats = Matcher::any().query_contains("system.formats");
    let older = Fault::Lie {
        body: body.concat(),
    };
    let older = second.inject(formats, older, 1);
    let mut rows = 0;
    let mut write_more = |what: &str| {
        produce(&job, 0, rows..rows + 5, FIELDS);
        rows += 5;
        let count = usize::try_from(rows).expect("a few");
        println!("{what}: {count} rows");
        job.wait_for_rows(count);
    };
    let daemon = job.start("a", &[], "");
    for _ in 0..4 {
        write_more("the first address is closed, the others take turns");
    }
    assert!(!first.inserts().is_empty() && !second.inserts().is_empty());

    let dead = all(&first, Fault::Disconnect);
    write_more("the next server dies");
    assert_eq!(older.hits(), 1);
    let sent = second.inserts();
    let format = &sent.last().expect("an insert").query;
    assert!(format.ends_with("RowBinaryWithDefaults"), "{format}");
    dead.stop();
    let before = first.inserts().len();
    let frozen = all(&second, Fault::HoldRequest);
    write_more("the other one freezes, and the first is well again");
    assert!(first.inserts().len() > before);
    let login = Fault::exception(403, 516, "streamweir: Authentication failed");
    let login = all(&first, login);
    frozen.stop();
    write_more("a server refuses logins");
    login.stop();
    for (code, message) in [
        (16, "No such column w in table. (NO_SUCH_COLUMN_IN_TABLE)"),
        (
            117,
            "Type of 'v' must be Float32, not Float64. (INCORRECT_DATA)",
        ),
        (60, "Table does not exist. (UNKNOWN_TABLE)"),
        (
            115,
            "Unknown setting 'deduplicate_insert'. (UNKNOWN_SETTING)",
        ),
    ] {
        let fault = Fault::exception(404, code, message);
        let behind =
            [&first, &second].map(|proxy| proxy.inject(Matcher::inserts(), fault.clone(), 1));
        write_more(message);
        let hits: usize = behind.iter().map(Injection::hits).sum();
        assert!(hits > 0, "{message}");
        behind.iter().for_each(Injection::stop);
    }
    produce(&job, 1, 1_000..1_001, r#""v":1000"#);
    produce(&job, 1, 1_001..1_005, FIELDS);
    job.wait_for_rows(usize::try_from(rows).expect("a few") + 4);
    frozen.release();
    frozen
        .wait_for_finished(frozen.hits(), PATIENCE)
        .expect("late statements");
    daemon.stop();
    job.assert_committed_to_end();
    let rows = usize::try_from(rows).expect("a few") + 4;
    assert_eq!(job.rows_and_offsets(), (rows, rows), "{}", daemon.log());
    // The row that no server takes.
    assert_eq!(job.dead_letters().expect("dead letters").len(), 1);
    let defaults =
        job.query("SELECT countIf(w = concat('w', toString(id))) FROM {db}.clickstream_events");
    assert_eq!(defaults, rows.to_string());
}

#[test]
fn what_all_servers_refuse_halts_and_tables_of_each_are_refused() {
    let (mut job, first, second) =
        behind_three_addresses("unanimous", &format!("v Float64, {PROVENANCE}"));
    job.set("clickhouse.urls", vec![first.url(), second.url()]);
    produce(&job, 0, 0..5, FIELDS);
    let denied = Fault::exception(403, 497, "streamweir: Not enough privileges");
    for proxy in [&first, &second] {
        proxy.inject(Matcher::inserts(), denied.clone(), usize::MAX);
    }
    job.assert_halts("denied", "authentication", &["Not enough privileges"]);
    assert!(!first.inserts().is_empty() && !second.inserts().is_empty());

    let other = ClickHouse::start().expect("another server");
    job.set(
        "clickhouse.urls",
        vec![other.url(), job.clickhouse_url.clone()],
    );
    job.assert_halts("several", "engine", &["clickhouse.urls", "MergeTree"]);
}
