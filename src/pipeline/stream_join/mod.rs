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
pub(crate) use self::operator::StreamJoinOperator;
use self::plan::JoinPlan;
pub(crate) use self::recomputed::JoinAgain;
use self::settings::Settings;
use super::start::{NotStarted, Starter};
use super::{Common, CommonParts, Environment, clickhouse_client, consumers, run_lanes};
use crate::config::{State, StreamJoin};
use crate::decode::PathError;
use crate::halt::Halt;
use crate::observe::metrics::PipelineMetrics;
use crate::sink::TransactionSettings;
use crate::source::transaction_config;

/// What one lane joins with, outside of a running pipeline.
///
/// # Errors
/// A path that is none; the configuration has none of those.
pub(crate) fn join_operator(
    config: &StreamJoin,
    partitions: usize,
    metrics: PipelineMetrics,
) -> Result<StreamJoinOperator, PathError> {
    let plan = Arc::new(JoinPlan::new(config)?);
    let settings = Settings::new(config);
    let keys = KeyCheck::new(config, partitions);
    Ok(StreamJoinOperator::new(plan, settings, keys, metrics))
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
    let plan = JoinPlan::new(config)
        .map_err(|error| Halt::new("paths", format!("pipeline.right.fields: {error}")))?;
    let plan = Arc::new(plan);
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
        StreamJoinOperator::new(plan.clone(), settings.clone(), keys, metrics.clone())
    };
    let lanes = common.lanes(environment, consumers, operator, None)?;
    run_lanes(environment, lanes).map_err(NotStarted::Halted)
}
