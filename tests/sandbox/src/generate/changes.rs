//! Changes of one table, as a database would make them; the records are those of Debezium's PostgreSQL
//! connector.
//!
//! The table's replica identity is FULL: updates and deletes carry the row of before. A delete is followed
//! by a tombstone, except in the flattened form, whose deletes are rewritten.

use std::time::Duration;

use anyhow::Result;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::Random;
use super::change_json::{ChangeJson, push_note};
use crate::topic::{Deliveries, producer_config, send_patiently};

const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// 2026-03-01T00:00:00Z; a change every millisecond.
const START_MS: i64 = 1_772_323_200_000;

/// Columns of the replica and their types, in the order of the source; the first is the key.
pub const ORDERS: [(&str, &str); 15] = [
    ("order_id", "Int64"),
    ("user_id", "Int64"),
    ("revision", "Int32"),
    ("status", "String"),
    ("total_amount", "Decimal(12, 2)"),
    ("discount", "Nullable(Decimal(10, 4))"),
    ("currency", "Nullable(String)"),
    ("payment_method", "Nullable(String)"),
    ("is_gift", "Bool"),
    ("weight_grams", "Nullable(Int32)"),
    ("delivery_on", "Nullable(Date32)"),
    ("order_date", "DateTime64(3)"),
    ("note", "Nullable(String)"),
    ("created_at", "DateTime64(6)"),
    ("updated_at", "DateTime64(6, 'UTC')"),
];

/// What a record looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeForm {
    /// `before`, `after`, `source`, `op`.
    Envelope,
    /// The same as the payload behind a schema block; keys too.
    EnvelopeInBlock,
    /// The row with `__deleted`, `__op` and so on.
    Flattened,
}

/// The row of one key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) order_id: u64,
    pub(super) revision: u32,
    /// Everything else is drawn from it.
    pub(super) seed: u64,
    pub(super) cents: i64,
    pub(super) discount: Option<i64>,
    pub(super) created_us: i64,
    pub(super) updated_ms: i64,
    pub(super) is_there: bool,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) op: char,
    pub(super) before: Option<Row>,
    pub(super) after: Option<Row>,
    /// Of all changes, from 1 on.
    pub(super) number: u64,
    pub(super) time_ms: i64,
}

/// An endless stream of change records, the same for the same seed and keys.
#[derive(Debug)]
pub struct Changes {
    random: Random,
    rows: Vec<Row>,
    json: ChangeJson,
    form: ChangeForm,
    number: u64,
    owes_tombstone: bool,
}

impl Changes {
    /// `keys` is the number of different keys, from 1 on.
    pub fn new(seed: u64, keys: u64, topic: &str, form: ChangeForm) -> Self {
        let row = |order_id| Row {
            order_id,
            ..Row::default()
        };
        Self {
            random: Random(seed),
            rows: (1..=keys.max(1)).map(row).collect(),
            json: ChangeJson::new(topic, form),
            form,
            number: 0,
            owes_tombstone: false,
        }
    }

    /// The next record: its key and its value, of which a tombstone has none.
    pub fn next_record(&mut self) -> (&[u8], Option<&[u8]>) {
        if std::mem::take(&mut self.owes_tombstone) {
            return (self.json.key(), None);
        }
        self.number += 1;
        let change = self.change();
        self.owes_tombstone = change.after.is_none() && self.form != ChangeForm::Flattened;
        self.json.write(&change);
        (self.json.key(), Some(self.json.value()))
    }

    fn change(&mut self) -> Change {
        let count = self.rows.len() as u64;
        let place = (self.random.next() % count) as usize;
        let (choice, seed) = (self.random.next(), self.random.next());
        let time_ms = START_MS + self.number as i64;
        let row = &mut self.rows[place];
        let before = row.is_there.then_some(*row);
        let is_delete = before.is_some() && choice.is_multiple_of(20);
        row.is_there = !is_delete;
        if !is_delete {
            row.revision += 1;
            row.seed = seed;
            row.cents = (choice >> 8) as i64 % 1_000_000;
            row.discount = (choice & 3 == 0).then_some((choice >> 32) as i64 % 500_000);
            row.updated_ms = time_ms;
            if before.is_none() {
                row.created_us = time_ms * 1_000 + (choice % 1_000) as i64;
            }
        }
        Change {
            op: match before {
                None => 'c',
                Some(_) if is_delete => 'd',
                Some(_) => 'u',
            },
            before,
            after: (!is_delete).then_some(*row),
            number: self.number,
            time_ms,
        }
    }

    /// What the table has in the end: [`Changes::TOTALS`] as text.
    pub fn totals(&self) -> String {
        let live = || self.rows.iter().filter(|row| row.is_there);
        let revisions: u64 = live().map(|row| u64::from(row.revision)).sum();
        let ids: u64 = live().map(|row| row.order_id).sum();
        let cents: i64 = live().map(|row| row.cents).sum();
        let discounts: i64 = live().filter_map(|row| row.discount).sum();
        let created: i64 = live().map(|row| row.created_us).sum();
        let updated: i64 = live().map(|row| row.updated_ms).sum();
        let mut note = vec![];
        let mut note_bytes = 0;
        for row in live() {
            note.clear();
            push_note(&mut note, row);
            note_bytes += note.len();
        }
        let count = live().count();
        format!(
            "{count}\t{ids}\t{revisions}\t{cents}\t{discounts}\t{created}\t{updated}\t{note_bytes}"
        )
    }

    /// Sums over the rows that are there.
    pub const TOTALS: &str = "count(), sum(order_id), sum(revision), \
        toInt64(sum(total_amount) * 100), toInt64(sum(discount) * 10000), \
        sum(toUnixTimestamp64Micro(created_at)), sum(toUnixTimestamp64Milli(updated_at)), \
        sum(length(note))";
}

/// What was written to a topic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written {
    /// Changes and tombstones.
    pub records: u64,
    /// Records without a value.
    pub tombstones: u64,
    /// Of all values.
    pub value_bytes: u64,
}

/// Writes so many changes and the tombstones behind deletes, by key, with the headers that every record of
/// the connector has. Returns once all are acknowledged.
///
/// # Errors
/// When a single one was not acknowledged.
pub fn write_changes(
    bootstrap: &str,
    topic: &str,
    changes: &mut Changes,
    count: u64,
) -> Result<Written> {
    let deliveries = Deliveries::default();
    let producer: BaseProducer<Deliveries> = producer_config(bootstrap)
        .set("linger.ms", "50")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "262144")
        .create_with_context(deliveries.clone())?;
    let headers = context_headers(topic);
    let mut written = Written::default();
    let end = changes.number + count;
    while changes.number < end || changes.owes_tombstone {
        let (key, value) = changes.next_record();
        let mut record = BaseRecord::<[u8], [u8]>::to(topic)
            .key(key)
            .headers(headers.clone());
        record.payload = value;
        send_patiently(&producer, record)?;
        written.records += 1;
        match value {
            Some(value) => written.value_bytes += value.len() as u64,
            None => written.tombstones += 1,
        }
        if written.records.is_multiple_of(1_000) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(FLUSH_TIMEOUT)?;
    deliveries.check(written.records)?;
    Ok(written)
}

fn context_headers(topic: &str) -> OwnedHeaders {
    let prefix = topic.split('.').next().unwrap_or_default();
    let context = [
        ("connectorLogicalName", prefix),
        ("taskId", "0"),
        ("connectorName", "postgresql"),
        ("runId", "01a1fbcf-61c1-7b61-ad68-4271bfb01563"),
    ];
    context
        .iter()
        .fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header {
                key: &format!("__debezium.context.{name}"),
                value: Some(*value),
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn records(form: ChangeForm, count: usize) -> Vec<(Value, Option<Value>)> {
        let mut changes = Changes::new(7, 50, "shop.public.orders", form);
        let parse = |text: &[u8]| serde_json::from_slice(text).expect("JSON");
        (0..count)
            .map(|_| {
                let (key, value) = changes.next_record();
                (parse(key), value.map(parse))
            })
            .collect()
    }

    #[test]
    fn every_form_tells_of_the_same_rows() {
        let bare = records(ChangeForm::Envelope, 2_000);
        let typed = records(ChangeForm::EnvelopeInBlock, 2_000);
        let flat = records(ChangeForm::Flattened, 2_000);
        for (bare, typed) in bare.iter().zip(&typed) {
            assert_eq!(bare.0, typed.0["payload"]);
            let payload = typed.1.as_ref().map(|value| &value["payload"]);
            assert_eq!(bare.1.as_ref(), payload);
        }
        let changes = bare.iter().filter_map(|(_, value)| value.as_ref());
        for (change, (_, flat)) in changes.zip(&flat) {
            let flat = flat.as_ref().expect("no tombstones");
            assert_eq!(change["op"], flat["__op"]);
            let is_delete = change["op"] == "d";
            let image = &change[if is_delete { "before" } else { "after" }];
            for (name, _) in ORDERS {
                assert_eq!(image[name], flat[name], "{name}");
            }
        }
    }

    #[test]
    fn a_row_follows_from_the_one_before_it() {
        let records = records(ChangeForm::Envelope, 5_000);
        let mut rows = std::collections::HashMap::new();
        let mut tombstones = 0;
        for (key, value) in &records {
            let Some(change) = value else {
                tombstones += 1;
                assert_eq!(rows[&key.to_string()], Value::Null);
                continue;
            };
            let before = rows.insert(key.to_string(), change["after"].clone());
            assert_eq!(change["before"], before.unwrap_or_default());
        }
        assert!(tombstones > 100, "{tombstones}");
    }

    /// The names, in their order, that a recorded record of Debezium 3.7 has beside the row's.
    #[test]
    fn members_are_those_of_the_connector_in_its_order() {
        let mut changes = Changes::new(7, 50, "shop.public.orders", ChangeForm::Envelope);
        let (_, value) = changes.next_record();
        let text = String::from_utf8(value.unwrap().to_vec()).unwrap();
        let (_, behind) = text.split_once("},\"source\":").expect("a source");
        let numbers = regex::Regex::new("[0-9]{4,}").unwrap();
        assert_eq!(
            numbers.replace_all(behind, "0"),
            r#"{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":0,"snapshot":null,"db":"shop","sequence":"[\"0\",\"0\"]","ts_us":0,"ts_ns":0,"schema":"public","table":"orders","txId":0,"lsn":0,"xmin":null,"origin":null,"origin_lsn":null},"transaction":null,"op":"c","ts_ms":0,"ts_us":0,"ts_ns":0}"#
        );
    }
}
