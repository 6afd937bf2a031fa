//! A table whose change records are written by hand, and the small programme around it.

use std::collections::BTreeMap;

use sandbox::topic::{self, Received, Record};
use sandbox::wait;

use crate::support::{Daemon, Job, PATIENCE};

/// What a connector writes for a text that did not change.
pub(crate) const UNCHANGED: &str = r#""__debezium_unavailable_value""#;

/// A pipeline of the table `t`.
pub(crate) struct Shop {
    pub(crate) job: Job,
    pub(crate) topic: String,
    /// As they were declared; every column of the table without.
    columns: Vec<String>,
}

impl Shop {
    /// With these columns, or, without any, whatever schema blocks say.
    pub(crate) fn new(name: &str, columns: &[(&str, &str)], partitions: i32) -> Shop {
        let mut job = Job::replication(name);
        let topic = format!("{}shop.public.t", job.prefix);
        job.topic.clone_from(&topic);
        job.set("pipeline.topics", vec![topic.clone()]);
        let mut shop = Shop {
            job,
            topic,
            columns: vec![],
        };
        if !columns.is_empty() {
            shop.set_columns(columns);
        }
        shop.job.create_topic(partitions);
        shop
    }

    pub(crate) fn set_columns(&mut self, columns: &[(&str, &str)]) {
        self.columns = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let columns = columns.iter();
        let columns: toml::Table = columns
            .map(|(name, column_type)| ((*name).to_owned(), (*column_type).into()))
            .collect();
        self.set_mapping("columns", columns);
    }

    /// A key of `[pipeline.tables."topic"]`.
    pub(crate) fn set_mapping(&mut self, key: &str, value: impl Into<toml::Value>) {
        let topic = self.topic.clone();
        set_mapping(&mut self.job, &topic, key, value);
    }

    pub(crate) fn write(&self, records: impl IntoIterator<Item = Record>) {
        topic::produce(self.job.bootstrap(), &self.topic, records).expect("records");
    }

    /// Writes to one partition, whatever the keys.
    pub(crate) fn write_to(&self, partition: i32, records: impl IntoIterator<Item = Record>) {
        self.write(
            records
                .into_iter()
                .map(|record| record.partition(partition)),
        );
    }

    pub(crate) fn run(&self) {
        self.job.run_to_end();
    }

    pub(crate) fn start(&self, instance: &str) -> Daemon {
        self.job.start(instance, &[], "")
    }

    /// The rows that are there, a line each, tabs between the columns.
    pub(crate) fn rows(&self) -> String {
        let declared = self.columns.join(", ");
        let columns = match &*declared {
            "" => "* EXCEPT (_version, _deleted)",
            declared => declared,
        };
        self.select(columns, "_deleted = 0")
    }

    /// Of the newest row of each key, by key.
    pub(crate) fn select(&self, columns: &str, condition: &str) -> String {
        self.job.query(&format!(
            "SELECT {columns} FROM {{db}}.t FINAL WHERE {condition} ORDER BY ALL"
        ))
    }

    /// The newest rows of the keys whose row is gone.
    pub(crate) fn deleted(&self, columns: &str) -> String {
        let newest = "SELECT * FROM {db}.t ORDER BY _version DESC LIMIT 1 BY id";
        let query = format!("SELECT {columns} FROM ({newest}) WHERE _deleted = 1 ORDER BY ALL");
        self.job.query(&query)
    }

    /// Waits until these are the rows that are there.
    pub(crate) fn wait_for_rows(&self, daemon: &Daemon, expected: &str) {
        let is_there = || {
            let exists = self.job.query("EXISTS {db}.t") == "1";
            (exists && self.rows() == expected).then_some(())
        };
        let waited = wait::until("the rows are there", PATIENCE, is_there);
        waited.unwrap_or_else(|e| {
            panic!(
                "{e}\nexpected:\n{expected}\ngot:\n{}\n{}",
                self.rows(),
                daemon.log()
            )
        });
    }

    /// Waits until everything is written and committed.
    pub(crate) fn wait_for_commits(&self, daemon: &Daemon) {
        wait_for_commits(&self.job, &self.topic, daemon);
    }

    /// Waits until the daemon has read so many records of a partition.
    pub(crate) fn wait_for_position(&self, daemon: &Daemon, partition: i64, position: i64) {
        let has_read = || {
            let (_, body) = daemon.get("/api/v1/streaming/replica")?;
            let state: serde_json::Value = serde_json::from_str(&body).ok()?;
            let mut all = state["partitions"].as_array()?.iter();
            let own = all.find(|p| p["partition"] == partition)?;
            (own["position"].as_i64()? >= position).then_some(())
        };
        let waited = wait::until("the partition is read", PATIENCE, has_read);
        waited.unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
    }

    /// Sets the group back, as an operator would.
    pub(crate) fn set_back(&self, partition: i32, offset: i64) {
        let metadata = String::new();
        let to = topic::Committed { offset, metadata };
        let job = &self.job;
        topic::commit(job.bootstrap(), &job.group, &self.topic, partition, &to).expect("set back");
    }

    /// Another group, for which the rows that are there are those of the topic.
    pub(crate) fn set_group(&mut self, group: &str) {
        self.job.set("pipeline.group_id", group.to_owned());
        let to = topic::Committed {
            offset: 0,
            metadata: String::new(),
        };
        topic::commit(self.job.bootstrap(), group, &self.topic, 0, &to).expect("committed");
    }

    pub(crate) fn dead_letters(&self) -> Vec<Received> {
        let job = &self.job;
        topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters")
    }

    /// Reason and detail of every dead letter.
    pub(crate) fn reasons(&self) -> Vec<(String, String)> {
        let header = |letter: &Received, name: &str| letter.header(name).unwrap_or_default();
        let letters = self.dead_letters();
        let reasons = letters.iter().map(|letter| {
            (
                header(letter, "streamweir-reason"),
                header(letter, "streamweir-detail"),
            )
        });
        reasons.collect()
    }

    pub(crate) fn assert_no_dead_letters(&self) {
        assert_eq!(self.reasons(), []);
    }
}

/// A key of `[pipeline.tables."topic"]`.
pub(crate) fn set_mapping(job: &mut Job, topic: &str, key: &str, value: impl Into<toml::Value>) {
    let empty = || toml::Value::Table(toml::Table::new());
    let pipeline = job.config["pipeline"][0].as_table_mut();
    let tables = pipeline.expect("a pipeline").entry("tables");
    let tables = tables.or_insert_with(empty).as_table_mut();
    let mapping = tables.expect("tables").entry(topic).or_insert_with(empty);
    let mapping = mapping.as_table_mut().expect("a mapping");
    mapping.insert(key.to_owned(), value.into());
}

/// Waits until everything of a topic is written and committed.
pub(crate) fn wait_for_commits(job: &Job, topic: &str, daemon: &Daemon) {
    let is_done = || {
        let ends = topic::end_offsets(job.bootstrap(), topic).ok()?;
        let committed = topic::committed(job.bootstrap(), &job.group, topic).ok()?;
        let is_at = |(partition, end): (&i32, &i64)| {
            *end == 0 || committed.get(partition).is_some_and(|c| c.offset == *end)
        };
        ends.iter().all(is_at).then_some(())
    };
    let waited = wait::until("everything is committed", PATIENCE, is_done);
    waited.unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
}

/// Records that were passed by, by reason.
pub(crate) fn dropped(daemon: &Daemon) -> BTreeMap<String, u64> {
    let (_, page) = daemon.get("/metrics").expect("metrics");
    let mut reasons = BTreeMap::new();
    for line in page.lines() {
        let Some(labels) = line.strip_prefix("streamweir_records_dropped_total{") else {
            continue;
        };
        let (_, rest) = labels.split_once("reason=\"").expect("a reason");
        let (reason, rest) = rest.split_once('"').expect("a reason");
        let (_, count) = rest.rsplit_once(' ').expect("a number");
        let count: f64 = count.parse().expect("a number");
        if count > 0.0 {
            *reasons.entry(reason.to_owned()).or_default() += count as u64;
        }
    }
    reasons
}

/// An envelope; all three are JSON.
pub(crate) fn envelope(operation: &str, before: &str, after: &str) -> String {
    let source = r#"{"connector":"postgresql","ts_ms":1763719200123,"snapshot":"false","db":"shop","schema":"public","table":"t","txId":7,"lsn":42}"#;
    format!(
        r#"{{"before":{before},"after":{after},"source":{source},"op":"{operation}","ts_ms":1763719200456}}"#
    )
}

/// A row that is created, read or updated: `c`, `r`, `u`.
pub(crate) fn change(operation: &str, key: &str, after: &str) -> Record {
    Record::new(envelope(operation, "null", after)).key(key)
}

/// A deleted row, with what the connector says of it.
pub(crate) fn delete(key: &str, before: &str) -> Record {
    Record::new(envelope("d", before, "null")).key(key)
}

/// What a connector writes when a row's key changes: to the partition of the old key, and to that of the
/// new one.
pub(crate) fn key_change(old: &str, new: &str, after: &str) -> (Vec<Record>, Record) {
    let newkey = "__debezium.newkey";
    let leaves = [
        delete(old, old).header(newkey, new),
        Record::tombstone(old).header(newkey, new),
    ];
    let comes = change("c", new, after).header("__debezium.oldkey", old);
    (leaves.into(), comes)
}

/// The same records at another position of the source's log.
pub(crate) fn at(lsn: u32, records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let moved = |mut record: Record| {
        record.value = record.value.map(|value| {
            let text = String::from_utf8(value).expect("JSON");
            text.replace(r#""lsn":42"#, &format!(r#""lsn":{lsn}"#))
                .into()
        });
        record
    };
    records.into_iter().map(moved).collect()
}

/// A field of a row as a schema block declares it.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    json: String,
}

/// `kind` is Kafka Connect's type: int32, string, …
pub(crate) fn field(name: &str, kind: &str, optional: bool) -> Declared {
    let json = format!(r#""type":"{kind}","optional":{optional},"field":"{name}""#);
    Declared { json }
}

impl Declared {
    /// A type of Debezium, or of Kafka Connect, behind the plain one.
    pub(crate) fn named(mut self, name: &str) -> Declared {
        self.json = format!(r#"{},"name":"{name}""#, self.json);
        self
    }

    pub(crate) fn with(mut self, members: &str) -> Declared {
        self.json = format!("{},{members}", self.json);
        self
    }
}

/// The same record in schema blocks. The key is the first `key_len` fields.
pub(crate) fn in_block(record: Record, fields: &[Declared], key_len: usize) -> Record {
    let list = |fields: &[Declared]| {
        let fields = fields.iter().map(|field| format!("{{{}}}", field.json));
        fields.collect::<Vec<_>>().join(",")
    };
    let (row, key) = (list(fields), list(&fields[..key_len]));
    let side = |name| {
        format!(
            r#"{{"type":"struct","fields":[{row}],"optional":true,"name":"shop.public.t.Value","field":"{name}"}}"#
        )
    };
    let (before, after) = (side("before"), side("after"));
    let block = format!(
        r#"{{"type":"struct","fields":[{before},{after},{{"type":"string","optional":false,"field":"op"}}],"optional":false,"name":"shop.public.t.Envelope"}}"#
    );
    let wrapped = |schema: &str, payload: Vec<u8>| {
        let payload = String::from_utf8(payload).expect("JSON");
        format!(r#"{{"schema":{schema},"payload":{payload}}}"#).into_bytes()
    };
    let key_block = format!(
        r#"{{"type":"struct","fields":[{key}],"optional":false,"name":"shop.public.t.Key"}}"#
    );
    Record {
        key: record.key.map(|key| wrapped(&key_block, key)),
        value: record.value.map(|value| wrapped(&block, value)),
        ..record
    }
}
