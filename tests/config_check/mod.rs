//! What `check` finds: for every key a wrong value, for every impossible combination a message, and
//! never a secret. All of it through the public interface, starting from the shipped configuration.

mod columns;
mod combinations;
mod file;
mod properties;
mod topics;
mod values;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use streamweir::config::{Config, DeclaredTopic, Loaded, Problem, Problems, known_keys};
use streamweir::debezium::OutOfRange;

const SHIPPED: &str = include_str!("../../config.toml");

/// The directory of the shipped configuration.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn parse(text: &str) -> Result<Loaded, Problems> {
    Config::parse(text, "config.toml", &root(), [])
}

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, "config.toml", &root(), variables)
}

/// The shipped configuration with some keys set to TOML values. The value `-` removes the key. Keys
/// under `pipeline.` are those of the clickstream pipeline; a part in quotes may hold dots.
fn shipped_with(edits: &[(&str, &str)]) -> String {
    edited(SHIPPED, edits)
}

/// A pipeline of kind cdc with all the tables that only this kind has.
const REPLICA: &str = r#"
    [[pipeline]]
    name = "shop"
    kind = "cdc"
    topics = ["shop.public.orders", "shop.public.order_items", "^crm\\..*"]
    group_id = "shop-replica"
    [pipeline.debezium]
    [pipeline.tables."shop.public.orders"]
    columns = { order_id = "Int64", total = "Nullable(Decimal(10, 2))" }
    source_types = { created = "io.debezium.time.MicroTimestamp" }
    [pipeline.columns]
    _lsn = "$.source.lsn"
"#;

fn replica_with(edits: &[(&str, &str)]) -> String {
    edited(REPLICA, edits)
}

/// A pipeline of kind aggregation.
const WINDOWS: &str = r#"
    [[pipeline]]
    name = "sales"
    kind = "aggregation"
    topics = ["sales-events"]
    group_id = "sales-aggregator"
    [pipeline.window]
    kind = "hopping"
    size = "60s"
    slide = "20s"
    [pipeline.group]
    category = { path = "$.category", default = "unknown" }
    [pipeline.where]
    kind = "sale"
    amount = { gt = 0 }
    [pipeline.metrics]
    sales = { function = "count" }
    revenue = { function = "sum", path = "$.amount" }
    mean = { function = "avg", product = ["$.quantity", "$.price"], places = 3 }
    [pipeline.clickhouse]
    table = "sales"
    [pipeline.output]
    topic = "sales-by-minute"
"#;

fn windows_with(edits: &[(&str, &str)]) -> String {
    edited(WINDOWS, edits)
}

/// A pipeline of kind stream_join.
const JOIN: &str = r#"
    [[pipeline]]
    name = "enriched"
    kind = "stream_join"
    group_id = "clickstream-enricher"
    [pipeline.left]
    topic = "clickstream-events"
    [pipeline.right]
    topic = "user-profile-updates"
    [pipeline.right.fields]
    user_email = "$.email"
    [pipeline.output]
    topic = "enriched-clickstream"
"#;

fn join_with(edits: &[(&str, &str)]) -> String {
    edited(JOIN, edits)
}

/// `text` with some keys set, as [`shipped_with`] has it.
fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    let mut document: toml::Table = text.parse().expect("the file is TOML");
    for (key, value) in edits {
        let mut parts = parts_of(key);
        let last = parts.pop().expect("a key has a last part");
        let mut table = &mut document;
        for part in parts {
            let entry = table
                .entry(part)
                .or_insert_with(|| toml::Table::new().into());
            table = match entry {
                toml::Value::Array(pipelines) => pipelines[0].as_table_mut(),
                entry => entry.as_table_mut(),
            }
            .expect("only tables are walked through");
        }
        if *value == "-" {
            table.remove(&last).expect("only what is there is removed");
        } else {
            let value: toml::Table = format!("value = {value}")
                .parse()
                .expect("the edit is TOML");
            table.insert(last, value["value"].clone());
        }
    }
    toml::to_string(&document).expect("a table is TOML")
}

/// `a."b.c".d` is a, b.c, d.
fn parts_of(key: &str) -> Vec<String> {
    let quoted = |(index, text): (usize, &str)| -> Vec<String> {
        if index % 2 == 1 {
            return vec![text.to_owned()];
        }
        text.split('.')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    key.split('"').enumerate().flat_map(quoted).collect()
}

/// The path that problems use: pipelines by name, nothing quoted.
fn problem_path(key: &str) -> String {
    path_in("clickstream", key)
}

fn path_in(pipeline: &str, key: &str) -> String {
    let path = key.replace('"', "");
    match path.strip_prefix("pipeline.") {
        Some(rest) => format!("pipeline.{pipeline}.{rest}"),
        None => path,
    }
}

/// Asserts that the text is refused with a problem at `key_path` that says all of `fragments`.
#[track_caller]
fn assert_problem(text: &str, key_path: &str, fragments: &[&str]) {
    let problems = match parse(text) {
        Ok(_) => panic!("{key_path}: accepted, expected a problem with {fragments:?}"),
        Err(Problems(problems)) => problems,
    };
    let says = |problem: &Problem| fragments.iter().all(|part| problem.message.contains(part));
    assert!(
        problems
            .iter()
            .any(|problem| problem.key_path == key_path && says(problem)),
        "expected {key_path}: … {fragments:?}, found\n{}",
        Problems(problems)
    );
}

/// A key and the TOML value it is set to.
type Edit = (&'static str, &'static str);

#[test]
fn a_named_watermark_is_of_pipelines_that_are_there_and_have_an_event_time() {
    let with = |pipelines: &str| shipped_with(&[("watermark.all.pipelines", pipelines)]);
    let config = parse(&with("[\"clickstream\", \"sales\"]"))
        .expect("valid")
        .config;
    let [watermark] = &config.watermarks[..] else {
        panic!("{:?}", config.watermarks);
    };
    assert_eq!((&*watermark.name, watermark.pipelines.len()), ("all", 2));
    assert_eq!(watermark.table, None);
    for (pipelines, words) in [
        ("[\"nobody\"]", "there is no such pipeline"),
        ("[\"clickstream\", \"shop\"]", "without event time"),
    ] {
        let problems = parse(&with(pipelines)).expect_err("refused");
        let Problem {
            key_path, message, ..
        } = &problems.0[0];
        assert_eq!(key_path, "watermark.all.pipelines");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn what_a_replica_has_for_missing_and_unfit_values_is_the_tables_or_the_columns() {
    let table = "pipeline.tables.\"shop.public.orders\"";
    let loaded = parse(&replica_with(&[
        (&format!("{table}.absent"), "\"keep\""),
        (
            &format!("{table}.columns.valid_to"),
            "{ type = \"Date32\", on_out_of_range = \"clamp\" }",
        ),
        (
            "pipeline.columns.valid_to",
            "{ on_out_of_range = \"null\" }",
        ),
    ]));
    let config = loaded.expect("right").config;
    let streamweir::config::Kind::Cdc(cdc) = &config.pipelines[0].kind else {
        panic!("a replica")
    };
    let mapping = &cdc.tables["shop.public.orders"];
    assert_eq!(mapping.absent, Some(streamweir::config::Absent::Keep));
    assert!(mapping.columns.iter().any(|(name, _)| name == "valid_to"));
    let [own, other] = ["shop.public.orders", "shop.public.order_items"]
        .map(|topic| cdc.out_of_range(topic, "valid_to"));
    assert_eq!((own, other), (OutOfRange::Clamp, OutOfRange::Null));
    assert_eq!(cdc.out_of_range("crm.a", "x"), OutOfRange::DeadLetter);
    assert!(cdc.note("valid_to").is_none() && cdc.note("_lsn").is_some());
    let event = [(
        "pipeline.columns.page_url",
        "{ on_out_of_range = \"null\" }",
    )];
    assert_problem(
        &shipped_with(&event),
        "pipeline.clickstream.columns.page_url.on_out_of_range",
        &["only replicas"],
    );
}

#[test]
fn a_replica_without_declared_modes_draws_a_warning_that_names_them() {
    assert!(parse(REPLICA).expect("right").warnings.is_empty());
    let loaded = parse(&replica_with(&[("pipeline.debezium", "-")])).expect("right too");
    let [warning] = &loaded.warnings[..] else {
        panic!("one warning: {:?}", loaded.warnings)
    };
    assert_eq!(warning.key_path, "pipeline.shop.debezium");
    for part in [
        "halts",
        "decimal_mode",
        "time_mode",
        "binary_mode",
        "schema block",
    ] {
        assert!(warning.message.contains(part), "{warning}");
    }
}

#[test]
fn rules_are_read_and_what_cannot_be_checked_is_named() {
    let rule = |check: &str| format!("[{{ name = \"r\", check = {check} }}]");
    let files = r#"{ field = "$.a", in_file = "Cargo.toml" }"#;
    for check in [
        r#"{ field = "$.a", gt = 0, lte = 1.5 }"#,
        r#"{ field = "$.a", between = ["now-7d", "now"] }"#,
        r#"{ any = [{ field = "$.a", absent = true }, { not = { field = "$.b", is_email = true } }] }"#,
        r#"{ field = "$.a", equals_sum = ["$.b", "$.c"], tolerance = 0.01 }"#,
        r#"{ field = "$.a", matches = "^[a-z]+$", length_max = 9, type = "string" }"#,
        files,
    ] {
        let text = shipped_with(&[("pipeline.rule", &rule(check))]);
        parse(&text).unwrap_or_else(|problems| panic!("{check}: {problems}"));
        let text = windows_with(&[("pipeline.rule", &rule(check))]);
        parse(&text).unwrap_or_else(|problems| panic!("{check}: {problems}"));
    }
    for (rules, says) in [
        (rule("{ }"), "must have a field"),
        (
            rule(r#"{ field = "$.a" }"#),
            "must say what the field is to be",
        ),
        (rule(r#"{ field = "a[0]", gt = 0 }"#), "a path such as"),
        (
            rule(r#"{ field = "$.a", matches = "(" }"#),
            "no regular expression",
        ),
        (rule(r#"{ field = "$.a", gt = "nowadays" }"#), "now-7d"),
        (rule(r#"{ field = "$.a", between = [1] }"#), "a list of two"),
        (rule(r#"{ field = "$.a", is_ip = false }"#), "must be true"),
        (
            rule(r#"{ field = "$.a", gt = 0, tolerance = 1 }"#),
            "goes with equals_product",
        ),
        (
            rule(r#"{ field = "$.a", in_file = "nowhere.txt" }"#),
            "cannot be read",
        ),
        (rule(r#"{ field = "$.a", greater = 0 }"#), "unknown key"),
        (rule(r#"{ all = [] }"#), "at least one condition"),
        ("[{ name = \"r\" }]".to_owned(), "is required: a condition"),
        (
            "[{ check = { field = \"$.a\", gt = 0 } }]".to_owned(),
            "is required",
        ),
    ] {
        let problems = parse(&shipped_with(&[("pipeline.rule", &rules)])).expect_err(&rules);
        assert!(problems.to_string().contains(says), "{rules}: {problems}");
    }
    let twice = format!(
        "[{0}, {0}]",
        r#"{ name = "r", check = { field = "$.a", gt = 0 } }"#
    );
    assert_problem(
        &shipped_with(&[("pipeline.rule", &twice)]),
        "pipeline.clickstream.rule",
        &["\"r\" twice"],
    );
    let one = rule(r#"{ field = "$.a", gt = 0 }"#);
    for (key, value, says) in [
        (
            "pipeline.quality.passed_column",
            "\"user_email\"",
            "the lookup fills it",
        ),
        (
            "pipeline.quality.failed_column",
            "\"event_id\"",
            "[pipeline.columns] maps it",
        ),
        (
            "pipeline.quality.threshold",
            "[{ rule = \"x\", ratio_min = 0.5 }]",
            "names no rule",
        ),
        (
            "pipeline.quality.threshold",
            "[{ rule = \"r\", ratio_min = 2 }]",
            "from 0 to 1",
        ),
        (
            "pipeline.quality.threshold",
            "[{ rule = \"r\" }]",
            "is required",
        ),
    ] {
        let text = shipped_with(&[("pipeline.rule", &one), (key, value)]);
        let problems = parse(&text).expect_err(value);
        assert!(problems.to_string().contains(says), "{key}: {problems}");
    }
    let alone = shipped_with(&[("pipeline.quality.passed_column", "\"p\"")]);
    assert_problem(&alone, "pipeline.clickstream.quality", &["add a rule"]);
    let of_windows = [
        ("pipeline.rule", &*one),
        ("pipeline.quality.passed_column", "\"p\""),
    ];
    let says = "a row is made of many records";
    assert_problem(
        &windows_with(&of_windows),
        "pipeline.sales.quality.passed_column",
        &[says],
    );
}

#[test]
fn every_example_is_a_configuration_without_problems_whose_tables_have_their_ddl() {
    let directory = root().join("examples");
    let mut examples = vec![];
    for entry in std::fs::read_dir(&directory).expect("a directory") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_str().expect("a name").to_owned();
        if !name.ends_with(".toml") {
            continue;
        }
        let text = std::fs::read_to_string(directory.join(&name)).expect("a text");
        let loaded = Config::parse(&text, &name, &directory, []);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{name}: {problems}"));
        for pipeline in &loaded.config.pipelines {
            let ddl = pipeline.ddl.as_deref();
            let ddl = std::fs::read_to_string(ddl.expect("the DDL of its table"));
            let creates = format!("CREATE TABLE IF NOT EXISTS {}", pipeline.table);
            assert!(ddl.expect("a file").contains(&creates), "{name}: {creates}");
        }
        examples.push(name);
    }
    examples.sort_unstable();
    let all = ["enriched", "iot", "logs", "medallion", "retail"];
    assert_eq!(examples, all.map(|name| format!("{name}.toml")));
}

#[test]
fn duplicates_are_asked_for_where_there_is_an_event_time_and_one_row_a_record() {
    let dedup = |more: &str| format!("{{ key = [\"$.id\"], within = \"1h\"{more} }}");
    let flag = ", on_duplicate = \"flag\"";
    for more in [
        "",
        ", on_duplicate = \"dead_letter\"",
        ", on_duplicate = \"flag\", flag_column = \"again\"",
    ] {
        let text = shipped_with(&[("pipeline.dedup", &dedup(more))]);
        parse(&text).unwrap_or_else(|problems| panic!("{more}: {problems}"));
    }
    parse(&windows_with(&[("pipeline.dedup", &dedup(""))])).expect("windows too");
    for (more, others, says) in [
        (flag, vec![], "is required with on_duplicate"),
        (", flag_column = \"f\"", vec![], "goes with on_duplicate"),
        (
            ", on_duplicate = \"flag\", flag_column = \"event_id\"",
            vec![],
            "[pipeline.columns] maps it",
        ),
        (
            "",
            vec![("pipeline.explode", "\"$.items\"")],
            "counts records",
        ),
        (
            ", on_duplicate = \"flag\", flag_column = \"passed\"",
            vec![("pipeline.quality.passed_column", "\"passed\"")],
            "[pipeline.quality] fills it",
        ),
        (", every = 1", vec![], "unknown key"),
    ] {
        let dedup = dedup(more);
        let changes = [vec![("pipeline.dedup", &*dedup)], others].concat();
        let problems = parse(&shipped_with(&changes)).expect_err(more);
        assert!(problems.to_string().contains(says), "{more}: {problems}");
    }
    let flagged = dedup(", on_duplicate = \"flag\", flag_column = \"again\"");
    assert_problem(
        &windows_with(&[("pipeline.dedup", &flagged)]),
        "pipeline.sales.dedup.on_duplicate",
        &["a row is made of many records"],
    );
}

/// A pipeline of kind raw.
const RAW: &str = r#"
    [[pipeline]]
    name = "bronze"
    kind = "raw"
    topics = ["retail-transactions"]
    group_id = "bronze"
    [pipeline.columns]
    body = { from = "value" }
    tenant = { from = "header:tenant", default = "none" }
    [pipeline.clickhouse]
    table = "bronze_events"
"#;

#[test]
fn a_raw_pipeline_takes_parts_of_records_and_nothing_in_them() {
    let loaded = parse(RAW).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.pipelines[0].kind.name(), "raw");
    let named = edited(RAW, &[("pipeline.format", "\"avro\"")]);
    assert!(parse(&named).is_ok(), "no registry is asked");
    for (key, value, says) in [
        ("pipeline.columns.body", "\"$\"", "kind = \"raw\""),
        ("pipeline.columns.body.path", "\"$.a\"", "must not be set"),
        (
            "pipeline.columns.body.required",
            "true",
            "must not be set with kind = \"raw\"",
        ),
        (
            "pipeline.columns.body.from",
            "\"body\"",
            "\"schema_id\" and \"header:NAME\"",
        ),
        ("pipeline.format", "\"xml\"", "json_schema"),
        ("pipeline.time_field", "\"at\"", "unknown key"),
        ("pipeline.clickhouse.table", "-", "is required"),
    ] {
        let problems = parse(&edited(RAW, &[(key, value)])).expect_err(key);
        assert!(problems.to_string().contains(says), "{key}: {problems}");
    }
}
