//! Where a proposed pipeline reads and writes: what it is told of servers, so that it runs by itself and beside
//! the sections of the configuration.

use secrecy::{ExposeSecret as _, SecretString};

use super::names::name_of;
use super::plain_pipeline;
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
    // What the new pipeline has of the sections without keys of its own.
    let base = plain_pipeline(config, "sample", "json");
    let base_registry = plain_pipeline(config, "sample", "avro").and_then(|p| p.schema_registry);
    let registry = registry.map(|registry| of_registry(registry, base_registry.as_ref()));
    let registry = registry.unwrap_or_default();
    let clickhouse = &pipeline.clickhouse;
    Surroundings {
        topic: topic.to_owned(),
        name: free_name(config, topic),
        database: clickhouse.database.clone(),
        table: name_of(topic),
        is_replicated: clickhouse.replicated.unwrap_or(clickhouse.urls.len() > 1),
        sources: of_kafka(&pipeline.kafka, base.as_ref().map(|base| &base.kafka)) + &registry,
        target: of_clickhouse(clickhouse, base.as_ref().map(|base| &base.clickhouse)),
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

/// Whether a value has to be written: what is left out is that of the section, or else the default.
fn is_own<T: PartialEq + ?Sized>(own: &T, base: Option<&T>, default: &T) -> bool {
    own != default || base.is_some_and(|base| base != own)
}

fn of_kafka(kafka: &Kafka, base: Option<&Kafka>) -> String {
    let mut out = String::new();
    let servers = base.map(|base| &base.bootstrap_servers[..]);
    if is_own(
        &kafka.bootstrap_servers[..],
        servers,
        &[DEFAULT_SERVER.to_owned()],
    ) {
        out.push_str(&line("bootstrap_servers", &list(&kafka.bootstrap_servers)));
    }
    let mut properties = String::new();
    for (key, property) in &kafka.properties {
        properties.push_str(&match property {
            Property::Plain(text) => line(&quoted(key), &quoted(text)),
            Property::Secret(own) => {
                let base = match base.and_then(|base| base.properties.get(key)) {
                    Some(Property::Secret(base)) => Some(base),
                    _ => None,
                };
                hidden(key, "[kafka.properties]", own, base)
            }
        });
    }
    if !properties.is_empty() {
        properties.insert_str(0, "[pipeline.kafka.properties]\n");
    }
    section("kafka", out) + &properties
}

fn of_registry(registry: &SchemaRegistry, base: Option<&SchemaRegistry>) -> String {
    let mut out = line("url", &list(&registry.urls));
    let is_user_left = base.is_some_and(|base| !base.user.is_empty());
    if !registry.user.is_empty() {
        out.push_str(&line("user", &quoted(&registry.user)));
        let of_base = base.map(|base| &base.password);
        out.push_str(&hidden(
            "password",
            "[schema_registry]",
            &registry.password,
            of_base,
        ));
    } else if is_user_left {
        // A token beside the user of the section would be refused.
        out.push_str(&line("user", &quoted("")));
    }
    if let Some(token) = &registry.token {
        let of_base = base.and_then(|base| base.token.as_ref());
        out.push_str(&hidden("token", "[schema_registry]", token, of_base));
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

fn of_clickhouse(clickhouse: &ClickHouse, base: Option<&ClickHouse>) -> String {
    let mut out = String::new();
    let urls = base.map(|base| &base.urls[..]);
    if is_own(&clickhouse.urls[..], urls, &[DEFAULT_URL.to_owned()]) {
        out.push_str(&line("urls", &list(&clickhouse.urls)));
    }
    let database = base.map(|base| &*base.database);
    if is_own(&*clickhouse.database, database, DEFAULT_DATABASE) {
        out.push_str(&line("database", &quoted(&clickhouse.database)));
    }
    let is_user = is_own(
        &*clickhouse.user,
        base.map(|base| &*base.user),
        DEFAULT_USER,
    );
    if is_user {
        out.push_str(&line("user", &quoted(&clickhouse.user)));
    }
    let of_base = base.map(|base| &base.password);
    if is_user || !is_same(&clickhouse.password, of_base) {
        out.push_str(&hidden(
            "password",
            "[clickhouse]",
            &clickhouse.password,
            of_base,
        ));
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

fn is_same(own: &SecretString, base: Option<&SecretString>) -> bool {
    base.map_or("", |base| base.expose_secret()) == own.expose_secret()
}

/// What is not shown: whether the section has it, or it has to be set.
fn hidden(key: &str, section: &str, own: &SecretString, base: Option<&SecretString>) -> String {
    match is_same(own, base) {
        true => format!("# {key}: that of {section} applies, and is not shown\n"),
        false => format!("# {key}: set it here, {section} has another or none; it is not shown\n"),
    }
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str = "[[pipeline]]\nname = \"p\"\nkind = \"enrichment\"\ntopics = [\"t\"]\n\
                            group_id = \"g\"\nformat = \"avro\"\n";

    /// What is proposed beside the sections for a topic that the pipeline reads.
    fn proposed(sections: &str, own: &str) -> Surroundings {
        let text = format!("{sections}{PIPELINE}{own}");
        let loaded = Config::parse(&text, "c", std::path::Path::new("/"), []);
        let config = loaded.unwrap_or_else(|why| panic!("{why}\n{text}")).config;
        let pipeline = &config.pipelines[0];
        surroundings(&config, pipeline, pipeline.schema_registry.as_ref(), "t")
    }

    const SECTIONS: &str = "[kafka]\nbootstrap_servers = [\"prod:9092\"]\n[kafka.properties]\n\
        \"sasl.password\" = \"a\"\n[clickhouse]\nurl = \"http://prod:8123\"\ndatabase = \"prod\"\n\
        user = \"prod\"\npassword = \"a\"\n\
        [schema_registry]\nurl = \"http://prod\"\nuser = \"prod\"\npassword = \"a\"\n";

    #[test]
    fn what_differs_from_the_sections_is_written_even_if_it_is_the_default() {
        let own = "[pipeline.kafka]\nbootstrap_servers = [\"localhost:9092\"]\n[pipeline.clickhouse]\n\
                   url = \"http://localhost:8123\"\ndatabase = \"analytics\"\nuser = \"default\"\n\
                   password = \"b\"\ntable = \"t\"\n\
                   [pipeline.schema_registry]\nuser = \"\"\ntoken = \"b\"\n";
        let around = proposed(SECTIONS, own);
        for line in [
            "bootstrap_servers = [\"localhost:9092\"]\n",
            "# sasl.password: that of [kafka.properties] applies",
            "user = \"\"\n# token: set it here, [schema_registry] has another or none",
        ] {
            assert!(around.sources.contains(line), "{}", around.sources);
        }
        assert_eq!(
            around.target,
            "urls = [\"http://localhost:8123\"]\ndatabase = \"analytics\"\nuser = \"default\"\n\
             # password: set it here, [clickhouse] has another or none; it is not shown\n"
        );
        assert!(!around.is_replicated);
    }

    #[test]
    fn what_the_sections_have_is_said_to_be_theirs() {
        let around = proposed(SECTIONS, "[pipeline.clickhouse]\ntable = \"t\"\n");
        let all = format!("{}{}", around.sources, around.target);
        assert_eq!(all.matches("applies, and is not shown").count(), 3, "{all}");
        assert!(!all.contains("set it here"), "{all}");
        let registry = "[schema_registry]\nurl = \"http://r\"\n";
        let around = proposed(registry, "[pipeline.clickhouse]\ntable = \"t\"\n");
        let all = format!("{}{}", around.sources, around.target);
        assert_eq!(all, "[pipeline.schema_registry]\nurl = [\"http://r\"]\n");
        for (own, expected) in [
            ("urls = [\"http://a\", \"http://b\"]\n", true),
            (
                "urls = [\"http://a\", \"http://b\"]\nreplicated = false\n",
                false,
            ),
            ("replicated = true\n", true),
        ] {
            let own = format!("[pipeline.clickhouse]\ntable = \"t\"\n{own}");
            assert_eq!(proposed(registry, &own).is_replicated, expected, "{own}");
        }
    }
}
