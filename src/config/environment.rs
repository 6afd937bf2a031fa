//! The layer above the file: variables `STREAMWEIR__SECTION__KEY`.

use super::problem::Problem;
use super::tree::{Node, Place, Places, Table, Value, join};

const PREFIX: &str = "STREAMWEIR__";

/// The sections a variable may name. Pipelines are tables of a list and have no name of their own
/// in a variable.
const SECTIONS: [&str; 5] = ["service", "kafka", "clickhouse", "redis", "schema_registry"];

/// The variables of this process, as [`super::Config::load`] takes them. A variable that is not
/// valid Unicode comes with replacement characters and is judged by whoever reads it.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    })
}

/// Lays the variables over the file. Whether a key exists is judged later, with those of the file.
pub(super) fn overlay(
    file: Table,
    places: &mut Places,
    environment: impl IntoIterator<Item = (String, String)>,
    problems: &mut Vec<Problem>,
) -> Table {
    let mut variables = Table::default();
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        match section_and_key(rest) {
            Ok((section, key)) => {
                let key_path = join(&section, &key);
                let previous = places.insert(key_path.clone(), Place::Variable(name.clone()));
                if let Some(Place::Variable(other)) = previous {
                    problems.push(refused(&name, format!("sets the same key as {other}")));
                    continue;
                }
                let entry = variables
                    .entries
                    .entry(section.clone())
                    .or_insert_with(|| Node {
                        key_path: section.clone(),
                        value: Value::Table(Table::absent(section)),
                    });
                if let Value::Table(table) = &mut entry.value {
                    table.entries.insert(
                        key,
                        Node {
                            key_path,
                            value: Value::Variable(text),
                        },
                    );
                }
            }
            Err(message) => problems.push(refused(&name, message)),
        }
    }
    file.overlaid(variables)
}

fn section_and_key(rest: &str) -> Result<(String, String), String> {
    let parts: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
    match parts.as_slice() {
        [section, ..] if section == "pipeline" => {
            Err("a [[pipeline]] cannot be set by a variable: write it into the file".to_owned())
        }
        [section, ..] if !SECTIONS.contains(&section.as_str()) => Err(format!(
            "unknown section {section:?}; variables are STREAMWEIR__SECTION__KEY with one of the \
             sections {}",
            SECTIONS.map(str::to_uppercase).join(", ")
        )),
        [section, key] if !key.is_empty() && !key.contains('.') => {
            Ok((section.clone(), key.clone()))
        }
        [section, key, _, ..] => Err(format!(
            "the table [{section}.{key}] and keys with dots cannot be set by a variable: write \
             them into the file"
        )),
        _ => Err(
            "must be STREAMWEIR__SECTION__KEY, such as STREAMWEIR__SERVICE__MEMORY_MAX; keys \
                  with dots cannot be set by a variable"
                .to_owned(),
        ),
    }
}

fn refused(name: &str, message: String) -> Problem {
    Problem {
        origin: name.to_owned(),
        line: None,
        key_path: String::new(),
        message,
    }
}
