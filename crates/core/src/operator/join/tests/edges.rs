//! Single cases of what matches and what is decided when, and of what a commit keeps.

use super::*;

/// A join of one key, times in seconds, five minutes to either side, half a minute of delay.
struct Small {
    join: Join,
    next: [i64; 2],
}

/// What was found for an event: its offset, and the offset of its match or why there is none.
type Found = (i64, Result<i64, Outcome>);

impl Small {
    fn new() -> Small {
        Small::with(rules(false, Some(300_000), 300, 30))
    }

    fn eager() -> Small {
        Small::with(rules(true, Some(300_000), 300, 30))
    }

    fn with(rules: Rules) -> Small {
        let mut join = Join::new(rules, 1);
        join.begin(Side::Left, 0, None);
        join.begin(Side::Right, 0, None);
        Small { join, next: [0; 2] }
    }

    fn offset(&mut self, side: Side) -> i64 {
        let next = &mut self.next[side as usize];
        *next += 1;
        *next - 1
    }

    fn left_ms(&mut self, time_ms: i64, key: Option<&[u8]>) -> Verdict {
        let offset = self.offset(Side::Left);
        let verdict = self.join.left(LeftEvent {
            offset,
            time_ms,
            key,
            payload: b"event",
        });
        self.join.note_read(Side::Left, offset + 1);
        verdict
    }

    fn left(&mut self, time_s: i64) -> Verdict {
        self.left_ms(time_s * 1000, Some(b"ann"))
    }

    fn right_ms(&mut self, time_ms: i64, key: Option<&[u8]>, is_tombstone: bool) -> Verdict {
        let offset = self.offset(Side::Right);
        let payload = offset.to_be_bytes();
        let verdict = self.join.right(RightRecord {
            offset,
            time_ms,
            key,
            payload: (!is_tombstone).then_some(&payload),
        });
        self.join.note_read(Side::Right, offset + 1);
        verdict
    }

    fn right(&mut self, time_s: i64) -> Verdict {
        self.right_ms(time_s * 1000, Some(b"ann"), false)
    }

    fn tombstone(&mut self, time_s: i64) -> Verdict {
        self.right_ms(time_s * 1000, Some(b"ann"), true)
    }

    fn decided(&mut self) -> Vec<Found> {
        let mut rows = vec![];
        let is_all = self.join.decide(false, |joined| {
            let right = joined
                .right
                .map(|r| i64::from_be_bytes(r.try_into().unwrap()));
            rows.push((joined.offset, right.ok_or(joined.outcome)));
            ControlFlow::Continue(())
        });
        assert!(is_all);
        rows
    }

    /// Both sides end.
    fn rest(&mut self) -> Vec<Found> {
        for side in SIDES {
            self.join.note_silence(side, true, self.next[side as usize]);
        }
        self.decided()
    }
}

/// What an event at 1000 s finds among right records of these times, in milliseconds.
fn found(rights_ms: &[i64]) -> Result<i64, Outcome> {
    let mut small = Small::new();
    small.left(1000);
    for time_ms in rights_ms {
        small.right_ms(*time_ms, Some(b"ann"), false);
    }
    let rows = small.rest();
    assert_eq!(rows.len(), 1);
    rows[0].1
}

#[test]
fn a_profile_before_the_event_matches() {
    assert_eq!(found(&[990_000]), Ok(0));
}

#[test]
fn without_a_profile_before_the_oldest_after_matches() {
    assert_eq!(found(&[1_030_000, 1_010_000, 1_020_000]), Ok(1));
}

#[test]
fn a_profile_before_wins_over_a_nearer_one_after() {
    assert_eq!(found(&[980_000, 1_001_000]), Ok(0));
}

#[test]
fn of_several_before_the_newest_matches() {
    assert_eq!(found(&[970_000, 990_000, 980_000]), Ok(1));
}

#[test]
fn equal_times_count_as_before() {
    assert_eq!(found(&[999_000, 1_000_000, 1_001_000]), Ok(1));
}

#[test]
fn exactly_five_minutes_match_and_a_millisecond_more_does_not() {
    assert_eq!(found(&[700_000]), Ok(0));
    assert_eq!(found(&[699_999]), Err(Outcome::OutsideWindow));
    assert_eq!(found(&[1_300_000]), Ok(0));
    assert_eq!(found(&[1_300_001]), Err(Outcome::OutsideWindow));
}

#[test]
fn a_key_without_any_profile_is_told_from_one_outside_the_window() {
    assert_eq!(found(&[]), Err(Outcome::NoProfile));
    assert_eq!(found(&[500_000, 1_500_000]), Err(Outcome::OutsideWindow));
}

#[test]
fn where_the_one_before_is_too_old_the_one_after_matches() {
    assert_eq!(found(&[600_000, 1_010_000]), Ok(1));
}

#[test]
fn times_decide_and_not_arrival() {
    assert_eq!(found(&[999_000, 995_000, 1_005_000, 998_000]), Ok(0));
}

#[test]
fn of_versions_of_the_same_time_the_later_offset_matches() {
    assert_eq!(found(&[990_000, 990_000]), Ok(1));
    assert_eq!(found(&[1_010_000, 1_010_000, 1_011_000]), Ok(1));
}

#[test]
fn a_profile_that_arrives_long_after_the_event_but_is_older_matches() {
    let mut small = Small::new();
    small.left(1000);
    small.left(5000);
    assert_eq!(small.decided(), []);
    small.right(990);
    small.right(1031);
    assert_eq!(small.decided(), [(0, Ok(0))]);
}

#[test]
fn a_late_event_is_handed_out_at_once_without_a_match() {
    let mut small = Small::new();
    small.right(960);
    small.left(1000);
    assert_eq!(small.left(969), Verdict::Late);
    assert_eq!(
        small.left(970),
        Verdict::Taken,
        "at the watermark is in time"
    );
    assert_eq!(small.decided(), [(1, Err(Outcome::Late))]);
}

#[test]
fn a_late_profile_takes_no_part() {
    let mut small = Small::new();
    small.left(1000);
    assert_eq!(small.right(1330), Verdict::Taken);
    assert_eq!(small.right(1299), Verdict::Late);
    assert_eq!(small.rest(), [(0, Err(Outcome::OutsideWindow))]);
}

#[test]
fn an_event_without_key_has_no_match() {
    let mut small = Small::new();
    small.left_ms(1_000_000, None);
    small.right_ms(1_000_000, Some(b""), false);
    small.right_ms(1_000_000, None, false);
    assert_eq!(small.rest(), [(0, Err(Outcome::NoProfile))]);
}

#[test]
fn an_empty_key_is_a_key() {
    let mut small = Small::new();
    small.left_ms(1_000_000, Some(b""));
    small.right_ms(1_000_000, Some(b""), false);
    assert_eq!(small.rest(), [(0, Ok(0))]);
}

#[test]
fn an_event_waits_for_both_watermarks_and_for_the_end_of_its_window() {
    let mut small = Small::new();
    small.left(1000);
    small.right(2000);
    assert_eq!(small.decided(), [], "an earlier event may come");
    small.left(1030);
    assert_eq!(small.decided(), [], "at the watermark is in time");
    small.left(1031);
    assert_eq!(small.decided(), [(0, Err(Outcome::OutsideWindow))]);
    assert_eq!(small.join.pending_count(), 2);
    assert_eq!(small.join.pending_span_ms(), Some((1_030_000, 1_031_000)));
}

#[test]
fn a_match_after_the_event_waits_for_one_that_is_older() {
    let mut small = Small::new();
    small.left(1000);
    small.left(1100);
    small.right(1040);
    assert_eq!(small.decided(), []);
    small.right(1070);
    assert_eq!(small.decided(), [], "another of 1040 may come");
    small.right(1071);
    assert_eq!(small.decided(), [(0, Ok(0))]);
}

#[test]
fn a_record_that_takes_no_part_moves_the_watermark() {
    let mut small = Small::new();
    small.left(1000);
    small.right(990);
    small.join.observe(Side::Left, 1, 2_000_000);
    assert_eq!(small.decided(), []);
    small.join.observe(Side::Right, 1, 2_000_000);
    assert_eq!(small.decided(), [(0, Ok(0))]);
}

#[test]
fn a_silent_side_is_not_waited_for_and_what_comes_then_is_decided_at_once() {
    let mut small = Small::new();
    small.left(1000);
    small.right(990);
    small.join.note_silence(Side::Right, true, 1);
    assert_eq!(small.decided(), [], "the left may still speak");
    small.join.note_silence(Side::Left, true, 1);
    assert_eq!(small.decided(), [(0, Ok(0))]);
    assert_eq!(small.left(995), Verdict::Taken);
    assert_eq!(
        small.decided(),
        [(1, Ok(0))],
        "it is behind one that is decided"
    );
}

/// Whether a side waits: as it is, while it waits already, and when memory is tight.
fn waits(small: &Small, side: Side) -> [bool; 3] {
    [(false, false), (true, false), (false, true)]
        .map(|(is_held, is_tight)| small.join.is_far_ahead(side, is_held, is_tight))
}

#[test]
fn a_side_waits_to_hear_where_the_other_begins() {
    let mut small = Small::new();
    assert_eq!(waits(&small, Side::Left), [false; 3]);
    small.left(1000);
    assert_eq!(waits(&small, Side::Left), [false, false, true]);
    assert_eq!(waits(&small, Side::Right), [false; 3]);
    small.left(1046);
    assert_eq!(waits(&small, Side::Left), [false, true, true]);
    small.left(1091);
    assert_eq!(waits(&small, Side::Left), [true; 3]);
    small.join.note_silence(Side::Right, true, 0);
    assert_eq!(waits(&small, Side::Left), [false; 3]);
    let mut small = Small::new();
    small.right(1000);
    small.right(1091);
    assert_eq!(waits(&small, Side::Right), [true; 3]);
}

#[test]
fn events_that_are_far_ahead_wait_unless_the_right_is_idle() {
    // The slack is three times the delay of 30 s, half of it for one that waits already.
    for (right_s, expected) in [
        (909, [true, true, true]),
        (910, [false, true, true]),
        (955, [false, false, true]),
        (1000, [false, false, false]),
    ] {
        let mut small = Small::new();
        small.left(1000);
        small.right(right_s);
        assert_eq!(waits(&small, Side::Left), expected, "{right_s}");
        assert_eq!(waits(&small, Side::Right), [false; 3], "{right_s}");
        small.join.note_silence(Side::Right, true, 1);
        assert_eq!(waits(&small, Side::Left), [false; 3], "{right_s}");
        let mut eager = Small::eager();
        eager.left(1000);
        eager.right(right_s);
        let only_tight = [false, false, expected[2]];
        assert_eq!(waits(&eager, Side::Left), only_tight, "{right_s}");
    }
}

#[test]
fn profiles_wait_that_lie_behind_what_any_event_known_could_match() {
    // 300 s after the event, and the slack.
    for (right_s, expected) in [
        (1391, [true, true, true]),
        (1390, [false, true, false]),
        (1345, [false, false, false]),
    ] {
        let mut small = Small::new();
        small.left(1000);
        small.right(right_s);
        assert_eq!(waits(&small, Side::Right), expected, "{right_s}");
        small.join.note_silence(Side::Left, true, 1);
        let is_far = right_s == 1391;
        assert_eq!(waits(&small, Side::Right), [false, false, is_far]);
    }
    let mut small = Small::new();
    small.right(1391);
    let of_first_record = [false, false, true];
    assert_eq!(waits(&small, Side::Right), of_first_record);
}

#[test]
fn all_hands_out_what_still_waits() {
    let mut small = Small::new();
    small.left(1000);
    let mut rows = 0;
    assert!(small.join.decide(true, |_| {
        rows += 1;
        ControlFlow::Continue(())
    }));
    assert_eq!(rows, 1);
}

#[test]
fn a_full_taker_gets_no_more_than_what_was_decided_out_of_order() {
    let mut small = Small::new();
    for time_s in [1000, 1001, 2000, 1002, 1003] {
        small.left(time_s);
    }
    small.join.note_silence(Side::Right, true, 0);
    let mut offsets = vec![];
    let take = |joined: Joined<'_>| {
        offsets.push(joined.offset);
        ControlFlow::Break(())
    };
    assert!(!small.join.decide(false, take));
    assert_eq!(offsets, [3, 4], "the late ones, and none in order");
    assert_eq!(small.decided().len(), 2);
}

#[test]
fn a_tombstone_ends_a_profile_until_there_is_a_new_one() {
    let mut small = Small::with(rules(false, None, 300, 30));
    small.right(10);
    small.tombstone(500);
    small.right(900);
    for time_s in [499, 500, 599, 600, 900] {
        small.left_ms(time_s * 1000, Some(b"ann"));
        if time_s == 500 {
            small.left_ms(520_000, Some(b"bob"));
        }
    }
    // Late ones: 499 and 500 come first, the delay is half a minute.
    let outside = Err(Outcome::OutsideWindow);
    assert_eq!(
        small.rest(),
        [
            (0, Ok(0)),
            (1, outside),
            (2, Err(Outcome::NoProfile)),
            (3, outside),
            (4, Ok(2)),
            (5, Ok(2))
        ]
    );
}

#[test]
fn an_eager_event_takes_the_best_it_knows_or_the_first_that_comes() {
    let mut small = Small::eager();
    small.right(980);
    small.right(990);
    small.left(1000);
    assert_eq!(small.decided(), [(0, Ok(1))]);
    small.left(1500);
    assert_eq!(small.decided(), []);
    small.right(1510);
    assert_eq!(small.decided(), [(1, Ok(2))], "an older one may still come");
    small.left(2000);
    small.right(2330);
    assert_eq!(small.decided(), [], "at the watermark is in time");
    small.right(2331);
    assert_eq!(small.decided(), [(2, Err(Outcome::OutsideWindow))]);
}

#[test]
fn an_eager_event_whose_profile_has_ended_does_not_wait_for_the_next() {
    let mut small = Small::with(rules(true, None, 300, 30));
    small.left(1000);
    small.tombstone(990);
    assert_eq!(small.decided(), [(0, Err(Outcome::OutsideWindow))]);
    small.left(1001);
    assert_eq!(small.decided(), [(1, Err(Outcome::OutsideWindow))]);
}

fn frontier(point: CommitPoint) -> JoinFrontier {
    point.frontier.join().expect("of a join")
}

#[test]
fn what_is_needed_holds_the_commit_back_and_the_frontier_says_the_rest() {
    let mut small = Small::new();
    for time_s in [1000, 1400, 1100, 1431] {
        small.left(time_s);
    }
    for time_s in [500, 1000, 1050, 1150, 1430] {
        small.right(time_s);
    }
    assert_eq!(small.decided(), [(2, Err(Outcome::Late)), (0, Ok(1))]);
    let left = small.join.commit_point(Side::Left, 4);
    assert_eq!(left.position, 1, "1400 waits");
    let read = frontier(left);
    assert_eq!((read.largest_ms, read.read_to), (Some(1_000_000), 4));
    assert_eq!(read.decided, Some((1_400_000, 1)));
    let right = small.join.commit_point(Side::Right, 5);
    assert_eq!(right.position, 3, "1150 is within five minutes of 1400");
    assert_eq!(frontier(right).largest_ms, Some(1_050_000));
    assert_eq!(frontier(right).settled_to, 5);
    let unsettled = frontier(small.join.commit_point(Side::Left, 2));
    assert_eq!((unsettled.read_to, unsettled.settled_to), (4, 2));
}

#[test]
fn what_was_read_since_the_last_decisions_is_not_in_a_commit() {
    let mut small = Small::eager();
    small.right(1000);
    small.decided();
    small.left(1000);
    let point = small.join.commit_point(Side::Left, 1);
    assert_eq!((point.position, frontier(point).read_to), (0, 0));
    assert_eq!(small.decided(), [(0, Ok(0))]);
    let point = small.join.commit_point(Side::Left, 1);
    assert_eq!((point.position, frontier(point).read_to), (1, 1));
}

#[test]
fn a_new_owner_hands_out_nothing_twice() {
    let mut small = Small::new();
    for time_s in [1000, 1400, 1431] {
        small.left(time_s);
        small.right(time_s);
    }
    assert_eq!(small.decided(), [(0, Ok(0)), (1, Ok(1))]);
    let points = SIDES.map(|side| small.join.commit_point(side, 1));
    let mut new = Small::new();
    new.join = Join::new(rules(false, Some(300_000), 300, 30), 1);
    for (side, point) in SIDES.into_iter().zip(points) {
        new.join.begin(side, point.position, Some(frontier(point)));
        new.next[side as usize] = point.position;
    }
    assert_eq!(new.next, [1, 1]);
    assert_eq!(new.left(1400), Verdict::Decided);
    assert_eq!(new.left(1431), Verdict::Taken);
    new.right(1400);
    new.right(1431);
    assert_eq!(new.decided(), []);
    assert_eq!(new.rest(), [(2, Ok(2))]);
}

#[test]
fn memory_is_given_back_with_the_records() {
    let mut small = Small::new();
    small.decided();
    let empty = small.join.memory_bytes();
    small.left(1000);
    small.right(1000);
    let one = small.join.memory_bytes();
    assert!(one > empty);
    assert_eq!(
        (
            small.join.buffered(Side::Left),
            small.join.buffered(Side::Right)
        ),
        (1, 1)
    );
    for time_s in (2000..100_000).step_by(1000) {
        small.left(time_s);
        small.right(time_s);
        small.decided();
        for side in SIDES {
            small.join.commit_point(side, small.next[side as usize]);
        }
    }
    assert!(small.join.memory_bytes() < one * 3);
    assert_eq!(small.join.buffered(Side::Right), 1);
}

#[test]
fn a_table_keeps_one_version_of_a_key_and_none_of_one_that_ended() {
    let mut small = Small::with(rules(false, None, 300, 30));
    small.right_ms(1, Some(b"bob"), false);
    for time_s in 0..10_000 {
        small.left(time_s);
        small.right(time_s);
        small.decided();
    }
    // Of the last half minute, and the one before that.
    assert!(small.join.buffered(Side::Right) < 40);
    assert!(small.join.memory_bytes() < 200_000);
    assert_eq!(small.join.commit_point(Side::Right, 10_001).position, 0);
    small.right_ms(10_100_000, Some(b"bob"), true);
    small.tombstone(10_100);
    for (hours, kept) in [(1, 2), (25, 0)] {
        let time_ms = 10_200_000 + hours * 3_600_000;
        small.left_ms(time_ms, None);
        small.right_ms(time_ms, None, false);
        small.left_ms(time_ms + 60_000, None);
        small.right_ms(time_ms + 60_000, None, false);
        small.decided();
        assert_eq!(small.join.buffered(Side::Right), kept, "{hours} h");
    }
    small.rest();
    let end = small.next[1];
    assert_eq!(small.join.commit_point(Side::Right, end).position, end);
}

#[test]
fn a_table_takes_its_records_in_whatever_order_they_come() {
    for is_loaded in [true, false] {
        let mut small = Small::with(rules(false, None, 0, 30));
        if is_loaded {
            small.join.load(4);
        }
        small.left(100_000);
        assert_eq!(small.right(99_000), Verdict::Taken);
        small.right_ms(1_000, Some(b"bob"), false);
        small.left_ms(100_000_000, Some(b"bob"));
        assert_eq!(small.decided(), []);
        assert_eq!(small.right(98_000), Verdict::Taken);
        small.right_ms(200_000_000, Some(b"eve"), false);
        assert_eq!(small.rest(), [(0, Ok(0)), (1, Ok(1))]);
    }
}

#[test]
fn events_wait_until_a_table_has_been_read_to_where_it_ended_at_the_start() {
    let mut small = Small::with(rules(false, None, 0, 30));
    small.join.load(3);
    small.left(1000);
    small.left(2000);
    small.right_ms(5_000_000, Some(b"bob"), false);
    small.right_ms(6_000_000, Some(b"eve"), false);
    assert_eq!(small.decided(), []);
    assert_eq!(waits(&small, Side::Left), [true; 3]);
    assert_eq!(waits(&small, Side::Right), [false; 3]);
    assert_eq!(small.decided(), [], "nor where memory is tight");
    small.right(500);
    assert_eq!(small.decided(), [(0, Ok(2))]);
}

#[test]
fn a_tombstone_moves_no_watermark() {
    let mut small = Small::with(rules(false, None, 0, 30));
    small.left(1000);
    small.left(2000);
    small.right(900);
    small.right_ms(1_900_000, Some(b"bob"), true);
    assert_eq!(small.decided(), []);
    small.right(1_031);
    assert_eq!(small.decided(), [(0, Ok(0))]);
}

#[test]
fn a_tombstone_ends_no_silence() {
    let mut small = Small::with(rules(false, None, 0, 30));
    small.left(1000);
    small.left(2000);
    small.right(900);
    assert_eq!(small.decided(), []);
    small.join.note_silence(Side::Right, true, 1);
    small.right_ms(1_900_000, Some(b"bob"), true);
    assert_eq!(small.decided(), [(0, Ok(0))]);
    small.left(2500);
    small.right(910);
    assert_eq!(small.decided(), [], "it has spoken");
}

#[test]
fn a_tombstone_stays_while_an_older_version_can_still_come() {
    let mut small = Small::with(rules(false, None, 300, 30));
    small.right(10);
    small.left(1000);
    small.tombstone(500);
    assert_eq!(small.decided(), []);
    assert_eq!(small.right(480), Verdict::Taken);
    assert_eq!(small.rest(), [(0, Err(Outcome::OutsideWindow))]);
}

#[test]
fn a_tombstone_stays_while_an_older_version_may_be_read_again_without_it() {
    let rules = rules(false, None, 300, 30);
    let mut small = Small::with(rules);
    small.left(1000);
    small.tombstone(500);
    small.right_ms(500_000, Some(b"bob"), false);
    small.right(480);
    small.right_ms(600_000, Some(b"bob"), false);
    small.right_ms(700_000, None, false);
    assert_eq!(small.decided(), []);
    assert_eq!(
        small.join.buffered(Side::Right),
        2,
        "the older ones are superseded"
    );
    assert_eq!(small.join.commit_point(Side::Right, 5).position, 0);
}

#[test]
fn a_side_that_is_read_again_is_not_taken_for_idle() {
    let mut small = Small::new();
    small.left(2000);
    small.left(1990);
    small.decided();
    let point = small.join.commit_point(Side::Left, 2);
    assert_eq!((point.position, frontier(point).read_to), (0, 2));
    let mut new = Small::new();
    new.join = Join::new(rules(false, Some(300_000), 300, 30), 1);
    new.join.begin(Side::Left, 0, Some(frontier(point)));
    new.join.begin(Side::Right, 0, None);
    new.left(2000);
    assert_eq!(
        new.rest(),
        [],
        "what would be before it has been read already"
    );
    new.left(1990);
    let none = Err(Outcome::NoProfile);
    assert_eq!(new.rest(), [(1, none), (0, none)]);
}

#[test]
fn silence_decides_events_and_tells_no_watermark_beyond_that_of_the_left() {
    let mut small = Small::new();
    small.left(100);
    small.join.note_silence(Side::Left, true, 1);
    small.join.note_silence(Side::Right, true, 0);
    assert_eq!(small.decided().len(), 1);
    let told = |small: &mut Small, side| small.join.commit_point(side, 1).complete_ms;
    // Half a minute of delay.
    assert_eq!(told(&mut small, Side::Left), Some(70_000));
    assert_eq!(told(&mut small, Side::Right), Some(70_000));
    // What comes next is not late, and gets its row.
    assert_eq!(small.left(80), Verdict::Taken);
    assert_eq!(small.decided().len(), 1);
}
