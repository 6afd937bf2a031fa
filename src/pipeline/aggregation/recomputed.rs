//! Windows computed again from the log, without writing anything.

use std::sync::Arc;

use super::{AggregationOperator, AggregationPlan, PartitionState, Places, Settings, Spilling};
use crate::batch::{Messages, OpenBatch};
use crate::config::{Aggregation, Pipeline};
use crate::format::Purpose;
use crate::halt::Halt;
use crate::lane::{EmissionPart as _, Emit, NotAccepted, Operator as _, Settling as _};
use crate::observe::metrics::PipelineMetrics;
use crate::pipeline::input::{Input, unanswered};
use crate::sink::{RowFormat, TableInfo, Target};
use crate::source::{Record, TopicPartition};

/// Rows of one step.
const ROWS_MAX: usize = 2_000;
const BYTES_MAX: usize = 2 << 20;

/// The windows of partitions that make rows together.
pub(crate) struct WindowsAgain {
    operator: AggregationOperator,
    states: Vec<PartitionState>,
    batch: OpenBatch,
    plan: Arc<AggregationPlan>,
}

impl std::fmt::Debug for WindowsAgain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WindowsAgain").finish_non_exhaustive()
    }
}

impl WindowsAgain {
    /// `partitions`: each with the first offset that is read and the one behind the last; `of`: how many the
    /// topic has.
    ///
    /// # Errors
    /// The table does not fit the configuration.
    pub(crate) fn new(
        pipeline: &Pipeline,
        config: &Aggregation,
        info: &TableInfo,
        partitions: &[(TopicPartition, i64, i64)],
        of: usize,
    ) -> Result<Self, Halt> {
        Self::spilling(pipeline, config, info, partitions, of, None)
    }

    /// The same whose windows go to disk.
    ///
    /// # Errors
    /// As of [`WindowsAgain::new`].
    pub(crate) fn spilling(
        pipeline: &Pipeline,
        config: &Aggregation,
        info: &TableInfo,
        partitions: &[(TopicPartition, i64, i64)],
        of: usize,
        spilling: Option<Spilling>,
    ) -> Result<Self, Halt> {
        let label = crate::pipeline::label(pipeline);
        let plan = AggregationPlan::new(config, Some(&info.columns))
            .map_err(|error| Halt::new("schema", format!("table {label}: {error}")))?;
        let plan = Arc::new(plan);
        let sql = crate::pipeline::table_sql(pipeline);
        let names = plan.names();
        let target = Target::of_columns(label.clone(), sql, info, names, RowFormat::Values);
        let places = Arc::new(Places::new(of));
        let mut settings = Settings::new(config, pipeline, label, true, places);
        settings.has_topic = false;
        let metrics = PipelineMetrics::new(&pipeline.name);
        let schemas = crate::pipeline::schemas_of_command(pipeline)?;
        let input = Input::new(&config.formats_read(), Purpose::Fields, schemas)?;
        let operator = AggregationOperator::new(plan.clone(), settings, Arc::new(target), metrics);
        let mut operator = operator.with_input(input).spilling(spilling);
        let mut states = vec![];
        for (partition, from, to) in partitions {
            let mut state = operator.begin(partition);
            operator.resume(&mut state, *from, None, *to)?;
            states.push(state);
        }
        Ok(WindowsAgain {
            operator,
            states,
            batch: OpenBatch::new(),
            plan,
        })
    }

    /// The names of the columns of its rows.
    pub(crate) fn names(&self) -> &[String] {
        self.plan.names()
    }

    /// Counts a record of the partition of this number.
    ///
    /// # Errors
    /// The pipeline would halt at it.
    pub(crate) fn add(&mut self, partition: usize, record: Record<'_>) -> Result<(), Halt> {
        let state = &mut self.states[partition];
        let accepted = self.operator.accept(state, record);
        self.operator.judge(state);
        self.operator.clear(0);
        match accepted {
            Err(NotAccepted::Halted(halt)) => Err(halt),
            Err(NotAccepted::Later(task)) => Err(unanswered(&task)),
            _ => Ok(()),
        }
    }

    /// The next rows that are due, or with `all` of windows that are open too, in RowBinary; none: there are
    /// no more now.
    ///
    /// # Errors
    /// A row does not fit its table.
    pub(crate) fn rows(&mut self, all: bool) -> Result<Vec<u8>, Halt> {
        let emitted = self.operator.emit(Emit {
            batch: &mut self.batch,
            messages: &mut Messages::default(),
            all,
            rows_max: ROWS_MAX,
            bytes_max: BYTES_MAX,
        });
        emitted?;
        let rows = self.batch.seal().raw_rows();
        self.operator.emitted();
        Ok(rows)
    }
}
