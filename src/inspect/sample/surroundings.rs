//! Where a proposed pipeline reads and writes: what it is told of servers, so that it runs by itself and beside
//! the sections of the configuration.

use super::names::name_of;
use super::proposal::{Surroundings, quoted};
use crate::config::{ClickHouse, Config, Kafka, Pipeline, Property, SchemaRegistry};

/// What a section has where nothing is written.
const DEFAULT_SERVER: &str = "localhost:9092";
const DEFAULT_URL: &str = "http://localhost:8123";
const DEFAULT_DATABASE: &str = "analytics";
const DEFAULT_USER: &str = "default";

/// What the new pipeline is told of the servers of `pipeline`. `registry`: the one that has the schemas.
pub(super) fn surroundings(
    config: &Config,
    pipeline: &Pipeline,
    registry: Option<&SchemaRegistry>,
    topic: &str,
) -> Surroundings {
    let registry = registry.map(of_registry).unwrap_or_default();
    Surroundings {
        topic: topic.to_owned(),
        name: free_name(config, topic),
        database: pipeline.clickhouse.database.clone(),
        table: name_of(topic),
        sources: of_kafka(&pipeline.kafka) + &registry,
        target: of_clickhouse(&pipeline.clickhouse),
    }
}

/// A name that no pipeline and no group of the configuration has.
fn free_name(config: &Config, topic: &str) -> String {
    let name = name_of(topic);
    let is_taken = |name: &str| {
        let mut pipelines = config.pipelines.iter();
        pipelines.any(|pipeline| pipeline.name == name || pipeline.group_id == name)
    };
    let mut own = name.clone();
    let mut count = 1;
    while is_taken(&own) {
        count += 1;
        own = format!("{name}_{count}");
    }
    own
}

fn of_kafka(kafka: &Kafka) -> String {
    let mut out = String::new();
    if kafka.bootstrap_servers != [DEFAULT_SERVER] {
        out.push_str(&line("bootstrap_servers", &list(&kafka.bootstrap_servers)));
    }
    let mut properties = String::new();
    for (key, property) in &kafka.properties {
        properties.push_str(&match property {
            Property::Plain(text) => line(&quoted(key), &quoted(text)),
            Property::Secret(_) => as_there(key, "[kafka.properties]"),
        });
    }
    if !properties.is_empty() {
        properties.insert_str(0, "[pipeline.kafka.properties]\n");
    }
    section("kafka", out) + &properties
}

fn of_registry(registry: &SchemaRegistry) -> String {
    let mut out = line("url", &list(&registry.urls));
    if !registry.user.is_empty() {
        out.push_str(&line("user", &quoted(&registry.user)));
        out.push_str(&as_there("password", "[schema_registry]"));
    }
    if registry.token.is_some() {
        out.push_str(&as_there("token", "[schema_registry]"));
    }
    for (key, file) in [
        ("ca_file", &registry.ca_file),
        ("cert_file", &registry.cert_file),
        ("key_file", &registry.key_file),
    ] {
        out.push_str(&of_file(key, file.as_deref()));
    }
    section("schema_registry", out)
}

fn of_clickhouse(clickhouse: &ClickHouse) -> String {
    let mut out = String::new();
    if clickhouse.urls != [DEFAULT_URL] {
        out.push_str(&line("urls", &list(&clickhouse.urls)));
    }
    if clickhouse.database != DEFAULT_DATABASE {
        out.push_str(&line("database", &quoted(&clickhouse.database)));
    }
    if clickhouse.user != DEFAULT_USER {
        out.push_str(&line("user", &quoted(&clickhouse.user)));
        out.push_str(&as_there("password", "[clickhouse]"));
    }
    out.push_str(&of_file("ca_file", clickhouse.tls.ca_file.as_deref()));
    if let Some(identity) = &clickhouse.tls.identity {
        out.push_str(&of_file("cert_file", Some(&identity.cert_file)));
        out.push_str(&of_file("key_file", Some(&identity.key_file)));
    }
    out
}

fn section(name: &str, lines: String) -> String {
    match lines.is_empty() {
        true => lines,
        false => format!("[pipeline.{name}]\n{lines}"),
    }
}

fn line(key: &str, value: &str) -> String {
    format!("{key} = {value}\n")
}

fn of_file(key: &str, path: Option<&std::path::Path>) -> String {
    path.map_or_else(String::new, |path| {
        line(key, &quoted(&path.display().to_string()))
    })
}

/// What is not shown.
fn as_there(key: &str, section: &str) -> String {
    format!("# {key}: that of {section} applies, and is not shown\n")
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}
