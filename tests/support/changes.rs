//! Change records as Debezium's PostgreSQL connector writes them, and what the source's tables hold
//! after each: the truth that a replica is held against.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sandbox::topic::Record;
use serde_json::{Map, Value, json};

const PLACEHOLDER: &str = "__debezium_unavailable_value";
/// Columns whose large values the source leaves out when they did not change.
const LARGE: [&str; 2] = ["big", "other"];
/// So many rows a table keeps, more or less: few enough to be changed often.
const ROWS: usize = 200;
/// Rows whose keys have changed, of which one may go back to the key it had.
const MOVED_RECENTLY: usize = 5;
/// Changes of one row in a burst.
const BURST_MAX: usize = 30;

/// A row of the source, by column.
pub type Row = Map<String, Value>;

/// What a table is made like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Its records have schema blocks.
    pub has_blocks: bool,
    /// Its key is (region, id), else id.
    pub has_region: bool,
    /// It is emptied now and then; its topic has one partition.
    pub is_truncated: bool,
}

/// A primary key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub region: Option<&'static str>,
    pub id: i64,
}

/// One of the source's tables.
#[derive(Debug)]
pub struct SourceTable {
    pub topic: String,
    pub shape: Shape,
    pub rows: BTreeMap<Key, Row>,
    /// Columns that came later, and their defaults.
    added: Vec<(String, Value)>,
    is_wide: bool,
    /// Nothing happens to it before it is begun.
    is_begun: bool,
    /// Keys that may come back.
    gone: Vec<Key>,
    /// Keys that rows have left for others, and those that they have taken: some rows go back.
    left: Vec<(Key, Key)>,
    next_id: i64,
}

/// The source: its tables and its log.
#[derive(Debug)]
pub struct Database {
    random: StdRng,
    lsn: i64,
    values: u64,
    pub tables: BTreeMap<String, SourceTable>,
    out: Vec<(String, Record)>,
}

impl Database {
    pub fn new(seed: u64) -> Database {
        Database {
            random: StdRng::seed_from_u64(seed),
            lsn: 30_000_000,
            values: 0,
            tables: BTreeMap::new(),
            out: vec![],
        }
    }

    pub fn create(&mut self, name: &str, topic: String, shape: Shape) {
        let table = SourceTable {
            topic,
            shape,
            rows: BTreeMap::new(),
            added: vec![],
            is_wide: false,
            is_begun: false,
            gone: vec![],
            left: vec![],
            next_id: 1,
        };
        self.tables.insert(name.to_owned(), table);
    }

    /// From now on things happen to this table.
    pub fn begin(&mut self, name: &str) {
        self.table(name).is_begun = true;
    }

    fn table(&mut self, name: &str) -> &mut SourceTable {
        self.tables.get_mut(name).expect("it was created")
    }

    /// Adds a column; with a default it has that in every row there is.
    pub fn add_column(&mut self, name: &str, with_default: bool) {
        let table = self.table(name);
        let column = format!("extra_{}", table.added.len());
        let default = if with_default {
            json!(format!("default of {column}"))
        } else {
            Value::Null
        };
        for row in table.rows.values_mut() {
            row.insert(column.clone(), default.clone());
        }
        table.added.push((column, default));
    }

    /// `ALTER TABLE … ALTER COLUMN n TYPE bigint`.
    pub fn widen(&mut self, name: &str) {
        self.table(name).is_wide = true;
    }

    /// What a transaction of somebody does: the topics' records, in the order of the log.
    pub fn next_change(&mut self) -> Vec<(String, Record)> {
        let begun = self.tables.iter().filter(|(_, table)| table.is_begun);
        let names: Vec<String> = begun.map(|(name, _)| name.clone()).collect();
        let name = &names[self.random.random_range(0..names.len())];
        self.change(name);
        std::mem::take(&mut self.out)
    }

    fn change(&mut self, name: &str) {
        let table = self.table(name);
        let (count, is_truncated) = (table.rows.len(), table.shape.is_truncated);
        let dice = self.random.random_range(0..100);
        match dice {
            _ if count < 20 => self.insert(name),
            0..30 if count > ROWS => self.delete(name),
            0..25 => self.insert(name),
            25..50 => self.update(name, 1, false),
            50..62 => self.update(name, 1, true),
            62..72 => self.delete(name),
            72..80 => self.insert_again(name),
            80..92 => self.change_key(name),
            92..96 => {
                let times = self.random.random_range(2..BURST_MAX);
                self.update(name, times, false);
            }
            _ if is_truncated && self.random.random_ratio(1, 3) => self.truncate(name),
            _ => self.update(name, 2, true),
        }
    }

    fn some_key(&mut self, name: &str) -> Key {
        let count = self.table(name).rows.len();
        let index = self.random.random_range(0..count);
        let keys = &self.table(name).rows;
        keys.keys().nth(index).expect("so many").clone()
    }

    fn new_key(&mut self, name: &str) -> Key {
        let region = ["eu", "us", "ap"][self.random.random_range(0..3)];
        let table = self.table(name);
        table.next_id += 1;
        Key {
            region: table.shape.has_region.then_some(region),
            id: table.next_id,
        }
    }

    /// Large, small or none.
    fn value(&mut self) -> Value {
        self.values += 1;
        match self.random.random_range(0..10) {
            0 => Value::Null,
            1..3 => json!(format!("small {}", self.values)),
            _ => json!(format!("large {} {}", self.values, "…".repeat(20))),
        }
    }

    fn insert(&mut self, name: &str) {
        let key = self.new_key(name);
        self.insert_at(name, key);
    }

    fn insert_again(&mut self, name: &str) {
        let count = self.table(name).gone.len();
        if count == 0 {
            return self.insert(name);
        }
        let index = self.random.random_range(0..count);
        let key = self.table(name).gone.swap_remove(index);
        self.insert_at(name, key);
    }

    fn insert_at(&mut self, name: &str, key: Key) {
        let mut row = Row::new();
        key.write_to(&mut row);
        row.insert("n".into(), self.number(name));
        row.insert("note".into(), self.value());
        for column in LARGE {
            row.insert(column.into(), self.value());
        }
        for (column, _) in self.table(name).added.clone() {
            row.insert(column, self.value());
        }
        self.lsn += 56;
        self.write_row(name, &key, "c", &row, &row, None);
        self.table(name).rows.insert(key, row);
    }

    fn number(&mut self, name: &str) -> Value {
        let is_wide = self.table(name).is_wide;
        let number = i64::from(self.random.random::<i32>());
        json!(if is_wide { number << 8 } else { number })
    }

    fn update(&mut self, name: &str, times: usize, with_large: bool) {
        let key = self.some_key(name);
        for _ in 0..times {
            let before = self.table(name).rows[&key].clone();
            let mut row = before.clone();
            row.insert("n".into(), self.number(name));
            row.insert("note".into(), self.value());
            for (column, _) in self.table(name).added.clone() {
                row.insert(column, self.value());
            }
            if with_large {
                let column = LARGE[self.random.random_range(0..LARGE.len())];
                row.insert(column.into(), self.value());
            }
            self.lsn += 56;
            let written = left_out(&row, &before);
            self.write_row(name, &key, "u", &row, &written, None);
            self.table(name).rows.insert(key.clone(), row);
        }
    }

    fn delete(&mut self, name: &str) {
        let key = self.some_key(name);
        self.lsn += 56;
        self.write_delete(name, &key, None);
        let table = self.table(name);
        table.rows.remove(&key);
        table.gone.push(key);
    }

    /// Some row takes a new key, one that was left or deleted before, or goes back where it came from.
    fn change_key(&mut self, name: &str) {
        let old = self.some_key(name);
        let new = match self.random.random_range(0..4) {
            0 => self.key_gone(name).unwrap_or_else(|| self.new_key(name)),
            1..3 => match self.way_back(name) {
                Some((old, new)) => return self.move_row(name, &old, new),
                None => self.new_key(name),
            },
            _ => self.new_key(name),
        };
        self.move_row(name, &old, new);
    }

    fn key_gone(&mut self, name: &str) -> Option<Key> {
        let count = self.table(name).gone.len();
        let index = (count > 0).then(|| self.random.random_range(0..count))?;
        Some(self.table(name).gone.swap_remove(index))
    }

    /// The key that a row has now, and the free one that it had before: of one that has moved not long ago.
    fn way_back(&mut self, name: &str) -> Option<(Key, Key)> {
        let SourceTable { rows, left, .. } = self.table(name);
        left.retain(|(old, new)| rows.contains_key(new) && !rows.contains_key(old));
        let recent = left.len().min(MOVED_RECENTLY);
        let place = (recent > 0).then(|| self.random.random_range(1..=recent))?;
        let left = &mut self.table(name).left;
        let (old, new) = left.remove(left.len() - place);
        Some((new, old))
    }

    fn move_row(&mut self, name: &str, old: &Key, new: Key) {
        self.lsn += 56;
        self.write_delete(name, old, Some(&new));
        let before = self.table(name).rows.remove(old).expect("it lives");
        let mut row = before.clone();
        new.write_to(&mut row);
        row.insert("n".into(), self.number(name));
        let written = left_out(&row, &before);
        self.write_row(name, &new, "c", &row, &written, Some(old));
        let table = self.table(name);
        table.rows.insert(new.clone(), row);
        // The old key is free for others, the new one is not.
        table.gone.retain(|key| *key != new);
        table.gone.push(old.clone());
        table.left.push((old.clone(), new));
    }

    fn truncate(&mut self, name: &str) {
        self.lsn += 56;
        let table = self.table(name);
        let keys: Vec<Key> = std::mem::take(&mut table.rows).into_keys().collect();
        table.gone.extend(keys);
        let value = self.value_of(name, "t", &Value::Null);
        let record = Record::new(value).partition(0);
        let topic = self.table(name).topic.clone();
        self.out.push((topic, record));
    }

    fn write_row(
        &mut self,
        name: &str,
        key: &Key,
        op: &str,
        row: &Row,
        written: &Row,
        old: Option<&Key>,
    ) {
        debug_assert_eq!(row.len(), written.len());
        let value = self.value_of(name, op, &Value::Object(written.clone()));
        let table = self.table(name);
        let mut record = Record::new(value).key(table.key_text(key));
        if let Some(old) = old {
            record = record.header("__debezium.oldkey", table.key_text(old));
        }
        let topic = table.topic.clone();
        self.out.push((topic, record));
    }

    /// The delete and its tombstone.
    fn write_delete(&mut self, name: &str, key: &Key, new: Option<&Key>) {
        let mut value = self.value_of(name, "d", &Value::Null);
        let table = self.table(name);
        let mut filler = Row::new();
        key.write_to(&mut filler);
        filler.insert("n".into(), json!(0));
        value = value.replacen(
            r#""before":null"#,
            &format!(r#""before":{}"#, Value::Object(filler)),
            1,
        );
        let (topic, key) = (table.topic.clone(), table.key_text(key));
        let new = new.map(|new| table.key_text(new));
        for record in [
            Record::new(value).key(key.clone()),
            Record::tombstone(key.clone()),
        ] {
            let record = match &new {
                Some(new) => record.header("__debezium.newkey", new.as_str()),
                None => record,
            };
            self.out.push((topic.clone(), record));
        }
    }

    fn value_of(&mut self, name: &str, op: &str, after: &Value) -> String {
        let source = json!({
            "connector": "postgresql", "name": "shop", "snapshot": null, "schema": "public",
            "table": name, "lsn": self.lsn, "txId": self.lsn / 56, "ts_ms": 1_795_226_044_713_i64,
        });
        let payload = format!(
            r#"{{"before":null,"after":{after},"source":{source},"op":"{op}","ts_ms":1795226045311}}"#
        );
        let table = &self.tables[name];
        if table.shape.has_blocks {
            format!(
                r#"{{"schema":{},"payload":{payload}}}"#,
                table.block(&self.random_free_source())
            )
        } else {
            payload
        }
    }

    /// The block of the part that is the same in every record.
    fn random_free_source(&self) -> Value {
        let field = |name: &str, kind: &str, optional: bool| json!({"type": kind, "optional": optional, "field": name});
        json!({
            "type": "struct", "optional": false, "name": "io.debezium.connector.postgresql.Source",
            "version": 1, "field": "source",
            "fields": [
                field("connector", "string", false), field("name", "string", false),
                field("snapshot", "string", true), field("schema", "string", false),
                field("table", "string", false), field("lsn", "int64", true),
                field("txId", "int64", true), field("ts_ms", "int64", false),
            ],
        })
    }
}

impl Key {
    fn write_to(&self, row: &mut Row) {
        if let Some(region) = self.region {
            row.insert("region".into(), json!(region));
        }
        row.insert("id".into(), json!(self.id));
    }
}

impl SourceTable {
    fn key_text(&self, key: &Key) -> String {
        let region = key
            .region
            .map_or(String::new(), |region| format!(r#""region":"{region}","#));
        let bare = format!(r#"{{{region}"id":{}}}"#, key.id);
        if !self.shape.has_blocks {
            return bare;
        }
        let block = json!({"type": "struct", "optional": false, "name": "Key", "fields": self.key_fields()});
        format!(r#"{{"schema":{block},"payload":{bare}}}"#)
    }

    fn key_fields(&self) -> Vec<Value> {
        let region = json!({"type": "string", "optional": false, "field": "region"});
        let id = json!({"type": "int64", "optional": false, "field": "id"});
        if self.shape.has_region {
            vec![region, id]
        } else {
            vec![id]
        }
    }

    fn block(&self, source: &Value) -> Value {
        let mut fields = self.key_fields();
        let n = if self.is_wide { "int64" } else { "int32" };
        fields.push(json!({"type": n, "optional": true, "field": "n"}));
        for name in ["note"].into_iter().chain(LARGE) {
            fields.push(json!({"type": "string", "optional": true, "field": name}));
        }
        for (name, default) in &self.added {
            let mut field = json!({"type": "string", "optional": true, "field": name});
            if !default.is_null() {
                field["default"] = default.clone();
            }
            fields.push(field);
        }
        let row = |place: &str| json!({"type": "struct", "optional": true, "name": "Value", "fields": fields, "field": place});
        json!({
            "type": "struct", "optional": false, "name": "Envelope", "version": 2,
            "fields": [
                row("before"), row("after"), source,
                {"type": "string", "optional": false, "field": "op"},
                {"type": "int64", "optional": true, "field": "ts_ms"},
            ],
        })
    }
}

/// The row as the source writes it: large values that did not change are left out.
fn left_out(row: &Row, before: &Row) -> Row {
    let mut written = row.clone();
    for column in LARGE {
        let is_large = row[column]
            .as_str()
            .is_some_and(|text| text.starts_with("large"));
        if is_large && row[column] == before[column] {
            written.insert(column.into(), json!(PLACEHOLDER));
        }
    }
    written
}
