//! Keys of records against those of tables.

use super::super::replica::Replica;
use super::Replicas;
use crate::debezium::Schema;
use crate::decode::json::{Kind, Raw};
use crate::halt::Halt;

impl Replicas {
    /// The key of a record is not the table's: nothing says which row it is about.
    pub(in super::super) fn other_key(
        &self,
        topic: &str,
        replica: &Replica,
        key: Option<&[u8]>,
    ) -> Halt {
        let Some(names) = key_names(key) else {
            return self.no_members(topic);
        };
        let sorted_by: Vec<&str> = replica.target.key.iter().map(|(name, _)| &**name).collect();
        let group_id = &self.parts.pipeline.group_id;
        let changed = KeyChange {
            label: &replica.target.label,
            topic,
            group_id,
            sorted_by: &sorted_by,
            names: &names,
        };
        Halt::new("schema", changed.advice())
    }

    /// A record's key has NULL where the table's has none.
    pub(in super::super) fn null_in_key(
        &self,
        topic: &str,
        replica: &Replica,
        column: &str,
    ) -> Halt {
        let label = &replica.target.label;
        let mut key = replica.target.key.iter();
        let column_type = key
            .find(|(name, _)| name == column)
            .map(|(_, column_type)| column_type.to_string())
            .unwrap_or_default();
        let again = self.read_again(topic);
        let advice = format!(
            "table {label}: column {column} {column_type} of the key is null in a record, and another value \
             in its place would be another row's: write to another table whose key takes NULL \
             ([pipeline.tables.{topic:?}] table = \"…\", columns = {{ {column:?} = \
             \"Nullable({column_type})\" }}; it is made with allow_nullable_key = 1), or name other columns \
             that tell rows apart and are never null (key = [\"…\"]), and {again}. If only deletes have null \
             there, the source does not send what the row was: REPLICA IDENTITY FULL"
        );
        Halt::new("schema", advice)
    }

    /// Whether the columns that the configuration names are all of the record's key that is in its row: two
    /// rows that differ in the rest would be one.
    pub(in super::super) fn check_whole_key(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        is_in_row: impl Fn(&str) -> bool,
    ) -> Result<(), Halt> {
        let named = self.key_of(topic);
        let Some(names) = key_names(key).filter(|_| !named.is_empty()) else {
            return Ok(());
        };
        let left_out = left_out(named, &names, is_in_row);
        if left_out.is_empty() {
            return Ok(());
        }
        let (label, again) = (self.label(topic), self.read_again(topic));
        let advice = format!(
            "table {label}: key = {named:?} leaves out {left_out:?} of the key that the records of topic \
             {topic} have: rows that differ there alone would be one row. Name all of it, \
             [pipeline.tables.{topic:?}] key = {names:?}, or drop the setting; a table that is there needs \
             another one beside it then (table = \"…\"): {again}. If {named:?} alone tells rows apart, have \
             the connector write it as the key (message.key.columns)"
        );
        Err(Halt::new("schema", advice))
    }

    /// What is wrong with the first record's key, before there is a table.
    pub(in super::super) fn check_first_key(
        &self,
        topic: &str,
        key: Option<&[u8]>,
    ) -> Result<(), Halt> {
        let is_named = !self.key_of(topic).is_empty();
        match key {
            _ if is_named => Ok(()),
            None => Err(no_key(&self.label(topic), topic)),
            key if key_names(key).is_some() => Ok(()),
            _ => Err(self.no_members(topic)),
        }
    }

    /// How every row gets into another table, whatever the topic's log still has.
    pub(in super::super) fn read_again(&self, topic: &str) -> String {
        let group_id = &self.parts.pipeline.group_id;
        format!(
            "reset the offsets of group_id {group_id} for topic {topic} to its beginning, or, where its \
             log no longer has every row, set [pipeline.tables.{topic:?}] accept_empty = true and have \
             the connector take a new snapshot; then start again"
        )
    }

    /// A key that is a number or a text has no name to go by.
    fn no_members(&self, topic: &str) -> Halt {
        Halt::new(
            "schema",
            format!(
                "the key of the records of topic {topic} is no JSON object, so nothing says which column \
                 of table {} it is: name the columns that tell rows apart, [pipeline.tables.{topic:?}] key \
                 = [\"…\"] (they are taken from the rows then), or have the connector write the key as \
                 a struct (without the transform ExtractField$Key, and with \
                 org.apache.kafka.connect.json.JsonConverter)",
                self.label(topic)
            ),
        )
    }

    /// The key that the configuration names for a topic.
    pub(in super::super) fn key_of(&self, topic: &str) -> &[String] {
        let mapping = self.parts.config.tables.get(topic);
        mapping.map_or(&[], |mapping| &mapping.key)
    }
}

/// What of a record's key neither the configuration names nor anything but the row has: what a transform put
/// into the key alone tells no rows of the source apart.
fn left_out<'k>(
    named: &[String],
    names: &'k [String],
    is_in_row: impl Fn(&str) -> bool,
) -> Vec<&'k str> {
    if !named.iter().all(|name| names.contains(name)) {
        return vec![];
    }
    let names = names.iter().filter(|name| !named.contains(name));
    names
        .filter(|name| is_in_row(name))
        .map(|name| &**name)
        .collect()
}

/// A table that is sorted by another key than that of the records.
struct KeyChange<'k> {
    label: &'k str,
    topic: &'k str,
    group_id: &'k str,
    sorted_by: &'k [&'k str],
    names: &'k [String],
}

impl KeyChange<'_> {
    /// What to do. Records of either key may lie in any partition, and which of the two is the newer one
    /// nothing says: no record that is there already is read into the new table.
    fn advice(&self) -> String {
        let KeyChange {
            label,
            topic,
            group_id,
            sorted_by,
            names,
        } = self;
        let (sorted, members) = (sorted_by.join(", "), names.join(", "));
        let is_wider = sorted_by
            .iter()
            .all(|column| names.iter().any(|name| name == column));
        let own_key = format!(
            ". The table's own key, [pipeline.tables.{topic:?}] key = {sorted_by:?}, may stay only if these \
             columns alone tell rows apart at the source, and the rows have them"
        );
        let own_key = if is_wider { "" } else { &own_key };
        format!(
            "table {label} is sorted by ({sorted}), but the key of the records is ({members}): rows of one \
             key would not replace each other. If the key has changed at the source, begin anew behind the \
             change: set the offsets of group_id {group_id} for topic {topic} to its end \
             (streamweir offsets reset --to latest), write to another table \
             ([pipeline.tables.{topic:?}] table = \"…\", accept_empty = true, and no key but the new one), \
             start again, and have the connector take a new snapshot of the source's table: every row \
             comes with it under the new key, and records of the old one are not read any more. If the \
             table was made by hand, create it anew with ORDER BY ({members}){own_key}"
        )
    }
}

pub(super) fn no_key(label: &str, topic: &str) -> Halt {
    Halt::new(
        "missing_key",
        format!(
            "the records of topic {topic} have no key, so nothing tells the rows of table {label} apart: \
             name the columns that do, [pipeline.tables.{topic:?}] key = [\"…\"] (the topic needs one \
             partition then, and the source's table REPLICA IDENTITY FULL), or leave the topic out of \
             pipeline.topics"
        ),
    )
}

/// The types of a key's members, where the key has a schema block.
pub(in super::super) fn key_schema(key: Option<&[u8]>) -> Option<Schema> {
    let key = Raw::parse(std::str::from_utf8(key?).ok()?).ok()?;
    let (_, block) = key.members().find(|(name, _)| name == "schema")?;
    let is_block = block.kind() == Kind::Object;
    is_block.then(|| Schema::parse(block).ok())?
}

/// The names in a record's key, in its order; `None` without one that can be read.
pub(in super::super) fn key_names(key: Option<&[u8]>) -> Option<Vec<String>> {
    let key = Raw::parse(std::str::from_utf8(key?).ok()?).ok()?;
    let member = |name: &str| key.members().find(|(member, _)| member == name);
    let payload = member("schema").and_then(|_| member("payload"));
    let key = match payload {
        Some((_, payload)) if payload.kind() == Kind::Object => payload,
        // A number or a text behind its type.
        Some((_, payload)) if key.members().count() == 2 && payload.kind() != Kind::Absent => {
            return None;
        }
        _ => key,
    };
    let names: Vec<String> = key.members().map(|(name, _)| name.into_owned()).collect();
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_about_a_changed_key_names_the_new_members_and_the_old() {
        let names = ["id".to_owned(), "region".to_owned()];
        let advice = |sorted_by: &[&str]| {
            let change = KeyChange {
                label: "db.t",
                topic: "shop.t",
                group_id: "g",
                sorted_by,
                names: &names,
            };
            change.advice()
        };
        let wider = advice(&["id"]);
        for wanted in [
            "sorted by (id)",
            "(id, region)",
            r#"[pipeline.tables."shop.t"] table"#,
            "group_id g for topic shop.t to its end",
            "accept_empty = true",
            "new snapshot",
        ] {
            assert!(wider.contains(wanted), "{wanted}: {wider}");
        }
        // Rows of the wider key would be one row under the narrower.
        let own_key = r#"[pipeline.tables."shop.t"] key = ["#;
        assert!(!wider.contains(own_key), "{wider}");
        let renamed = advice(&["uid"]);
        assert!(renamed.contains(r#"key = ["uid"]"#), "{renamed}");
    }

    #[test]
    fn a_part_of_the_source_s_key_is_told_from_members_that_a_transform_added() {
        let text = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        let row = ["id", "region", "email"];
        for (named, names, expected) in [
            (&["id"][..], &["id", "region"][..], &["region"][..]),
            (&["region"], &["id", "region"], &["id"]),
            (&["id", "region"], &["id", "region"], &[]),
            (&["id", "region"], &["id"], &[]),
            (&["id"], &["id", "__shard"], &[]),
            (&["id"], &["id", "__shard", "region"], &["region"]),
            // Another key of the source's: its columns come from the rows.
            (&["email"], &["id", "region"], &[]),
            (&["id", "email"], &["id", "region"], &[]),
        ] {
            let (named, names) = (text(named), text(names));
            let left_out = left_out(&named, &names, |name| row.contains(&name));
            assert_eq!(left_out, expected, "{named:?} {names:?}");
        }
    }
}
