//! Decides where a rebuild begins and ends, once, and makes the shadow that keeps it.

use super::plan::Plan;
use super::shadow::{Part, group};
use super::tables::Tables;
use super::{Bounds, Exchange, RebuildOptions};
use crate::config::Pipeline;
use crate::inspect::Failure;
use crate::inspect::cluster::Cluster;
use crate::source::{PartitionCommit, TopicPartition};

/// The plan of the rebuild, and the tables that it has. It is kept with the shadow, or with the live table where
/// the shadow has taken its place. Where there is none, the shadows are made.
///
/// # Errors
/// A shadow that is something else, or nothing to undo.
pub(super) async fn planned(
    tables: &Tables,
    cluster: &Cluster,
    live: &Pipeline,
    parts: Vec<Part>,
    options: &RebuildOptions,
) -> Result<(Plan, Vec<Part>), Failure> {
    let mut found = vec![];
    for part in &parts {
        found.push(tables.plan_of_part(part).await?);
    }
    let is_exchanged = tables.are_exchanged(&parts).await?.is_some();
    let begun = found.iter().flatten().next().cloned();
    let mut whole: Option<Plan> = None;
    let mut kept = vec![];
    for (part, own) in parts.into_iter().zip(found) {
        let own = match what(own, is_exchanged) {
            Own::Kept(plan) => *plan,
            Own::Over => continue,
            Own::None if options.exchange == Some(Exchange::Undo) => {
                return Err(Failure::Refused(format!(
                    "there is nothing to undo: no table {} or {} that a rebuild has filled",
                    part.live, part.shadow
                )));
            }
            Own::None => {
                let fresh = fresh_plan(
                    tables,
                    cluster,
                    live,
                    begun.as_ref().or(whole.as_ref()),
                    &part,
                    options,
                );
                let Some(fresh) = fresh.await? else { continue };
                tables.make_shadow(&part.live, &part.shadow, &fresh).await?;
                // Another process may have been faster.
                let kept = tables.plan_of_part(&part).await?;
                kept.ok_or_else(|| tables.not_ours(&part.shadow))?
            }
        };
        let is_same = whole.as_ref().is_none_or(|whole| whole.id == own.id);
        let is_meant = own.tables == [part.live.clone(), part.shadow.clone()];
        if own.pipeline != live.name || !is_same || !is_meant {
            return Err(Failure::Refused(format!(
                "there is another rebuild already, of pipeline {} in group {}, from table {} into {}: end that one \
                 (--into {}, with --swap or --undo), or drop its table",
                own.pipeline, own.group, own.tables[0], own.tables[1], own.tables[1]
            )));
        }
        match &mut whole {
            Some(whole) => whole.add(own),
            None => whole = Some(own),
        }
        kept.push(part);
    }
    let whole = whole.ok_or_else(|| {
        Failure::Refused(format!(
            "pipeline {} has no record to rebuild a table from",
            live.name
        ))
    })?;
    Ok((whole, kept))
}

/// What a table has of the rebuild.
#[derive(Debug, PartialEq, Eq)]
enum Own {
    Kept(Box<Plan>),
    /// The rebuilt tables are live, and this one has ended, or is none of them.
    Over,
    None,
}

fn what(plan: Option<Plan>, is_exchanged: bool) -> Own {
    match plan {
        Some(plan) => Own::Kept(Box::new(plan)),
        None if is_exchanged => Own::Over,
        None => Own::None,
    }
}

/// None where there is neither a table nor a record.
async fn fresh_plan(
    tables: &Tables,
    cluster: &Cluster,
    live: &Pipeline,
    begun: Option<&Plan>,
    part: &Part,
    options: &RebuildOptions,
) -> Result<Option<Plan>, Failure> {
    let since_ms = match options.from {
        Bounds::TimeMs(time_ms) => Some(time_ms),
        Bounds::Earliest => None,
        Bounds::Latest => {
            let message = "--from latest: nothing would be rebuilt; write earliest or a time";
            return Err(Failure::Usage(message.to_owned()));
        }
    };
    let id = begun.map_or_else(
        || format!("{:08x}", rand::random::<u32>()),
        |plan| plan.id.clone(),
    );
    let mut plan = Plan::new(&live.name, &group(&live.group_id, &id), &id, since_ms);
    let starts = positions(cluster, &part.partitions, options.from)?;
    let ends = positions(cluster, &part.partitions, options.to)?;
    let mut has_records = false;
    for (partition, (from, to)) in part.partitions.iter().zip(starts.into_iter().zip(ends)) {
        plan.set(partition, from, to.max(from));
        has_records |= to > from;
    }
    if !has_records && !tables.has(&part.live).await? {
        return Ok(None);
    }
    plan.comment = tables.comment_of(&part.live).await?;
    plan.tables = [part.live.clone(), part.shadow.clone()];
    Ok(Some(plan))
}

fn positions(
    cluster: &Cluster,
    partitions: &[TopicPartition],
    bounds: Bounds,
) -> Result<Vec<i64>, Failure> {
    let by_time = match bounds {
        Bounds::TimeMs(time_ms) => cluster.offsets_at(partitions, time_ms)?,
        _ => vec![None; partitions.len()],
    };
    let position = |(partition, by_time): (&TopicPartition, Option<i64>)| {
        let (low, high) = cluster.log_range(partition)?;
        Ok(match bounds {
            Bounds::Earliest => low,
            Bounds::Latest => high,
            Bounds::TimeMs(_) => by_time.unwrap_or(high).clamp(low, high),
        })
    };
    partitions.iter().zip(by_time).map(position).collect()
}

/// Has the group begin where the plan does. Whoever was first has committed it, and more since.
///
/// # Errors
/// Kafka does not answer, or the log has lost where the plan begins.
pub(super) fn begin_at(own: &Cluster, plan: &Plan, parts: &[Part]) -> Result<(), Failure> {
    let ranges: Vec<(TopicPartition, (i64, i64))> = plan.ranges().collect();
    let partitions: Vec<TopicPartition> = ranges.iter().map(|(p, _)| p.clone()).collect();
    let committed = own.committed(&partitions)?;
    let missing = ranges
        .iter()
        .zip(&committed)
        .filter(|(_, offsets)| offsets.position.is_none());
    let missing: Vec<&(TopicPartition, (i64, i64))> = missing.map(|(own, _)| own).collect();
    for (partition, range) in &missing {
        let (low, _) = own.log_range(partition)?;
        if is_cut(*range, low) {
            let of_it = parts.iter().find(|p| p.partitions.contains(partition));
            return Err(Failure::Refused(format!(
                "{partition}: group {} has committed nothing, and the log begins at {low} now, behind offset {} at \
                 which the rebuild was to begin: the rebuilt table would lack rows; drop table {} and begin the \
                 rebuild again",
                plan.group,
                range.0,
                of_it.map_or(&*plan.tables[1], |part| &*part.shadow)
            )));
        }
    }
    if plan.since_ms.is_none() || missing.is_empty() {
        return Ok(());
    }
    let commits = missing
        .into_iter()
        .map(|(partition, (from, _))| PartitionCommit {
            partition: partition.clone(),
            position: *from,
            leader_epoch: -1,
            metadata: String::new(),
        });
    own.commit(&commits.collect::<Vec<_>>())
}

/// Whether records of a range that nobody has read yet are gone from a log that begins at `low`.
fn is_cut((from, to): (i64, i64), low: i64) -> bool {
    from < to && from < low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_while_a_swap_ends() {
        let plan = Plan::new("p", "g", "1f", None);
        assert_eq!(what(Some(plan.clone()), true), Own::Kept(Box::new(plan)));
        assert_eq!(what(None, true), Own::Over);
        assert_eq!(what(None, false), Own::None);
    }

    #[test]
    fn a_range_that_was_not_begun_is_cut_where_the_log_begins_behind_its_start() {
        for (range, low, expected) in [
            ((5, 9), 5, false),
            ((5, 9), 4, false),
            ((5, 9), 6, true),
            ((5, 9), 20, true),
            ((5, 5), 20, false),
        ] {
            assert_eq!(is_cut(range, low), expected, "{range:?} {low}");
        }
    }
}
