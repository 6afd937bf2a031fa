//! A recording in Kafka, and the tables it is to become.

use std::collections::BTreeMap;

use sandbox::topic::{self, Record};
use toml::Value;

use crate::replication::corpus::{self, Recording, Source};
use crate::support::Job;

/// Which partition is written, and so read, when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Ascending,
    Descending,
    /// One record of each partition in turn.
    Turns,
}

/// One variant's records of some tables, under topics of their own.
pub(crate) struct Replication {
    pub(crate) job: Job,
    pub(crate) source: Source,
    pub(crate) variant: String,
    /// Topic by table.
    pub(crate) topics: BTreeMap<String, String>,
}

impl Replication {
    /// A configuration for these tables. Without `declared` columns the tables are made from schema blocks.
    pub(crate) fn new(
        source: Source,
        variant: &str,
        tables: &[&str],
        with_ddl: bool,
    ) -> Replication {
        let name = format!("replica-{}", variant.replace('_', "-"));
        let mut job = Job::replication(&name);
        let topic = |table: &&str| {
            let topic = format!("{}shop.public.{table}", job.prefix);
            ((*table).to_owned(), topic)
        };
        let topics: BTreeMap<String, String> = tables.iter().map(topic).collect();
        let names: Vec<String> = topics.values().cloned().collect();
        job.set("pipeline.topics", names);
        for (key, value) in modes(source, variant) {
            job.set(&format!("pipeline.debezium.{key}"), value);
        }
        let replication = Replication {
            job,
            source,
            variant: variant.to_owned(),
            topics,
        };
        if with_ddl {
            replication.with_columns()
        } else {
            replication
        }
    }

    /// Names every table's columns, as the checker has them.
    fn with_columns(mut self) -> Replication {
        for (table, topic) in self.topics.clone() {
            let mut columns = toml::Table::new();
            let mut source_types = toml::Table::new();
            for (name, column_type) in corpus::columns(self.source, &self.variant, &table) {
                let exact = corpus::exact(&self.variant, &table, &name);
                let column_type = exact.map_or(column_type, str::to_owned);
                if let Some(declared) = corpus::declared(&self.variant, &table, &name) {
                    source_types.insert(name.clone(), declared.into());
                }
                columns.insert(name, column_type.into());
            }
            let mut mapping = toml::Table::new();
            mapping.insert("columns".into(), columns.into());
            if !source_types.is_empty() {
                mapping.insert("source_types".into(), source_types.into());
            }
            self.set_table(&topic, mapping);
        }
        self
    }

    pub(crate) fn set_table(&mut self, topic: &str, mapping: toml::Table) {
        let pipeline = self.job.config["pipeline"][0].as_table_mut();
        let tables = pipeline.expect("a pipeline").entry("tables");
        let tables = tables.or_insert_with(|| Value::Table(toml::Table::new()));
        let tables = tables.as_table_mut().expect("a table of tables");
        tables.insert(topic.to_owned(), mapping.into());
    }

    pub(crate) fn create_topics(&self, partitions: i32) {
        for topic in self.topics.values() {
            let settings = [("retention.ms", "-1")];
            topic::create(self.job.bootstrap(), topic, partitions, &settings).expect("a topic");
        }
    }

    /// Writes every record to the partition that it was recorded in.
    pub(crate) fn produce(&self, recording: &Recording, order: Order) {
        for (table, topic) in &self.topics {
            self.produce_to(topic, &recording.of(table), order);
        }
    }

    pub(crate) fn produce_to(&self, topic: &str, records: &[corpus::Record], order: Order) {
        let mut partitions: BTreeMap<usize, Vec<&corpus::Record>> = BTreeMap::new();
        for record in records {
            partitions.entry(record.partition).or_default().push(record);
        }
        let mut queues: Vec<_> = partitions.into_values().collect();
        if let Order::Descending = order {
            queues.reverse();
        }
        let ordered: Vec<&corpus::Record> = match order {
            Order::Turns => {
                let longest = queues.iter().map(Vec::len).max().unwrap_or(0);
                let turn = |nth: usize| {
                    queues
                        .iter()
                        .filter_map(move |queue| queue.get(nth).copied())
                };
                (0..longest).flat_map(turn).collect()
            }
            Order::Ascending | Order::Descending => queues.into_iter().flatten().collect(),
        };
        let records = ordered.into_iter().map(to_kafka);
        topic::produce(self.job.bootstrap(), topic, records).expect("records");
    }

    /// Compares each table with the source's final state.
    pub(crate) fn assert_equals_source(&self) {
        for table in self.topics.keys() {
            let differences = self.differences(table);
            assert_eq!(
                differences,
                expected(&self.variant, table),
                "{} {table}",
                self.variant
            );
        }
    }

    pub(crate) fn differences(&self, table: &str) -> Vec<String> {
        let name = format!("{{db}}.`{table}`");
        let query = corpus::query(self.source, &self.variant, table, &name);
        let rows = self.job.query(&format!("{query} FORMAT JSONEachRow"));
        let rows: Vec<String> = rows.lines().map(str::to_owned).collect();
        let differences = corpus::compare(self.source, &self.variant, table, &rows);
        differences.lines().map(str::to_owned).collect()
    }

    /// How many records became dead letters, by reason.
    pub(crate) fn dead_letters(&self) -> BTreeMap<String, usize> {
        let job = &self.job;
        let letters =
            topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
        let mut reasons = BTreeMap::new();
        for letter in letters {
            let is_reason = |header: &&(String, Option<Vec<u8>>)| header.0 == "streamweir-reason";
            let reason = letter
                .headers
                .iter()
                .find(is_reason)
                .and_then(|h| h.1.clone());
            let reason = String::from_utf8(reason.expect("a reason")).expect("a text");
            *reasons.entry(reason).or_default() += 1;
        }
        reasons
    }
}

pub(crate) fn to_kafka(record: &corpus::Record) -> Record {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), Some(value.clone().into_bytes())));
    Record {
        key: record.key.clone().map(String::into_bytes),
        value: record.value.clone().map(String::into_bytes),
        headers: headers.collect(),
        ..Record::new("")
    }
    .partition(i32::try_from(record.partition).expect("a partition"))
}

pub(crate) fn avro_to_kafka(record: &corpus::AvroRecord) -> Record {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), Some(value.clone().into_bytes())));
    Record {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: headers.collect(),
        ..Record::new("")
    }
    .partition(i32::try_from(record.partition).expect("a partition"))
}

/// What a user declares about a connector of this variant.
fn modes(source: Source, variant: &str) -> Vec<(&'static str, &'static str)> {
    let mut modes = match variant {
        "decimal_string" => vec![("decimal_mode", "string")],
        "decimal_double" => vec![("decimal_mode", "double")],
        "time_connect" => vec![("time_mode", "connect")],
        "time_isostring" => vec![("time_mode", "isostring")],
        "time_microseconds" => vec![("time_mode", "microseconds")],
        "handling" => vec![
            ("binary_mode", "hex"),
            ("unavailable_value_placeholder", "__custom_unavailable"),
        ],
        _ => vec![],
    };
    if source == Source::MariaDb {
        modes.push(("time_mode", "adaptive_time_microseconds"));
    }
    modes
}

/// What the records cannot give.
fn expected(variant: &str, table: &str) -> Vec<String> {
    let differences: &[&str] = match (variant, table) {
        // The connector's microseconds overflow here too: no day of any database, so as received.
        ("time_microseconds", "edge_time") => &[
            "row 27, ts3: '-9223372036853776809', but the source has '294276-12-31 23:59:59.999'",
            "row 5, ts3: '-9223372036853776809', but the source has '294276-12-31 23:59:59.999'",
        ],
        _ => &[],
    };
    differences.iter().map(|line| (*line).to_owned()).collect()
}
