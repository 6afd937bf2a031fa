//! How rows are made for the table as it is now: worked out anew when the table is altered.

use std::sync::{Arc, Mutex};

use super::{RawOperator, RawPlan, RawTable};
use crate::config::{Delivery, Pipeline, Raw};
use crate::halt::Halt;
use crate::pipeline::{label, table_sql};
use crate::sink::{RowMaker, TableColumns, TableInfo, Target, differences};
use crate::target::Provenance;

/// Shared by the lanes, which make rows, and the sink, which finds that the table was altered.
#[derive(Debug)]
pub(crate) struct CurrentRawRows {
    pipeline: Arc<Pipeline>,
    config: Raw,
    current: Mutex<(RawTable, TableInfo)>,
}

impl CurrentRawRows {
    /// # Errors
    /// The table cannot be filled as configured.
    pub(crate) fn new(
        pipeline: &Arc<Pipeline>,
        config: &Raw,
        info: TableInfo,
    ) -> Result<Self, Halt> {
        let table = table(pipeline, config, &info)
            .map_err(|why| Halt::new("schema", format!("table {}: {why}", label(pipeline))))?;
        Ok(CurrentRawRows {
            pipeline: pipeline.clone(),
            config: config.clone(),
            current: Mutex::new((table, info)),
        })
    }

    /// One lane's operator, which follows the table.
    pub(crate) fn operator(self: &Arc<Self>) -> RawOperator {
        let current = self.current.lock();
        let table = current.expect("no holder of this lock panics").0.clone();
        RawOperator::new(table, Some(self.clone()))
    }
}

impl RowMaker for CurrentRawRows {
    fn take(&self, now: TableColumns) -> Result<(), Halt> {
        let TableColumns {
            version, columns, ..
        } = now;
        let current = self.current.lock();
        let mut current = current.expect("no holder of this lock panics");
        let (table_then, info_then) = &*current;
        // Rows that were made earlier may be held against a server that is behind.
        if info_then.columns == columns || version < info_then.metadata_version {
            return Ok(());
        }
        let label = label(&self.pipeline);
        let changes = differences(&info_then.columns, &columns).join(", ");
        let info = TableInfo {
            columns,
            metadata_version: version,
            ..info_then.clone()
        };
        let renewed = table(&self.pipeline, &self.config, &info).and_then(|renewed| {
            let (before, after) = (table_then.plan.names(), renewed.plan.names());
            match before.iter().find(|name| !after.contains(name)) {
                Some(gone) => Err(format!(
                    "rows had values for column {gone}: add it again, or start again to write rows without it"
                )),
                None => Ok(renewed),
            }
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
        *current = (renewed, info);
        Ok(())
    }
}

fn table(pipeline: &Pipeline, config: &Raw, info: &TableInfo) -> Result<RawTable, String> {
    let exactly_once = pipeline.delivery == Delivery::ExactlyOnce;
    let plan = RawPlan::new(config, &info.columns, exactly_once)?;
    let provenance = Provenance::of(pipeline, &info.columns).ok();
    let (label, sql) = (label(pipeline), table_sql(pipeline));
    Ok(RawTable {
        is_traceable: provenance.is_some(),
        target: Arc::new(Target {
            provenance: provenance.unwrap_or_default(),
            ..Target::of_columns(label, sql, info, plan.names(), plan.format())
                .compressed_by(pipeline.clickhouse.compression)
        }),
        plan: Arc::new(plan),
    })
}
