//! Sessions by hand.

use super::super::Watermark;
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const RULES: SessionRules = SessionRules {
    timeout_ms: 1_800_000,
    duration_max_ms: 7_200_000,
};

fn judge(
    sessions: &mut Sessions,
    id: &[u8],
    time_ms: i64,
    watermark_ms: Option<i64>,
    page: Option<&[u8]>,
) -> SessionRow {
    let (key, page) = (sessions.key(id), page.map(|page| sessions.distinct(page)));
    sessions.expect([key].into_iter());
    sessions.judge(key, time_ms, watermark_ms, page)
}

fn row(event_count: u64, distinct_count: u64, duration_seconds: u64) -> SessionRow {
    SessionRow {
        event_count,
        distinct_count,
        duration_seconds,
    }
}

#[test]
fn a_row_counts_itself_its_session_so_far_and_each_page_once() {
    let mut sessions = Sessions::new(RULES, 1);
    assert_eq!(
        judge(&mut sessions, b"a", 0, None, Some(b"/")),
        row(1, 1, 0)
    );
    assert_eq!(judge(&mut sessions, b"a", 1_999, None, None), row(2, 1, 1));
    assert_eq!(
        judge(&mut sessions, b"a", 2_000, None, Some(b"/")),
        row(3, 1, 2)
    );
    assert_eq!(
        judge(&mut sessions, b"b", 2_000, None, Some(b"/")),
        row(1, 1, 0)
    );
}

#[test]
fn exactly_the_timeout_extends_and_one_millisecond_more_does_not() {
    let mut sessions = Sessions::new(RULES, 1);
    judge(&mut sessions, b"a", 0, None, None);
    assert_eq!(
        judge(&mut sessions, b"a", 1_800_000, None, None),
        row(2, 0, 1800)
    );
    assert_eq!(
        judge(&mut sessions, b"a", 3_600_001, None, None),
        row(1, 0, 0)
    );
}

#[test]
fn many_distinct_pages_are_counted_exactly_and_their_memory_is_given_back() {
    let mut sessions = Sessions::new(RULES, 1);
    for page in 0..1000u32 {
        for _ in 0..2 {
            let row = judge(&mut sessions, b"a", 0, None, Some(&page.to_le_bytes()));
            assert_eq!(row.distinct_count, u64::from(page) + 1);
        }
    }
    assert!(sessions.distinct_bytes >= 8000);
    sessions.sweep(2_000_000);
    assert_eq!(sessions.distinct_bytes, 0);
    assert!(sessions.known.is_empty());
}

/// The rules of the contract, written as plainly as they can be.
#[derive(Default)]
struct Naive {
    known: BTreeMap<u8, (i64, i64, u64, BTreeSet<u8>)>,
}

impl Naive {
    fn judge(&mut self, id: u8, t: i64, watermark: Option<i64>, page: Option<u8>) -> SessionRow {
        let timeout = RULES.timeout_ms;
        self.known
            .retain(|_, s| watermark.is_none_or(|w| s.1 + timeout >= w));
        let stretched = |s: &(i64, i64, u64, BTreeSet<u8>)| s.1.max(t) - s.0.min(t);
        if let Some(s) = self.known.get(&id) {
            let too_long = stretched(s) > RULES.duration_max_ms;
            if t < s.0 && (too_long || t < s.0 - timeout) {
                return row(1, u64::from(page.is_some()), 0);
            }
            if too_long || t > s.1 + timeout {
                self.known.remove(&id);
            }
        }
        let s = self.known.entry(id).or_insert((t, t, 0, BTreeSet::new()));
        (s.0, s.1, s.2) = (s.0.min(t), s.1.max(t), s.2 + 1);
        s.3.extend(page);
        row(
            s.2,
            s.3.len() as u64,
            u64::try_from((s.1 - s.0) / 1000).unwrap(),
        )
    }
}

proptest! {
    #[test]
    fn every_order_of_events_gives_what_the_plain_rules_give(
        events in prop::collection::vec((0u8..4, 0i64..40_000, prop::option::of(0u8..5)), 1..200)
    ) {
        let mut sessions = Sessions::new(RULES, 7);
        let mut naive = Naive::default();
        let mut watermark = Watermark::new(Duration::from_secs(30));
        for (id, seconds, page) in events {
            let t = seconds * 1000;
            let page_bytes = page.map(|p| [p]);
            let page_bytes = page_bytes.as_ref().map(|p| &p[..]);
            let got = judge(&mut sessions, &[id], t, watermark.time_ms(), page_bytes);
            prop_assert_eq!(got, naive.judge(id, t, watermark.time_ms(), page));
            watermark.observe(t);
            sessions.sweep(watermark.time_ms().unwrap());
        }
    }
}
