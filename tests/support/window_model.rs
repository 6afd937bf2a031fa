//! What windows of sales come to: a plain model of the rules, which shares nothing with the daemon.
//!
//! Everything is kept: nothing is sent, closed or forgotten here. Each partition is read in the order of
//! its offsets, and each record is held against its own partition's watermark.

use std::collections::{BTreeMap, BTreeSet};

/// How the windows of a trial lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Tumbling where the two are equal, else hopping.
    Aligned {
        size_ms: i64,
        slide_ms: i64,
    },
    Session {
        gap_ms: i64,
    },
}

/// The rules of a trial.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub shape: Shape,
    pub delay_ms: i64,
    pub lateness_ms: i64,
    /// Each partition has windows of its own.
    pub is_partitioned: bool,
}

/// One record as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    pub time_ms: i64,
    pub category: String,
    pub customer: u64,
    pub product: u64,
    pub cents: i64,
}

/// Where a window begins, and its group.
pub type Key = (i64, String);
/// Partition and offset of a record.
pub type Place = (i32, i64);

/// A row of the table, or a value of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub end_ms: i64,
    pub sales: u64,
    pub revenue_cents: i64,
    pub customers: u64,
    pub products: u64,
    pub average_cents: i64,
    pub revision: u64,
    pub late_count: u64,
    pub is_final: bool,
}

/// What a topic must have come to.
#[derive(Debug, Default)]
pub struct Expected {
    pub rows: BTreeMap<Key, Row>,
    /// Records all whose windows had closed.
    pub late: BTreeSet<Place>,
    /// For each partition the first record of a window that is still open: the commit stays there.
    pub needed: BTreeMap<i32, i64>,
}

#[derive(Debug, Clone, Default)]
struct Window {
    first_ms: i64,
    last_ms: i64,
    cents: Vec<i64>,
    customers: BTreeSet<u64>,
    products: BTreeSet<u64>,
    late_count: u64,
    firsts: BTreeMap<i32, i64>,
}

impl Window {
    fn add(&mut self, sale: &Sale, place: Place, is_behind: bool) {
        self.cents.push(sale.cents);
        self.customers.insert(sale.customer);
        self.products.insert(sale.product);
        self.late_count += u64::from(is_behind);
        self.firsts.entry(place.0).or_insert(place.1);
    }

    fn take_in(&mut self, other: Window) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.cents.extend(other.cents);
        self.customers.extend(other.customers);
        self.products.extend(other.products);
        self.late_count += other.late_count;
        for (partition, offset) in other.firsts {
            let first = self.firsts.entry(partition).or_insert(offset);
            *first = (*first).min(offset);
        }
    }

    fn row(&self, end_ms: i64, is_final: bool) -> Row {
        let revenue_cents: i64 = self.cents.iter().sum();
        let count = self.cents.len();
        Row {
            end_ms,
            sales: count as u64,
            revenue_cents,
            customers: self.customers.len() as u64,
            products: self.products.len() as u64,
            average_cents: half_even(revenue_cents, i64::try_from(count).expect("few")),
            revision: count as u64,
            late_count: self.late_count,
            is_final,
        }
    }
}

fn half_even(dividend: i64, divisor: i64) -> i64 {
    let (whole, rest) = (dividend.div_euclid(divisor), dividend.rem_euclid(divisor));
    match (2 * rest).cmp(&divisor) {
        std::cmp::Ordering::Less => whole,
        std::cmp::Ordering::Greater => whole + 1,
        std::cmp::Ordering::Equal => whole + whole.rem_euclid(2),
    }
}

impl Rules {
    /// The same with longer windows and delays.
    #[must_use]
    pub fn scaled(self, scale: i64) -> Rules {
        let shape = match self.shape {
            Shape::Aligned { size_ms, slide_ms } => Shape::Aligned {
                size_ms: size_ms * scale,
                slide_ms: slide_ms * scale,
            },
            Shape::Session { gap_ms } => Shape::Session {
                gap_ms: gap_ms * scale,
            },
        };
        Rules {
            shape,
            delay_ms: self.delay_ms * scale,
            lateness_ms: self.lateness_ms * scale,
            ..self
        }
    }

    /// What the records of each partition, in the order of their offsets, come to. A record that is a
    /// dead letter whatever the time is not among them.
    pub fn expected(&self, partitions: &BTreeMap<i32, Vec<(i64, Sale)>>) -> Expected {
        let mut expected = Expected::default();
        let largest = |records: &Vec<(i64, Sale)>| records.iter().map(|(_, s)| s.time_ms).max();
        let mark = |records| Some(largest(records)? - self.delay_ms);
        let marks: BTreeMap<i32, Option<i64>> = partitions
            .iter()
            .map(|(p, records)| (*p, mark(records)))
            .collect();
        match self.shape {
            Shape::Aligned { size_ms, slide_ms } => {
                self.aligned(partitions, &marks, size_ms, slide_ms, &mut expected);
            }
            Shape::Session { gap_ms } => self.sessions(partitions, &marks, gap_ms, &mut expected),
        }
        expected
    }

    fn aligned(
        &self,
        partitions: &BTreeMap<i32, Vec<(i64, Sale)>>,
        marks: &BTreeMap<i32, Option<i64>>,
        size_ms: i64,
        slide_ms: i64,
        expected: &mut Expected,
    ) {
        let mut windows: BTreeMap<Key, Window> = BTreeMap::new();
        for (&partition, records) in partitions {
            let mut largest = None;
            for (offset, sale) in records {
                let mark = largest.map(|largest: i64| largest - self.delay_ms);
                let is_behind = |ms: i64| mark.is_some_and(|mark| mark >= ms);
                let latest = sale.time_ms.div_euclid(slide_ms) * slide_ms;
                let starts = (0..size_ms / slide_ms).map(|n| latest - n * slide_ms);
                let mut counts = false;
                for start_ms in starts {
                    let end_ms = start_ms + size_ms;
                    if is_behind(end_ms + self.lateness_ms) {
                        continue;
                    }
                    counts = true;
                    let window = windows.entry((start_ms, sale.category.clone()));
                    let window = window.or_default();
                    window.add(sale, (partition, *offset), is_behind(end_ms));
                }
                if !counts {
                    expected.late.insert((partition, *offset));
                }
                largest = largest.max(Some(sale.time_ms));
            }
        }
        let lowest = marks.values().min().copied().flatten();
        for (key, window) in windows {
            let end_ms = key.0 + size_ms;
            let mark = if self.is_partitioned {
                let (partition, _) = window.firsts.first_key_value().expect("one record");
                marks[partition]
            } else {
                lowest
            };
            let is_final = mark.is_some_and(|mark| mark >= end_ms + self.lateness_ms);
            expected.take(key, &window, end_ms, is_final);
        }
    }

    fn sessions(
        &self,
        partitions: &BTreeMap<i32, Vec<(i64, Sale)>>,
        marks: &BTreeMap<i32, Option<i64>>,
        gap_ms: i64,
        expected: &mut Expected,
    ) {
        for (&partition, records) in partitions {
            let mut groups: BTreeMap<&str, Vec<Window>> = BTreeMap::new();
            let mut largest = None;
            let mut marks_at = BTreeMap::new();
            for (offset, sale) in records {
                let mark = largest.map(|largest: i64| largest - self.delay_ms);
                marks_at.insert(*offset, mark);
                let is_behind = |ms: i64| mark.is_some_and(|mark| mark >= ms);
                let is_over = |last_ms: i64| is_behind(last_ms + gap_ms + self.lateness_ms);
                let sessions = groups.entry(&sale.category).or_default();
                let is_near = |session: &Window| {
                    !is_over(session.last_ms)
                        && sale.time_ms >= session.first_ms - gap_ms
                        && sale.time_ms <= session.last_ms + gap_ms
                };
                let is_reached = |session: &Window| {
                    is_over(session.last_ms) && sale.time_ms <= session.last_ms + gap_ms
                };
                let is_too_near = sessions.iter().any(is_reached);
                let (near, others): (Vec<_>, Vec<_>) = sessions.drain(..).partition(is_near);
                *sessions = others;
                if is_too_near || near.is_empty() && is_over(sale.time_ms) {
                    sessions.extend(near);
                    expected.late.insert((partition, *offset));
                } else {
                    let mut session = Window {
                        first_ms: sale.time_ms,
                        last_ms: sale.time_ms,
                        ..Window::default()
                    };
                    near.into_iter().for_each(|other| session.take_in(other));
                    let is_late = is_behind(session.last_ms + gap_ms);
                    session.add(sale, (partition, *offset), is_late);
                    sessions.push(session);
                }
                largest = largest.max(Some(sale.time_ms));
            }
            let mark = marks[&partition];
            let is_passed = |ms: i64| mark.is_some_and(|mark| mark >= ms);
            let is_closed = |s: &Window| is_passed(s.last_ms + gap_ms + self.lateness_ms);
            for (category, sessions) in groups {
                // Read again as long as a record may come near it: two gaps, and before a session that is open
                // and began by then.
                let free_ms = |s: &Window| s.last_ms + 3 * gap_ms + self.lateness_ms;
                let open = sessions.iter().filter(|session| !is_closed(session));
                let before_open: Vec<i64> = open
                    .filter_map(|open| {
                        let closed = sessions.iter().filter(|session| is_closed(session));
                        let before = closed.filter(|session| session.last_ms < open.first_ms);
                        let last = before.max_by_key(|session| session.last_ms)?;
                        let begun = marks_at[&open.firsts[&partition]];
                        begun
                            .is_none_or(|mark| free_ms(last) > mark)
                            .then_some(last.last_ms)
                    })
                    .collect();
                for session in sessions {
                    let end_ms = session.last_ms + gap_ms;
                    let is_final = is_closed(&session);
                    if !is_passed(free_ms(&session)) || before_open.contains(&session.last_ms) {
                        expected.need(&session);
                    }
                    let key = (session.first_ms, category.to_owned());
                    expected.take(key, &session, end_ms, is_final);
                }
            }
        }
    }
}

impl Expected {
    /// The window's records are not committed.
    fn need(&mut self, window: &Window) {
        for (&partition, &offset) in &window.firsts {
            let needed = self.needed.entry(partition).or_insert(offset);
            *needed = (*needed).min(offset);
        }
    }

    fn take(&mut self, key: Key, window: &Window, end_ms: i64, is_final: bool) {
        if !is_final {
            self.need(window);
        }
        let before = self.rows.insert(key, window.row(end_ms, is_final));
        assert_eq!(
            before, None,
            "two windows of one key: the traffic must avoid that"
        );
    }
}
