//! Values that are made, as the server reads them back, and private ones, which are found nowhere.

use std::path::Path;

use sandbox::topic;
use toml::{Table, Value};

use crate::refusals::columns::PROVENANCE;
use crate::support::{EVENT_TIME_MS, Job, command};

/// In every private value.
const CANARY: &str = "canary";

const COLUMNS: &str = r#"
    mail = { path = "$.email", apply = ["trim", "lower"], mask = "hmac", classification = "pii" }
    card = { path = "$.card", mask = "keep_last", keep = 4 }
    phone = { path = "$.user.phone" }
    record = { path = "$", raw = "any" }
    total = { product = ["$.quantity", "$.price"], apply = [{ round = 2 }] }
    country = { path = "$.country", apply = ["trim", "upper", { map = { UK = "GB" } }] }
    at = { path = "$.ts", apply = [{ truncate_time = "1h", zone = "Europe/Berlin" }] }
    day = { path = "$.ts", apply = [{ truncate_time = "1d", zone = "Asia/Tokyo" }] }
    hour = { path = "$.ts", apply = [{ part = "hour", zone = "Europe/Berlin" }] }
    busy = { path = "$.ts", apply = [{ part = "is_business_hours" }] }
    size = { path = "$.quantity", apply = [{ bucket = [0, 10, 100] }] }
    pair = { hash = ["$.country", "$.quantity"] }
    name = { concat = ["$.first", "$.last"], separator = " ", apply = ["normalize_space", "title"] }
"#;

fn job() -> Job {
    let mut job = Job::new("private");
    job.unset("pipeline.lookup");
    job.unset("pipeline.clickhouse.ddl");
    job.set("pipeline.time_field", "ts");
    let key = job.directory.path().join("mask.key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("a key");
    job.set("service.mask_key_file", key.display().to_string());
    job.set("pipeline.columns", COLUMNS.parse::<Table>().expect("TOML"));
    let fields = ["$.email", "$.card", "$.user.phone"].map(Value::from);
    job.set("pipeline.privacy.fields", fields.to_vec());
    job.set("pipeline.dead_letter.payload", "masked");
    let session = r#"key_field = "email"
        count_column = "seen""#;
    job.set("pipeline.session", session.parse::<Table>().expect("TOML"));
    job.query("CREATE DATABASE {db}");
    job.query(&format!(
        "CREATE TABLE {{db}}.clickstream_events (id UInt32, email String, mail String, card String, \
         phone Nullable(String), record String, _value String, total Decimal(18, 2), country LowCardinality(String), \
         at DateTime('UTC'), day Date, hour UInt8, busy Bool, size String, pair FixedString(32), name String, \
         seen UInt32, {PROVENANCE}) ENGINE = MergeTree ORDER BY id \
         SETTINGS non_replicated_deduplication_window = 1000"
    ));
    job.create_topic(1);
    job
}

fn produce(job: &Job, values: &[&str]) {
    let records = values.iter().map(|value| {
        topic::Record::new(*value)
            .partition(0)
            .timestamp_ms(EVENT_TIME_MS)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
}

#[test]
fn values_are_made_and_private_ones_are_found_nowhere() {
    let job = job();
    let good = r#"{"id":1,"ts":"2025-11-21T10:59:59.5Z","email":" Anna.CANARY@x.example","card":"canary-4111222233334444",
        "user":{"phone":"canary-49-1","x":1},"quantity":3,"price":"0.335","country":" uk","first":"anna ","last":"LEE"}"#;
    let spoilt = [
        r#"{"id":2,"email":"canary@x.example","ts":"2025-11-21T10:00:00Z","quantity":"canary"}"#,
        r#"{"id":3,"email":"canary@x.example","ts":"not a time"}"#,
        r#"{"id":"canary","email":"canary@x.example","user":[{"phone":"canary"}],"card":{"no":"canary"}}"#,
        r#"{"email":"canary@x.example""#,
        r#"["canary"]"#,
    ];
    produce(&job, &[good]);
    produce(&job, &spoilt);
    produce(&job, &[good]);
    let daemon = job.start("a", &[], "");
    job.wait_for_rows(2);
    daemon.wait_for_log("dead letter");
    let pages = ["/", "/metrics", "/status", "/api/v1/pipelines"];
    let pages = pages.map(|page| {
        (
            page.to_owned(),
            daemon.get(page).map_or(String::new(), |p| p.1),
        )
    });
    daemon.stop();
    job.assert_committed_to_end();

    let row = job.query(
        "SELECT email, mail, card, phone, total, country, at, day, hour, busy, size, name, seen, \
         pair = lower(hex(xxh3_128(concat(' uk', char(31), '3')))), JSONExtractString(record, 'email'), \
         JSONExtractRaw(_value, 'user') FROM {db}.clickstream_events ORDER BY _offset LIMIT 1",
    );
    let expected = "***\t4d337e0c499e5631c738714d01c2f344\t*******************4444\t***\t1\tGB\t\
                    2025-11-21 10:00:00\t2025-11-21\t11\ttrue\t0-10\tAnna Lee\t1\t1\t***\t\
                    {\"phone\":\"***\",\"x\":1}";
    assert_eq!(row, expected);

    let letters = job.dead_letters().expect("dead letters");
    let said: Vec<(String, String)> = letters
        .iter()
        .map(|letter| {
            let header = |name: &str| letter.header(name).unwrap_or_default();
            (header("streamweir-detail"), header("streamweir-payload"))
        })
        .collect();
    assert_eq!(said.len(), spoilt.len(), "{said:?}");
    assert_eq!(said[0].0, "total: product: $.quantity: not a number");
    let payloads: Vec<&str> = said.iter().map(|(_, payload)| &**payload).collect();
    assert_eq!(
        payloads,
        ["masked", "masked", "masked", "omitted", "omitted"]
    );

    let mut places = pages.to_vec();
    let table = job.query("SELECT * FROM {db}.clickstream_events FORMAT JSONEachRow");
    places.push(("table".to_owned(), table));
    // What the private fields hold is nowhere; the record with a canary in another field is.
    let values = letters.iter().filter_map(|letter| letter.value.as_deref());
    let values: Vec<_> = values.map(String::from_utf8_lossy).collect();
    let shown = values
        .join("\n")
        .replace(r#""quantity":"canary""#, "")
        .replace(r#""id":"canary""#, "");
    places.push(("dead letters".to_owned(), shown));
    let headers = letters.iter().flat_map(|letter| &letter.headers);
    let headers = headers.map(|header| format!("{header:?}")).collect();
    places.push(("headers".to_owned(), headers));
    places.push(("log".to_owned(), daemon.log()));
    for (place, text) in files(&job.directory.path().join("state")) {
        places.push((place, text));
    }
    let (config, _) = job.write_config("asked");
    for offset in [0, 2, 4, 5] {
        let address = format!("{}:0:{offset}", job.topic);
        for arguments in [
            &["explain", &address][..],
            &["explain", "--json", &address],
            &["dead-letters", "show", &address],
        ] {
            let output = command(&config, arguments).output().expect("it starts");
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(!text.is_empty(), "{arguments:?}");
            places.push((arguments.join(" "), text));
        }
    }
    for (place, text) in places {
        assert!(!text.to_lowercase().contains(CANARY), "{place}: {text}");
    }

    let output = command(&config, &["schema", "print"])
        .output()
        .expect("it starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let comment = "COMMENT COLUMN IF EXISTS `mail` 'classification: pii; masked: hmac, key ";
    assert!(printed.contains(comment), "{printed}");
    let output = command(&config, &["schema", "apply"])
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = command(&config, &["dead-letters", "replay", "--all", "--json"])
        .output()
        .expect("it starts");
    let replayed = String::from_utf8_lossy(&output.stdout);
    assert!(replayed.contains(r#""payload_missing":5"#), "{replayed}");
}

/// The files below a directory, as texts.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut found = vec![];
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            let text = String::from_utf8_lossy(&bytes).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
    found
}
