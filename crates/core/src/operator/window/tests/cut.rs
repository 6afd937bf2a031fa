//! A log that has lost its beginning, against the model of the whole log.

use super::sessions::session_model;
use super::*;

/// How far records are out of order at most.
fn disorder_s(rules: &Rules) -> i64 {
    (rules.watermark_delay_ms + rules.lateness_ms) / 1000
}

/// Records of one group, none further behind an earlier one than the rules allow for.
fn log(steps: &[(i64, i64)], rules: &Rules) -> Vec<Given> {
    let mut now_s = 0;
    let given = |&(ahead_s, behind_s): &(i64, i64)| {
        now_s += ahead_s;
        Given {
            partition: 0,
            time_s: now_s - behind_s.min(disorder_s(rules)),
            group: b'g',
        }
    };
    steps.iter().map(given).collect()
}

/// What is handed out of the log from this offset on: start, then records, their sum and how many were late.
fn rebuilt(rules: &Rules, log: &[Given], from: usize) -> BTreeMap<i64, (u64, i128, u64)> {
    let mut windows = Windows::new(rules.clone(), 1);
    windows.leave_out_cut(0);
    let at = |offset: usize| i64::try_from(offset).unwrap();
    windows.begin(0, at(from), None, at(log.len()), from > 0);
    for (offset, given) in log.iter().enumerate().skip(from) {
        let number = number(*given, offset);
        add(&mut windows, at(offset), given.time_s, number);
        windows.note_read(0, at(offset) + 1);
    }
    let mut rows = BTreeMap::new();
    windows.close_through(i64::MAX / 2);
    let collected = windows.collect(false, |row| {
        // Where a session began before it moved.
        if row.is_deleted {
            return ControlFlow::Continue(());
        }
        let Cell::Sum { sum, count } = row.group.cells[0] else {
            panic!("the metric is a sum");
        };
        assert!(row.is_final, "what is handed out is whole");
        rows.insert(row.start_ms, (count, sum.as_i128(), row.group.late_count));
        ControlFlow::Continue(())
    });
    collected.expect("nothing is on disk");
    rows
}

fn whole(table: &Table) -> BTreeMap<i64, (u64, i128, u64)> {
    let row = |(key, row): (&Key, &(u64, u64, i128, u64))| (key.0, (row.1, row.2, row.3));
    table.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn windows_of_a_log_that_has_lost_its_beginning_are_those_of_the_whole_log_or_are_left_out(
        steps in prop::collection::vec((0i64..20, 0i64..80), 1..120),
        from in 0usize..60,
        (size_s, slide_s) in prop::sample::select(vec![(10i64, 10i64), (60, 60), (60, 20)]),
        delay_s in prop::sample::select(vec![0i64, 5, 30]),
        lateness_s in prop::sample::select(vec![0i64, 20]),
    ) {
        let mut rules = rules(size_s, slide_s, delay_s, lateness_s);
        rules.cells = vec![CellRules::Sum];
        let log = log(&steps, &rules);
        let from = from.min(log.len() - 1);
        let mut expected = whole(&model(&rules, std::slice::from_ref(&log)).0);
        if from > 0 {
            let first_s = log[from].time_s + disorder_s(&rules);
            // One of before may be as young as that.
            expected.retain(|start_ms, _| *start_ms > first_s * 1000);
        }
        prop_assert_eq!(rebuilt(&rules, &log, from), expected);
    }

    /// Records of before may have kept some out that are counted now: such a session is left out too.
    #[test]
    fn sessions_of_a_log_that_has_lost_its_beginning_are_those_of_the_whole_log_or_are_left_out(
        steps in prop::collection::vec((0i64..20, 0i64..40), 1..120),
        from in 0usize..60,
        gap_s in prop::sample::select(vec![1i64, 5, 20]),
        delay_s in prop::sample::select(vec![0i64, 5, 30]),
        lateness_s in prop::sample::select(vec![0i64, 20]),
    ) {
        let gap_ms = gap_s * 1000;
        let rules = Rules {
            shape: Shape::Session { gap_ms },
            cells: vec![CellRules::Sum],
            ..rules(1, 1, delay_s, lateness_s)
        };
        let log = log(&steps, &rules);
        let from = from.min(log.len() - 1);
        let expected = whole(&session_model(&rules, gap_ms, &log).0);
        let found = rebuilt(&rules, &log, from);
        for (start_ms, row) in &found {
            prop_assert_eq!(Some(row), expected.get(start_ms), "{}", start_ms);
        }
        if from == 0 {
            prop_assert_eq!(found, expected);
        }
    }
}
