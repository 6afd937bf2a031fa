//! Windows of the live table that the rebuilt one lacks: of records that the log does not have any more.

use std::time::Duration;

use super::positions::windows;
use super::shadow::Part;
use super::tables::{Lacking, Tables};
use super::{Exchange, RebuildOptions};
use crate::config::{Aggregation, Kind, Pipeline, Window};
use crate::inspect::Failure;
use crate::inspect::cluster::Cluster;
use crate::progress::{FirstRead, WindowFrontier};

/// Whether the table that is not taken has rows of windows that the rebuilt one lacks. It stays then.
///
/// # Errors
/// It does, nobody has said that it may, and nothing is exchanged yet.
pub(super) async fn lacks(
    tables: &Tables,
    own: &Cluster,
    (live, part, is_exchanged): (&Pipeline, &Part, bool),
    options: &RebuildOptions,
) -> Result<bool, Failure> {
    let (Kind::Aggregation(config), Some(Exchange::Swap)) = (&live.kind, options.exchange) else {
        return Ok(false);
    };
    let all = own.partitions(None)?;
    let frontiers: Vec<WindowFrontier> = own.committed(&all)?.iter().filter_map(windows).collect();
    let (old, rebuilt) = match is_exchanged {
        true => (&part.shadow, &part.live),
        false => (&part.live, &part.shadow),
    };
    if !tables.has(old).await? {
        return Ok(false);
    }
    let group = config.group.iter().map(|field| &*field.name);
    let keys: Vec<&str> = ["window_start"].into_iter().chain(group).collect();
    let columns = tables.columns(old).await?;
    let has = |name: &str| columns.iter().any(|column| column == name);
    let Some(which) = settled(config, &frontiers, has) else {
        return Ok(false);
    };
    let Some(lacking) = tables.lacking(old, rebuilt, &keys, &which).await? else {
        return Ok(false);
    };
    if !is_exchanged && !options.accepts_missing_rows {
        return Err(Failure::Refused(refusal(old, &lacking)));
    }
    tracing::warn!(
        rows = lacking.rows,
        first = lacking.first,
        last = lacking.last,
        "table {old} is kept: it has windows that the rebuilt one lacks"
    );
    Ok(true)
}

/// Which windows are in the rebuilt table, or never will be, as a condition of SQL: those that all partitions have
/// closed, and those that may have begun before the log does. Where a session ends, and whether it has, its row says.
fn settled(
    config: &Aggregation,
    frontiers: &[WindowFrontier],
    has: impl Fn(&str) -> bool,
) -> Option<String> {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let at = |column: &str| format!("toUnixTimestamp64Milli(toDateTime64({column}, 3, 'UTC'))");
    let cut_ms = frontiers.iter().filter_map(|one| match one.first_read? {
        FirstRead::At(time_ms) => Some(time_ms),
        FirstRead::Awaited => None,
    });
    let cut_ms = cut_ms.max();
    // A partition of which nothing was read has no windows; one that has closed none yet has all of its own open.
    let read = frontiers
        .iter()
        .filter(|one| one.read_to > 0 || one.closed_through_ms.is_some());
    let closed_ms: Option<Vec<i64>> = read.map(|one| one.closed_through_ms).collect();
    let over_ms = closed_ms
        .and_then(|all| all.into_iter().min())
        .map(|closed_ms| closed_ms.saturating_sub(ms(config.allowed_lateness)));
    let start = at("window_start");
    let (cut, over) = match config.window {
        Window::Tumbling { size } | Window::Hopping { size, .. } => (
            cut_ms.map(|cut_ms| format!("{start} < {cut_ms}")),
            over_ms.map(|over_ms| format!("{start} + {} <= {over_ms}", ms(size))),
        ),
        Window::Session { gap } => (
            cut_ms.map(|cut_ms| format!("{start} <= {}", cut_ms.saturating_add(ms(gap)))),
            over_ms
                .filter(|_| has("is_final") && has("window_end"))
                .map(|over_ms| format!("is_final = 1 AND {} <= {over_ms}", at("window_end"))),
        ),
    };
    let all: Vec<String> = cut.into_iter().chain(over).collect();
    (!all.is_empty()).then(|| format!("({})", all.join(" OR ")))
}

fn refusal(table: &str, lacking: &Lacking) -> String {
    let Lacking { rows, first, last } = lacking;
    format!(
        "table {table} has {rows} rows of windows that the rebuilt one would lack, because the log has none of their \
         records any more, or only a part: the first begins at {first}, the last at {last}; nothing was stopped; with \
         --accept-missing-rows both tables are exchanged all the same, and the old one is kept"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const WINDOWS: &str = "[[pipeline]]\nname = \"p\"\nkind = \"aggregation\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
                           allowed_lateness = \"5s\"\npartitioned_by = \"k\"\n[pipeline.window]\nsize = \"60s\"\n\
                           [pipeline.group]\nk = { path = \"$.k\" }\n[pipeline.metrics]\n\
                           n = { function = \"count\" }\n[pipeline.clickhouse]\ntable = \"w\"\n";

    fn frontier(closed_through_ms: Option<i64>, first_read: Option<FirstRead>) -> WindowFrontier {
        WindowFrontier {
            rules: 1,
            largest_ms: None,
            closed_through_ms,
            read_to: 0,
            settled_to: 0,
            partitions: None,
            first_read,
        }
    }

    fn condition(window: &str, frontiers: &[WindowFrontier], has_end: bool) -> Option<String> {
        let text = WINDOWS.replace("size = \"60s\"", window);
        let loaded = Config::parse(&text, "c", std::path::Path::new("/"), []);
        let mut loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let Kind::Aggregation(config) = loaded.config.pipelines.remove(0).kind else {
            panic!("windows");
        };
        settled(&config, frontiers, |_| has_end)
    }

    #[test]
    fn windows_are_held_against_each_other_that_are_closed_or_begin_before_the_log() {
        let start = "toUnixTimestamp64Milli(toDateTime64(window_start, 3, 'UTC'))";
        let end = "toUnixTimestamp64Milli(toDateTime64(window_end, 3, 'UTC'))";
        let tumbling = |frontiers: &[WindowFrontier]| condition("size = \"60s\"", frontiers, true);
        assert_eq!(tumbling(&[]), None);
        let awaited = frontier(None, Some(FirstRead::Awaited));
        assert_eq!(tumbling(&[frontier(None, None), awaited]), None);
        // The window that begins at 60 s is over at 125 s.
        let both = [Some(125_000), Some(900_000)].map(|closed| frontier(closed, None));
        assert_eq!(
            tumbling(&both),
            Some(format!("({start} + 60000 <= 120000)"))
        );
        // The other partition is read, and has closed none.
        let none_closed = WindowFrontier {
            read_to: 7,
            ..frontier(None, None)
        };
        assert_eq!(tumbling(&[both[0], none_closed]), None);
        let cut = [frontier(Some(125_000), Some(FirstRead::At(70_000)))];
        let expected = format!("({start} < 70000 OR {start} + 60000 <= 120000)");
        assert_eq!(tumbling(&cut), Some(expected));
        let sessions = "kind = \"session\"\ngap = \"10s\"";
        let is_cut = format!("{start} <= 80000");
        let expected = format!("({is_cut} OR is_final = 1 AND {end} <= 120000)");
        let partitioned = |has_end| condition(sessions, &cut, has_end);
        assert_eq!(partitioned(true), Some(expected));
        assert_eq!(partitioned(false), Some(format!("({is_cut})")));
    }
}
