//! What a right configuration becomes, and that secrets stay secret.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

const SHIPPED: &str = include_str!("../../config.toml");

/// All that has no default.
const MINIMAL: &str = r#"
    [[pipeline]]
    name = "clickstream"
    kind = "enrichment"
    topics = ["user-events"]
    group_id = "clickstream-processor"
    clickhouse.table = "clickstream_events"
"#;

fn parse(text: &str) -> Result<Loaded, Problems> {
    Config::parse(
        text,
        "config.toml",
        Path::new(env!("CARGO_MANIFEST_DIR")),
        [],
    )
}

fn pipeline(text: &str) -> Pipeline {
    let loaded = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    loaded
        .config
        .pipelines
        .into_iter()
        .next()
        .expect("the text has a pipeline")
}

fn enrichment(pipeline: &Pipeline) -> &Enrichment {
    match &pipeline.kind {
        Kind::Enrichment(enrichment) => enrichment,
        other => panic!("not an enrichment: {other:?}"),
    }
}

#[test]
fn the_shipped_file_is_right_and_draws_no_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    let loaded = Config::load(&path, []).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let pipeline = &loaded.config.pipelines[0];
    assert_eq!(pipeline.name, "clickstream");
    assert_eq!(
        pipeline.topics,
        [TopicSelector::Name("user-events".to_owned())]
    );
    assert_eq!(pipeline.table, "clickstream_events");
    assert!(
        pipeline
            .ddl
            .as_ref()
            .is_some_and(|ddl| ddl.is_absolute() && ddl.exists())
    );
    let enrichment = enrichment(pipeline);
    let properties = &enrichment.columns["properties"];
    assert_eq!(
        (properties.raw, properties.default.as_deref()),
        (RawMode::Object, Some("{}"))
    );
    assert!(enrichment.columns["event_id"].required);
    let lookup = enrichment
        .lookup
        .as_ref()
        .expect("the shipped pipeline looks profiles up");
    assert_eq!(
        lookup.columns["user_segment"].default.as_deref(),
        Some("unknown")
    );
    let session = enrichment
        .session
        .as_ref()
        .expect("the shipped pipeline has sessions");
    assert_eq!(session.distinct_where["event_type"], "page_view");
}

#[test]
fn the_shipped_file_sets_nothing_but_defaults_besides_names_columns_and_tables() {
    let shipped = parse(SHIPPED).expect("the shipped file is right").config;
    let minimal = parse(MINIMAL).expect("defaults are right").config;
    assert_eq!(
        format!("{:?}", shipped.service),
        format!("{:?}", minimal.service)
    );
    let lines = |config: &Config| config.pipelines[0].effective.clone();
    let (shipped, minimal) = (lines(&shipped), lines(&minimal));
    let set: Vec<&str> = shipped
        .lines()
        .filter(|line| !minimal.lines().any(|other| other == *line))
        .filter(|line| {
            !["columns.", "lookup.", "session.", "clickhouse.ddl"]
                .iter()
                .any(|prefix| line.starts_with(prefix))
        })
        .collect();
    assert!(set.is_empty(), "{set:?}");
}

#[test]
fn the_effective_configuration_of_the_shortest_file_is_the_defaults() {
    assert_eq!(
        pipeline(MINIMAL).effective,
        "\
batch.bytes_max = 33554432
batch.flush_interval = 5s
batch.inserts_per_second_max = 2.0
batch.rows_max = 100000
clickhouse.compression = lz4
clickhouse.database = analytics
clickhouse.insert_lease = 30s
clickhouse.insert_timeout = 30s
clickhouse.table = clickstream_events
clickhouse.urls = [http://localhost:8123]
clickhouse.user = default
compression = none
consumers = 1
dead_letter.payload = original
dead_letter.ratio_max = 0.1
dead_letter.skip = []
dead_letter.topic = streamweir-dead-letters
delivery = exactly_once
evolution = ignore
format = json
group_id = clickstream-processor
group_protocol = classic
kafka.bootstrap_servers = [localhost:9092]
kind = enrichment
name = clickstream
privacy.fields = []
redis.timeout = 1s
redis.url = redis://localhost:6379
revoke_timeout = 10s
start_offset = earliest
state.interval = 1m
state.keep = 3
state.on_missing_state = halt
state.url = \n\
time_field = timestamp
timestamp_ahead_max = 1h
tombstones = dead_letter
topics = [user-events]
watermark_delay = 30s
"
    );
}

/// A replica with nothing but what has no default, and the table that keeps `check` silent.
const REPLICA: &str = r#"
    [[pipeline]]
    name = "shop"
    kind = "cdc"
    topics = ["shop.public.orders", "^crm\\..*"]
    group_id = "shop-replica"
    [pipeline.debezium]
"#;

fn cdc(text: &str) -> Cdc {
    match pipeline(text).kind {
        Kind::Cdc(cdc) => cdc,
        other => panic!("not a replica: {other:?}"),
    }
}

#[test]
fn the_defaults_of_a_replica_are_those_of_debezium_and_lose_nothing() {
    let replica = pipeline(REPLICA);
    assert_eq!(replica.table, "");
    assert_eq!(replica.kind.name(), "cdc");
    let own: Vec<&str> = replica
        .effective
        .lines()
        .filter(|line| {
            let common = pipeline(MINIMAL).effective;
            !common.lines().any(|other| other == *line)
        })
        .collect();
    let expected = [
        "create_tables = true",
        "debezium.binary_mode = bytes",
        "debezium.decimal_mode = precise",
        "debezium.signal_table = debezium_signal",
        "debezium.time_mode = adaptive",
        "debezium.unavailable_value_placeholder = __debezium_unavailable_value",
        "evolution = add_columns",
        "group_id = shop-replica",
        "kind = cdc",
        "name = shop",
        "toast_wait = 1m",
        r"topics = [shop.public.orders, ^crm\\..*]",
        "truncate = halt",
        "version_epochs = []",
    ];
    assert_eq!(own, expected);
    let undeclared = cdc(&REPLICA.replace("[pipeline.debezium]", ""));
    assert_eq!(undeclared.modes, None);
    assert_eq!(undeclared.placeholder, "__debezium_unavailable_value");
}

/// A join with nothing but what has no default.
const JOIN: &str = r#"
    [[pipeline]]
    name = "enriched"
    kind = "stream_join"
    group_id = "clickstream-enricher"
    left.topic = "clickstream-events"
    right.topic = "user-profile-updates"
    output.topic = "enriched-clickstream"
"#;

fn stream_join(pipeline: &Pipeline) -> &StreamJoin {
    match &pipeline.kind {
        Kind::StreamJoin(join) => join,
        other => panic!("not a join: {other:?}"),
    }
}

#[test]
fn the_defaults_of_a_join_are_those_of_the_shipped_one_and_read_both_topics() {
    let short = pipeline(JOIN);
    assert_eq!((short.table.as_str(), short.ddl.as_ref()), ("", None));
    assert!(short.is_transactional() && !pipeline(MINIMAL).is_transactional());
    let topics = ["clickstream-events", "user-profile-updates"];
    assert_eq!(
        short.topics,
        topics.map(|topic| TopicSelector::Name(topic.to_owned()))
    );
    let common = pipeline(MINIMAL).effective;
    let own: Vec<&str> = short
        .effective
        .lines()
        .filter(|line| !common.lines().any(|other| other == *line))
        .collect();
    let expected = [
        "batch.flush_interval = 100ms",
        "batch.inserts_per_second_max = 1000.0",
        "group_id = clickstream-enricher",
        "idle_timeout = 10s",
        "join.after = 5m",
        "join.before = 5m",
        "join.emit = on_watermark",
        "join.retention_accepted = false",
        "join.type = left",
        "kind = stream_join",
        "left.key_field = user_id",
        "left.time_field = timestamp",
        "left.topic = clickstream-events",
        "name = enriched",
        "output.join_time_field = join_timestamp",
        "output.partitioner = consistent",
        "output.right_time_field = profile_updated_at",
        "output.topic = enriched-clickstream",
        "right.fields.user_country = $.country",
        "right.fields.user_email = $.email",
        "right.fields.user_name = $.name",
        "right.fields.user_segment = $.segment",
        "right.key_field = user_id",
        "right.time_field = updated_at",
        "right.topic = user-profile-updates",
    ];
    assert_eq!(own, expected);

    let shipped = parse(SHIPPED).expect("right").config.pipelines;
    let shipped = shipped
        .iter()
        .find(|p| p.name == "enriched")
        .expect("shipped");
    let mut defaults = stream_join(&short).clone();
    defaults.watermark_delay = Duration::from_secs(10);
    assert_eq!(*stream_join(shipped), defaults);
    assert_eq!(shipped.batch, short.batch);
}

#[test]
fn what_a_join_adds_stands_in_the_order_of_the_file() {
    let text = format!(
        "{JOIN}join.before = \"unlimited\"\njoin.keys_placed_by = \"murmur2\"\n\
         [pipeline.right.fields]\nz = \"$.a.b\"\na = \"$.c\"\n"
    );
    let pipeline = pipeline(&text);
    let join = stream_join(&pipeline);
    assert_eq!(join.before, None);
    assert_eq!(join.keys_placed_by, Some(Partitioner::Murmur2));
    let added: Vec<_> = join
        .added_members()
        .map(|(_, name)| name.to_owned())
        .collect();
    assert_eq!(added, ["z", "a", "profile_updated_at", "join_timestamp"]);
    assert!(pipeline.effective.contains("join.before = unlimited\n"));
}

#[test]
fn a_topic_goes_to_its_own_table_or_to_one_called_as_its_last_part() {
    let text = format!(
        "{REPLICA}[pipeline.tables.\"crm.contacts\"]\ntable = \"people\"\n\
         key = [\"id\", \"at\"]\ncolumns = {{ note = \"Nullable(String)\", at = \"Date32\", id = \"UInt64\" }}\n\
         source_types = {{ at = \"io.debezium.time.Date\", raw = \"bytes\" }}"
    );
    let cdc = cdc(&text);
    for (topic, table) in [
        ("crm.contacts", "people"),
        ("shop.public.orders", "orders"),
        ("crm.notes.", "notes"),
        ("plain", "plain"),
    ] {
        assert_eq!(cdc.table_for(topic), table);
    }
    let mapping = &cdc.tables["crm.contacts"];
    let names: Vec<&str> = mapping
        .columns
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["id", "at", "note"], "the key comes first");
    assert_eq!(mapping.columns[1].1, crate::table::ColumnType::Date32);
    let named: Vec<_> = mapping
        .source_types
        .values()
        .map(|t| t.name.as_deref())
        .collect();
    assert_eq!(named, [Some("io.debezium.time.Date"), None]);
}

#[test]
fn the_epoch_of_a_record_is_the_last_that_began_before_it() {
    let epochs = "version_epochs = [{ since = \"2026-11-21T02:00:00Z\", epoch = 1 }, \
                  { since = 2026-11-22T02:00:00.250+02:00, epoch = 7 }]\n[pipeline.debezium]";
    let cdc = cdc(&REPLICA.replace("[pipeline.debezium]", epochs));
    for (timestamp_ms, epoch) in [
        (-1, 0),
        (1_795_226_399_999, 0),
        (1_795_226_400_000, 1),
        (1_795_305_600_249, 1),
        (1_795_305_600_250, 7),
        (i64::MAX, 7),
    ] {
        assert_eq!(cdc.epoch_at(timestamp_ms), epoch, "{timestamp_ms}");
    }
}

#[test]
fn without_their_tables_there_is_no_lookup_no_session_and_no_mapping() {
    let pipeline = pipeline(MINIMAL);
    let enrichment = enrichment(&pipeline);
    assert_eq!((&enrichment.lookup, &enrichment.session), (&None, &None));
    assert!(enrichment.columns.is_empty());
}

#[test]
fn a_column_of_the_lookup_may_be_a_path_alone() {
    let with = |column: &str| {
        let columns = format!("[pipeline.lookup.columns]\nuser_email = {column}");
        let pipeline = pipeline(&format!("{MINIMAL}\n[pipeline.lookup]\n{columns}\n"));
        let lookup = enrichment(&pipeline).lookup.clone().expect("a lookup");
        (lookup, pipeline.config_id)
    };
    let short = with("\"$.contact.email\"");
    assert_eq!(short.0.columns["user_email"].path, "$.contact.email");
    assert_eq!(short, with("{ path = \"$.contact.email\" }"));
}

#[test]
fn one_meaning_has_one_config_id() {
    let id = pipeline(MINIMAL).config_id;
    assert_eq!(id.len(), 12);
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    for same in [
        "[pipeline.batch]\nrows_max = 100_000\nbytes_max = 33554432\nflush_interval = \"5000ms\"",
        "[clickhouse]\nurls = [\"http://localhost:8123/\"]",
        "[clickhouse]\npassword = \"another\"",
        "[kafka.properties]\nsasl.password = \"another\"",
        "[service]\nhttp_listen = \"127.0.0.1:1\"\ninstance_id = \"b\"",
    ] {
        assert_eq!(
            pipeline(&format!("{MINIMAL}\n{same}")).config_id,
            id,
            "{same}"
        );
    }
    for other in [
        "[pipeline.batch]\nrows_max = 99_999",
        "[clickhouse]\ndatabase = \"other\"",
        "[kafka.properties]\nclient.id = \"x\"",
        "[pipeline.columns]\npage_url = \"$.url\"",
    ] {
        assert_ne!(
            pipeline(&format!("{MINIMAL}\n{other}")).config_id,
            id,
            "{other}"
        );
    }
    let short = pipeline(&format!(
        "{MINIMAL}\n[pipeline.columns]\npage_url = \"$.url\""
    ));
    let long = pipeline(&format!(
        "{MINIMAL}\n[pipeline.columns]\npage_url = {{ path = \"$.url\" }}"
    ));
    assert_eq!(short.effective, long.effective);
}

#[test]
fn a_pipeline_overrides_single_keys_of_the_global_sections() {
    let text = format!(
        "{MINIMAL}
        [pipeline.kafka]
        properties.client.id = \"mine\"
        properties.\"socket.keepalive.enable\" = true
        [pipeline.clickhouse.settings]
        insert_quorum = \"auto\"
        log_queries = false
        [pipeline.redis]
        timeout = \"2s\"
        [kafka]
        bootstrap_servers = [\"a:1\"]
        [kafka.properties]
        \"client.id\" = \"theirs\"
        security.protocol = \"ssl\"
        [clickhouse]
        urls = [\"http://a:1\", \"http://b:1\"]
        database = \"other\"
        settings.insert_quorum = 2
        [redis]
        url = \"redis://a:1\"
        "
    );
    let pipeline = pipeline(&text);
    let properties: Vec<_> = pipeline
        .kafka
        .properties
        .iter()
        .map(|(key, value)| (key.as_str(), value.value()))
        .collect();
    assert_eq!(
        properties,
        [
            ("client.id", "mine"),
            ("security.protocol", "ssl"),
            ("socket.keepalive.enable", "true")
        ]
    );
    assert_eq!(pipeline.kafka.bootstrap_servers, ["a:1"]);
    assert_eq!(pipeline.clickhouse.urls, ["http://a:1", "http://b:1"]);
    assert_eq!(pipeline.clickhouse.database, "other");
    assert_eq!(pipeline.clickhouse.settings["insert_quorum"], "auto");
    assert_eq!(pipeline.clickhouse.settings["log_queries"], "0");
    assert_eq!(pipeline.redis.url.expose_secret(), "redis://a:1");
    assert_eq!(pipeline.redis.timeout, Duration::from_secs(2));
}

#[test]
fn a_key_of_the_pipeline_displaces_the_global_twin() {
    let text = format!(
        "{MINIMAL}clickhouse.url = \"http://mine:1\"
        clickhouse.password = \"mine\"
        [clickhouse]
        urls = [\"http://a:1\", \"http://b:1\"]
        password_file = \"secret\""
    );
    let directory = directory_with_secret("theirs");
    let loaded = Config::parse(&text, "config.toml", directory.path(), []).expect("right");
    let pipeline = &loaded.config.pipelines[0];
    assert_eq!(pipeline.clickhouse.urls, ["http://mine:1"]);
    assert_eq!(pipeline.clickhouse.password.expose_secret(), "mine");
}

#[test]
fn a_wrong_key_of_a_global_section_is_one_problem_however_many_pipelines_use_it() {
    let second = MINIMAL.replace("clickstream", "second");
    for (line, key_path) in [
        ("[kafka]\nbootstrap_server = 1", "kafka.bootstrap_server"),
        ("[clickhouse]\ntable = \"x\"", "clickhouse.table"),
        ("[redis]\nurl = 1", "redis.url"),
        (
            "[kafka.properties]\ngroup.id = \"x\"",
            "kafka.properties.group.id",
        ),
        (
            "[clickhouse.settings]\nasync_insert = 1",
            "clickhouse.settings.async_insert",
        ),
    ] {
        let text = format!("{MINIMAL}{second}{line}");
        let Err(Problems(problems)) = parse(&text) else {
            panic!("{line} is accepted")
        };
        let paths: Vec<_> = problems
            .iter()
            .map(|problem| problem.key_path.as_str())
            .collect();
        assert_eq!(paths, [key_path]);
    }
}

#[test]
fn a_property_set_quoted_and_as_a_table_is_a_problem() {
    let text = format!("{MINIMAL}[kafka.properties]\nclient.id = \"a\"\n\"client.id\" = \"b\"");
    let Err(problems) = parse(&text) else {
        panic!("accepted")
    };
    assert!(problems.to_string().contains("is set twice"), "{problems}");
}

fn directory_with_secret(content: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let mut file =
        std::fs::File::create(directory.path().join("secret")).expect("and a file in it");
    file.write_all(content.as_bytes()).expect("and be written");
    directory
}

#[test]
fn a_secret_file_is_read_beside_the_configuration_less_one_line_break() {
    for (content, secret) in [
        ("s3", "s3"),
        ("s3\n", "s3"),
        ("s3\r\n", "s3"),
        (" s3 ", " s3 "),
    ] {
        let directory = directory_with_secret(content);
        let text = format!(
            "{MINIMAL}[clickhouse]\npassword_file = \"secret\"\n[redis]\npassword_file = \"secret\"\n\
             [kafka.properties]\nsasl.password_file = \"secret\""
        );
        let loaded = Config::parse(&text, "config.toml", directory.path(), []).expect("right");
        let pipeline = &loaded.config.pipelines[0];
        assert_eq!(pipeline.clickhouse.password.expose_secret(), secret);
        assert_eq!(
            pipeline.redis.password.as_ref().map(|p| p.expose_secret()),
            Some(secret)
        );
        assert_eq!(pipeline.kafka.properties["sasl.password"].value(), secret);
        assert!(!pipeline.kafka.properties.contains_key("sasl.password_file"));
    }
}

#[test]
fn a_secret_file_that_cannot_serve_is_named_without_its_content() {
    for (content, says) in [
        ("", "is empty"),
        ("\n", "is empty"),
        ("hunter2\n\n", "must not hold control characters"),
    ] {
        let directory = directory_with_secret(content);
        let text = format!("{MINIMAL}[clickhouse]\npassword_file = \"secret\"");
        let Err(problems) = Config::parse(&text, "config.toml", directory.path(), []) else {
            panic!("accepted")
        };
        let shown = problems.to_string();
        assert!(
            shown.contains("clickhouse.password_file: ") && shown.contains(says),
            "{shown}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn an_empty_file_name_means_no_secret() {
    let text = "[service]\nadmin_token_file = \"\"\n[redis]\npassword = \"\"\npassword_file = \"\"";
    let loaded = parse(&format!("{MINIMAL}{text}")).expect("right");
    assert!(loaded.config.service.admin_token.is_none());
    let empty_token = parse("[service]\nadmin_token = \"\"").expect("right");
    assert!(empty_token.config.service.admin_token.is_none());
}

/// A file with the text `hunter2` wherever a secret may stand.
const SECRETIVE: &str = r#"
    [service]
    admin_token = "hunter2"
    [kafka.properties]
    sasl.password = "hunter2"
    ssl.key.password = "hunter2"
    ssl.keystore.password = "hunter2"
    ssl.key.pem = "hunter2"
    sasl.oauthbearer.client.secret = "hunter2"
    sasl.oauthbearer.token.endpoint.url = "https://me:hunter2@host/token"
    [clickhouse]
    password = "hunter2"
    [redis]
    url = "redis://me:hunter2@localhost:6379/0"
"#;

#[test]
fn what_is_right_shows_no_secret() {
    let loaded = parse(&format!("{MINIMAL}{SECRETIVE}")).unwrap_or_else(|error| panic!("{error}"));
    let pipeline = &loaded.config.pipelines[0];
    assert_eq!(pipeline.kafka.properties["ssl.key.pem"].value(), "hunter2");
    let shown = format!("{loaded:?} {loaded:#?} {}", pipeline.effective);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_is_wrong_shows_no_secret() {
    for line in [
        "[service]\nadmin_token = [\"hunter2\"]",
        "[service]\nadmin_token = \"hunter2 and more\"",
        "[service]\nadmin_token = \"hunter2\"\nadmin_token_file = \"Cargo.toml\"",
        "[kafka]\nbootstrap_servers = [\"me:hunter2@localhost:9092\"]",
        "[kafka.properties]\nsasl.password = [\"hunter2\"]",
        "[kafka.properties]\nsasl.password = \"hunter2\"\nsasl.password_file = \"Cargo.toml\"",
        "[clickhouse]\npassword = { is = \"hunter2\" }",
        "[clickhouse]\nurl = \"http://me:hunter2@localhost:8123\"",
        "[clickhouse]\nurl = \"http:/me:hunter2@localhost:8123\"",
        "[clickhouse]\nurls = [\"http://me:hunter2@localhost:8123\"]",
        "[redis]\nurl = \"http://me:hunter2@localhost\"",
        "[redis]\nurl = \"redis:me:hunter2@localhost\"",
        "[redis]\nurl = \"redis://me:hunter2/x@localhost:port\"",
        "[redis]\nurl = \"redis://me:hunter2@localhost\"\npassword = \"hunter2\"",
        "[clickhouse]\npassword = \"hunter2\" 7",
        "[clickhouse]\npassword = hunter2",
        "[clickhouse]\npassword = \"hunter2",
        "[clickhouse]\npassword = \"hunter2\"\npassword = \"hunter2\"",
    ] {
        let Err(problems) = parse(&format!("{MINIMAL}{line}")) else {
            panic!("{line} is accepted")
        };
        let shown = format!("{problems} {problems:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn credentials_of_urls_are_redacted() {
    for (url, shown) in [
        ("redis://localhost:6379", "redis://localhost:6379"),
        ("redis://:pass@host/0", "redis://***@host/0"),
        ("rediss://me:p@ss@host", "rediss://***@host"),
        ("redis://me:p/ss@host", "redis://***@host"),
        ("me@host", "me@host"),
        ("", ""),
    ] {
        assert_eq!(redacted(url), shown);
    }
}

#[test]
fn patterns_select_topics_as_regular_expressions() {
    let pattern = TopicSelector::Pattern("^user-(a|b)$".to_owned());
    assert!(pattern.matches("user-a") && !pattern.matches("user-ab") && !pattern.matches("x"));
}

#[test]
fn paths_start_where_the_file_lies_and_are_absolute() {
    let text = format!("{MINIMAL}clickhouse.ddl = \"a.sql\"\n[service]\nstate_dir = \"s\"");
    let loaded = Config::parse(&text, "config.toml", Path::new("/etc/streamweir"), []);
    let config = loaded.expect("right").config;
    assert_eq!(config.service.state_dir, Path::new("/etc/streamweir/s"));
    assert_eq!(
        config.pipelines[0].ddl.as_deref(),
        Some(Path::new("/etc/streamweir/a.sql"))
    );
}

#[test]
fn private_fields_of_raw_records_in_whole_dead_letters_draw_a_warning_too() {
    let raw = MINIMAL.replace("enrichment", "raw");
    let warned = |more: &str| {
        let text = format!("{raw}privacy.fields = [\"$.email\"]\n{more}");
        let loaded = parse(&text).unwrap_or_else(|problems| panic!("{problems}"));
        let mut warnings = loaded.warnings.into_iter();
        warnings.any(|w| w.key_path == "pipeline.clickstream.dead_letter.payload")
    };
    assert!(warned(""));
    for payload in ["masked", "omit"] {
        assert!(!warned(&format!("dead_letter.payload = {payload:?}")));
    }
}

#[test]
fn what_rules_and_duplicates_look_at_is_in_records_of_the_format() {
    let lines = "format = \"csv\"\ncsv.columns = [\"id\", \"n\", \"at\"]\ntime_field = \"at\"\n";
    let text =
        "format = \"string\"\ntime_field = { from = \"timestamp\" }\ncolumns.message = \"$\"\n";
    let problems = |format: &str, rule: &str, key: &str| {
        let more = format!(
            "rule = [{{ name = \"r\", check = {{ field = {rule:?}, present = true }} }}]\n\
             dedup.key = [{key:?}]\ndedup.within = \"1h\"\n"
        );
        let read = parse(&format!("{MINIMAL}{format}{more}"));
        read.err().map(|problems| problems.to_string())
    };
    assert_eq!(problems(lines, "$.n", "$.id"), None);
    let found = problems(lines, "$.m", "$.id.x").unwrap();
    for part in [
        "rule.0.check",
        "found \"$.m\"",
        "dedup.key",
        "found \"$.id.x\"",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    let found = problems(text, "$", "$.id").unwrap();
    assert!(
        !found.contains("rule.0") && found.contains("knows no $.id"),
        "{found}"
    );
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|integer| integer.to_string()),
        any::<f64>().prop_map(|float| toml::Value::Float(float).to_string()),
        any::<bool>().prop_map(|boolean| boolean.to_string()),
        ".{0,40}".prop_map(|text| toml::Value::String(text).to_string()),
        "[a-z]{1,9}://[a-z:@/0-9]{0,20}".prop_map(|url| format!("{url:?}")),
        "[0-9]{1,20} ?(ns|ms|s|m|h|days|years|B|KiB|MB|EiB)".prop_map(|text| format!("{text:?}")),
        Just("[]".to_owned()),
        Just("[[], {}]".to_owned()),
        Just("{ a = { b = [1] } }".to_owned()),
        Just("2026-11-21T00:00:00Z".to_owned()),
        Just("170141183460469231731687303715884105728".to_owned()),
    ]
}

proptest! {
    #[test]
    fn no_value_of_any_key_makes_the_reader_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any_value()), 1..4),
    ) {
        let keys: Vec<String> = known_keys().into_iter().collect();
        for (index, value) in &edits {
            let key = index.get(&keys).replace('*', "some_name");
            if let Some(inner) = key.strip_prefix("pipeline.") {
                let _ = parse(&format!("{MINIMAL}{inner} = {value}"));
                let replica = REPLICA.replace("[pipeline.debezium]", "");
                let _ = parse(&format!("{replica}{inner} = {value}"));
            }
            let _ = parse(&format!("{key} = {value}"));
            let name = format!("STREAMWEIR__{}", key.replace('.', "__").to_uppercase());
            let _ = Config::parse(MINIMAL, "", Path::new("/"), [(name, value.clone())]);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", tail in "[\\[\\]{}=\"'.\na-z0-9_-]{0,80}") {
        let _ = parse(&text);
        let _ = parse(&format!("{SHIPPED}{tail}"));
    }

    #[test]
    fn a_duration_reads_back_as_it_is_written(nanos in any::<u64>()) {
        let duration = Duration::from_nanos(nanos);
        let text = quantity::format_duration(duration);
        prop_assert_eq!(humantime::parse_duration(&text).ok(), Some(duration));
    }
}
