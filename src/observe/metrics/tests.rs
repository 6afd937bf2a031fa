use std::collections::BTreeSet;
use std::time::Duration;

use super::names::{Kind, METRICS};
use super::render::{builder, describe};
use super::{
    DEAD_LETTER_REASONS, Gauges, LookupResult, PipelineMetrics, Stage, process_memory, render,
};
use crate::observe::board::lag::Standing;
use crate::observe::board::{Board, PartitionStatus, PipelineState};

/// What `/metrics` shows after `count` has counted on a fresh recorder.
fn exposition(count: impl FnOnce()) -> String {
    let recorder = builder().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe();
        count();
    });
    render(&handle)
}

fn show_everything() {
    let board = Board::new();
    let pipeline = board.add_pipeline("clickstream", "enrichment");
    pipeline.target("redis").answered();
    pipeline.batch_written("clickstream_events", 1, 1, Duration::from_millis(5));
    Gauges::default().publish(&board);
}

fn count_everything() {
    show_everything();
    let metrics = PipelineMetrics::new("clickstream");
    metrics.records_consumed.increment(1);
    metrics.freshness.record(0.3);
    metrics.batch_rows.record(5);
    metrics.batch_bytes.record(500);
    metrics.insert_seconds.record(0.02);
    metrics.schema_request("found");
    let rule = metrics.rule("quantity_valid", true);
    rule.add(3, 1, 0);
    rule.ratio.set(0.75);
    metrics.lookup_seconds.record(0.002);
    metrics.checkpoint_seconds.record(0.02);
    metrics.flush_interval_effective.set(5.0);
    metrics.insert("clickstream_events", "ok", None);
    metrics.retry("clickhouse", "timeout");
    metrics.paused("memory", Duration::from_millis(1_500));
    metrics.memory("batches", 4_096);
    metrics.join_results("matched", 1);
    metrics.join_buffer("left").set(1.0);
    metrics.halted("offset_out_of_range");
    let partition = metrics.partition("user-events", 3);
    partition.lag_records.set(1);
    partition.commit_lag_records.set(2);
    partition.lag_seconds.set(0.5);
    partition.watermark.set(1_795_219_200.0);
    partition.watermark_ahead.set(0.0);
    partition.stuck.set(0.0);
}

/// `name{label,label}` of every sample, the buckets' `le` left out.
fn samples(text: &str) -> BTreeSet<String> {
    let without_values = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    // Those of the process have their names from the library.
    let own = without_values.filter(|line| line.starts_with("streamweir_"));
    own.map(|line| {
        let (series, _) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels: Vec<_> = labels
            .trim_end_matches('}')
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(label, _)| label)
            .filter(|label| *label != "le")
            .collect();
        format!("{name}{{{}}}", labels.join(","))
    })
    .collect()
}

#[test]
fn the_names_and_labels_are_those_that_dashboards_rely_on() {
    let histograms = [
        "freshness_seconds",
        "batch_rows",
        "batch_bytes",
        "insert_seconds",
        "lookup_seconds",
        "checkpoint_seconds",
    ];
    let others = [
        "records_consumed_total{pipeline}",
        "bytes_consumed_total{pipeline}",
        "records_replayed_total{pipeline}",
        "rows_written_total{pipeline}",
        "dead_letters_total{pipeline,reason}",
        "records_dropped_total{pipeline,reason}",
        "rule_checks_total{pipeline,rule,result}",
        "quality_ratio{pipeline,rule}",
        "quality_threshold_missed{pipeline,rule}",
        "fields_ignored_total{pipeline}",
        "values_assumed_total{pipeline}",
        "commits_total{pipeline,result}",
        "consumer_lag_records{pipeline,topic,partition}",
        "commit_lag_records{pipeline,topic,partition}",
        "consumer_lag_seconds{pipeline,topic,partition}",
        "stuck_seconds{pipeline,topic,partition}",
        "inserts_total{pipeline,table,result,code}",
        "retries_total{pipeline,target,reason}",
        "flush_interval_effective_seconds{pipeline}",
        "lookups_total{pipeline,result}",
        "schema_requests_total{pipeline,result}",
        "watermark_timestamp_seconds{pipeline,topic,partition}",
        "watermark_ahead_seconds{pipeline,topic,partition}",
        "windows_open{pipeline}",
        "late_records_total{pipeline}",
        "join_buffer_records{pipeline,side}",
        "join_results_total{pipeline,outcome}",
        "state_bytes{pipeline}",
        "state_disk_bytes{pipeline}",
        "rebalances_total{pipeline}",
        "paused_seconds_total{pipeline,reason}",
        "pipeline_halted{pipeline,reason}",
        "lane_time_seconds_total{pipeline,stage}",
        "memory_bytes{pipeline,part}",
        "pipeline_state{pipeline,state}",
        "target_up{pipeline,target}",
        "assigned_partitions{pipeline}",
        "last_insert_timestamp_seconds{pipeline}",
        "oldest_uncommitted_timestamp_seconds{pipeline}",
        "build_info{version,commit,arch,os}",
    ];
    let expected: BTreeSet<_> = others
        .iter()
        .map(|series| format!("streamweir_{series}"))
        .chain(histograms.iter().flat_map(|name| {
            ["bucket", "sum", "count"].map(|part| format!("streamweir_{name}_{part}{{pipeline}}"))
        }))
        .collect();
    assert_eq!(samples(&exposition(count_everything)), expected);
}

#[test]
fn every_metric_has_a_help_text_and_its_true_type() {
    let text = exposition(count_everything);
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter | Kind::SecondsCounter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let (name, help) = (metric.name, metric.help);
        assert!(
            text.contains(&format!("# HELP {name} {help}\n")),
            "help of {name}"
        );
        assert!(
            text.contains(&format!("# TYPE {name} {kind}\n")),
            "type of {name}"
        );
    }
}

#[test]
fn closed_sets_of_labels_are_shown_as_zero_from_the_start() {
    let text = exposition(|| {
        PipelineMetrics::new("clickstream");
    });
    let zeros = DEAD_LETTER_REASONS
        .map(|reason| format!("dead_letters_total{{pipeline=\"clickstream\",reason=\"{reason}\"}}"))
        .into_iter()
        .chain(
            ["cache", "remote", "missing", "unavailable"].map(|result| {
                format!("lookups_total{{pipeline=\"clickstream\",result=\"{result}\"}}")
            }),
        )
        .chain(
            [
                "poll",
                "decode",
                "operate",
                "encode",
                "wait_sink",
                "wait_lookup",
                "idle",
            ]
            .map(|stage| {
                format!("lane_time_seconds_total{{pipeline=\"clickstream\",stage=\"{stage}\"}}")
            }),
        )
        .chain(
            [
                "records_consumed_total",
                "rows_written_total",
                "freshness_seconds_count",
            ]
            .map(|name| format!("{name}{{pipeline=\"clickstream\"}}")),
        );
    for series in zeros {
        assert!(
            text.contains(&format!("streamweir_{series} 0\n")),
            "{series} in\n{text}"
        );
    }
}

#[test]
fn counts_and_seconds_arrive_under_their_labels() {
    let text = exposition(|| {
        let metrics = PipelineMetrics::new("clickstream");
        metrics.records_consumed.increment(41);
        metrics.dead_letter("too_deep");
        metrics.dead_letter("not_representable");
        metrics.dropped("skip", 3);
        metrics.commit("ok");
        metrics.insert("clickstream_events", "error", Some(252));
        metrics.lookup(LookupResult::Missing, 7);
        for stage in [Stage::Idle, Stage::WaitSink, Stage::Idle] {
            metrics.lane_time(stage, Duration::from_millis(250));
        }
        metrics.join_results("matched", 1);
        metrics.join_buffer("left").set(1.0);
        metrics.halted("offset_out_of_range");
        metrics.not_halted("offset_out_of_range");
        process_memory("resident", 1_024);
    });
    let p = "pipeline=\"clickstream\"";
    for sample in [
        format!("records_consumed_total{{{p}}} 41"),
        format!("dead_letters_total{{{p},reason=\"too_deep\"}} 1"),
        format!("dead_letters_total{{{p},reason=\"not_representable\"}} 1"),
        format!("records_dropped_total{{{p},reason=\"skip\"}} 3"),
        format!("commits_total{{{p},result=\"ok\"}} 1"),
        format!(
            "inserts_total{{{p},table=\"clickstream_events\",result=\"error\",code=\"252\"}} 1"
        ),
        format!("lookups_total{{{p},result=\"missing\"}} 7"),
        format!("lane_time_seconds_total{{{p},stage=\"idle\"}} 0.5"),
        format!("lane_time_seconds_total{{{p},stage=\"wait_sink\"}} 0.25"),
        format!("pipeline_halted{{{p},reason=\"offset_out_of_range\"}} 0"),
        "memory_bytes{part=\"resident\"} 1024".to_owned(),
    ] {
        assert!(
            text.contains(&format!("streamweir_{sample}\n")),
            "{sample} in\n{text}"
        );
    }
}

#[test]
fn a_partition_is_absent_until_known_and_after_it_is_forgotten() {
    let recorder = builder().build_recorder();
    let handle = recorder.handle();
    let partition = metrics::with_local_recorder(&recorder, || {
        PipelineMetrics::new("clickstream").partition("user-events", 0)
    });
    let lag = "streamweir_consumer_lag_records{";
    assert!(!render(&handle).contains(lag));
    partition.lag_records.set(12);
    assert!(render(&handle).contains(lag));
    partition.forget();
    assert!(!render(&handle).contains(lag));
    partition.lag_records.set(13);
    assert!(render(&handle).contains(lag));
}

#[test]
fn histograms_have_buckets_not_quantiles() {
    let text = exposition(count_everything);
    assert!(
        text.contains("streamweir_freshness_seconds_bucket{pipeline=\"clickstream\",le=\"0.5\"} 1")
    );
    assert!(!text.contains("quantile="));
}

#[test]
fn a_name_that_is_hostile_to_the_format_stays_within_its_label() {
    let text = exposition(|| {
        PipelineMetrics::new("a\"} 1\nevil_total 7")
            .records_consumed
            .increment(1);
    });
    assert!(
        !text.lines().any(|line| line.starts_with("evil_total")),
        "{text}"
    );
}

#[test]
fn the_catalogue_names_each_metric_once_and_only_counters_are_totals() {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        assert!(names.insert(metric.name), "{} twice", metric.name);
        let counts = matches!(metric.kind, Kind::Counter | Kind::SecondsCounter);
        assert_eq!(metric.name.ends_with("_total"), counts, "{}", metric.name);
        if let Kind::Histogram(bounds) = metric.kind {
            assert!(
                bounds.is_sorted_by(|a, b| a < b),
                "bounds of {}",
                metric.name
            );
        }
    }
}

/// What the board shows, as Prometheus text.
fn published(gauges: &mut Gauges, boards: &[&Board]) -> String {
    exposition(|| {
        for board in boards {
            gauges.publish(board);
        }
    })
}

#[test]
fn gauges_of_the_board_follow_it_and_end_with_the_pipeline() {
    let board = Board::new();
    let pipeline = board.add_pipeline("orders", "cdc");
    pipeline.set_state(PipelineState::Running, None);
    pipeline.target("redis").failed("connection refused");
    pipeline.sink("shop.orders").answered();
    let lane = pipeline.add_lane(0, Duration::from_secs(300));
    lane.set_partitions(vec![
        PartitionStatus::new("orders", 0, 8, 5, 9).with_oldest(Some(1_500)),
        PartitionStatus::new("orders", 1, 8, 8, 8),
    ]);
    let mut gauges = Gauges::default();
    let text = published(&mut gauges, &[&board]);
    let says = |line: &str| {
        assert!(
            text.contains(&format!("streamweir_{line}\n")),
            "{line}\n{text}"
        )
    };
    says("pipeline_state{pipeline=\"orders\",state=\"running\"} 1");
    says("pipeline_state{pipeline=\"orders\",state=\"halted\"} 0");
    says("target_up{pipeline=\"orders\",target=\"redis\"} 0");
    says("target_up{pipeline=\"orders\",target=\"clickhouse\"} 1");
    says("assigned_partitions{pipeline=\"orders\"} 2");
    says("oldest_uncommitted_timestamp_seconds{pipeline=\"orders\"} 1.5");
    assert!(text.contains("process_resident_memory_bytes "), "{text}");

    // One recorder for both: what is forgotten disappears.
    let text = exposition(|| {
        gauges.publish(&board);
        board.remove_pipeline("orders");
        gauges.publish(&board);
    });
    assert!(!text.contains("{pipeline=\"orders\""), "{text}");
}

#[test]
fn a_halted_pipeline_says_how_old_the_record_is_that_it_waits_for() {
    let board = Board::new();
    let pipeline = board.add_pipeline("orders", "cdc");
    let lane = pipeline.add_lane(0, Duration::from_secs(300));
    lane.set_partitions(vec![PartitionStatus::new("orders", 0, 8, 5, 9)]);
    pipeline.remove_lane(0);
    pipeline.set_state(PipelineState::Halted, Some("schema"));
    let standing = Standing {
        end: 20,
        committed: Some(5),
        from: 5,
        oldest_ms: Some(2_500),
    };
    pipeline
        .lag()
        .set([(("orders".to_owned(), 0), standing)].into());
    let text = published(&mut Gauges::default(), &[&board]);
    let line = "streamweir_oldest_uncommitted_timestamp_seconds{pipeline=\"orders\"} 2.5\n";
    assert!(text.contains(line), "{text}");
    let partition = &pipeline.status().partitions[0];
    assert_eq!((partition.end, partition.lag), (Some(20), Some(12)));
}
