//! Reading a source table, every value as text.

use anyhow::{Context, Result, ensure};
use mysql::prelude::Queryable;
use postgres::SimpleQueryMessage;

use super::{Column, Kind, Source};
use crate::workload::Dialect;
use crate::{mariadb, postgres as server};

/// Reads `table` (PostgreSQL: `schema.table` or `table`) in one statement.
pub(super) fn read(url: &str, table: &str) -> Result<Source> {
    match Dialect::of(url)? {
        Dialect::Postgres => read_postgres(url, table),
        Dialect::MariaDb => read_mariadb(url, table),
    }
}

/// Column, type and place in the key, 0 for the others.
const POSTGRES_COLUMNS: &str = "
    SELECT a.attname, format_type(a.atttypid, NULL), t.typcategory,
           coalesce(array_position(i.indkey::int2[], a.attnum) + 1, 0)
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
    WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum";

fn read_postgres(url: &str, table: &str) -> Result<Source> {
    let mut client = server::connect(url)?;
    let mut source = Source::default();
    let (mut selected, mut key) = (Vec::new(), Vec::new());
    for row in client.query(POSTGRES_COLUMNS, &[&table])? {
        let (name, kind): (String, String) = (row.get(0), row.get(1));
        let (category, place): (i8, i32) = (row.get(2), row.get(3));
        let kind = postgres_kind(&kind, category == i8::try_from(b'A')?);
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        selected.push(match kind {
            Kind::Array | Kind::NumberArray => format!("to_json({quoted})::text"),
            Kind::Bytes => format!("encode({quoted}, 'hex')"),
            _ => format!("{quoted}::text"),
        });
        if place > 0 {
            key.push((place, source.columns.len()));
        }
        source.columns.push(Column { name, kind });
    }
    ensure!(!selected.is_empty(), "there is no table {table}");
    source.key = in_order(key);
    let query = format!("SELECT {} FROM {table}", selected.join(", "));
    for message in client.simple_query(&query)? {
        if let SimpleQueryMessage::Row(row) = message {
            let values = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
            source.rows.push(values.collect());
        }
    }
    Ok(source)
}

fn postgres_kind(name: &str, is_array: bool) -> Kind {
    let is_number = |name| matches!(name, "smallint" | "integer" | "bigint" | "numeric" | "oid");
    match name {
        _ if is_array && is_number(name.trim_end_matches("[]")) => Kind::NumberArray,
        _ if is_array => Kind::Array,
        name if is_number(name) => Kind::Number,
        "real" | "double precision" => Kind::Float,
        "boolean" => Kind::Boolean,
        "character" => Kind::Padded,
        "json" | "jsonb" => Kind::Json,
        "bytea" => Kind::Bytes,
        "date" => Kind::Instant,
        name if name.starts_with("time") => Kind::Instant,
        _ => Kind::Text,
    }
}

const MARIADB_COLUMNS: &str = "
    SELECT c.column_name, c.data_type, coalesce(k.ordinal_position, 0)
    FROM information_schema.columns c
    LEFT JOIN information_schema.key_column_usage k
      ON k.table_schema = c.table_schema AND k.table_name = c.table_name
     AND k.column_name = c.column_name AND k.constraint_name = 'PRIMARY'
    WHERE c.table_schema = database() AND c.table_name = ?
    ORDER BY c.ordinal_position";

fn read_mariadb(url: &str, table: &str) -> Result<Source> {
    let mut client = mariadb::connect(url)?;
    let mut source = Source::default();
    let (mut selected, mut key) = (Vec::new(), Vec::new());
    let columns: Vec<(String, String, i64)> = client.exec(MARIADB_COLUMNS, (table,))?;
    for (name, kind, place) in columns {
        let kind = mariadb_kind(&kind);
        selected.push(match kind {
            Kind::Bytes => format!("hex(`{name}`)"),
            _ => format!("CAST(`{name}` AS CHAR)"),
        });
        if place > 0 {
            key.push((i32::try_from(place)?, source.columns.len()));
        }
        source.columns.push(Column { name, kind });
    }
    ensure!(!selected.is_empty(), "there is no table {table}");
    source.key = in_order(key);
    let query = format!("SELECT {} FROM `{table}`", selected.join(", "));
    let rows: Vec<mysql::Row> = client.query(query)?;
    for row in rows {
        let values = (0..row.len()).map(|at| row.get::<Option<String>, _>(at));
        let values: Option<Vec<_>> = values.collect();
        source.rows.push(values.context("a value is not text")?);
    }
    Ok(source)
}

fn mariadb_kind(name: &str) -> Kind {
    match name {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year" => {
            Kind::Number
        }
        "float" | "double" => Kind::Float,
        "char" => Kind::Padded,
        "json" => Kind::Json,
        "binary" | "varbinary" | "blob" | "tinyblob" | "mediumblob" | "longblob" | "bit" => {
            Kind::Bytes
        }
        "date" | "datetime" | "timestamp" | "time" => Kind::Instant,
        _ => Kind::Text,
    }
}

fn in_order(mut key: Vec<(i32, usize)>) -> Vec<usize> {
    key.sort_unstable();
    key.into_iter().map(|(_, column)| column).collect()
}
