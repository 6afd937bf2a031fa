//! Single cases: what begins in the middle of a log, and sessions that come near closed ones.

use super::*;
use crate::progress::FirstRead;

/// Rows as they are handed out: start in seconds, records, whether final.
type Sent = Vec<(i64, u64, bool)>;

fn collected(windows: &mut Windows) -> Sent {
    let rows = sent_without_settling(windows);
    windows.settled();
    rows
}

fn sent_without_settling(windows: &mut Windows) -> Sent {
    let mut rows = vec![];
    let collected = windows.collect(false, |row| {
        rows.push((row.start_ms / 1000, row.group.revision, row.is_final));
        ControlFlow::Continue(())
    });
    collected.expect("nothing is on disk");
    rows
}

fn frontier(windows: &mut Windows, settled: i64) -> (i64, WindowFrontier) {
    let point = windows.commit_point(0, settled);
    (
        point.position,
        point.frontier.windows().expect("of windows"),
    )
}

#[test]
fn a_window_that_had_begun_before_the_first_record_is_never_final() {
    let mut rules = rules(60, 60, 10, 0);
    rules.cells = vec![CellRules::Sum];
    let mut windows = Windows::new(rules.clone(), 1);
    windows.begin(0, 7, None, 7, true);
    let (position, before) = frontier(&mut windows, 7);
    assert_eq!((position, before.first_read), (7, Some(FirstRead::Awaited)));
    add(&mut windows, 7, 65, 1);
    windows.note_read(0, 8);
    // Somebody else goes on: it is known to both.
    let (position, before) = frontier(&mut windows, 8);
    assert_eq!(before.first_read, Some(FirstRead::At(65_000)));
    let mut next = Windows::new(rules, 1);
    next.begin(0, position, Some(before), 8, false);
    assert_eq!(position, 7, "it is read again");
    add(&mut next, 7, 65, 1);
    for windows in [&mut windows, &mut next] {
        add(windows, 8, 50, 1);
        add(windows, 9, 130, 1);
        add(windows, 10, 200, 1);
        let rows = [(0, 1, false), (60, 1, false), (120, 1, true)];
        assert_eq!(collected(windows), rows);
        assert_eq!(windows.open_count(), 1, "they are closed all the same");
    }
}

#[test]
fn a_partition_that_was_silent_at_the_start_makes_no_window_incomplete_that_began_later() {
    for (silence, is_final) in [(Silence::Idle, true), (Silence::None, false)] {
        let mut windows = small(0);
        windows.begin(0, 7, None, 7, true);
        windows.begin(1, 3, None, 3, true);
        add(&mut windows, 7, 65, 1);
        add(&mut windows, 8, 130, 1);
        windows.note_silence(1, silence, 3);
        let place = Place {
            time_ms: 200_000,
            partition: 1,
            offset: 3,
        };
        windows.add(&Event {
            input: 1,
            place,
            group: b"g",
            samples: &[Sample::Number(1)],
            texts: &[],
        });
        windows.note_silence(1, Silence::None, 4);
        add(&mut windows, 9, 250, 1);
        // One that spoke at once may have had records of any time before its first.
        let rows = [(60, 1, false), (120, 1, is_final)];
        assert_eq!(collected(&mut windows), rows, "{silence:?}");
    }
}

/// Sessions with a gap of ten seconds, no delay and no lateness.
fn sessions() -> Windows {
    let rules = Rules {
        shape: Shape::Session { gap_ms: 10_000 },
        cells: vec![CellRules::Sum],
        ..rules(1, 1, 0, 0)
    };
    let mut windows = Windows::new(rules, 1);
    windows.begin(0, 0, None, 0, false);
    windows
}

#[test]
fn a_record_that_would_bring_two_final_sessions_nearer_than_the_gap_is_late() {
    for is_collected in [false, true] {
        let mut windows = sessions();
        add(&mut windows, 0, 0, 1);
        add(&mut windows, 1, 15, 1);
        if is_collected {
            assert_eq!(collected(&mut windows), [(0, 1, true)]);
        }
        // By its own end not late, but within the gap of what is closed: alone, and joined to another.
        assert_eq!(add(&mut windows, 2, 6, 1), Verdict::Late);
        assert_eq!(add(&mut windows, 3, 10, 1), Verdict::Late);
        assert_eq!(add(&mut windows, 4, 11, 1), Verdict::Counted);
        add(&mut windows, 5, 40, 1);
        let rows = collected(&mut windows);
        assert!(rows.ends_with(&[(11, 2, true)]), "{rows:?}");
    }
}

#[test]
fn a_closed_session_is_read_again_as_long_as_a_record_may_come_near_it() {
    let mut windows = sessions();
    let position = |windows: &mut Windows, next: i64| {
        windows.note_read(0, next);
        collected(windows);
        frontier(windows, next).0
    };
    add(&mut windows, 0, 0, 1);
    windows.note_read(0, 1);
    for (offset, time_s, expected) in [(1, 15, 0), (2, 19, 0), (3, 35, 1)] {
        add(&mut windows, offset, time_s, 1);
        assert_eq!(position(&mut windows, offset + 1), expected, "{time_s}");
    }
}

#[test]
fn a_closed_session_of_a_partition_that_has_gone_silent_holds_no_commit_back() {
    let mut windows = sessions();
    add(&mut windows, 0, 0, 1);
    windows.note_read(0, 1);
    for (silence, rows, expected) in [
        (Silence::None, vec![], 0),
        (Silence::Idle, vec![(0, 1, false)], 0),
        (Silence::Retired, vec![(0, 1, true)], 1),
    ] {
        windows.note_silence(0, silence, 1);
        assert_eq!(sent_without_settling(&mut windows), rows);
        assert_eq!(frontier(&mut windows, 1).0, 0, "{silence:?}: not durable");
        windows.settled();
        assert_eq!(frontier(&mut windows, 1).0, expected, "{silence:?}");
    }
    // What comes all the same is a session of its own, and holds the commit back while it is open.
    assert_eq!(add(&mut windows, 1, 12, 1), Verdict::Counted);
    windows.note_read(0, 2);
    windows.note_silence(0, Silence::None, 2);
    assert_eq!(collected(&mut windows), []);
    assert_eq!(frontier(&mut windows, 2).0, 1);
}

#[test]
fn what_opens_a_window_says_until_when_it_takes_records() {
    let mut windows = small(5);
    add(&mut windows, 0, 0, 1);
    assert_eq!(windows.opened_to_ms(), Some(65_000));
    add(&mut windows, 1, 1, 1);
    assert_eq!(windows.opened_to_ms(), None, "the group is there");
    let mut windows = sessions();
    for (offset, time_s, opened_to) in [(0, 5, Some(15)), (1, 3, None), (2, 8, Some(18))] {
        add(&mut windows, offset, time_s, 1);
        let expected = opened_to.map(|seconds: i64| seconds * 1000);
        assert_eq!(windows.opened_to_ms(), expected, "{time_s}");
    }
}

#[test]
fn windows_that_may_lack_records_are_not_handed_out_where_only_whole_ones_are_wanted() {
    let mut rules = rules(60, 60, 10, 0);
    rules.cells = vec![CellRules::Sum];
    let mut windows = Windows::new(rules.clone(), 1);
    windows.leave_out_cut(0);
    windows.begin(0, 7, None, 7, true);
    // A record that is gone may be ten seconds younger than the first that is there.
    add(&mut windows, 7, 55, 1);
    windows.note_read(0, 8);
    let (position, before) = frontier(&mut windows, 8);
    // Windows that begin with it, or sooner, lack it.
    assert_eq!(before.first_read, Some(FirstRead::At(65_001)));
    let mut next = Windows::new(rules.clone(), 1);
    next.leave_out_cut(0);
    next.begin(0, position, Some(before), 8, false);
    add(&mut next, 7, 55, 1);
    for windows in [&mut windows, &mut next] {
        add(windows, 8, 65, 1);
        add(windows, 9, 130, 1);
        add(windows, 10, 200, 1);
        assert_eq!(collected(windows), [(120, 1, true)]);
        assert_eq!(windows.open_count(), 1, "they are closed all the same");
    }
    // What is kept out for a minute behind a record may have been kept out by one that is gone.
    let mut reaching = Windows::new(rules.clone(), 1);
    reaching.leave_out_cut(60_000);
    reaching.begin(0, 7, None, 7, true);
    for (offset, time_s) in [(7, 55), (8, 121), (9, 200), (10, 300)] {
        add(&mut reaching, offset, time_s, 1);
    }
    assert_eq!(collected(&mut reaching), [(180, 1, true)]);
    // Of a log that is read from its beginning every window is whole.
    let mut whole = Windows::new(rules, 1);
    whole.leave_out_cut(0);
    whole.begin(0, 7, None, 7, false);
    add(&mut whole, 7, 55, 1);
    add(&mut whole, 8, 130, 1);
    assert_eq!(collected(&mut whole), [(0, 1, true)]);
}

#[test]
fn a_session_that_may_lack_records_is_not_handed_out_where_only_whole_ones_are_wanted() {
    let rules = Rules {
        shape: Shape::Session { gap_ms: 10_000 },
        cells: vec![CellRules::Sum],
        ..rules(1, 1, 0, 5)
    };
    let mut windows = Windows::new(rules, 1);
    windows.leave_out_cut(0);
    windows.begin(0, 7, None, 7, true);
    for (offset, time_s) in [(7, 100), (8, 115), (9, 126), (10, 200)] {
        add(&mut windows, offset, time_s, 1);
        windows.note_read(0, offset + 1);
    }
    assert_eq!(collected(&mut windows), [(126, 1, true)]);
    assert_eq!(windows.open_count(), 1);
}

#[test]
fn what_another_owner_has_closed_is_closed_whatever_the_watermark_is() {
    let mut rules = rules(60, 60, 10, 0);
    rules.cells = vec![CellRules::Sum];
    let sessions = Rules {
        shape: Shape::Session { gap_ms: 10_000 },
        ..rules.clone()
    };
    // The watermark has reached the end of none of them.
    for (rules, second_s, through_ms) in [(rules, 61, 60_000), (sessions, 21, 15_000)] {
        let mut windows = Windows::new(rules, 1);
        windows.begin(0, 0, None, 0, false);
        add(&mut windows, 0, 5, 1);
        add(&mut windows, 1, second_s, 1);
        windows.note_read(0, 2);
        assert_eq!(collected(&mut windows), []);
        let closed = frontier(&mut windows, 2).1.closed_through_ms;
        assert!(closed < Some(through_ms), "{closed:?}");
        windows.close_through(through_ms);
        let rows = collected(&mut windows);
        let first = rows.first().expect("the first is sent");
        assert!(first.1 == 1 && first.2, "{rows:?}");
        assert_eq!(windows.open_count(), 1, "the second is open still");
        let closed = frontier(&mut windows, 2).1.closed_through_ms;
        assert!(closed >= Some(through_ms), "{closed:?}");
    }
}

#[test]
fn what_another_owner_has_closed_is_known_where_no_window_was_open() {
    let mut windows = small(0);
    windows.begin(0, 0, None, 0, false);
    add(&mut windows, 0, 5, 1);
    windows.note_read(0, 1);
    windows.close_through(500_000);
    collected(&mut windows);
    assert_eq!(frontier(&mut windows, 1).1.closed_through_ms, Some(500_000));
}
