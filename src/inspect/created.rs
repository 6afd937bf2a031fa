//! Pipelines that were created over HTTP: commands know them by what is kept of them, and hide their private
//! fields.

use serde_json::Value;

use crate::config::{Config, Pipeline};
use crate::steps::PrivateFields;
use crate::supervisor::created_tables;

/// What hides fields of records: the pipelines of the configuration, and those that were created over HTTP.
#[derive(Debug)]
pub(super) struct Privacy {
    pipelines: Vec<Pipeline>,
    /// All of every record, where nobody knows what a created pipeline hides.
    untold: Option<PrivateFields>,
}

/// The configuration with the created pipelines behind those of the file, which win where both have a name. One
/// that cannot be read is left out, and said.
#[must_use]
pub fn with_created(mut config: Config) -> Config {
    let kept = match created_tables(&config.service) {
        Ok(kept) => kept,
        Err(error) => {
            let directory = config.service.state_dir.display();
            tracing::warn!(%directory, %error, "created pipelines cannot be read, and are left out");
            return config;
        }
    };
    for (name, table) in kept {
        if config.pipelines.iter().any(|known| known.name == name) {
            continue;
        }
        match table.and_then(|table| read(&config, &table, &config.pipelines)) {
            Ok(pipeline) => config.pipelines.push(pipeline),
            Err(why) => tracing::warn!(
                pipeline = name,
                error = why,
                "a created pipeline cannot be read, and is left out"
            ),
        }
    }
    config
}

fn read(config: &Config, table: &Value, others: &[Pipeline]) -> Result<Pipeline, String> {
    let read = config.base.read_pipeline(table, others);
    read.map_err(|problems| {
        let problems = problems.iter().map(ToString::to_string);
        problems.collect::<Vec<_>>().join("; ")
    })
}

impl Privacy {
    pub(super) fn of(config: &Config) -> Privacy {
        let mut pipelines = config.pipelines.clone();
        let mut untold = None;
        let kept = created_tables(&config.service).unwrap_or_else(|error| {
            let directory = config.service.state_dir.display().to_string();
            vec![(directory, Err(error.to_string()))]
        });
        for (name, table) in kept {
            match table.and_then(|table| with_private_fields(config, &table)) {
                Ok(pipeline) => pipelines.extend(pipeline),
                Err(why) => {
                    tracing::warn!(
                        pipeline = name,
                        error = why,
                        "a created pipeline cannot be read, so that its private fields are not known: values of \
                         records are hidden"
                    );
                    untold = Some(PrivateFields::everything());
                }
            }
        }
        Privacy { pipelines, untold }
    }

    /// The private fields of each pipeline that reads the topic.
    pub(super) fn of_topic(&self, topic: &str) -> impl Iterator<Item = &PrivateFields> {
        let pipelines = self.pipelines.iter();
        let readers = pipelines.filter(move |p| p.topics.iter().any(|t| t.matches(topic)));
        readers
            .map(|pipeline| &pipeline.privacy)
            .chain(&self.untold)
    }
}

/// A created pipeline, where it has private fields: what is wrong with others hides nothing.
fn with_private_fields(config: &Config, table: &Value) -> Result<Option<Pipeline>, String> {
    let mut keys = table.as_object().into_iter().flat_map(|table| table.keys());
    if !keys.any(|key| key.starts_with("privacy")) {
        return Ok(None);
    }
    read(config, table, &[]).map(Some)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_file_wins_over_created_pipelines_and_this_instance_over_others() {
        let directory = tempfile::tempdir().unwrap();
        let text = "[service]\nstate_dir = \"state\"\ninstance_id = \"node-1\"\n[[pipeline]]\nname = \"both\"\n\
                    kind = \"raw\"\ntopics = [\"of_file\"]\ngroup_id = \"both\"\n[pipeline.clickhouse]\n\
                    table = \"both\"\n";
        let loaded = Config::parse(text, "config.toml", directory.path(), []);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let pipelines = directory.path().join("state/pipelines");
        let keep = |instance: &str, name: &str, topic: &str, table: &str| {
            let own = pipelines.join(instance);
            fs::create_dir_all(&own).unwrap();
            let table = json!({
                "name": name, "kind": "raw", "topics": [topic], "group_id": format!("{name}{topic}"),
                "clickhouse": { "table": table },
            });
            let order = json!({ "pipeline": table, "start": false });
            fs::write(own.join(format!("{name}.json")), order.to_string()).unwrap();
        };
        keep("node-1", "both", "of_api", "b");
        keep("node-1", "own", "of_node_1", "c");
        keep("a", "own", "of_a", "d");
        keep("", "own", "of_none", "e");
        keep("a", "other", "of_a", "f");
        keep("node-1", "unusable", "of_node_1", "not a table\0");
        fs::write(pipelines.join("node-1/half.json"), "{").unwrap();
        let config = with_created(loaded.config);
        let found = config.pipelines.iter();
        let found = found
            .map(|p| (&*p.name, p.topics[0].text()))
            .collect::<Vec<_>>();
        let expected = [("both", "of_file"), ("own", "of_node_1"), ("other", "of_a")];
        assert_eq!(found, expected);
    }

    #[test]
    fn created_pipelines_hide_their_fields_and_unreadable_ones_hide_everything() {
        let directory = tempfile::tempdir().unwrap();
        let text = "[service]\nstate_dir = \"state\"\n";
        let loaded = Config::parse(text, "config.toml", directory.path(), []);
        let config = loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .config;
        let shown = |topic: &str| {
            let record = br#"{"email":"a@b","n":1}"#.to_vec();
            let privacy = Privacy::of(&config);
            let shown = super::super::hidden(Some(record), privacy.of_topic(topic));
            String::from_utf8(shown.unwrap()).unwrap()
        };
        let clear = r#"{"email":"a@b","n":1}"#;
        let hidden = r#"{"email":"***","n":1}"#;
        assert_eq!(shown("events"), clear);
        let pipelines = directory.path().join("state/pipelines");
        fs::create_dir_all(pipelines.join("node-1")).unwrap();
        let keep = |path: &str, privacy: Value| {
            let name = path.rsplit('/').next().unwrap();
            let mut table = json!({
                "name": name, "kind": "enrichment", "topics": ["events"], "group_id": name,
                "clickhouse": { "table": "t" },
            });
            if !privacy.is_null() {
                table["privacy"] = privacy;
            }
            let order = json!({ "pipeline": table, "start": true });
            fs::write(pipelines.join(format!("{path}.json")), order.to_string()).unwrap();
        };
        keep("plain", Value::Null);
        assert_eq!(shown("events"), clear);
        // Of an instance that shares the state directory.
        keep("node-1/own", json!({ "fields": ["$.email"] }));
        assert_eq!((&*shown("events"), &*shown("others")), (hidden, clear));
        keep("wrong", json!({ "fields": 7 }));
        assert!(!shown("others").contains("a@b"));
        fs::remove_file(pipelines.join("wrong.json")).unwrap();
        assert_eq!(shown("events"), hidden);
        fs::write(pipelines.join("half.json"), "{\"pipel").unwrap();
        assert!(!shown("events").contains("a@b") && !shown("others").contains("a@b"));
    }
}
