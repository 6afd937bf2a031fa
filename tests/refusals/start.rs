//! What a pipeline needs before it reads its first record.

use std::io::Write as _;

use crate::support::{Job, command};

#[test]
fn a_missing_table_halts_and_names_the_command_that_makes_it() {
    let job = Job::new("missing");
    job.create_topic(1);
    let table = format!("{}.clickstream_events", job.database);
    job.assert_halts("a", "missing_table", &["streamweir schema apply", &table]);
}

#[test]
fn a_column_the_table_does_not_have_halts_and_is_named() {
    for (key, section) in [
        ("pipeline.columns.colour", "pipeline.columns"),
        ("pipeline.lookup.columns.colour", "pipeline.lookup.columns"),
    ] {
        let mut job = Job::new("column");
        job.apply_schema();
        job.create_topic(1);
        job.set(&format!("{key}.default"), "red");
        job.assert_halts("a", "schema", &["colour", section, "ALTER TABLE"]);
    }
    let mut job = Job::new("column");
    job.apply_schema();
    job.create_topic(1);
    job.set("pipeline.session.count_column", "colour");
    job.assert_halts("a", "schema", &["colour", "pipeline.session"]);
}

#[test]
fn engines_that_forget_or_hide_rows_halt_under_exactly_once() {
    for engine in ["Memory", "Null"] {
        let job = Job::new(&engine.to_lowercase());
        job.apply_schema();
        job.query("CREATE TABLE {db}.shape AS {db}.clickstream_events");
        let columns = "SELECT arrayStringConcat(groupArray(concat('`', name, '` ', type)), ', ') \
            FROM system.columns WHERE table = 'shape' AND database = ";
        let columns = job.query(&format!("{columns}'{}' FORMAT TSVRaw", job.database));
        job.query("DROP TABLE {db}.clickstream_events");
        job.query(&format!(
            "CREATE TABLE {{db}}.clickstream_events ({columns}) ENGINE = {engine}"
        ));
        job.create_topic(1);
        job.assert_halts("a", "engine", &[engine, "at_least_once"]);
    }
}

#[test]
fn without_provenance_columns_exactly_once_halts_and_at_least_once_writes() {
    let mut job = Job::new("provenance");
    job.apply_schema();
    job.query("ALTER TABLE {db}.clickstream_events DROP INDEX _offset_minmax");
    job.query(
        "ALTER TABLE {db}.clickstream_events DROP COLUMN _topic, DROP COLUMN _partition, \
         DROP COLUMN _offset",
    );
    job.create_topic(1);
    job.produce_events(0, 0..7);
    job.assert_halts("a", "schema", &["_topic", "at_least_once", "ALTER TABLE"]);
    job.set("pipeline.delivery", "at_least_once");
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(
        job.query("SELECT uniqExact(event_id), count() FROM {db}.clickstream_events"),
        "7\t7"
    );
}

#[test]
fn a_dependency_out_of_reach_ends_the_start_with_code_3_and_its_name() {
    for (key, value, what) in [
        (
            "clickhouse.url",
            toml::Value::from("http://127.0.0.1:1"),
            "clickhouse was not ready in time",
        ),
        (
            "kafka.bootstrap_servers",
            vec!["127.0.0.1:1"].into(),
            "kafka was not ready in time",
        ),
        (
            "redis.url",
            "redis://127.0.0.1:1".into(),
            "redis was not ready in time",
        ),
    ] {
        let mut job = Job::new("unreachable");
        // What answers has answered by then.
        job.set("service.start_timeout", "6s");
        job.apply_schema();
        job.create_topic(1);
        job.set(key, value);
        let (code, log) = job.run_to_code("a", &[]);
        assert_eq!(code, 3, "{log}");
        for words in [what, key, "service.start_timeout"] {
            assert!(log.contains(words), "{words}: {log}");
        }
        let shown = log
            .lines()
            .filter(|line| line.contains("ERROR streamweir"))
            .count();
        assert_eq!(shown, 1, "one error, told once: {log}");
    }
}

#[test]
fn a_schema_that_cannot_be_applied_in_time_ends_with_code_3() {
    let mut job = Job::new("no-server");
    job.set("service.start_timeout", "1s");
    job.set("clickhouse.url", "http://127.0.0.1:1");
    let (path, _) = job.write_config("schema");
    let output = command(&path, &["schema", "apply"])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("clickhouse could not be reached"), "{said}");
}

#[test]
fn without_redis_rows_take_the_defaults_where_the_configuration_allows_it() {
    let mut job = Job::new("defaults");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..7);
    job.set("redis.url", "redis://127.0.0.1:1");
    job.set("pipeline.lookup.on_unavailable", "use_defaults");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT count(), uniqExact(_offset), any(user_segment), uniqExact(user_segment) \
         FROM {db}.clickstream_events",
    );
    assert_eq!(rows, "7\t7\tunknown\t1");
}

#[test]
fn a_taken_port_is_told_with_its_key() {
    let job = Job::new("port");
    let (path, http) = job.write_config("a");
    let _taken = std::net::TcpListener::bind(&http).expect("the port is free");
    let output = command(&path, &["run"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("service.http_listen"),
        "{said}"
    );
}

#[test]
fn a_state_directory_that_cannot_be_written_ends_with_code_2_and_its_key() {
    let mut job = Job::new("state");
    job.apply_schema();
    job.create_topic(1);
    let file = job.directory.path().join("occupied");
    std::fs::File::create(&file)
        .expect("a file")
        .write_all(b"x")
        .expect("written");
    job.set("service.state_dir", file.display().to_string());
    let (code, log) = job.run_to_code("a", &[]);
    assert_eq!(code, 2, "{log}");
    assert!(
        log.contains("service.state_dir") && log.contains("occupied"),
        "{log}"
    );
}

#[test]
fn a_pipeline_whose_dependency_is_missing_does_not_take_the_sound_ones_along() {
    let mut job = Job::new("two");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..5);
    let pipelines = job.config["pipeline"].as_array_mut().expect("pipelines");
    let mut broken = pipelines[0].as_table().expect("a table").clone();
    broken.insert("name".into(), "broken".into());
    broken.insert("group_id".into(), format!("{}other", job.prefix).into());
    let clickhouse = broken["clickhouse"].as_table_mut().expect("a table");
    clickhouse.insert("table".into(), "nowhere".into());
    clickhouse.remove("ddl");
    pipelines.push(broken.into());
    let (code, log) = job.run_to_code("a", &["--until", "latest"]);
    assert_eq!(code, 4, "{log}");
    assert!(
        log.contains("nowhere") && log.contains("pipeline=\"broken\""),
        "{log}"
    );
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (5, 5));
}
