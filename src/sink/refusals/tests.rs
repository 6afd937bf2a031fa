//! What is made of answers that the table of errors does not know.

use super::*;

fn error(remedy: Remedy) -> InsertError {
    InsertError {
        code: Some(4711),
        message: "Code: 4711. DB::Exception: of tomorrow".to_owned(),
        remedy,
    }
}

fn at(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn a_value_that_is_refused_is_not_tried_again() {
    for remedy in [Remedy::Split, Remedy::TooLarge] {
        for rows in [Rows::One, Rows::Many, Rows::Half] {
            let judged = Suspicion::default().judge(&error(remedy), rows, Instant::now());
            assert_eq!(judged, Judgement::Refused);
        }
    }
}

#[test]
fn an_unknown_answer_is_tried_a_few_times_and_for_a_while() {
    let start = Instant::now();
    let unknown = error(Remedy::Unclassified);
    for rows in [Rows::One, Rows::Many] {
        let mut suspicion = Suspicion::default();
        for ms in [0, 100, 300, 700, 1999] {
            assert_eq!(
                suspicion.judge(&unknown, rows, at(start, ms)),
                Judgement::Again
            );
        }
        let judged = suspicion.judge(&unknown, rows, at(start, 2000));
        assert_eq!(judged, Judgement::RefusedIfThere);
        let mut suspicion = Suspicion::default();
        assert_eq!(suspicion.judge(&unknown, rows, start), Judgement::Again);
        // Two slow answers are not three.
        assert_eq!(
            suspicion.judge(&unknown, rows, at(start, 9000)),
            Judgement::Again
        );
    }
    let mut suspicion = Suspicion::default();
    assert_eq!(
        suspicion.judge(&unknown, Rows::Half, start),
        Judgement::RefusedIfThere
    );
    let mut suspicion = Suspicion::default();
    for ms in [0, 1000, 2000, 59_000] {
        let judged = suspicion.judge(&unknown, Rows::Unsplit, at(start, ms));
        assert_eq!(judged, Judgement::Again);
    }
}

#[test]
fn what_passes_by_itself_is_waited_for() {
    let start = Instant::now();
    let mut suspicion = Suspicion::default();
    for s in 0..100 {
        let judged = suspicion.judge(
            &error(Remedy::Retry("network")),
            Rows::Many,
            at(start, s * 1000),
        );
        assert_eq!(judged, Judgement::Again);
    }
    // It also shows that the rows were not the reason until then.
    assert_eq!(
        suspicion.judge(&error(Remedy::Unclassified), Rows::Many, at(start, 100_000)),
        Judgement::Again
    );
}

#[test]
fn a_memory_limit_of_one_statement_splits_many_rows_and_waits_with_one() {
    let start = Instant::now();
    let of_query = InsertError {
        code: Some(241),
        message: "Code: 241. DB::Exception: Memory limit (for query) exceeded".to_owned(),
        remedy: Remedy::Retry("memory"),
    };
    let judged = |rows| {
        let mut suspicion = Suspicion::default();
        let all = [0, 1000, 3000].map(|ms| suspicion.judge(&of_query, rows, at(start, ms)));
        all[2]
    };
    assert_eq!(judged(Rows::Many), Judgement::RefusedIfThere);
    assert_eq!(judged(Rows::One), Judgement::Again);
    assert_eq!(judged(Rows::Unsplit), Judgement::Again);
}

#[test]
fn a_time_limit_of_one_statement_splits_many_rows_after_three_attempts_of_each_part() {
    let start = Instant::now();
    let over_time = InsertError {
        code: Some(159),
        message: "Code: 159. DB::Exception: Timeout exceeded: elapsed 60000 ms, maximum: 60000 ms"
            .to_owned(),
        remedy: Remedy::Retry("timeout"),
    };
    let judged = |rows| {
        let mut suspicion = Suspicion::default();
        [0, 61_000, 122_000].map(|ms| suspicion.judge(&over_time, rows, at(start, ms)))
    };
    for rows in [Rows::Many, Rows::Half] {
        let expected = [
            Judgement::Again,
            Judgement::Again,
            Judgement::RefusedIfThere,
        ];
        assert_eq!(judged(rows), expected, "{rows:?}");
    }
    for rows in [Rows::One, Rows::Unsplit] {
        assert_eq!(judged(rows), [Judgement::Again; 3], "{rows:?}");
    }
}

#[test]
fn single_rows_are_at_fault_once_the_table_has_taken_others_meanwhile() {
    let refusals = Refusals::default();
    let since = Instant::now();
    let unknown = error(Remedy::Unclassified);
    let judge = || {
        let lone = refusals.refused_alone("a", &unknown, since, since);
        refusals.judge("a", &unknown, lone, since)
    };
    for _ in 0..1000 {
        refusals.taken("a", since);
        assert_eq!(judge().unwrap(), Verdict::AtFault);
    }
    for _ in 1..LONE_MAX_BESIDE {
        assert_eq!(judge().unwrap(), Verdict::AtFault);
    }
    let halt = judge().unwrap_err();
    assert_eq!(halt.reason, "rejected");
    assert!(halt.advice.contains("4711"), "{halt}");
}

#[test]
fn an_insert_that_took_long_does_not_hide_one_that_began_later() {
    let refusals = Refusals::default();
    let start = Instant::now();
    let unknown = error(Remedy::Unclassified);
    refusals.taken("a", at(start, 10_000));
    refusals.taken("a", start);
    let (since, now) = (at(start, 5_000), at(start, 21_000));
    let lone = refusals.refused_alone("a", &unknown, since, now);
    let judged = refusals.judge("a", &unknown, lone, now);
    assert_eq!(judged.unwrap(), Verdict::AtFault);
}

#[test]
fn no_row_is_at_fault_where_the_table_takes_nothing() {
    for taken_before in [false, true] {
        let refusals = Refusals::default();
        let before = Instant::now();
        let since = before + Duration::from_secs(1);
        let unknown = error(Remedy::TooLarge);
        if taken_before {
            refusals.taken("a", before);
        }
        // Another table says nothing about this one.
        refusals.taken("b", since);
        let rows: Vec<_> = (0..LONE_MAX)
            .map(|_| refusals.refused_alone("a", &unknown, since, since))
            .collect();
        let judge = |lone, ms| refusals.judge("a", &unknown, lone, at(since, ms));
        for lone in &rows {
            assert_eq!(judge(*lone, 9_999).unwrap(), Verdict::Open);
            let halt = judge(*lone, 10_000).unwrap_err();
            assert!(halt.advice.contains("client_max_body_size"), "{halt}");
        }
        let one_more = refusals.refused_alone("a", &unknown, since, since);
        assert!(
            judge(one_more, 0).is_err(),
            "and at once when they are many"
        );
        // Until it takes one after all.
        refusals.taken("a", at(since, 5_000));
        for lone in &rows {
            assert_eq!(judge(*lone, 10_000).unwrap(), Verdict::AtFault);
        }
    }
}

#[test]
fn one_row_of_a_quiet_table_is_at_fault_if_the_table_took_rows_lately() {
    let start = Instant::now();
    let unknown = error(Remedy::Unclassified);
    let judged = |taken_ms: Option<u64>, lone: u32| {
        let refusals = Refusals::default();
        if let Some(ms) = taken_ms {
            refusals.taken("a", at(start, ms));
        }
        let since = at(start, 1_000_000);
        let rows = (0..lone).map(|_| refusals.refused_alone("a", &unknown, since, since));
        let last = rows.last().expect("one at least");
        let after = at(since, 10_000);
        refusals
            .judge("a", &unknown, last, after)
            .map_err(|halt| halt.reason)
    };
    assert_eq!(judged(Some(999_000), 1), Ok(Verdict::AtFault));
    assert_eq!(judged(Some(999_000), 2), Err("rejected"));
    assert_eq!(judged(Some(1_000), 1), Err("rejected"));
    assert_eq!(judged(None, 1), Err("rejected"));
}

#[test]
fn a_value_that_its_column_refuses_is_always_at_fault() {
    let refusals = Refusals::default();
    let now = Instant::now();
    for _ in 0..1000 {
        let named = error(Remedy::Split);
        let lone = refusals.refused_alone("a", &named, now, now);
        let judged = refusals.judge("a", &named, lone, now);
        assert_eq!(judged.unwrap(), Verdict::AtFault);
    }
    // Nor do they count against one that is refused for another reason.
    let large = error(Remedy::TooLarge);
    let lone = refusals.refused_alone("a", &large, now, now);
    let judged = refusals.judge("a", &large, lone, now);
    assert_eq!(judged.unwrap(), Verdict::Open);
}
