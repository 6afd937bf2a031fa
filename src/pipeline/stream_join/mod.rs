//! Two topics, joined by key and event time, into a third one by Kafka transactions.
//!
//! A record is scanned once; what a joined record needs of it is kept as JSON text. Which events match
//! what, and when that is decided, is [`crate::operator::join`]'s. The rules are contract §6.4, a second
//! implementation of them is run against this one in `tests/`.

mod keys;
mod operator;
mod plan;
mod reading;
mod recomputed;
mod rendering;
mod settings;
mod spelling;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use self::keys::KeyCheck;
pub(super) use self::keys::key_text;
pub(crate) use self::operator::StreamJoinOperator;
use self::plan::JoinPlan;
pub(crate) use self::recomputed::JoinAgain;
use self::settings::Settings;
use super::input::Input;
use super::start::{NotStarted, Starter};
use super::{
    Common, CommonParts, Environment, clickhouse_client, consumers, run_lanes, schemas_at_start,
    schemas_of_command,
};
use crate::config::{JoinSide, Pipeline, State, StreamJoin};
use crate::format::Purpose;
use crate::halt::Halt;
use crate::observe::metrics::PipelineMetrics;
use crate::registry::Schemas;
use crate::sink::TransactionSettings;
use crate::source::transaction_config;

/// What one lane joins with, outside of a running pipeline.
///
/// # Errors
/// A path that is none, which the configuration does not have; certificates that cannot be used.
pub(crate) fn join_operator(
    pipeline: &Pipeline,
    config: &StreamJoin,
    partitions: usize,
    metrics: PipelineMetrics,
) -> Result<StreamJoinOperator, Halt> {
    let plan = Arc::new(plan(config)?);
    let settings = Settings::new(config);
    let keys = KeyCheck::new(config, partitions);
    let inputs = inputs(config, schemas_of_command(pipeline)?)?;
    Ok(StreamJoinOperator::new(plan, settings, keys, metrics).with_inputs(inputs))
}

fn plan(config: &StreamJoin) -> Result<JoinPlan, Halt> {
    JoinPlan::new(config)
        .map_err(|error| Halt::new("paths", format!("pipeline.right.fields: {error}")))
}

/// How the records of the left and of the right side are read.
fn inputs(
    config: &StreamJoin,
    schemas: Option<Arc<Schemas>>,
) -> Result<[Option<Box<Input>>; 2], Halt> {
    let input = |side: &JoinSide| Input::new(&side.formats, Purpose::Fields, schemas.clone());
    Ok([input(&config.left)?, input(&config.right)?])
}

/// Runs a join to its end.
pub(super) fn run(environment: &Environment, config: &StreamJoin) -> Result<(), NotStarted> {
    let Environment {
        pipeline, service, ..
    } = environment;
    let starter = Starter::new(environment);
    let consumers = consumers(environment)?;
    let partitions = starter.topics(&consumers[0])?;
    starter.kept_table(config)?;
    let count = starter.co_partitioned(config, &partitions)?;
    starter.dead_letter_topic()?;
    starter.output_topic(&config.output.topic, count)?;
    let targets = starter.targets(&consumers[0], &partitions)?;

    let metrics = PipelineMetrics::new(&pipeline.name);
    let schemas = schemas_at_start(environment, &starter, &metrics)?;
    inputs(config, schemas.clone())?;
    let plan = Arc::new(plan(config)?);
    let settings = Settings::new(config);
    let transactions = TransactionSettings {
        config: transaction_config(pipeline, service, config.output.partitioner),
        topic: config.output.topic.clone(),
        partitioner: config.output.partitioner,
    };
    let parts = CommonParts {
        rows: None,
        client: clickhouse_client(pipeline)?,
        targets,
        metrics: metrics.clone(),
        output: None,
        transactions: Some(transactions),
        label: settings.label.clone(),
        moved_wait: Duration::ZERO,
        makes_tables: false,
        state: State::none(),
    };
    let common = Common::new(environment, parts)?;
    let operator = || {
        let keys = KeyCheck::new(config, count);
        let inputs = inputs(config, schemas.clone()).unwrap_or_default();
        StreamJoinOperator::new(plan.clone(), settings.clone(), keys, metrics.clone())
            .with_inputs(inputs)
    };
    let lanes = common.lanes(environment, consumers, operator, None)?;
    run_lanes(environment, lanes).map_err(NotStarted::Halted)
}
