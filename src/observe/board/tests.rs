use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{Board, PartitionStatus, PipelineState};
use crate::observe::clock::ManualClock;

const POLL_INTERVAL_MAX: Duration = Duration::from_secs(300);

fn board() -> (Arc<ManualClock>, Arc<Board>) {
    let clock = Arc::new(ManualClock::default());
    let board = Board::with_clock(Arc::clone(&clock) as _);
    (clock, board)
}

/// A board with the pipeline `clickstream` running: one lane that joined, one sink that answered.
fn running() -> (Arc<ManualClock>, Arc<Board>) {
    let (clock, board) = board();
    let pipeline = board.add_pipeline("clickstream", "enrichment");
    pipeline.add_lane(0, POLL_INTERVAL_MAX).set_joined(true);
    pipeline.sink("clickhouse").answered();
    pipeline.set_state(PipelineState::Running, None);
    (clock, board)
}

#[test]
fn a_board_without_pipelines_is_alive_and_ready() {
    let (_, board) = board();
    assert!(board.alive().is_good());
    assert!(board.ready().is_good());
}

#[test]
fn a_lane_is_alive_until_its_poll_interval_has_passed() {
    let (clock, board) = running();
    clock.advance_ms(300_000);
    assert!(board.alive().is_good());
    clock.advance_ms(1);
    assert_eq!(
        board.alive().complaints,
        ["clickstream lane 0 has not turned for 300 s"]
    );
}

#[test]
fn a_lane_that_turns_stays_alive_and_only_the_stuck_one_is_named() {
    let (clock, board) = running();
    let turning = board
        .pipeline("clickstream")
        .expect("added")
        .add_lane(1, POLL_INTERVAL_MAX);
    clock.advance_ms(312_000);
    turning.turned();
    assert_eq!(
        board.alive().complaints,
        ["clickstream lane 0 has not turned for 312 s"]
    );
}

#[test]
fn lanes_of_stopped_and_halted_pipelines_and_removed_lanes_need_not_turn() {
    for state in [PipelineState::Stopped, PipelineState::Halted] {
        let (clock, board) = running();
        board
            .pipeline("clickstream")
            .expect("added")
            .set_state(state, None);
        clock.advance_ms(1_000_000);
        assert!(board.alive().is_good(), "{state}");
    }
    let (clock, board) = running();
    board.pipeline("clickstream").expect("added").remove_lane(0);
    clock.advance_ms(1_000_000);
    assert!(board.alive().is_good());
}

#[test]
fn lanes_that_start_pause_or_drain_must_turn() {
    for state in [
        PipelineState::Starting,
        PipelineState::Paused,
        PipelineState::Draining,
    ] {
        let (clock, board) = running();
        board
            .pipeline("clickstream")
            .expect("added")
            .set_state(state, None);
        clock.advance_ms(300_001);
        assert!(!board.alive().is_good(), "{state}");
    }
}

#[test]
fn a_running_pipeline_is_ready_while_its_sinks_answer_within_30_seconds() {
    let (clock, board) = running();
    clock.advance_ms(30_000);
    assert!(board.ready().is_good());
    clock.advance_ms(1_000);
    let silent = ["clickstream sink clickhouse has not answered for 31 s"];
    assert_eq!(board.ready().complaints, silent);
    board
        .pipeline("clickstream")
        .expect("added")
        .sink("clickhouse")
        .answered();
    assert!(board.ready().is_good());
}

#[test]
fn a_sink_that_never_answered_is_not_ready() {
    let (_, board) = running();
    board
        .pipeline("clickstream")
        .expect("added")
        .sink("dead letters");
    let silent = ["clickstream sink dead letters has not answered yet"];
    assert_eq!(board.ready().complaints, silent);
}

#[test]
fn a_pipeline_is_not_ready_before_every_lane_has_joined_the_group() {
    let (_, board) = running();
    let second = board
        .pipeline("clickstream")
        .expect("added")
        .add_lane(1, POLL_INTERVAL_MAX);
    let waiting = ["clickstream lane 1 has not joined its consumer group"];
    assert_eq!(board.ready().complaints, waiting);
    second.set_joined(true);
    assert!(board.ready().is_good());
}

#[test]
fn a_paused_pipeline_is_judged_like_a_running_one() {
    let (clock, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    pipeline.set_state(PipelineState::Paused, Some("by an operator"));
    assert!(board.ready().is_good());
    clock.advance_ms(30_001);
    assert!(!board.ready().is_good());
}

#[test]
fn a_pipeline_that_starts_is_not_ready_and_says_what_it_waits_for() {
    let (_, board) = board();
    let pipeline = board.add_pipeline("clickstream", "enrichment");
    assert_eq!(board.ready().complaints, ["clickstream is starting"]);
    pipeline.set_state(PipelineState::Starting, Some("waiting for clickhouse"));
    assert_eq!(
        board.ready().complaints,
        ["clickstream is starting: waiting for clickhouse"]
    );
}

#[test]
fn a_halted_pipeline_is_not_ready_and_keeps_its_first_reason_until_it_starts_again() {
    let (_, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    pipeline.set_state(PipelineState::Halted, Some("offsets out of range"));
    pipeline.set_state(PipelineState::Stopped, None);
    pipeline.set_state(PipelineState::Halted, Some("a later complaint"));
    assert_eq!(
        board.ready().complaints,
        ["clickstream is halted: offsets out of range"]
    );
    pipeline.set_state(PipelineState::Starting, None);
    pipeline.set_state(PipelineState::Running, None);
    assert!(board.ready().is_good());
}

#[test]
fn pipelines_that_drain_or_were_stopped_do_not_count_for_readiness() {
    for state in [PipelineState::Draining, PipelineState::Stopped] {
        let (clock, board) = running();
        board
            .pipeline("clickstream")
            .expect("added")
            .set_state(state, None);
        clock.advance_ms(60_000);
        assert!(board.ready().is_good(), "{state}");
    }
}

#[test]
fn a_process_that_shuts_down_is_not_ready() {
    let (_, board) = running();
    board.set_shutting_down();
    assert_eq!(board.ready().complaints, ["shutting down"]);
}

#[test]
fn a_pipeline_shows_the_fields_of_the_contract_as_json() {
    let (_, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    pipeline.batch_written("clickstream_events", 7, 640, Duration::from_millis(20));
    pipeline.dead_letters_written(2);
    pipeline.error("clickhouse: code 241");
    let lane = pipeline.add_lane(0, POLL_INTERVAL_MAX);
    lane.set_partitions(vec![
        PartitionStatus::new("user-events", 1, 10, 4, 25),
        PartitionStatus::new("user-events", 0, -1001, -1001, 5),
    ]);
    let shown = serde_json::to_value(board.status()).expect("a status is JSON");
    let shown = &shown["pipelines"][0];
    let contract = json!({
        "name": "clickstream",
        "kind": "enrichment",
        "state": "running",
        "reason": null,
        "partitions": [
            {
                "topic": "user-events", "partition": 0,
                "position": null, "committed": null, "end": 5, "lag": null,
            },
            {
                "topic": "user-events", "partition": 1,
                "position": 10, "committed": 4, "end": 25, "lag": 15,
            },
        ],
        "rows_written": 7,
        "dead_letters": 2,
        "last_error": "clickhouse: code 241",
        "last_error_at": "2026-11-21T00:00:00.000Z",
        "stuck": [],
    });
    for (field, expected) in contract.as_object().expect("an object") {
        assert_eq!(&shown[field], expected, "{field}");
    }
}

#[test]
fn the_lag_is_never_negative_when_the_end_is_older_than_the_position() {
    assert_eq!(PartitionStatus::new("t", 0, 12, 3, 10).lag, Some(0));
}

#[test]
fn a_lane_replaces_its_own_partitions_and_leaves_those_of_others() {
    let (_, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    let (first, second) = (
        pipeline.add_lane(0, POLL_INTERVAL_MAX),
        pipeline.add_lane(1, POLL_INTERVAL_MAX),
    );
    first.set_partitions(vec![PartitionStatus::new("user-events", 0, 1, 1, 1)]);
    second.set_partitions(vec![PartitionStatus::new("user-events", 1, 1, 1, 1)]);
    first.set_partitions(vec![PartitionStatus::new("user-events", 2, 1, 1, 1)]);
    let shown: Vec<_> = pipeline
        .status()
        .partitions
        .iter()
        .map(|partition| partition.partition)
        .collect();
    assert_eq!(shown, [1, 2]);
}

#[test]
fn the_ten_newest_batches_are_kept_newest_first() {
    let (_, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    for rows in 1..=12 {
        pipeline.batch_written(
            "clickstream_events",
            rows,
            rows * 100,
            Duration::from_millis(5),
        );
    }
    let status = pipeline.status();
    let rows: Vec<_> = status.batches.iter().map(|batch| batch.rows).collect();
    assert_eq!(rows, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    assert_eq!(status.rows_written, 78);
}

#[test]
fn rates_and_history_are_of_what_was_written_and_is_not_read() {
    let (clock, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    let lane = pipeline.add_lane(0, Duration::from_secs(300));
    lane.set_partitions(vec![PartitionStatus::new("t", 0, 10, 5, 40)]);
    pipeline.batch_written("clickstream_events", 3_000, 1, Duration::ZERO);
    for _ in 0..10 {
        clock.advance_ms(1_000);
        board.sample();
    }
    let status = pipeline.status();
    assert_eq!(status.rows_per_second_minute, 300.0);
    let [sample] = &status.history[..] else {
        panic!("{:?}", status.history);
    };
    assert_eq!((sample.lag, sample.uncommitted), (30, 35));
    assert_eq!(sample.rows_per_second, 300.0);
    assert_eq!(sample.at.0, ManualClock::START_UNIX_MS + 10_000);
}

#[test]
fn a_long_error_is_cut_between_characters() {
    let (_, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    pipeline.error(&"é".repeat(5_000));
    let shown = pipeline.status().last_error.expect("an error");
    assert_eq!(shown.chars().count(), 1_001);
    assert!(shown.ends_with("é…"));
}

#[test]
fn pipelines_keep_their_order_and_one_of_the_same_name_is_replaced() {
    let (_, board) = board();
    for name in ["b", "a", "b"] {
        board.add_pipeline(name, "enrichment");
    }
    let names: Vec<_> = board
        .status()
        .pipelines
        .into_iter()
        .map(|p| p.name)
        .collect();
    assert_eq!(names, ["b", "a"]);
    board.remove_pipeline("b");
    assert!(board.pipeline("b").is_none());
}

#[test]
fn dead_letters_are_shown_by_reason_and_the_last_twenty_of_them() {
    let (_, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    for offset in 0..30 {
        let reason = if offset % 3 == 0 {
            "invalid_json"
        } else {
            "too_large"
        };
        pipeline.dead_letter(format!("user-events:0:{offset}"), reason, "why");
    }
    let status = pipeline.status();
    assert_eq!(status.dead_letters_by_reason["invalid_json"], 10);
    assert_eq!(status.dead_letters_by_reason["too_large"], 20);
    assert_eq!(status.last_dead_letters.len(), 20);
    assert_eq!(status.last_dead_letters[0].address, "user-events:0:29");
}

#[test]
fn a_target_is_up_while_it_answers_and_nothing_has_failed_since() {
    let (clock, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    let is_up = || pipeline.status().targets[0].up;
    assert!(is_up());
    clock.advance_ms(1_000);
    pipeline.sink("clickhouse").failed("connection refused");
    let down = pipeline.status().targets[0].clone();
    assert!(!down.up && down.last_answer.is_some());
    assert_eq!(down.last_error.as_deref(), Some("connection refused"));
    clock.advance_ms(1_000);
    pipeline.sink("clickhouse").answered();
    assert!(is_up());
    clock.advance_ms(30_001);
    assert!(!is_up(), "it has fallen silent");
}

#[test]
fn a_halted_pipeline_shows_where_its_partitions_stood_until_it_begins_again() {
    let (_, board) = running();
    let pipeline = board.pipeline("clickstream").expect("added");
    let lane = pipeline.add_lane(0, Duration::from_secs(1));
    lane.set_partitions(vec![PartitionStatus::new("user-events", 0, 5, 3, 9)]);
    pipeline.remove_lane(0);
    assert!(pipeline.status().partitions.is_empty());
    let halt = crate::halt::Halt::new("schema", "a column is missing: add it");
    pipeline.halted(&halt);
    let status = pipeline.status();
    assert_eq!(status.partitions[0].lag, Some(4));
    assert_eq!(status.halt.expect("it has halted").reason, "schema");
    let left = pipeline.begins_again();
    assert_eq!(left.halt_reason, Some("schema"));
    assert_eq!(left.partitions.len(), 1);
    let status = pipeline.status();
    assert!(status.partitions.is_empty() && status.halt.is_none());
    assert_eq!(status.state, PipelineState::Starting);
}
