//! Pipelines that do not stand in the file: read from JSON, under the same rules.

use std::fmt;
use std::path::PathBuf;

use serde_json::Value as Json;

use super::pipeline::Globals;
use super::problem::in_file_order;
use super::section::{Reader, Section};
use super::tree::{Node, Places, Table, Value, join};
use super::{Pipeline, Problem, check_groups, check_names, dotted, outputs};

/// The key path of a pipeline that is read here.
const KEY_PATH: &str = "pipeline";

/// What a pipeline takes from the rest of the configuration, kept for those that come later.
#[derive(Clone)]
pub struct Base {
    pub(super) globals: Globals,
    /// Where relative paths start.
    pub(super) directory: PathBuf,
}

/// The globals may hold secrets.
impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Base {
    /// Reads one pipeline in the shape of its TOML table. `others` run beside it.
    ///
    /// # Errors
    /// Everything that is wrong with it, also beside the others. Paths begin with `pipeline`.
    pub fn read_pipeline(
        &self,
        pipeline: &Json,
        others: &[Pipeline],
    ) -> Result<Pipeline, Vec<Problem>> {
        let reader = Reader::new("", self.directory.clone(), Places::new());
        let read = self.read(pipeline, others, &reader);
        let problems = in_file_order(reader.problems.into_inner());
        match read {
            Some(read) if problems.is_empty() => Ok(read),
            _ => Err(problems),
        }
    }

    fn read(&self, pipeline: &Json, others: &[Pipeline], reader: &Reader) -> Option<Pipeline> {
        let Some(Node {
            value: Value::Table(mut table),
            ..
        }) = node(pipeline, KEY_PATH.to_owned(), reader)
        else {
            let message = "must be an object with the keys of a [[pipeline]]";
            reader.problem(KEY_PATH, message);
            return None;
        };
        dotted::spell_out(&mut table, reader);
        reader.mask_key.replace(self.globals.mask_key.clone());
        let section = Section::new(reader, table, KEY_PATH);
        let read = Pipeline::read(section, &self.globals)?;
        let named = |other: &Pipeline| (format!("pipeline {}", other.name), other.clone());
        let mut all: Vec<_> = others.iter().map(named).collect();
        all.push((KEY_PATH.to_owned(), read.clone()));
        check_names(&all, reader);
        check_groups(&all, reader);
        outputs::check(&all, reader);
        Some(read)
    }
}

/// JSON as if it had been written in the file; none for what no file can say, which is a problem.
fn node(json: &Json, key_path: String, reader: &Reader) -> Option<Node> {
    let value = match json {
        Json::Null => {
            reader.problem(&key_path, "must not be null: leave the key out");
            return None;
        }
        Json::Bool(boolean) => Value::Boolean(*boolean),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::Integer(integer.into()),
            (None, Some(integer)) => Value::Integer(integer.into()),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(elements) => {
            let elements = elements.iter().enumerate();
            let nodes = elements
                .filter_map(|(index, json)| node(json, format!("{key_path}[{index}]"), reader));
            Value::List(nodes.collect())
        }
        Json::Object(members) => {
            let mut table = Table::absent(key_path.clone());
            for (key, json) in members {
                let node = node(json, join(&key_path, key), reader);
                table.entries.extend(node.map(|node| (key.clone(), node)));
            }
            Value::Table(table)
        }
    };
    Some(Node { key_path, value })
}
