//! Where both groups are: pure.

use std::collections::HashMap;

use super::filling::Ends;
use super::plan::Plan;
use super::shadow::Part;
use crate::config::{Kind, StartOffset};
use crate::progress::{Metadata, SwapFence, WindowFrontier};
use crate::source::{Offsets, TopicPartition};

/// Where both groups are.
pub(super) struct Positions {
    pub(super) partitions: Vec<TopicPartition>,
    /// Where each log begins and ends: a group that has read nothing is at its beginning.
    pub(super) logs: Vec<(i64, i64)>,
    pub(super) live: Vec<Offsets>,
    pub(super) shadow: Vec<Offsets>,
}

/// Whether rows of a topic are in these tables: a pattern may match more topics by now than the plan has.
pub(super) fn is_of_tables(kind: &Kind, parts: &[Part], topic: &str) -> bool {
    match kind {
        Kind::Cdc(cdc) => parts.iter().any(|part| part.live == cdc.table_for(topic)),
        _ => true,
    }
}

/// What a commit of ours says, behind a fence too.
fn metadata(offsets: &Offsets) -> Option<Metadata> {
    Metadata::decode(plain(offsets), offsets.position?).ok()?
}

/// What a commit says of windows.
pub(super) fn windows(offsets: &Offsets) -> Option<WindowFrontier> {
    metadata(offsets)?.frontier?.windows()
}

/// How far a partition is read, and done with: where windows are open, the committed offset is behind that.
pub(super) fn reached(offsets: &Offsets) -> Option<i64> {
    let position = offsets.position?;
    let done = windows(offsets).map(|windows| windows.read_to.min(windows.settled_to));
    Some(done.map_or(position, |done| done.max(position)))
}

/// How far the records have been read that the windows are made of which a group has closed.
fn read_to(offsets: &Offsets) -> Option<i64> {
    let position = offsets.position?;
    let read_to = windows(offsets).map(|windows| windows.read_to);
    Some(read_to.map_or(position, |read_to| read_to.max(position)))
}

impl Positions {
    pub(super) fn pairs(&self) -> impl Iterator<Item = (i64, i64)> {
        let both = self.live.iter().zip(&self.shadow).zip(&self.logs);
        both.map(|((live, shadow), &(start, _))| {
            (
                read_to(live).unwrap_or(start),
                reached(shadow).unwrap_or(start),
            )
        })
    }

    /// Whether the live group has closed windows that the other has not.
    pub(super) fn has_closed_more(&self) -> bool {
        let closed =
            |offsets: &Offsets| windows(offsets).and_then(|windows| windows.closed_through_ms);
        let mut both = self.live.iter().zip(&self.shadow);
        both.any(|(live, shadow)| closed(live) > closed(shadow))
    }

    /// By when the live group has closed windows; none where it makes none.
    pub(super) fn closed_through_ms(&self) -> Option<HashMap<TopicPartition, i64>> {
        let windows = self.live.iter().map(windows);
        let both = self.partitions.iter().zip(windows);
        let both: Vec<_> = both
            .filter_map(|(partition, windows)| Some((partition, windows?)))
            .collect();
        let closed = both.iter().filter_map(|(partition, windows)| {
            Some(((*partition).clone(), windows.closed_through_ms?))
        });
        (!both.is_empty()).then(|| closed.collect())
    }

    /// What one group lacks of the other: from where to where. A range that the live group has named is written
    /// as it is, also beyond where the shadow is.
    pub(super) fn ends(&self, of_live: bool) -> Ends {
        let pairs = self.partitions.iter().zip(&self.live).zip(self.pairs());
        let ends = pairs.map(|((partition, offsets), (live, shadow))| {
            let (from, to) = match of_live {
                true if live < shadow => (live, shadow.max(named_end(offsets).unwrap_or(shadow))),
                true => (live, shadow),
                false => (shadow, live),
            };
            (partition.clone(), (from.min(to), to))
        });
        ends.collect()
    }

    pub(super) fn is_fenced(&self) -> bool {
        !self.live.is_empty() && self.live.iter().all(has_fence)
    }

    /// A fence that Kafka took for some partitions alone is none.
    pub(super) fn has_fence(&self) -> bool {
        self.live.iter().any(has_fence)
    }

    /// Why both tables cannot come to one offset.
    pub(super) fn hindrance(&self, plan: &Plan, start_offset: StartOffset) -> Option<String> {
        let ranges: Ends = plan.ranges().collect();
        let all = self.partitions.iter().zip(&self.logs);
        let all = all.zip(self.live.iter().zip(&self.shadow));
        all.into_iter()
            .find_map(|((partition, &log), (live, shadow))| {
                let range = ranges.get(partition).copied();
                let why = unreachable_end(range, shadow.position, live.position, log)
                    .or_else(|| unknown_start(live.position, log, start_offset))
                    .or_else(|| other_rules(live, shadow))?;
                Some(format!("{partition}: {why}"))
            })
    }
}

/// What stood beside a commit before the fence.
pub(super) fn plain(offsets: &Offsets) -> &str {
    let fence = SwapFence::decode(&offsets.metadata);
    fence.map_or(&*offsets.metadata, |fence| fence.metadata)
}

fn has_fence(offsets: &Offsets) -> bool {
    SwapFence::decode(&offsets.metadata).is_some()
}

/// Where the last range ends that the group has named and perhaps not written.
fn named_end(offsets: &Offsets) -> Option<i64> {
    metadata(offsets)?.range_ends.last().copied()
}

/// Windows that the live pipeline would go on with are not those of the rebuilt table.
fn other_rules(live: &Offsets, shadow: &Offsets) -> Option<&'static str> {
    let (live, shadow) = (windows(live)?, windows(shadow)?);
    (live.rules != shadow.rules).then_some(
        "the windows of the live table follow other rules than those of the rebuilt one (window, group, metrics, where, \
         watermark_delay and others, or the places of a column that a metric goes to), and those that are open could be \
         gone on with by neither: keep the rebuilt table, give the pipeline another group_id and another table, as \
         where the halt windows_changed says so",
    )
}

fn unreachable_end(
    range: Option<(i64, i64)>,
    shadow: Option<i64>,
    live: Option<i64>,
    (start, _): (i64, i64),
) -> Option<&'static str> {
    let was_filled = range.is_some_and(|(from, to)| to > from);
    if shadow.is_none() && was_filled {
        return Some(
            "the group that filled the rebuilt table has no offset any more (they expire by \
             offsets.retention.minutes)",
        );
    }
    let at = shadow.unwrap_or(range.map_or(0, |(from, _)| from));
    (at < start && at < live.unwrap_or(start))
        .then_some("the log has lost records that only one of both tables has")
}

/// The fence would decide where a partition begins.
fn unknown_start(
    live: Option<i64>,
    (start, end): (i64, i64),
    start_offset: StartOffset,
) -> Option<&'static str> {
    let is_open = live.is_none() && start < end && start_offset != StartOffset::Earliest;
    is_open.then_some(
        "the pipeline has committed nothing yet, and start_offset is not earliest: let it run until it has",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::progress::Epoch;

    fn offsets(position: Option<i64>, metadata: &str) -> Offsets {
        Offsets {
            position,
            metadata: metadata.to_owned(),
            start: None,
        }
    }

    fn at(live: Vec<Offsets>, shadow: Vec<Offsets>) -> Positions {
        let partition = |partition| TopicPartition {
            topic: "t".into(),
            partition,
        };
        Positions {
            partitions: (0..).map(partition).take(live.len()).collect(),
            logs: vec![(2, 90); live.len()],
            live,
            shadow,
        }
    }

    #[test]
    fn a_range_that_the_live_group_has_named_is_read_to_its_end() {
        let named = Metadata {
            topic_id: "-".to_owned(),
            epoch: Epoch(1),
            is_set_back: false,
            counter: 1,
            table: "d.t".to_owned(),
            range_ends: vec![7, 11],
            layout: None,
            made_no_rows: false,
            frontier: None,
            watermark_ms: None,
            insert_span_ms: None,
        };
        let text = named.encode(5).unwrap();
        let fenced = SwapFence {
            id: "1f",
            metadata: &text,
        };
        for metadata in [&text, &fenced.encode()] {
            let ends = |shadow| {
                let both = at(
                    vec![offsets(Some(5), metadata)],
                    vec![offsets(Some(shadow), "")],
                );
                [true, false].map(|of_live| *both.ends(of_live).values().next().unwrap())
            };
            assert_eq!(ends(8), [(5, 11), (5, 5)]);
            assert_eq!(ends(20)[0], (5, 20));
            assert_eq!(ends(4), [(4, 4), (4, 5)]);
        }
    }

    #[test]
    fn windows_are_where_they_have_been_read_to_and_not_where_the_oldest_open_one_begins() {
        let commit = |read_to, settled_to, closed_through_ms, rules| {
            let frontier = WindowFrontier {
                rules,
                largest_ms: None,
                closed_through_ms,
                read_to,
                settled_to,
                partitions: None,
                first_read: None,
            };
            let metadata = Metadata {
                topic_id: "-".to_owned(),
                epoch: Epoch(1),
                is_set_back: false,
                counter: 1,
                table: "d.t".to_owned(),
                range_ends: vec![],
                layout: None,
                made_no_rows: false,
                frontier: Some(crate::progress::Frontier::Windows(frontier)),
                watermark_ms: None,
                insert_span_ms: None,
            };
            metadata.encode(5).unwrap()
        };
        let live = commit(20, 18, Some(7), 1);
        let fence = SwapFence {
            id: "1f",
            metadata: &live,
        };
        let both = |shadow: &str| {
            at(
                vec![offsets(Some(5), &fence.encode())],
                vec![offsets(Some(5), shadow)],
            )
        };
        let same = both(&commit(20, 20, Some(7), 1));
        assert_eq!(same.pairs().collect::<Vec<_>>(), [(20, 20)]);
        assert!(!same.has_closed_more());
        let closed: Vec<i64> = same.closed_through_ms().unwrap().into_values().collect();
        assert_eq!(closed, [7]);
        // Dead letters of what it has read may be missing.
        let behind = both(&commit(20, 19, None, 1));
        assert_eq!(behind.pairs().collect::<Vec<_>>(), [(20, 19)]);
        assert!(behind.has_closed_more());
        let plan = Plan::new("p", "g", "1f", None);
        assert_eq!(same.hindrance(&plan, StartOffset::Earliest), None);
        let others = both(&commit(20, 20, Some(7), 2));
        let why = others.hindrance(&plan, StartOffset::Earliest).unwrap();
        assert!(why.contains("other rules"), "{why}");
        let none = at(vec![offsets(Some(5), "")], vec![offsets(Some(4), "")]);
        assert_eq!(none.pairs().collect::<Vec<_>>(), [(5, 4)]);
        assert!(none.closed_through_ms().is_none());
    }

    #[test]
    fn topics_that_came_after_the_plan_are_of_the_table_too() {
        let kind = |text: &str| {
            let text = format!("[[pipeline]]\nname = \"p\"\ngroup_id = \"g\"\n{text}");
            let loaded = Config::parse(&text, "c", std::path::Path::new("/"), []);
            let mut loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
            loaded.config.pipelines.remove(0).kind
        };
        let part = |table: &str| Part {
            live: table.to_owned(),
            shadow: format!("{table}_rebuild"),
            partitions: vec![],
        };
        let events = kind(
            "kind = \"enrichment\"\ntopics = [\"^clicks-.*\"]\n[pipeline.clickhouse]\ntable = \"events\"\n",
        );
        assert!(is_of_tables(&events, &[part("events")], "clicks-new"));
        let replicas = kind(
            "kind = \"cdc\"\ntopics = [\"shop.a\", \"shop.b\"]\n[pipeline.debezium]\ndecimal_mode = \"precise\"\n",
        );
        for (topic, expected) in [("shop.a", true), ("shop.b", false)] {
            assert_eq!(is_of_tables(&replicas, &[part("a")], topic), expected);
        }
    }

    #[test]
    fn a_fence_stands_where_every_partition_has_it() {
        let fence = SwapFence {
            id: "1f",
            metadata: "",
        };
        let fence = fence.encode();
        let fences = |marks: &[&str]| {
            let live = marks.iter().map(|mark| offsets(Some(1), mark)).collect();
            let both = at(live, vec![]);
            (both.is_fenced(), both.has_fence())
        };
        assert_eq!(fences(&["", ""]), (false, false));
        assert_eq!(fences(&[&fence, ""]), (false, true));
        assert_eq!(fences(&[&fence, &fence]), (true, true));
        assert_eq!(fences(&[]), (false, false));
    }

    #[test]
    fn what_cannot_come_to_one_offset_is_known_before() {
        let log = (10, 20);
        let is_hindered = |range, shadow, live| unreachable_end(range, shadow, live, log).is_some();
        assert!(is_hindered(Some((0, 5)), None, Some(15)));
        assert!(is_hindered(Some((0, 5)), Some(5), Some(15)));
        assert!(is_hindered(None, None, Some(15)));
        assert!(!is_hindered(Some((0, 5)), Some(10), Some(15)));
        assert!(!is_hindered(Some((0, 5)), Some(5), Some(5)));
        assert!(!is_hindered(Some((10, 10)), None, Some(15)));
        assert!(is_hindered(Some((0, 5)), Some(5), None));
        for (live, log, start_offset, expected) in [
            (None, log, StartOffset::Latest, true),
            (None, log, StartOffset::Fail, true),
            (None, log, StartOffset::Earliest, false),
            (None, (7, 7), StartOffset::Latest, false),
            (Some(10), log, StartOffset::Latest, false),
        ] {
            let found = unknown_start(live, log, start_offset).is_some();
            assert_eq!(found, expected, "{live:?} {log:?} {start_offset:?}");
        }
    }
}
