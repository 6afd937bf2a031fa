//! Names with dots: TOML reads an unquoted `security.protocol = "ssl"` as a table `security`.

use super::section::Reader;
use super::tree::{Node, Table, Value};

/// Writes `kafka.properties` and `clickhouse.settings` of this table out as names with dots, so that
/// quoted and unquoted spellings are one. `table` is the top level or one pipeline.
pub(super) fn spell_out(table: &mut Table, reader: &Reader) {
    for (section, inner) in [("kafka", "properties"), ("clickhouse", "settings")] {
        let Some(Value::Table(section)) =
            table.entries.get_mut(section).map(|node| &mut node.value)
        else {
            continue;
        };
        if let Some(Value::Table(named)) =
            section.entries.get_mut(inner).map(|node| &mut node.value)
        {
            let mut flat = Table::absent(named.key_path.clone());
            for (key, node) in std::mem::take(&mut named.entries) {
                flatten(key, node, &mut flat, reader);
            }
            *named = flat;
        }
    }
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
