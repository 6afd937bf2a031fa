//! Keys of records against those of tables.

use super::super::replica::Replica;
use super::Replicas;
use crate::decode::json::{Kind, Raw};
use crate::halt::Halt;
use crate::lane::NotAccepted;

impl Replicas {
    /// Compares the names of a record's key with those of the table's.
    pub(in super::super) fn check_key(
        &self,
        topic: &str,
        replica: &Replica,
        key: Option<&[u8]>,
    ) -> Result<(), NotAccepted> {
        let label = &replica.target.label;
        if !self.key_of(topic).is_empty() {
            return Ok(());
        }
        if key.is_none() {
            return Err(NotAccepted::Halted(no_key(label, topic)));
        }
        let Some(names) = key_names(key) else {
            return Ok(());
        };
        let is_same = names.len() == replica.target.key.len()
            && names.iter().all(|name| replica.is_key(name));
        if is_same {
            return Ok(());
        }
        let sorted_by: Vec<&str> = replica.target.key.iter().map(|(name, _)| &**name).collect();
        Err(NotAccepted::Halted(Halt::new(
            "schema",
            format!(
                "table {label} is sorted by ({}), but the key of the records is ({}): rows of one key \
                 would not replace each other; create the table anew with ORDER BY ({}), or name \
                 another one ([pipeline.tables.{topic:?}] table)",
                sorted_by.join(", "),
                names.join(", "),
                names.join(", ")
            ),
        )))
    }

    /// The key that the configuration names for a topic.
    pub(super) fn key_of(&self, topic: &str) -> &[String] {
        let mapping = self.parts.config.tables.get(topic);
        mapping.map_or(&[], |mapping| &mapping.key)
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

/// The names in a record's key, in its order; `None` without one that can be read.
pub(in super::super) fn key_names(key: Option<&[u8]>) -> Option<Vec<String>> {
    let key = Raw::parse(std::str::from_utf8(key?).ok()?).ok()?;
    let member = |name: &str| key.members().find(|(member, _)| member == name);
    let payload = member("schema").and_then(|_| member("payload"));
    let key = match payload {
        Some((_, payload)) if payload.kind() == Kind::Object => payload,
        _ => key,
    };
    let names: Vec<String> = key.members().map(|(name, _)| name.into_owned()).collect();
    (!names.is_empty()).then_some(names)
}
