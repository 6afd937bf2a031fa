//! The columns that say which record a row came from.

use super::quote::{quote_name, quote_text};
use crate::config::{Kind, Pipeline};
use crate::source::TopicPartition;
use crate::target::ColumnInfo;

/// Names of a table's columns with topic, partition and offset of each row's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provenance {
    pub(crate) topic: String,
    pub(crate) partition: String,
    pub(crate) offset: String,
}

impl Default for Provenance {
    fn default() -> Self {
        Provenance {
            topic: "_topic".to_owned(),
            partition: "_partition".to_owned(),
            offset: "_offset".to_owned(),
        }
    }
}

impl Provenance {
    /// Those of a pipeline's table.
    ///
    /// # Errors
    /// What such a column would be called, where the table has none.
    pub(crate) fn of(pipeline: &Pipeline, columns: &[ColumnInfo]) -> Result<Self, &'static str> {
        match &pipeline.kind {
            Kind::Raw(raw) => {
                let is_ours = |column: &&ColumnInfo| {
                    !matches!(&*column.default_kind, "MATERIALIZED" | "ALIAS")
                };
                let ours = columns.iter().filter(is_ours);
                let names = raw.provenance(ours.map(|column| &*column.name))?;
                let [topic, partition, offset] = names.map(str::to_owned);
                Ok(Provenance {
                    topic,
                    partition,
                    offset,
                })
            }
            _ => {
                let is_missing = |name: &&str| columns.iter().all(|column| column.name != **name);
                let missing = ["_topic", "_partition", "_offset"]
                    .into_iter()
                    .find(is_missing);
                missing.map_or(Ok(Provenance::default()), Err)
            }
        }
    }

    /// The offset, for statements.
    pub(crate) fn offset_sql(&self) -> String {
        name_sql(&self.offset)
    }

    /// The condition that rows came from a partition, for statements.
    pub(crate) fn is_of(&self, topic: &str, partition: i32) -> String {
        format!(
            "{} = {} AND {} = {partition}",
            name_sql(&self.topic),
            quote_text(topic),
            name_sql(&self.partition)
        )
    }

    /// The same of a partition's own name.
    pub(crate) fn is_in(&self, partition: &TopicPartition) -> String {
        self.is_of(&partition.topic, partition.partition)
    }
}

/// Our own names need no quotes; others may be words of SQL.
fn name_sql(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match name.starts_with('_') && name.bytes().all(is_plain) {
        true => name.to_owned(),
        false => quote_name(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_words_of_sql_are_quoted() {
        let own = Provenance::default();
        assert_eq!(own.offset_sql(), "_offset");
        assert_eq!(own.is_of("a'b", 3), "_topic = 'a\\'b' AND _partition = 3");
        let other = Provenance {
            topic: "topic".to_owned(),
            partition: "partition".to_owned(),
            offset: "offset".to_owned(),
        };
        assert_eq!(other.offset_sql(), "`offset`");
        assert_eq!(other.is_of("t", 0), "`topic` = 't' AND `partition` = 0");
    }
}
