//! The file as a whole, what is missing in it, and the environment.

use super::*;

#[test]
fn missing_keys_without_a_default_are_named() {
    for key in ["topics", "group_id", "kind", "clickhouse.table"] {
        let key = format!("pipeline.{key}");
        assert_problem(
            &shipped_with(&[(&key, "-")]),
            &problem_path(&key),
            &["is required"],
        );
    }
    let text = shipped_with(&[("pipeline.name", "-")]);
    assert_problem(
        &text,
        "pipeline[0].name",
        &["is required", "1 to 64 characters"],
    );
}

#[test]
fn a_kind_that_does_not_exist_is_told_all_that_do() {
    let text = shipped_with(&[("pipeline.kind", "\"join\"")]);
    let expected = "unknown kind \"join\"; allowed: enrichment, cdc, aggregation, stream_join, raw";
    assert_problem(&text, "pipeline.clickstream.kind", &[expected]);
}

/// The shipped file and a second pipeline.
fn with_second(name: &str, group: &str, topics: &str) -> String {
    format!(
        "{SHIPPED}\n[[pipeline]]\nname = \"{name}\"\nkind = \"enrichment\"\ntopics = [{topics}]\n\
         group_id = \"{group}\"\nclickhouse.table = \"t\"\n"
    )
}

#[test]
fn two_pipelines_do_not_share_a_name() {
    let text = with_second("clickstream", "other", "\"x\"");
    assert_problem(&text, "pipeline[4].name", &["must be unique"]);
}

#[test]
fn two_pipelines_of_one_group_do_not_share_a_topic() {
    for topics in ["\"user-events\"", "\"^user-.*\"", "\"x\", \"user-events\""] {
        let text = with_second("second", "clickstream-processor", topics);
        assert_problem(
            &text,
            "pipeline.second.group_id",
            &["must differ from that of pipeline.clickstream", "user-"],
        );
    }
    let apart = with_second("second", "clickstream-processor", "\"other\", \"^else-.*\"");
    assert!(parse(&apart).is_ok());
    assert!(parse(&with_second("second", "another", "\"user-events\"")).is_ok());
}

#[test]
fn every_problem_is_reported_with_its_line_in_the_order_of_the_file() {
    let text = "[service]\nmemory_max = 1\nlog_format = \"xml\"\n\n[[pipeline]]\nname = \"a\"\n\
                kind = \"enrichment\"\n[pipeline.batch]\nrows_max = 0\n[kafka]\nhost = \"x\"\n";
    let Err(problems) = parse(text) else {
        panic!("accepted")
    };
    let found: Vec<_> = problems
        .0
        .iter()
        .map(|problem| (problem.line, problem.key_path.as_str()))
        .collect();
    let expected = [
        (Some(2), "service.memory_max"),
        (Some(3), "service.log_format"),
        (Some(5), "pipeline.a.topics"),
        (Some(5), "pipeline.a.clickhouse.table"),
        (Some(5), "pipeline.a.group_id"),
        (Some(9), "pipeline.a.batch.rows_max"),
        (Some(11), "kafka.host"),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        problems.0[5].to_string(),
        "config.toml:9: pipeline.a.batch.rows_max: must be an integer from 1 to 10,000,000 (rows), \
         found 0"
    );
    assert_eq!(problems.to_string().lines().count(), expected.len());
}

#[test]
fn a_text_that_is_no_toml_is_one_problem_that_does_not_quote_it() {
    let Err(Problems(problems)) = parse("[clickhouse]\npassword = \"hunter2\" oops\n") else {
        panic!("accepted")
    };
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].line, Some(2));
    assert!(problems[0].message.contains("not valid TOML"));
    assert!(
        !problems[0].to_string().contains("hunter2"),
        "{}",
        problems[0]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let Err(problems) = Config::load(Path::new("/no/such/config.toml"), []) else {
        panic!("accepted")
    };
    assert!(
        problems
            .to_string()
            .starts_with("/no/such/config.toml: cannot be read"),
        "{problems}"
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let loaded = parse_with(
        SHIPPED,
        &[
            ("STREAMWEIR__SERVICE__MEMORY_MAX", "1GiB"),
            ("STREAMWEIR__SERVICE__START_TIMEOUT", "0"),
            ("STREAMWEIR__SERVICE__INSTANCE_ID", "a"),
            ("STREAMWEIR__KAFKA__BOOTSTRAP_SERVERS", "a:9092, b:9093"),
            (
                "STREAMWEIR__CLICKHOUSE__URLS",
                "http://a:8123,http://b:8123",
            ),
            ("STREAMWEIR__CLICKHOUSE__PASSWORD", "hunter2"),
            ("STREAMWEIR__REDIS__TIMEOUT", "2s"),
            ("PATH", "/bin"),
            ("STREAMWEIR_LOG", "debug"),
        ],
    )
    .expect("the variables are right");
    let (service, pipeline) = (&loaded.config.service, &loaded.config.pipelines[0]);
    assert_eq!(service.memory_max_bytes, 1 << 30);
    assert_eq!(service.start_timeout, None);
    assert_eq!(service.instance_id.as_deref(), Some("a"));
    assert_eq!(pipeline.kafka.bootstrap_servers, ["a:9092", "b:9093"]);
    assert_eq!(pipeline.clickhouse.urls, ["http://a:8123", "http://b:8123"]);
    assert_eq!(pipeline.clickhouse.password.expose_secret(), "hunter2");
    assert_eq!(pipeline.redis.timeout.as_secs(), 2);
}

#[test]
fn variables_that_cannot_be_set_are_named() {
    for (name, value, key_path, says) in [
        (
            "STREAMWEIR__SERVICE__MEMORY_MAX",
            "lots",
            "service.memory_max",
            "found \"lots\"",
        ),
        (
            "STREAMWEIR__SERVICE__MEMROY_MAX",
            "1GiB",
            "service.memroy_max",
            "did you mean memory_max?",
        ),
        (
            "STREAMWEIR__KAFKA__BOOTSTRAP_SERVERS",
            "",
            "kafka.bootstrap_servers",
            "at least one",
        ),
        (
            "STREAMWEIR__KAFKA__PROPERTIES",
            "x",
            "kafka.properties",
            "must be a table",
        ),
        (
            "STREAMWEIR__KAFKA__PROPERTIES__CLIENT.ID",
            "x",
            "",
            "keys with dots",
        ),
        ("STREAMWEIR__KAFKA__CLIENT.ID", "x", "", "keys with dots"),
        (
            "STREAMWEIR__PIPELINE__CONSUMERS",
            "2",
            "",
            "a [[pipeline]] cannot be set",
        ),
        (
            "STREAMWEIR__SINK__URL",
            "x",
            "",
            "SERVICE, KAFKA, CLICKHOUSE, REDIS",
        ),
        ("STREAMWEIR__SERVICE", "x", "", "STREAMWEIR__SECTION__KEY"),
        ("STREAMWEIR__", "x", "", "unknown section"),
    ] {
        let Err(Problems(problems)) = parse_with(SHIPPED, &[(name, value)]) else {
            panic!("{name} is accepted")
        };
        let Problem {
            origin,
            line,
            key_path: found,
            message,
        } = &problems[0];
        assert_eq!(
            (origin.as_str(), *line, found.as_str()),
            (name, None, key_path)
        );
        assert!(message.contains(says), "{message}");
    }
    let twice = [
        ("STREAMWEIR__REDIS__TIMEOUT", "1s"),
        ("STREAMWEIR__redis__timeout", "2s"),
    ];
    let Err(problems) = parse_with(SHIPPED, &twice) else {
        panic!("accepted")
    };
    assert!(
        problems
            .to_string()
            .contains("sets the same key as STREAMWEIR__REDIS__TIMEOUT")
    );
}

#[test]
fn an_open_address_without_a_token_and_a_missing_ddl_are_warnings() {
    let warnings = |edits: &[(&str, &str)]| {
        parse(&shipped_with(edits))
            .expect("warnings are no problems")
            .warnings
    };
    let open = warnings(&[("service.http_listen", "\"0.0.0.0:9187\"")]);
    assert_eq!(open[0].key_path, "service.http_listen");
    let guarded = [
        ("service.http_listen", "\"0.0.0.0:9187\""),
        ("service.admin_token", "\"abc\""),
    ];
    assert!(warnings(&guarded).is_empty());
    let missing = warnings(&[("pipeline.clickhouse.ddl", "\"sql/none.sql\"")]);
    assert_eq!(missing[0].key_path, "pipeline.clickstream.clickhouse.ddl");
    assert!(
        parse("").expect("an empty file is right").warnings[0]
            .message
            .contains("no [[pipeline]]")
    );
}
