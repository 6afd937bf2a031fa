//! Whether the table has what a letter's record would become.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::letter::Letter;
use crate::config::{Kind, Pipeline, Service};
use crate::inspect::Failure;
use crate::pipeline::{Replayed, Replayer, Wanted, is_index};
use crate::sink::{ClickHouseClient, InsertError, Target, quote_name};
use crate::source::{MadeRecord, TopicPartition};
use crate::target::Provenance;

/// What is known of each pipeline's table.
#[derive(Debug, Default)]
pub(super) struct States {
    tables: HashMap<String, Table>,
}

#[derive(Debug)]
enum Table {
    /// Its rows name their records. Where a record makes several rows, its operator says how many.
    Traced(Box<ClickHouseClient>, Arc<Target>, Option<Box<Replayer>>),
    /// Versions of keys tell.
    Versioned(Box<Replayer>),
    /// Nothing tells: every letter counts as open.
    Untold,
}

impl States {
    /// For each letter whether it is written, by a look at the table.
    ///
    /// # Errors
    /// ClickHouse does not answer.
    pub(super) async fn of(
        &mut self,
        service: &Arc<Service>,
        letters: &[(Letter, Arc<Pipeline>)],
    ) -> Result<Vec<bool>, Failure> {
        let mut asked: BTreeMap<(&str, &TopicPartition), Vec<i64>> = BTreeMap::new();
        for (letter, pipeline) in letters {
            self.table(service, pipeline).await?;
            let place = (&*pipeline.name, &letter.partition);
            asked.entry(place).or_default().push(letter.offset);
        }
        // How many different rows each has.
        let mut written: HashMap<(&str, &TopicPartition, i64), usize> = HashMap::new();
        for ((name, partition), offsets) in &asked {
            let Some(Table::Traced(client, target, _)) = self.tables.get(*name) else {
                continue;
            };
            let found = rows_of(client, target, partition, offsets).await;
            let found = found.map_err(|e| Failure::clickhouse(&[], &target.label, &e))?;
            let of = |(offset, rows)| ((*name, *partition, offset), rows);
            written.extend(found.into_iter().map(of));
        }
        let mut states = vec![];
        for (letter, pipeline) in letters {
            let is_written = match self.tables.get_mut(&pipeline.name) {
                // What the table has is of another topic.
                _ if letter.is_of_before => false,
                Some(Table::Traced(_, _, replayer)) => {
                    let place = (&*pipeline.name, &letter.partition, letter.offset);
                    match (written.get(&place), replayer) {
                        (Some(rows), Some(replayer)) => row_count(replayer, letter).await? <= *rows,
                        (found, _) => found.is_some(),
                    }
                }
                Some(Table::Versioned(replayer)) => {
                    judge(replayer, letter, Wanted::Judgement).await? == Replayed::AlreadyWritten
                }
                _ => false,
            };
            states.push(is_written);
        }
        Ok(states)
    }

    async fn table(
        &mut self,
        service: &Arc<Service>,
        pipeline: &Arc<Pipeline>,
    ) -> Result<(), Failure> {
        if !self.tables.contains_key(&pipeline.name) {
            let table = look(service, pipeline).await?;
            self.tables.insert(pipeline.name.clone(), table);
        }
        Ok(())
    }
}

async fn look(service: &Arc<Service>, pipeline: &Arc<Pipeline>) -> Result<Table, Failure> {
    match &pipeline.kind {
        Kind::Aggregation(_) | Kind::StreamJoin(_) => Ok(Table::Untold),
        Kind::Cdc(_) => {
            let replayer = Replayer::new(service, pipeline).await?;
            Ok(Table::Versioned(Box::new(replayer)))
        }
        _ => {
            let (client, target) = match traced_table(pipeline).await? {
                Some(found) => found,
                None => return Ok(Table::Untold),
            };
            if explodes(pipeline) && !target.has_index {
                return Ok(Table::Untold);
            }
            let replayer = match target.has_index {
                true => Some(Box::new(Replayer::new(service, pipeline).await?)),
                false => None,
            };
            let client = Box::new(client);
            Ok(Table::Traced(client, Arc::new(target), replayer))
        }
    }
}

/// Of each of these offsets that has rows, how many different ones.
async fn rows_of(
    client: &ClickHouseClient,
    target: &Target,
    partition: &TopicPartition,
    offsets: &[i64],
) -> Result<Vec<(i64, usize)>, InsertError> {
    if target.has_index {
        let found = client.counts_among(target, partition, offsets).await?;
        return Ok(found.iter().map(|f| (f.offset, f.different)).collect());
    }
    let found = client.offsets_among(target, partition, offsets).await?;
    Ok(found.into_iter().map(|offset| (offset, 1)).collect())
}

/// How many rows the letter's record makes; none where it makes no row.
async fn row_count(replayer: &mut Replayer, letter: &Letter) -> Result<usize, Failure> {
    let (key, value) = (letter.key.as_deref(), letter.value.as_deref());
    let made = MadeRecord::new(key, value, letter.timestamp_ms, letter.offset);
    let TopicPartition { topic, partition } = &letter.partition;
    let made = made.of(topic, *partition, &letter.headers);
    let count = replayer.row_count(&letter.partition, made.record()).await?;
    Ok(count)
}

/// The table of a pipeline whose rows name their records, if it is there.
///
/// # Errors
/// ClickHouse does not answer.
pub(crate) async fn traced_table(
    pipeline: &Pipeline,
) -> Result<Option<(ClickHouseClient, Target)>, Failure> {
    let client = client(pipeline)?;
    let (database, table) = (&pipeline.clickhouse.database, &pipeline.table);
    let label = format!("{database}.{table}");
    let urls = &pipeline.clickhouse.urls;
    let info = client.table_info(database, table).await;
    let info = info.map_err(|e| Failure::clickhouse(urls, &format!("table {label}"), &e))?;
    let Some(info) = info else {
        return Ok(None);
    };
    let Ok(provenance) = Provenance::of(pipeline, &info.columns) else {
        return Ok(None);
    };
    let target = Target {
        label,
        sql: format!("{}.{}", quote_name(database), quote_name(table)),
        replicated: info.is_replicated(),
        has_tokens: info.has_tokens,
        has_index: explodes(pipeline) && info.columns.iter().any(is_index),
        provenance,
        ..Target::nowhere()
    };
    Ok(Some((client, target)))
}

/// Whether records make several rows.
fn explodes(pipeline: &Pipeline) -> bool {
    matches!(&pipeline.kind, Kind::Enrichment(own) if own.explode.is_some())
}

/// A client of the pipeline's servers; nothing is sent yet.
fn client(pipeline: &Pipeline) -> Result<ClickHouseClient, Failure> {
    ClickHouseClient::new(&pipeline.clickhouse).map_err(|e| Failure::Refused(e.to_string()))
}

/// The letter's record through its pipeline.
pub(super) async fn judge(
    replayer: &mut Replayer,
    letter: &Letter,
    wanted: Wanted,
) -> Result<Replayed, Failure> {
    let TopicPartition { topic, partition } = &letter.partition;
    let (key, value) = (letter.key.as_deref(), letter.value.as_deref());
    let made = MadeRecord::new(key, value, letter.timestamp_ms, letter.offset);
    let made = made.of(topic, *partition, &letter.headers);
    Ok(replayer
        .replay(&letter.partition, made.record(), wanted)
        .await?)
}
