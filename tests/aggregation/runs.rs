//! What one run leaves to the next, and what it refuses to begin with.

use sandbox::topic::{self, Record};

use crate::support::windows::{Kind, Windows};

#[test]
fn open_windows_are_left_to_a_later_run_which_completes_them() {
    for kind in Kind::ALL {
        let windows = Windows::new("left-open", kind, 3, 11);
        let mut produced = windows.produce(700);
        for run in ["first", "second"] {
            let (code, log) = windows.job.run_to_code(run, &["--until", "latest"]);
            assert_eq!(code, 0, "{log}");
            let is_named = log.contains("left for a later run") && log.contains("are still open");
            assert!(is_named, "{log}");
            let committed = windows.progress();
            assert!(
                committed < produced,
                "{committed} of {produced}: none is kept"
            );
            produced += windows.produce(300);
        }
        windows.close();
        windows.assert_equal(produced);
    }
}

#[test]
fn closing_twice_and_going_on_is_as_an_undisturbed_run() {
    let windows = Windows::new("closed-twice", Kind::Hopping, 3, 12);
    let mut produced = 0;
    for _ in 0..3 {
        produced += windows.produce(400);
        windows.close();
        windows.assert_equal(produced);
    }
}

#[test]
fn windows_of_other_rules_than_the_last_commit_halt() {
    for (key, value) in [
        ("pipeline.window.size", "8s"),
        ("pipeline.watermark_delay", "2s"),
        ("pipeline.allowed_lateness", "0s"),
    ] {
        let mut windows = Windows::new("changed", Kind::Tumbling, 2, 13);
        let produced = windows.produce(500);
        windows.close();
        let before = windows.job.text(key).to_owned();
        windows.job.set(key, value);
        let group = windows.job.group.clone();
        let advice = ["group_id", "other rules"];
        windows
            .job
            .assert_halts("changed", "windows_changed", &advice);
        assert_eq!(windows.job.group, group);
        windows.job.set(key, before);
        windows.close();
        windows.assert_equal(produced);
    }
}

#[test]
fn a_record_whose_key_is_not_its_group_halts() {
    let windows = Windows::new("other-key", Kind::Partitioned, 2, 14);
    let text = r#"{"timestamp":1763719200000,"category":"a","amount":1}"#;
    for record in [Record::new(text).key("b"), Record::new(text)] {
        let job = &windows.job;
        topic::produce(job.bootstrap(), &job.topic, [record.partition(1)]).expect("a record");
        let place = format!("{}:1:0", job.topic);
        let advice = ["partitioned_by", "category", place.as_str()];
        job.assert_halts("halts", "partitioned_by", &advice);
    }
}
