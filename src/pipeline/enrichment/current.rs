//! How rows are made for the table as it is now: worked out anew when the table is altered.

use std::sync::{Arc, Mutex};

use super::plan::{PROVENANCE, is_index, is_left_to_server};
use super::{EnrichmentOperator, RowPlan, Settings, Table, snapshot_spec};
use crate::config::{Delivery, Encoding, Enrichment, Pipeline};
use crate::halt::Halt;
use crate::lane::SnapshotSpec;
use crate::observe::metrics::PipelineMetrics;
use crate::pipeline::{label, table_sql};
use crate::sink::{ColumnInfo, RowMaker, TableColumns, TableInfo, Target, differences};

/// Shared by the lanes, which make rows, and the sink, which finds that the table was altered.
#[derive(Debug)]
pub(crate) struct CurrentRows {
    pipeline: Arc<Pipeline>,
    config: Enrichment,
    current: Mutex<Rows>,
}

/// A table and how its rows are made.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) plan: Arc<RowPlan>,
    table: Table,
    info: TableInfo,
    memory: Option<SnapshotSpec>,
}

impl CurrentRows {
    /// # Errors
    /// The table cannot be filled as configured.
    pub(crate) fn new(
        pipeline: &Arc<Pipeline>,
        config: &Enrichment,
        info: TableInfo,
    ) -> Result<Self, Halt> {
        let columns = info.columns.clone();
        let rows = Rows::new(pipeline, config, info, &columns)
            .map_err(|why| Halt::new("schema", format!("table {}: {why}", label(pipeline))))?;
        Ok(CurrentRows {
            pipeline: pipeline.clone(),
            config: config.clone(),
            current: Mutex::new(rows),
        })
    }

    /// How rows are made now.
    pub(crate) fn now(&self) -> Rows {
        let current = self.current.lock();
        current.expect("no holder of this lock panics").clone()
    }

    /// One lane's operator, which follows the table.
    pub(crate) fn operator(
        self: &Arc<Self>,
        settings: Settings,
        metrics: PipelineMetrics,
    ) -> EnrichmentOperator {
        let Rows {
            plan,
            table,
            memory,
            ..
        } = self.now();
        let mut operator = EnrichmentOperator::new(plan, table, settings, memory, metrics);
        operator.current = Some(self.clone());
        operator
    }
}

impl RowMaker for CurrentRows {
    fn take(&self, now: TableColumns) -> Result<(), Halt> {
        let TableColumns {
            version, columns, ..
        } = now;
        let current = self.current.lock();
        let mut current = current.expect("no holder of this lock panics");
        // Rows that were made earlier may be held against a server that is behind.
        if current.info.columns == columns || version < current.info.metadata_version {
            return Ok(());
        }
        let label = label(&self.pipeline);
        let changes = differences(&current.info.columns, &columns).join(", ");
        let filled = current.plan.names();
        let is_left = |column: &&ColumnInfo| is_left_to_server(column, &self.config, filled);
        let (left, ours): (Vec<&ColumnInfo>, Vec<&ColumnInfo>) = columns.iter().partition(is_left);
        for column in left.iter().filter(|c| !current.info.columns.contains(c)) {
            tracing::warn!(
                table = label,
                column = column.name,
                column_type = column.type_name,
                "a new column is left to the server, because the daemon does not write its type: give it \
                 a DEFAULT, or the next start halts"
            );
        }
        let ours: Vec<ColumnInfo> = ours.into_iter().cloned().collect();
        let info = TableInfo {
            columns,
            metadata_version: version,
            ..current.info.clone()
        };
        let config = &self.config;
        let renewed = Rows::new(&self.pipeline, config, info, &ours);
        let lookup = config.lookup.as_ref();
        let has_hashes = lookup.is_some_and(|lookup| lookup.encoding == Encoding::Hash);
        let renewed = renewed.and_then(|rows| {
            current.may_become(&rows, has_hashes)?;
            Ok(rows)
        });
        let renewed = renewed.map_err(|why| {
            let advice =
                format!("table {label} was altered while rows were written ({changes}): {why}");
            Halt::new("schema", advice)
        })?;
        tracing::warn!(
            table = label,
            changes,
            "the table was altered: rows are made for it as it is now"
        );
        *current = renewed;
        Ok(())
    }
}

impl Rows {
    /// `ours`: the table's columns but for those that are left to the server.
    fn new(
        pipeline: &Pipeline,
        config: &Enrichment,
        info: TableInfo,
        ours: &[ColumnInfo],
    ) -> Result<Self, String> {
        let exactly_once = pipeline.delivery == Delivery::ExactlyOnce;
        let plan = RowPlan::new(config, ours, exactly_once).map_err(|e| e.to_string())?;
        let (label, sql) = (label(pipeline), table_sql(pipeline));
        let format = plan.format();
        let has = |name: &&str| info.columns.iter().any(|column| column.name == **name);
        let target = Target {
            has_index: config.explode.is_some() && info.columns.iter().any(is_index),
            ..Target::of_columns(label, sql, &info, plan.names(), format)
                .compressed_by(pipeline.clickhouse.compression)
        };
        Ok(Rows {
            table: Table {
                has_provenance: PROVENANCE.iter().all(has),
                target: Arc::new(target),
            },
            memory: snapshot_spec(config, &plan),
            plan: Arc::new(plan),
            info,
        })
    }

    /// Whether rows may be made so from now on, without a start. `has_hashes`: profiles are read field by
    /// field, in the order of the start.
    ///
    /// # Errors
    /// What would be lost, and what to do.
    fn may_become(&self, next: &Rows, has_hashes: bool) -> Result<(), String> {
        let (before, after) = (self.plan.names(), next.plan.names());
        if let Some(gone) = before.iter().find(|name| !after.contains(name)) {
            return Err(format!(
                "rows had values for column {gone}: add it again, or start again to write rows without \
                 it"
            ));
        }
        let fingerprint = |rows: &Rows| rows.memory.as_ref().map(|m| m.fingerprint.clone());
        if fingerprint(self) != fingerprint(next) {
            return Err(
                "sessions and duplicates are told by values of that type: start again to begin them anew"
                    .to_owned(),
            );
        }
        if has_hashes && self.plan.hash_fields() != next.plan.hash_fields() {
            return Err(
                "columns of the lookup stand in another order: start again to take it".to_owned(),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Kind};

    /// Names and types of the columns of a table with a lookup.
    const COLUMNS: [(&str, &str); 6] = [
        ("_topic", "LowCardinality(String)"),
        ("_partition", "UInt32"),
        ("_offset", "UInt64"),
        ("timestamp", "DateTime64(3)"),
        ("email", "String"),
        ("plan", "String"),
    ];

    fn infos(columns: &[(&str, &str)]) -> Vec<ColumnInfo> {
        let info = |&(name, type_name): &(&str, &str)| ColumnInfo {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            default_kind: String::new(),
        };
        columns.iter().map(info).collect()
    }

    fn at(version: u64, columns: Vec<ColumnInfo>) -> TableColumns {
        TableColumns {
            version,
            is_behind: false,
            columns,
        }
    }

    fn rows(more: &str) -> CurrentRows {
        let text = format!(
            r#"
[[pipeline]]
name = "e"
kind = "enrichment"
topics = ["t"]
group_id = "g"
time_field = "timestamp"
[pipeline.lookup]
key_field = "user_id"
{more}
[pipeline.lookup.columns]
email = {{ path = "$.email" }}
plan = {{ path = "$.plan" }}
[pipeline.clickhouse]
table = "events"
[pipeline.dead_letter]
topic = "dead"
"#
        );
        let loaded = Config::parse(&text, "config.toml", Path::new("/"), []);
        let mut loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let pipeline = loaded.config.pipelines.remove(0);
        let Kind::Enrichment(config) = pipeline.kind.clone() else {
            panic!("an enrichment");
        };
        let info = TableInfo {
            engine: "MergeTree".to_owned(),
            engine_full: String::new(),
            sorting_key: String::new(),
            partition_key: String::new(),
            columns: infos(&COLUMNS),
            metadata_version: 3,
            has_tokens: true,
        };
        let rows = CurrentRows::new(&Arc::new(pipeline), &config, info);
        rows.unwrap_or_else(|halt| panic!("{}", halt.advice))
    }

    #[test]
    fn a_new_column_of_a_type_that_is_not_written_is_left_to_the_server() {
        let rows = rows("");
        let names = rows.now().plan.names().to_vec();
        let mut columns = infos(&COLUMNS);
        for new in [
            ("extra", "AggregateFunction(sum, UInt64)"),
            ("more", "Array(IntervalDay)"),
        ] {
            columns.extend(infos(&[new]));
            assert!(rows.take(at(4, columns.clone())).is_ok(), "{new:?}");
            assert_eq!(rows.now().plan.names(), names);
            assert_eq!(rows.now().table.target.columns, columns);
        }
        columns.extend(infos(&[("page", "String")]));
        assert!(rows.take(at(4, columns.clone())).is_ok());
        assert!(rows.now().plan.names().contains(&"page".to_owned()));
        for name in ["page", "email"] {
            let mut columns = columns.clone();
            let column = columns.iter_mut().find(|column| column.name == name);
            column.expect("it is there").type_name = "IntervalDay".to_owned();
            let halt = rows
                .take(at(4, columns))
                .expect_err("rows had values for it");
            assert_eq!(halt.reason, "schema");
            assert!(halt.advice.contains(name), "{}", halt.advice);
        }
    }

    #[test]
    fn a_server_that_is_behind_changes_nothing() {
        let rows = rows("");
        let mut columns = infos(&COLUMNS);
        columns.extend(infos(&[("page", "String")]));
        assert!(rows.take(at(5, columns.clone())).is_ok());
        for version in [0, 4] {
            assert!(rows.take(at(version, infos(&COLUMNS))).is_ok());
            let now = rows.now().table.target;
            assert_eq!((&now.columns, now.metadata_version), (&columns, 5));
        }
        assert!(rows.take(at(6, infos(&COLUMNS))).is_err());
    }

    #[test]
    fn the_order_of_a_lookups_columns_matters_where_hashes_are_read() {
        let mut turned = infos(&COLUMNS);
        turned.swap(4, 5);
        for (encoding, is_taken) in [("json", true), ("hash", false)] {
            let rows = rows(&format!("encoding = {encoding:?}"));
            assert_eq!(
                rows.take(at(4, turned.clone())).is_ok(),
                is_taken,
                "{encoding}"
            );
        }
    }
}
