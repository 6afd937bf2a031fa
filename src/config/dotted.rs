//! Names with dots: TOML reads an unquoted `security.protocol = "ssl"` as a table `security`.

use super::section::Reader;
use super::tree::{Node, Table, Value};

/// Writes `kafka.properties`, `clickhouse.settings` and `topics.*.config` of this table out as names
/// with dots, so that quoted and unquoted spellings are one. `table` is the top level or one pipeline.
pub(super) fn spell_out(table: &mut Table, reader: &Reader) {
    for (section, inner) in [("kafka", "properties"), ("clickhouse", "settings")] {
        if let Some(section) = table_of(table, section) {
            flatten_inner(section, inner, reader);
        }
    }
    // In a pipeline `topics` is a list.
    if let Some(topics) = table_of(table, "topics") {
        for topic in topics.entries.values_mut() {
            if let Value::Table(topic) = &mut topic.value {
                flatten_inner(topic, "config", reader);
            }
        }
    }
}

fn table_of<'t>(table: &'t mut Table, key: &str) -> Option<&'t mut Table> {
    match table.entries.get_mut(key).map(|node| &mut node.value) {
        Some(Value::Table(table)) => Some(table),
        _ => None,
    }
}

fn flatten_inner(section: &mut Table, inner: &str, reader: &Reader) {
    let Some(named) = table_of(section, inner) else {
        return;
    };
    let mut flat = Table::absent(named.key_path.clone());
    for (key, node) in std::mem::take(&mut named.entries) {
        flatten(key, node, &mut flat, reader);
    }
    *named = flat;
}

fn flatten(name: String, node: Node, flat: &mut Table, reader: &Reader) {
    match node.value {
        Value::Table(table) => {
            for (key, node) in table.entries {
                flatten(format!("{name}.{key}"), node, flat, reader);
            }
        }
        value => {
            let node = Node {
                key_path: node.key_path,
                value,
            };
            if flat.entries.contains_key(&name) {
                reader.problem(
                    &node.key_path,
                    "is set twice: once quoted and once as a table",
                );
            }
            flat.entries.insert(name, node);
        }
    }
}
