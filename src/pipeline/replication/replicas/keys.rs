//! Keys of records against those of tables.

use super::super::replica::Replica;
use super::Replicas;
use crate::decode::debezium::Schema;
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
        Halt::new(
            "schema",
            key_changed(&replica.target.label, topic, &sorted_by, &names),
        )
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

/// What to do about a table that is sorted by another key than that of the records, `names`.
fn key_changed(label: &str, topic: &str, sorted_by: &[&str], names: &[String]) -> String {
    format!(
        "table {label} is sorted by ({}), but the key of the records is ({}): rows of one key would not \
         replace each other. If the key has changed at the source, write to another table \
         ([pipeline.tables.{topic:?}] table = \"…\", accept_empty = true, key = {names:?}: records of \
         before take the key from their rows then), start again, and have the connector take a new \
         snapshot of the source's table: rows that do not change come with it alone. If the table was \
         made by hand, create it anew with ORDER BY ({}). The table's own key, \
         [pipeline.tables.{topic:?}] key = {sorted_by:?}, may stay only if these columns alone tell rows \
         apart at the source, and the rows have them",
        sorted_by.join(", "),
        names.join(", "),
        names.join(", "),
    )
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
        let advice = key_changed("db.t", "shop.t", &["id"], &names);
        for wanted in [
            "sorted by (id)",
            "(id, region)",
            r#"[pipeline.tables."shop.t"] table"#,
            r#"key = ["id", "region"]"#,
            "only if these columns alone tell rows apart at the source",
            r#"[pipeline.tables."shop.t"] key = ["id"]"#,
        ] {
            assert!(advice.contains(wanted), "{wanted}: {advice}");
        }
    }
}
