//! Change records as the JSON converter writes them.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::changes::{Change, ChangeForm, Row};
use super::event::{Clock, pick};

const STATUSES: [&str; 6] = [
    "pending",
    "paid",
    "packed",
    "shipped",
    "delivered",
    "cancelled",
];
const CURRENCIES: [&str; 4] = ["USD", "EUR", "GBP", "JPY"];
const PAYMENTS: [&str; 4] = ["card", "paypal", "bank transfer", "gift card"];
const WORDS: [&str; 16] = [
    "deliver",
    "customer",
    "asked",
    "for",
    "a",
    "signature",
    "parcel",
    "neighbour",
    "evening",
    "Grüße",
    "after",
    "17:00",
    "fragile",
    "invoice",
    "reserved",
    "gate 4",
];

/// Fields as a schema block has them, with `"field":"…"` left out.
const BIGINT: &str = r#""type":"int64","optional":false"#;
const TEXT: &str = r#""type":"string","optional":false"#;
const TEXT_OR_NULL: &str = r#""type":"string","optional":true"#;
const BIGINT_OR_NULL: &str = r#""type":"int64","optional":true"#;

const ROW_FIELDS: [(&str, &str); 15] = [
    ("order_id", BIGINT),
    ("user_id", BIGINT),
    ("revision", r#""type":"int32","optional":false"#),
    ("status", TEXT),
    (
        "total_amount",
        r#""type":"bytes","optional":false,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2","connect.decimal.precision":"12"}"#,
    ),
    (
        "discount",
        r#""type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"4","connect.decimal.precision":"10"}"#,
    ),
    (
        "currency",
        r#""type":"string","optional":true,"default":"USD""#,
    ),
    ("payment_method", TEXT_OR_NULL),
    ("is_gift", r#""type":"boolean","optional":false"#),
    ("weight_grams", r#""type":"int32","optional":true"#),
    (
        "delivery_on",
        r#""type":"int32","optional":true,"name":"io.debezium.time.Date","version":1"#,
    ),
    (
        "order_date",
        r#""type":"int64","optional":false,"name":"io.debezium.time.Timestamp","version":1"#,
    ),
    ("note", TEXT_OR_NULL),
    (
        "created_at",
        r#""type":"int64","optional":false,"name":"io.debezium.time.MicroTimestamp","version":1"#,
    ),
    (
        "updated_at",
        r#""type":"string","optional":false,"name":"io.debezium.time.ZonedTimestamp","version":1"#,
    ),
];

const SOURCE_FIELDS: [(&str, &str); 16] = [
    ("version", TEXT),
    ("connector", TEXT),
    ("name", TEXT),
    ("ts_ms", BIGINT),
    (
        "snapshot",
        r#""type":"string","optional":true,"name":"io.debezium.data.Enum","version":1,"parameters":{"allowed":"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},"default":"false""#,
    ),
    ("db", TEXT),
    ("sequence", TEXT_OR_NULL),
    ("ts_us", BIGINT_OR_NULL),
    ("ts_ns", BIGINT_OR_NULL),
    ("schema", TEXT),
    ("table", TEXT),
    ("txId", BIGINT_OR_NULL),
    ("lsn", BIGINT_OR_NULL),
    ("xmin", BIGINT_OR_NULL),
    ("origin", TEXT_OR_NULL),
    ("origin_lsn", BIGINT_OR_NULL),
];

const TRANSACTION_FIELDS: [(&str, &str); 3] = [
    ("id", TEXT),
    ("total_order", BIGINT),
    ("data_collection_order", BIGINT),
];

/// Writes the records of one topic, one after the other.
#[derive(Debug)]
pub(super) struct ChangeJson {
    form: ChangeForm,
    prefix: String,
    /// What stands before the payload of a key and of a value.
    key_block: String,
    value_block: String,
    clock: Clock,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl ChangeJson {
    pub(super) fn new(topic: &str, form: ChangeForm) -> Self {
        let prefix = topic.split('.').next().unwrap_or_default().to_owned();
        let (mut key_block, mut value_block) = (String::new(), String::new());
        if form == ChangeForm::EnvelopeInBlock {
            key_block = block(&key_schema(topic));
            value_block = block(&envelope_schema(topic));
        }
        Self {
            form,
            prefix,
            key_block,
            value_block,
            clock: Clock::default(),
            key: Vec::with_capacity(256),
            value: Vec::with_capacity(16 << 10),
        }
    }

    /// The key of the record written last.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Its value.
    pub(super) fn value(&self) -> &[u8] {
        &self.value
    }

    pub(super) fn write(&mut self, change: &Change) {
        let row = change.after.or(change.before).unwrap_or_default();
        self.key.clear();
        put(
            &mut self.key,
            format_args!("{}{{\"order_id\":{}}}", self.key_block, row.order_id),
        );
        self.value.clear();
        match self.form {
            ChangeForm::Envelope => self.envelope(change),
            ChangeForm::EnvelopeInBlock => {
                self.key.push(b'}');
                self.value.extend_from_slice(self.value_block.as_bytes());
                self.envelope(change);
                self.value.push(b'}');
            }
            ChangeForm::Flattened => self.flattened(change, &row),
        }
    }

    fn envelope(&mut self, change: &Change) {
        let (out, clock) = (&mut self.value, &mut self.clock);
        for (name, row) in [
            ("{\"before\":", change.before),
            (",\"after\":", change.after),
        ] {
            out.extend_from_slice(name.as_bytes());
            match row {
                None => out.extend_from_slice(b"null"),
                Some(row) => {
                    push_columns(out, clock, &row);
                    out.push(b'}');
                }
            }
        }
        let (lsn, ms) = (lsn(change), change.time_ms);
        let (prefix, op, read_ms) = (&self.prefix, change.op, ms + 500);
        put(
            out,
            format_args!(
                ",\"source\":{{\"version\":\"3.7.0.Final\",\"connector\":\"postgresql\",\
                 \"name\":\"{prefix}\",\"ts_ms\":{ms},\"snapshot\":null,\"db\":\"shop\",\
                 \"sequence\":\"[\\\"{}\\\",\\\"{lsn}\\\"]\",\"ts_us\":{ms}751,\"ts_ns\":{ms}751000,\
                 \"schema\":\"public\",\"table\":\"orders\",\"txId\":{},\"lsn\":{lsn},\"xmin\":null,\
                 \"origin\":null,\"origin_lsn\":null}},\"transaction\":null,\"op\":\"{op}\",\
                 \"ts_ms\":{read_ms},\"ts_us\":{read_ms}505,\"ts_ns\":{read_ms}505253}}",
                lsn - 272,
                10_000 + change.number,
            ),
        );
    }

    fn flattened(&mut self, change: &Change, row: &Row) {
        push_columns(&mut self.value, &mut self.clock, row);
        let is_deleted = change.after.is_none();
        put(
            &mut self.value,
            format_args!(
                ",\"__deleted\":\"{is_deleted}\",\"__op\":\"{}\",\"__table\":\"orders\",\
                 \"__lsn\":{},\"__source_ts_ms\":{}}}",
                change.op,
                lsn(change),
                change.time_ms
            ),
        );
    }
}

fn lsn(change: &Change) -> u64 {
    32_144_184 + change.number * 264
}

/// The row as an object that is not closed.
fn push_columns(out: &mut Vec<u8>, clock: &mut Clock, row: &Row) {
    let seed = row.seed;
    let status = pick(&STATUSES, seed);
    let user = 1 + row.order_id * 7 % 90_000;
    let (id, revision) = (row.order_id, row.revision);
    put(
        out,
        format_args!(
            "{{\"order_id\":{id},\"user_id\":{user},\"revision\":{revision},\
             \"status\":\"{status}\",\"total_amount\":\""
        ),
    );
    push_unscaled(out, row.cents);
    out.extend_from_slice(b"\",\"discount\":");
    match row.discount {
        None => out.extend_from_slice(b"null"),
        Some(discount) => {
            out.push(b'"');
            push_unscaled(out, discount);
            out.push(b'"');
        }
    }
    let currency = pick(&CURRENCIES, seed >> 8);
    let is_gift = seed >> 12 & 7 == 0;
    put(
        out,
        format_args!(",\"currency\":\"{currency}\",\"payment_method\":"),
    );
    if seed >> 16 & 3 == 0 {
        out.extend_from_slice(b"null");
    } else {
        put(out, format_args!("\"{}\"", pick(&PAYMENTS, seed >> 18)));
    }
    put(
        out,
        format_args!(
            ",\"is_gift\":{is_gift},\"weight_grams\":{},\"delivery_on\":{},\"order_date\":{},\
             \"note\":\"",
            50 + seed % 30_000,
            20_500 + seed % 300,
            row.created_us / 1_000,
        ),
    );
    let start = out.len();
    push_note(out, row);
    escape(out, start);
    put(
        out,
        format_args!("\",\"created_at\":{},\"updated_at\":\"", row.created_us),
    );
    clock.push(out, row.updated_ms);
    out.push(b'"');
}

/// The larger text of a row, of 30 words on average; one in four has a quotation.
pub(super) fn push_note(out: &mut Vec<u8>, row: &Row) {
    put(
        out,
        format_args!("order {} revision {}:", row.order_id, row.revision),
    );
    let mut words = row.seed;
    for _ in 0..15 + row.seed % 31 {
        out.push(b' ');
        out.extend_from_slice(pick(&WORDS, words >> 60).as_bytes());
        words = words.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    }
    if row.seed.is_multiple_of(4) {
        out.extend_from_slice(b", says \"ring twice\"");
    }
}

/// The only character of these texts that JSON escapes is the quotation mark.
fn escape(out: &mut Vec<u8>, start: usize) {
    if !out[start..].contains(&b'"') {
        return;
    }
    let text = out.split_off(start);
    for byte in text {
        if byte == b'"' {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// The number's bytes in base64, as few as hold it.
fn push_unscaled(out: &mut Vec<u8>, number: i64) {
    let bytes = number.to_be_bytes();
    // A leading byte goes as long as the sign stays in the one behind it.
    let is_spare = |pair: &[u8]| pair[0] == 0 && pair[1] < 0x80;
    let spare = bytes.windows(2).take_while(|pair| is_spare(pair)).count();
    out.extend_from_slice(STANDARD.encode(&bytes[spare..]).as_bytes());
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("writing to memory does not fail");
}

fn block(schema: &str) -> String {
    format!("{{\"schema\":{schema},\"payload\":")
}

fn struct_of(fields: &[(&str, &str)]) -> String {
    let field = |(name, is): &(&str, &str)| format!("{{{is},\"field\":\"{name}\"}}");
    let fields: Vec<String> = fields.iter().map(field).collect();
    format!("\"type\":\"struct\",\"fields\":[{}]", fields.join(","))
}

fn key_schema(topic: &str) -> String {
    let fields = struct_of(&ROW_FIELDS[..1]);
    format!("{{{fields},\"optional\":false,\"name\":\"{topic}.Key\"}}")
}

fn envelope_schema(topic: &str) -> String {
    let row = format!(
        "{},\"optional\":true,\"name\":\"{topic}.Value\"",
        struct_of(&ROW_FIELDS)
    );
    let source = format!(
        "{},\"optional\":false,\"name\":\"io.debezium.connector.postgresql.Source\",\"version\":1",
        struct_of(&SOURCE_FIELDS)
    );
    let transaction = format!(
        "{},\"optional\":true,\"name\":\"event.block\",\"version\":1",
        struct_of(&TRANSACTION_FIELDS)
    );
    let fields = struct_of(&[
        ("before", &row),
        ("after", &row),
        ("source", &source),
        ("transaction", &transaction),
        ("op", TEXT),
        ("ts_ms", BIGINT_OR_NULL),
        ("ts_us", BIGINT_OR_NULL),
        ("ts_ns", BIGINT_OR_NULL),
    ]);
    format!("{{{fields},\"optional\":false,\"name\":\"{topic}.Envelope\",\"version\":2}}")
}
