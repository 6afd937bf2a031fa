//! How rows are made for the table as it is now: worked out anew when the table is altered.

use std::sync::{Arc, Mutex};

use super::plan::PROVENANCE;
use super::{EnrichmentOperator, RowPlan, Settings, Table, memory};
use crate::config::{Delivery, Enrichment, Pipeline};
use crate::halt::Halt;
use crate::lane::Memory;
use crate::observe::metrics::PipelineMetrics;
use crate::pipeline::{label, table_sql};
use crate::sink::{ColumnInfo, RowMaker, TableInfo, Target, differences};

/// Shared by the lanes, which make rows, and the sink, which finds that the table was altered.
#[derive(Debug)]
pub(crate) struct CurrentRows {
    pipeline: Arc<Pipeline>,
    config: Enrichment,
    has_stated_defaults: bool,
    current: Mutex<Rows>,
}

/// A table and how its rows are made.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) plan: Arc<RowPlan>,
    table: Table,
    info: TableInfo,
    memory: Option<Memory>,
}

impl CurrentRows {
    /// # Errors
    /// The table cannot be filled as configured.
    pub(crate) fn new(
        pipeline: &Arc<Pipeline>,
        config: &Enrichment,
        info: TableInfo,
        has_stated_defaults: bool,
    ) -> Result<Self, Halt> {
        let rows = Rows::new(pipeline, config, info, has_stated_defaults)
            .map_err(|why| Halt::new("schema", format!("table {}: {why}", label(pipeline))))?;
        Ok(CurrentRows {
            pipeline: pipeline.clone(),
            config: config.clone(),
            has_stated_defaults,
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
    fn take(&self, columns: Vec<ColumnInfo>) -> Result<(), Halt> {
        let current = self.current.lock();
        let mut current = current.expect("no holder of this lock panics");
        if current.info.columns == columns {
            return Ok(());
        }
        let label = label(&self.pipeline);
        let changes = differences(&current.info.columns, &columns).join(", ");
        let info = TableInfo {
            columns,
            ..current.info.clone()
        };
        let renewed = Rows::new(&self.pipeline, &self.config, info, self.has_stated_defaults);
        let renewed = renewed.and_then(|rows| current.may_become(&rows).map(|()| rows));
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
    fn new(
        pipeline: &Pipeline,
        config: &Enrichment,
        info: TableInfo,
        has_stated_defaults: bool,
    ) -> Result<Self, String> {
        let exactly_once = pipeline.delivery == Delivery::ExactlyOnce;
        let plan = RowPlan::new(config, &info.columns, exactly_once).map_err(|e| e.to_string())?;
        let (label, sql) = (label(pipeline), table_sql(pipeline));
        let format = plan.format(has_stated_defaults);
        let target = Target::of_columns(label, sql, &info, plan.names(), format);
        let has = |name: &&str| info.columns.iter().any(|column| column.name == **name);
        Ok(Rows {
            table: Table {
                has_provenance: PROVENANCE.iter().all(has),
                target: Arc::new(target),
            },
            memory: memory(config, &plan),
            plan: Arc::new(plan),
            info,
        })
    }

    /// Whether rows may be made so from now on, without a start.
    ///
    /// # Errors
    /// What would be lost, and what to do.
    fn may_become(&self, next: &Rows) -> Result<(), String> {
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
                "sessions are told apart by values of that type: start again to begin them anew"
                    .to_owned(),
            );
        }
        if self.plan.hash_fields() != next.plan.hash_fields() {
            return Err(
                "columns of the lookup stand in another order: start again to take it".to_owned(),
            );
        }
        Ok(())
    }
}
