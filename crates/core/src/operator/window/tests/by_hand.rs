//! Windows whose rows one can count.

use super::*;

#[test]
fn a_window_is_sent_at_its_end_then_corrected_then_closed() {
    let mut windows = small(60);
    add(&mut windows, 0, 0, 1);
    add(&mut windows, 1, 69, 1);
    assert_eq!(sent(&mut windows), []);
    add(&mut windows, 2, 70, 1);
    assert_eq!(
        sent(&mut windows),
        [(0, 1, false)],
        "70 - 10 has reached 60"
    );
    assert_eq!(sent(&mut windows), []);
    add(&mut windows, 3, 59, 1);
    assert_eq!(sent(&mut windows), [(0, 2, false)]);
    add(&mut windows, 4, 130, 1);
    assert_eq!(sent(&mut windows), [(0, 2, true), (60, 2, false)]);
    assert_eq!(add(&mut windows, 5, 59, 1), Verdict::Late);
}

#[test]
fn without_lateness_the_first_row_is_the_last() {
    let mut windows = small(0);
    add(&mut windows, 0, 0, 1);
    add(&mut windows, 1, 70, 1);
    assert_eq!(sent(&mut windows), [(0, 1, true)]);
    assert_eq!(add(&mut windows, 2, 59, 1), Verdict::Late);
}

#[test]
fn an_idle_partition_lets_the_last_window_go_and_a_retired_one_closes_it() {
    let mut windows = small(60);
    add(&mut windows, 0, 0, 1);
    windows.note_silence(0, Silence::Idle, 1);
    assert_eq!(sent(&mut windows), [(0, 1, false)]);
    add(&mut windows, 1, 1, 1);
    assert_eq!(sent(&mut windows), [(0, 2, false)], "it still counts");
    windows.note_silence(0, Silence::Retired, 2);
    assert_eq!(sent(&mut windows), [(0, 2, true)]);
    assert_eq!(add(&mut windows, 2, 2, 1), Verdict::Late);
    let point = windows.commit_point(0, 3);
    assert_eq!(point.position, 3);
}

#[test]
fn a_partition_that_never_spoke_holds_windows_back_until_it_is_idle() {
    let mut windows = small(0);
    windows.begin(1, 0, None, 0, false);
    add(&mut windows, 0, 0, 1);
    add(&mut windows, 1, 500, 1);
    assert_eq!(sent(&mut windows), []);
    windows.note_silence(1, Silence::Idle, 0);
    assert_eq!(
        sent(&mut windows),
        [(0, 1, false)],
        "the other may still speak"
    );
}

#[test]
fn a_sum_is_exact_however_far_it_goes_on_the_way() {
    let mut windows = small(0);
    for (offset, number) in (0..).zip([i128::MAX, i128::MAX, 7, -i128::MAX, -i128::MAX, i128::MIN])
    {
        assert_eq!(add(&mut windows, offset, 0, number), Verdict::Counted);
    }
    add(&mut windows, 6, 100, 1);
    let mut sums = vec![];
    let collected = windows.collect(false, |row| {
        sums.extend(row.group.cells.iter().map(|cell| match cell {
            Cell::Sum { sum, count } => (*sum, *count),
            other => panic!("{other:?} is no sum"),
        }));
        ControlFlow::Continue(())
    });
    collected.expect("nothing is on disk");
    assert_eq!(sums, [(I256::from(7) + I256::from(i128::MIN), 6)]);
}

#[test]
fn records_of_open_windows_hold_the_commit_back() {
    let mut windows = small(0);
    add(&mut windows, 0, 0, 1);
    add(&mut windows, 1, 60, 1);
    add(&mut windows, 2, 1, 1);
    windows.note_read(0, 3);
    assert_eq!(windows.commit_point(0, 3).position, 0);
    add(&mut windows, 3, 70, 1);
    windows.note_read(0, 4);
    let mut rows = 0;
    let collected = windows.collect(false, |_| {
        rows += 1;
        ControlFlow::Continue(())
    });
    collected.expect("nothing is on disk");
    assert_eq!(rows, 1);
    assert_eq!(
        windows.commit_point(0, 4).position,
        0,
        "not acknowledged yet"
    );
    windows.settled();
    let point = windows.commit_point(0, 4);
    assert_eq!(point.position, 1);
    let frontier = point.frontier.windows().expect("of windows");
    assert_eq!(frontier.largest_ms, Some(0));
    assert_eq!(frontier.closed_through_ms, Some(60_000));
    assert_eq!(frontier.read_to, 4);
}

#[test]
fn memory_is_given_back_with_the_windows() {
    let mut windows = small(0);
    assert_eq!(windows.memory_bytes(), 0);
    add(&mut windows, 0, 0, 1);
    let one = windows.memory_bytes();
    assert!(one > 0);
    add(&mut windows, 1, 100, 1);
    assert_eq!(windows.memory_bytes(), one * 2);
    sent(&mut windows);
    assert_eq!(windows.memory_bytes(), one);
}
