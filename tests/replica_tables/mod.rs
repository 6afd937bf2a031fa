//! The tables of replicas on the real engine: what is printed is accepted, what is widened keeps its
//! values, and what cannot be a replica is refused.

mod changing;
mod checking;
mod command;
mod creating;
mod fitting;

use std::collections::BTreeMap;

use sandbox::{shared, unique};
use streamweir::debezium::{Field, FieldType, Schema};
use streamweir::decode::json::Raw;
use streamweir::replica::{
    ExistingColumn, ExistingTable, NotAReplica, OwnNames, Replica, check_table, create_database,
};
use streamweir::table::ColumnType;

/// A table in the engine, read back.
pub(crate) struct Found {
    name: String,
    parts: BTreeMap<String, String>,
    pub(crate) columns: Vec<(String, String, String)>,
}

impl Found {
    pub(crate) fn new(database: &str, table: &str) -> Found {
        let place = format!("database = '{database}'");
        let row = query(&format!(
            "SELECT engine, engine_full, sorting_key, partition_key FROM system.tables \
             WHERE {place} AND name = '{table}' FORMAT JSONEachRow"
        ));
        let columns = query(&format!(
            "SELECT name, type, default_kind FROM system.columns WHERE {place} AND table = '{table}' \
             ORDER BY position FORMAT JSONCompactEachRow"
        ));
        Found {
            name: format!("{database}.{table}"),
            parts: serde_json::from_str(&row).unwrap_or_else(|error| panic!("{row}: {error}")),
            columns: columns
                .lines()
                .map(|line| serde_json::from_str(line).expect("a row"))
                .collect(),
        }
    }

    pub(crate) fn check(&self, key: &[&str]) -> Result<Replica, Box<NotAReplica>> {
        check_table(&self.existing(), &names(key), &OwnNames::default())
    }

    pub(crate) fn existing(&self) -> ExistingTable<'_> {
        let column = |(name, type_name, default_kind)| ExistingColumn {
            name,
            type_name,
            default_kind,
        };
        let columns = self.columns.iter().map(|(a, b, c)| (&**a, &**b, &**c));
        ExistingTable {
            name: &self.name,
            engine: &self.parts["engine"],
            engine_full: &self.parts["engine_full"],
            sorting_key: &self.parts["sorting_key"],
            partition_key: &self.parts["partition_key"],
            columns: columns.map(column).collect(),
        }
    }
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn query(sql: &str) -> String {
    let answer = shared().clickhouse.try_query(sql);
    answer.unwrap_or_else(|error| panic!("{sql}\n{error}"))
}

pub(crate) fn database(name: &str) -> String {
    let database = unique(name);
    query(&create_database(&database));
    database
}

pub(crate) fn column_type(name: &str) -> ColumnType {
    ColumnType::parse(name).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn fields(block: &str) -> Vec<Field> {
    let raw = Raw::parse(block).expect("JSON");
    Schema::parse(raw)
        .expect("a schema block")
        .fields()
        .to_vec()
}

pub(crate) const DECIMAL_14_4: &str = r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"4","connect.decimal.precision":"14"}"#;

pub(crate) const DECIMAL_60_10: &str = r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"10","connect.decimal.precision":"60"}"#;

pub(crate) const MICRO_TIMESTAMP: &str =
    r#""type":"int64","name":"io.debezium.time.MicroTimestamp""#;

pub(crate) fn field_type(schema: &str) -> FieldType {
    let block = format!(r#"{{"type":"struct","fields":[{{"field":"v",{schema}}}]}}"#);
    fields(&block)[0].field_type.clone()
}
