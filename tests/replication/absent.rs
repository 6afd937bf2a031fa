//! Fields that stop coming and come again, and values that connectors write in their own way: several tables
//! in one run of the daemon.

use sandbox::topic::{self, Record};

use crate::replication::shop::{Declared, Shop, change, field, in_block, set_mapping};

const SETTINGS: [(&str, &str); 1] = [("retention.ms", "-1")];

/// Topics of one partition, and the pipeline that reads them.
struct Tables {
    shop: Shop,
}

impl Tables {
    fn new(name: &str, tables: &[&str]) -> Tables {
        let mut tables_of = Tables {
            shop: Shop::new(name, &[], 1),
        };
        let topics: Vec<String> = tables.iter().map(|table| tables_of.topic(table)).collect();
        for topic in &topics {
            topic::create(tables_of.shop.job.bootstrap(), topic, 1, &SETTINGS).expect("a topic");
        }
        tables_of.shop.job.set("pipeline.topics", topics);
        tables_of
    }

    fn topic(&self, table: &str) -> String {
        format!("{}shop.public.{table}", self.shop.job.prefix)
    }

    fn set(&mut self, table: &str, key: &str, value: impl Into<toml::Value>) {
        let topic = self.topic(table);
        set_mapping(&mut self.shop.job, &topic, key, value);
    }

    /// Writes rows, whose JSON begins with the key `id`.
    fn write(&self, table: &str, fields: &[Declared], rows: &[(&str, &str)]) {
        let records = rows.iter().map(|(operation, row)| {
            let (_, rest) = row.split_once(r#""id":"#).expect("a key");
            let id = rest.split([',', '}']).next().expect("a key");
            let key = format!(r#"{{"id":{id}}}"#);
            in_block(change(operation, &key, row), fields, 1)
        });
        self.produce(table, records);
    }

    fn produce(&self, table: &str, records: impl Iterator<Item = Record>) {
        let topic = self.topic(table);
        topic::produce(self.shop.job.bootstrap(), &topic, records).expect("records");
    }

    fn rows(&self, table: &str, columns: &str) -> String {
        self.shop.job.query(&format!(
            "SELECT {columns} FROM {{db}}.{table} FINAL WHERE _deleted = 0 ORDER BY id"
        ))
    }

    fn column(&self, table: &str, column: &str, what: &str) -> String {
        self.shop.job.query(&format!(
            "SELECT {what} FROM system.columns WHERE database = '{}' AND table = '{table}' AND \
             name = '{column}'",
            self.shop.job.database
        ))
    }
}

fn of_mysql(record: Record) -> Record {
    let value = record.value.map(|value| {
        let text = String::from_utf8(value).expect("JSON");
        text.replace(r#""connector":"postgresql""#, r#""connector":"mysql""#)
            .into_bytes()
    });
    Record { value, ..record }
}

/// The record of an earlier change at the source.
fn sent_earlier(record: Record) -> Record {
    let value = record.value.map(|value| {
        let text = String::from_utf8(value).expect("JSON");
        text.replace(r#""ts_ms":1763719200123"#, r#""ts_ms":1763719200100"#)
            .into_bytes()
    });
    Record { value, ..record }
}

fn id() -> Declared {
    field("id", "int32", false)
}

#[test]
fn fields_that_stop_coming_are_null_and_those_that_return_are_new() {
    let mut tables = Tables::new("absent", &["lines", "notes", "added", "kept"]);
    tables.set("kept", "absent", "keep");
    // A column that the source computes: snapshots have it, streamed changes do not.
    let qty = field("qty", "int32", false);
    let lines = [id(), qty.clone(), field("total", "int32", false)];
    let streamed = [id(), qty];
    tables.write(
        "lines",
        &lines,
        &[
            ("r", r#"{"id":1,"qty":2,"total":10}"#),
            ("r", r#"{"id":2,"qty":3,"total":15}"#),
        ],
    );
    tables.write(
        "lines",
        &streamed,
        &[("u", r#"{"id":1,"qty":4}"#), ("c", r#"{"id":3,"qty":1}"#)],
    );
    tables.write("lines", &lines, &[("r", r#"{"id":4,"qty":1,"total":5}"#)]);
    tables.write("lines", &streamed, &[("u", r#"{"id":3,"qty":2}"#)]);
    // A column that is dropped, and in the next run of the daemon made anew.
    let n = field("n", "int32", false);
    let notes = [id(), n.clone(), field("note", "string", true)];
    let without = [id(), n];
    tables.write(
        "notes",
        &notes,
        &[
            ("c", r#"{"id":1,"n":1,"note":"old 1"}"#),
            ("c", r#"{"id":2,"n":2,"note":"old 2"}"#),
            ("c", r#"{"id":3,"n":3,"note":"old 3"}"#),
        ],
    );
    tables.write("notes", &without, &[("u", r#"{"id":2,"n":20}"#)]);
    // MySQL's NOT NULL columns without default, one of which is dropped again.
    let base = [id(), field("a", "string", false)];
    let state = field("state", "string", false)
        .named("io.debezium.data.Enum")
        .with(r#""parameters":{"allowed":"new,old"}"#);
    let more = [
        base.to_vec(),
        vec![
            field("n", "int32", false),
            field("s", "string", false),
            state.clone(),
        ],
    ]
    .concat();
    let fewer = [base.to_vec(), vec![field("s", "string", false), state]].concat();
    let of = |fields: &[Declared], key: &str, row: &str| {
        of_mysql(in_block(change("c", key, row), fields, 1))
    };
    tables.produce(
        "added",
        [
            of(&base, r#"{"id":1}"#, r#"{"id":1,"a":"x1"}"#),
            of(
                &more,
                r#"{"id":2}"#,
                r#"{"id":2,"a":"x2","n":7,"s":"t","state":"old"}"#,
            ),
            of(
                &fewer,
                r#"{"id":3}"#,
                r#"{"id":3,"a":"x3","s":"u","state":"old"}"#,
            ),
        ]
        .into_iter(),
    );
    // A table that keeps what its rows have had.
    let kept = [
        id(),
        field("a", "string", false),
        field("b", "int32", false),
    ];
    tables.write(
        "kept",
        &kept,
        &[
            ("c", r#"{"id":1,"a":"x","b":7}"#),
            ("c", r#"{"id":2,"a":"x","b":0}"#),
        ],
    );
    let fewer = &kept[..2];
    tables.write(
        "kept",
        fewer,
        &[
            ("u", r#"{"id":1,"a":"y"}"#),
            ("u", r#"{"id":2,"a":"y"}"#),
            ("c", r#"{"id":3,"a":"y"}"#),
        ],
    );
    tables.shop.run();
    assert_eq!(
        tables.rows("lines", "id, qty, total"),
        "1\t4\t\\N\n2\t3\t15\n3\t2\t\\N\n4\t1\t5"
    );
    assert_eq!(tables.column("lines", "total", "type"), "Nullable(Int32)");
    assert_eq!(
        tables.rows("notes", "id, n, note"),
        "1\t1\told 1\n2\t20\t\\N\n3\t3\told 3"
    );
    assert_eq!(
        tables.rows("added", "id, n, s, state"),
        "1\t0\t\tnew\n2\t7\tt\told\n3\t\\N\tu\told"
    );
    assert_eq!(
        tables.rows("kept", "id, a, b"),
        "1\ty\t7\n2\ty\t0\n3\ty\t\\N"
    );
    assert_eq!(tables.column("kept", "b", "comment"), "");
    let comment = tables.column("notes", "note", "comment");
    assert!(comment.starts_with("[streamweir stopped="), "{comment}");

    tables.write(
        "notes",
        &notes,
        &[("c", r#"{"id":4,"n":4,"note":"fresh"}"#)],
    );
    tables.write(
        "kept",
        fewer,
        &[("u", r#"{"id":1,"a":"z"}"#), ("u", r#"{"id":3,"a":"z"}"#)],
    );
    tables.shop.run();
    assert_eq!(
        tables.rows("notes", "id, n, note"),
        "1\t1\t\\N\n2\t20\t\\N\n3\t3\t\\N\n4\t4\tfresh"
    );
    let comment = tables.column("notes", "note", "comment");
    assert!(comment.starts_with("[streamweir added="), "{comment}");
    assert_eq!(
        tables.rows("kept", "id, a, b"),
        "1\tz\t7\n2\ty\t0\n3\tz\t\\N"
    );
    let view = "SELECT id, total FROM {db}.lines_current WHERE id < 3 ORDER BY id";
    assert_eq!(tables.shop.job.query(view), "1\t\\N\n2\t15");
    tables.shop.assert_no_dead_letters();
}

#[test]
fn what_returns_is_new_and_what_had_a_default_is_known_over_restarts_and_when_set_back() {
    let made_by_hand = ["own", "restarted", "keeps"];
    let all = [&["back", "defaults"][..], &made_by_hand[..]].concat();
    let mut tables = Tables::new("again", &all);
    tables.set("keeps", "absent", "keep");
    tables.shop.job.query("CREATE DATABASE IF NOT EXISTS {db}");
    for table in made_by_hand {
        // A column that no record fills, and one of a type that we do not know.
        tables.shop.job.query(&format!(
            "CREATE TABLE {{db}}.{table} (id Int32, v Int32 DEFAULT 5, never Int32 DEFAULT 40 + 2, \
             m Map(String, String), _version UInt64, _deleted UInt8) \
             ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id"
        ));
    }
    let note = field("note", "string", true);
    let old = field("n", "int32", false);
    let new = field("n", "int32", false).with(r#""default":7"#);
    let with_v = [id(), field("v", "int32", false)];
    let without = [id()];
    tables.write(
        "back",
        &[id(), note.clone()],
        &[
            ("c", r#"{"id":1,"note":"old 1"}"#),
            ("c", r#"{"id":2,"note":"old 2"}"#),
        ],
    );
    tables.write("back", &without, &[("u", r#"{"id":2}"#)]);
    tables.write(
        "defaults",
        &[id(), old],
        &[("c", r#"{"id":1,"n":1}"#), ("c", r#"{"id":2,"n":2}"#)],
    );
    tables.write(
        "defaults",
        &without,
        &[("u", r#"{"id":2}"#), ("c", r#"{"id":3}"#)],
    );
    for table in made_by_hand {
        // One of before the field came.
        tables.write(table, &without, &[("c", r#"{"id":1}"#)]);
        let rows = [("c", r#"{"id":2,"v":0}"#), ("c", r#"{"id":3,"v":8}"#)];
        tables.write(table, &with_v, &rows);
    }
    let stops = [("u", r#"{"id":2}"#), ("c", r#"{"id":4}"#)];
    tables.write("own", &without, &stops);
    tables.write("keeps", &without, &stops);
    tables.shop.run();
    for table in made_by_hand {
        let comment = tables.column(table, "v", "comment");
        assert!(comment.starts_with("[streamweir added="), "{comment}");
        assert_eq!(tables.column(table, "never", "comment"), "");
    }

    tables.write(
        "back",
        &[id(), note],
        &[("c", r#"{"id":4,"note":"fresh"}"#)],
    );
    tables.write("defaults", &[id(), new], &[("c", r#"{"id":4,"n":4}"#)]);
    tables.write("restarted", &without, &stops);
    tables.shop.run();
    let rows = || {
        let of = |table, columns| tables.rows(table, columns);
        let hand = made_by_hand.map(|table| of(table, "id, v, never, m"));
        (of("back", "id, note"), of("defaults", "id, n"), hand)
    };
    let (back, defaults, [own, restarted, keeps]) = rows();
    assert_eq!(back, "1\t\\N\n2\t\\N\n4\tfresh");
    assert_eq!(defaults, "1\t7\n2\t7\n3\t7\n4\t4");
    let expected = "1\t5\t42\t{}\n2\t\\N\t42\t{}\n3\t8\t42\t{}\n4\t\\N\t42\t{}";
    assert_eq!(own, expected);
    assert_eq!(restarted, expected, "a restart between makes no difference");
    let expected = "1\t5\t42\t{}\n2\t0\t42\t{}\n3\t8\t42\t{}\n4\t\\N\t42\t{}";
    assert_eq!(keeps, expected);

    let before = rows();
    for table in &all {
        let to = topic::Committed {
            offset: 0,
            metadata: String::new(),
        };
        let job = &tables.shop.job;
        let topic = tables.topic(table);
        topic::commit(job.bootstrap(), &job.group, &topic, 0, &to).expect("set back");
    }
    tables.shop.run();
    assert_eq!(rows(), before, "set back to before all of it");
    tables.shop.assert_no_dead_letters();
}

#[test]
fn fields_of_records_sent_again_or_of_several_shapes_are_not_new_ones() {
    let mut tables = Tables::new("shapes", &["sent", "shapes"]);
    // A column was dropped, and the connector sends again what it had sent before that.
    let notes = [id(), field("note", "string", true)];
    let without = &notes[..1];
    let first = [
        ("c", r#"{"id":1,"note":"one"}"#),
        ("c", r#"{"id":2,"note":"two"}"#),
    ];
    tables.write("sent", &notes, &first);
    tables.write("sent", without, &[("c", r#"{"id":3}"#)]);
    let again = in_block(change("c", r#"{"id":2}"#, first[1].1), &notes, 1);
    tables.produce("sent", [sent_earlier(again)].into_iter());
    tables.write("sent", without, &[("c", r#"{"id":3}"#)]);
    // A router puts tables of two shapes into one topic.
    let place = "__dbz__physicalTableIdentifier";
    let columns = toml::Table::from_iter([(place.to_owned(), "String".into())]);
    tables.set("shapes", "columns", columns);
    let (a, b) = (field("a", "string", true), field("b", "string", true));
    let records = [
        ("t1", 1, "a"),
        ("t2", 2, "b"),
        ("t1", 3, "a"),
        ("t2", 4, "b"),
    ];
    let records = records.map(|(table, number, column)| {
        let fields = [id(), if column == "a" { a.clone() } else { b.clone() }];
        let row = format!(r#"{{"id":{number},"{column}":"{table}-{number}"}}"#);
        let key = format!(r#"{{"id":{number},"{place}":"{table}"}}"#);
        let record = in_block(change("c", &key, &row), &fields, 1);
        let key = Some(key.into_bytes());
        Record { key, ..record }
    });
    tables.produce("shapes", records.into_iter());
    tables.shop.run();
    assert_eq!(tables.rows("sent", "id, note"), "1\tone\n2\ttwo\n3\t\\N");
    let comment = tables.column("sent", "note", "comment");
    assert!(comment.starts_with("[streamweir stopped="), "{comment}");
    assert_eq!(
        tables.rows("shapes", "id, a, b"),
        "1\tt1-1\t\\N\n2\t\\N\tt2-2\n3\tt1-3\t\\N\n4\t\\N\tt2-4"
    );
    tables.shop.assert_no_dead_letters();
}

#[test]
fn a_field_that_stops_coming_halts_where_nothing_else_is_allowed() {
    let mut tables = Tables::new("absent-halts", &["lines"]);
    let fields = [id(), field("total", "int32", false)];
    tables.write("lines", &fields, &[("c", r#"{"id":1,"total":10}"#)]);
    tables.write("lines", &fields[..1], &[("c", r#"{"id":2}"#)]);
    let halt = [
        "column total Int32",
        "Nullable(Int32)",
        "absent = \"null\"",
        ":0:1",
    ];
    for (evolution, absent) in [("strict", None), ("ignore", None), ("strict", Some("null"))] {
        tables.shop.job.set("pipeline.evolution", evolution);
        if let Some(absent) = absent {
            tables.set("lines", "absent", absent);
        }
        tables.shop.job.assert_halts("halts", "schema", &halt);
    }
    tables.set("lines", "absent", "halt");
    tables.shop.job.set("pipeline.evolution", "add_columns");
    tables.shop.job.assert_halts("halts", "schema", &halt[..1]);
    // As the advice says.
    tables
        .shop
        .job
        .query("ALTER TABLE {db}.lines MODIFY COLUMN total Nullable(Int32)");
    tables.set("lines", "absent", "null");
    tables.shop.job.set("pipeline.evolution", "strict");
    tables.shop.run();
    assert_eq!(tables.rows("lines", "id, total"), "1\t10\n2\t\\N");
    // Without a block it may be NULL that was left out.
    tables.set("lines", "absent", "halt");
    let plain = change("c", r#"{"id":3}"#, r#"{"id":3}"#);
    tables.produce("lines", [plain].into_iter());
    tables.shop.run();
    assert_eq!(tables.rows("lines", "id, total"), "1\t10\n2\t\\N\n3\t\\N");
}

#[test]
fn values_that_a_column_made_of_the_block_has_to_hold() {
    let mut tables = Tables::new("values", &["zoned", "keyed", "big", "days", "odd", "plain"]);
    let zoned = field("at", "string", true).named("io.debezium.time.ZonedTimestamp");
    tables.write(
        "zoned",
        &[id(), zoned],
        &[
            ("c", r#"{"id":1,"at":"2026-05-10T16:00:01.604805+03:00"}"#),
            ("c", r#"{"id":2,"at":"2026-05-10T16:00:01.6048051+03:00"}"#),
            ("c", r#"{"id":3,"at":"2026-05-10T16:00:01.123456789Z"}"#),
            ("c", r#"{"id":4,"at":null}"#),
        ],
    );
    let keyed = [field("id", "string", false).named("io.debezium.time.ZonedTimestamp")];
    let day = r#"{"id":"2026-05-10T16:00:01.123456789Z"}"#;
    let keyed = in_block(change("c", day, day), &keyed, 1);
    tables.produce("keyed", std::iter::once(keyed));
    let unsigned = r#""parameters":{"__debezium.source.column.type":"BIGINT UNSIGNED"}"#;
    let big = [
        field("id", "int64", false).with(unsigned),
        field("u", "int64", true).with(unsigned),
    ];
    let rows = [("c", r#"{"id":-2,"u":-3}"#), ("c", r#"{"id":7,"u":null}"#)];
    tables.write("big", &big, &rows);
    // Days that stand for "no end", and an infinite one.
    let day = |name| field(name, "int32", true).named("io.debezium.time.Date");
    let days = [id(), day("valid_to"), day("gone"), day("other")];
    let clamp: toml::Table = toml::toml! { on_out_of_range = "clamp" };
    let columns = toml::Table::from_iter([("valid_to".to_owned(), clamp.into())]);
    tables.set("days", "columns", columns);
    tables
        .shop
        .job
        .set("pipeline.columns.gone.on_out_of_range", "null");
    tables.shop.job.set("pipeline.dead_letter.ratio_max", 1.0);
    tables.write(
        "days",
        &days,
        &[
            (
                "c",
                r#"{"id":1,"valid_to":2932896,"gone":2932896,"other":0}"#,
            ),
            (
                "c",
                r#"{"id":2,"valid_to":2146033979,"gone":-2147472691,"other":0}"#,
            ),
            ("c", r#"{"id":3,"valid_to":-400000,"gone":1,"other":0}"#),
            (
                "c",
                r#"{"id":4,"valid_to":null,"gone":null,"other":2932896}"#,
            ),
        ],
    );
    // A server in another zone shows the source's clock, since the column says UTC.
    let odd = [
        id(),
        field("custom", "string", true).named("com.example.Secret"),
        field("shape", "struct", true).named("io.debezium.time.StructuredDate"),
        field("at", "int64", true).named("io.debezium.time.MicroTimestamp"),
    ];
    let row = r#"{"id":1,"custom":"x","shape":{"year":2026, "day":1},"at":1772600767123000}"#;
    tables.write("odd", &odd, &[("c", row)]);
    tables.write("plain", &[id()], &[("c", r#"{"id":1}"#)]);
    tables.shop.run();
    assert_eq!(
        tables.rows("zoned", "id, at"),
        "1\t2026-05-10 13:00:01.604805000\n2\t2026-05-10 13:00:01.604805100\n\
         3\t2026-05-10 16:00:01.123456789\n4\t\\N"
    );
    let day = tables.rows("keyed", "id");
    assert_eq!(day, "2026-05-10 16:00:01.123456789");
    assert_eq!(
        tables.rows("big", "id, u"),
        "7\t\\N\n18446744073709551614\t18446744073709551613"
    );
    assert_eq!(
        tables.rows("days", "id, valid_to, gone"),
        "1\t2299-12-31\t\\N\n2\t2299-12-31\t\\N\n3\t1900-01-01\t1970-01-02"
    );
    let reasons = tables.shop.reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert_eq!(reasons[0].0, "out_of_range");
    assert_eq!(
        tables.rows("odd", "id, custom, shape, at"),
        "1\tx\t{\"year\":2026,\"day\":1}\t2026-03-04 05:06:07.123000"
    );
    assert_eq!(
        tables.column("odd", "at", "type"),
        "Nullable(DateTime64(6, \\'UTC\\'))"
    );
    assert_eq!(tables.rows("plain", "id"), "1");
}
