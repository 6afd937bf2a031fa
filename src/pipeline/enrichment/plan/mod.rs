//! Which column comes from where: the table and the configuration, brought together once at start.

mod columns;
mod event;
mod session;

use self::columns::ColumnGroups;
pub(super) use self::columns::is_left_to_server;
pub(crate) use self::columns::{PROVENANCE, is_index};
pub(super) use self::event::ExplodePlan;
use self::event::{EventColumns, EventParts, NestedColumns};
pub(super) use self::session::SessionPlan;
use super::profile::ProfilePlan;
use crate::config::{Enrichment, TimeField, Tombstones};
use std::sync::Arc;

use crate::decode::time::{TextRules, TimeRules, TimeUnit};
use crate::format::ReadPlan;
use crate::pipeline::quality::{DedupPlan, QualityColumns, ReadyRules};
use crate::pipeline::record_column::RecordColumn;
use crate::sink::{ColumnInfo, RowFormat};
use crate::steps::MadeColumn;
use crate::table::ColumnSource;

/// How one table's rows are made. Shared by the lanes.
#[derive(Debug)]
pub(crate) struct RowPlan {
    pub(super) read: ReadPlan,
    /// Columns taken from the event, in the order in which they stand in a row.
    pub(super) event_columns: Vec<ColumnSource>,
    /// Columns whose values are made of fields, behind those.
    pub(super) made_columns: Vec<MadeColumn>,
    /// None: each record makes one row.
    pub(super) explode: Option<ExplodePlan>,
    /// Those of each Nested.
    pub(super) nested: Vec<NestedColumns>,
    pub(super) with_default_flag: bool,
    pub(super) time: Option<EventTime>,
    /// Of numbers in the event time's field, where its column does not read it.
    pub(super) time_unit: Option<TimeUnit>,
    /// The same of texts.
    pub(super) text_times: Option<Arc<TextRules>>,
    pub(super) session: Option<SessionPlan>,
    /// Columns that take what Kafka says of the record, behind those of fields.
    pub(super) record_columns: Vec<RecordColumn>,
    /// None: nothing is asked of records.
    pub(super) rules: Option<ReadyRules>,
    /// None: duplicates are rows like others.
    pub(super) dedup: Option<DedupPlan>,
    /// Columns that say how a record did, behind those.
    pub(super) quality_columns: QualityColumns,
    pub(super) lookup_key: Option<Field>,
    pub(super) profile: Option<ProfilePlan>,
    /// Records without value make no row and no dead letter.
    pub(super) drops_tombstones: bool,
    /// A field that no column takes halts the pipeline.
    pub(super) is_strict: bool,
    names: Vec<String>,
}

/// Where the event time is.
#[derive(Debug, Clone)]
pub(super) enum EventTime {
    KafkaTimestamp,
    Field(Field),
}

/// A value that an operator needs: a column of the row, or a field that no column takes.
#[derive(Debug, Clone)]
pub(super) enum Field {
    Column(usize),
    /// A slot of the reader's plan.
    Slot(usize),
}

/// The table cannot be filled as configured. The text names the column.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PlanError(String);

impl RowPlan {
    /// Maps the columns of the table.
    ///
    /// # Errors
    /// The first column that cannot be filled, with what to do about it.
    pub(crate) fn new(
        config: &Enrichment,
        columns: &[ColumnInfo],
        needs_provenance: bool,
    ) -> Result<Self, PlanError> {
        columns::check_names(config, columns, needs_provenance)?;
        let groups = ColumnGroups::new(config, columns)?;
        let names = columns::field_names(config, &groups.event);
        let mut event = EventColumns::new(config, groups.event)?;
        let with_default_flag = event.need_server_defaults()
            || groups.record.iter().any(RecordColumn::needs_server_default)
            || columns::profiles_need_server_defaults(config, &groups.profile);
        let profile = match &config.lookup {
            Some(lookup) => {
                let plan = ProfilePlan::new(lookup, groups.profile, with_default_flag);
                Some(plan.map_err(PlanError)?)
            }
            None => None,
        };
        let time = match &config.time_field {
            TimeField::Nowhere => None,
            TimeField::KafkaTimestamp => Some(EventTime::KafkaTimestamp),
            TimeField::Field(name) => Some(EventTime::Field(event.field(name)?)),
        };
        let lookup_key = match &config.lookup {
            Some(lookup) => Some(event.field(&lookup.key_field)?),
            None => None,
        };
        let session = match &config.session {
            Some(session) => Some(SessionPlan::new(session, groups.session, &mut event)?),
            None => None,
        };
        let mut slot_of = |path: &str| match event.field(path) {
            Ok(Field::Slot(slot)) => Ok(slot),
            Ok(Field::Column(_)) => Err(format!("path {path:?} is no path")),
            Err(error) => Err(error.to_string()),
        };
        let texts = config.text_times.as_deref();
        let rules = ReadyRules::new(&config.rules.rules, texts, &mut slot_of).map_err(PlanError)?;
        let delay = config.watermark_delay;
        let dedup = config.dedup.as_ref();
        let dedup = dedup.map(|dedup| DedupPlan::new(dedup, delay, &mut slot_of));
        let dedup = dedup.transpose().map_err(PlanError)?;
        let quality_columns = QualityColumns::new(rules.as_ref(), groups.quality);
        let quality_columns = quality_columns.map_err(PlanError)?;
        let EventParts {
            wishes,
            columns: event_columns,
            made: made_columns,
            nested,
            explode,
        } = event.into_parts();
        let mut plan = RowPlan {
            read: ReadPlan::new(&config.read_format(), wishes, &names)
                .map_err(|error| PlanError(error.to_string()))?,
            event_columns,
            made_columns,
            explode,
            nested,
            with_default_flag,
            time,
            time_unit: config.time_unit,
            text_times: config.text_times.clone(),
            session,
            record_columns: groups.record,
            rules,
            dedup,
            quality_columns,
            lookup_key,
            profile,
            drops_tombstones: config.tombstones == Tombstones::Drop,
            is_strict: config.is_strict,
            names: vec![],
        };
        plan.names = plan.insert_names();
        Ok(plan)
    }

    /// How the event time is read, where its column does not read it.
    pub(super) fn time_rules(&self) -> TimeRules<'_> {
        TimeRules {
            unit: self.time_unit,
            unit_of_day: None,
            texts: self.text_times.as_deref(),
        }
    }

    /// The columns that fields fill, in the order in which they stand in a row.
    pub(super) fn field_columns(&self) -> impl Iterator<Item = &ColumnSource> {
        let made = self.made_columns.iter().map(MadeColumn::source);
        self.event_columns.iter().chain(made)
    }

    fn insert_names(&self) -> Vec<String> {
        let event = self.field_columns().map(|c| c.column().name.as_str());
        let record = self.record_columns.iter().map(RecordColumn::name);
        let session = self.session.iter().flat_map(SessionPlan::names);
        let profile = self.profile.iter().flat_map(ProfilePlan::names);
        let quality = self.quality_columns.names();
        let names = event.chain(record).chain(quality);
        let names = names.chain(session).chain(profile);
        names.map(str::to_owned).collect()
    }

    /// The columns that are inserted, in the order in which they stand in a row.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// How the values of a row stand one behind the other.
    pub(crate) fn format(&self) -> RowFormat {
        if self.with_default_flag {
            RowFormat::ValuesOrDefaults
        } else {
            RowFormat::Values
        }
    }

    /// The fields to ask a profile's hash for.
    pub(crate) fn hash_fields(&self) -> Vec<String> {
        self.profile
            .as_ref()
            .map(ProfilePlan::hash_fields)
            .unwrap_or_default()
    }
}
