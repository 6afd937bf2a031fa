//! Schema blocks: what each field of a row is; parsed once for as long as they repeat.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::field::{Field, FieldType, member};
use crate::decode::json::{Kind, Raw};
use crate::decode::{Reason, Reject};

/// How the converter begins each record that has a block.
const BLOCK_NAME: &[u8] = br#"{"schema":"#;
/// Blocks remembered: the versions of one table that its records mix are few.
const BLOCKS_MAX: usize = 16;

/// The fields of a key or of a row, in the order of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    fields: Vec<Field>,
    connector: Option<Box<str>>,
    name: Option<Box<str>>,
}

impl Schema {
    /// Reads a block. Of an envelope the fields of the row's image after the change count.
    ///
    /// # Errors
    /// `unknown_type` for types Connect does not have and for what is no struct of fields.
    pub fn parse(block: Raw<'_>) -> Result<Schema, Reject> {
        let (mut after, mut is_envelope) = (Raw::ABSENT, false);
        let name = member(block, "name");
        let name = (name.kind() == Kind::String).then(|| name.as_received().into());
        let mut connector = None;
        let fields = member(block, "fields");
        for field in fields.elements() {
            let name = member(field, "field");
            match name.as_received() {
                "after" => after = field,
                "op" => is_envelope = true,
                "source" => connector = connector_of(member(field, "name").as_received()),
                _ => {}
            }
        }
        let image = member(after, "fields");
        let fields = if is_envelope && image.kind() == Kind::Array {
            image
        } else {
            fields
        };
        if fields.kind() != Kind::Array {
            let detail = "a schema block that is no struct of fields";
            return Err(Reject::new(Reason::UnknownType, detail));
        }
        let fields = fields
            .elements()
            .map(Field::parse)
            .collect::<Result<_, _>>()?;
        Ok(Schema {
            fields,
            connector,
            name,
        })
    }

    /// What the block as a whole is called, where it says.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The fields, in the order of the source.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The connector's name, such as `postgresql` or `sqlserver`; none where the block is a flattened row's.
    #[must_use]
    pub fn connector(&self) -> Option<&str> {
        self.connector.as_deref()
    }

    /// The type of a field.
    #[must_use]
    pub fn field_type(&self, name: &str) -> Option<&FieldType> {
        let field = self.fields.iter().rfind(|field| *field.name == *name);
        field.map(|field| &field.field_type)
    }
}

/// The connector in the name of its source's block.
fn connector_of(name: &str) -> Option<Box<str>> {
    let name = name.strip_prefix("io.debezium.connector.")?;
    name.strip_suffix(".Source").map(Box::from)
}

/// Blocks that were parsed, with what somebody made of each: `T`.
#[derive(Debug)]
pub(super) struct SchemaCache<T> {
    entries: Vec<Entry<T>>,
    /// The entry found last, which is nearly always the next one too.
    last: usize,
    /// Where the next block goes once the cache is full.
    oldest: usize,
}

#[derive(Debug)]
struct Entry<T> {
    hash: u64,
    block: Box<str>,
    made: Arc<T>,
}

impl<T> SchemaCache<T> {
    pub(super) fn new() -> Self {
        SchemaCache {
            entries: Vec::new(),
            last: 0,
            oldest: 0,
        }
    }

    /// What was made of this block, or is made of it now.
    pub(super) fn get(
        &mut self,
        block: Raw<'_>,
        make: impl FnOnce(Schema) -> Result<T, Reject>,
    ) -> Result<&Arc<T>, Reject> {
        let text = block.as_received();
        let is_last = |entry: &Entry<T>| *entry.block == *text;
        if !self.entries.get(self.last).is_some_and(is_last) {
            let hash = FixedState::default().hash_one(text);
            let found = |entry: &Entry<T>| entry.hash == hash && *entry.block == *text;
            self.last = match self.entries.iter().position(found) {
                Some(index) => index,
                None => {
                    let made = Arc::new(make(Schema::parse(block)?)?);
                    self.insert(Entry {
                        hash,
                        block: text.into(),
                        made,
                    })
                }
            };
        }
        Ok(&self.entries[self.last].made)
    }

    /// Where the rest of a record begins that has the block of the record before it: behind the comma.
    #[inline]
    pub(super) fn known_end(&self, record: &[u8]) -> Option<usize> {
        let entry = self.entries.get(self.last)?;
        let from_block = record.strip_prefix(BLOCK_NAME)?;
        let rest = from_block.strip_prefix(entry.block.as_bytes())?;
        (rest.first() == Some(&b',')).then(|| record.len() - rest.len() + 1)
    }

    /// What was made of that block.
    pub(super) fn last(&self) -> Option<&Arc<T>> {
        self.entries.get(self.last).map(|entry| &entry.made)
    }

    fn insert(&mut self, entry: Entry<T>) -> usize {
        if self.entries.len() < BLOCKS_MAX {
            self.entries.push(entry);
            return self.entries.len() - 1;
        }
        let index = self.oldest;
        self.entries[index] = entry;
        self.oldest = (index + 1) % BLOCKS_MAX;
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::{Form, Meaning};

    const ENVELOPE: &str = r#"{"type":"struct","fields":[
        {"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"}],"optional":true,"field":"before"},
        {"type":"struct","fields":[
            {"type":"int32","optional":false,"field":"id"},
            {"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,
             "parameters":{"scale":"2","connect.decimal.precision":"10"},"default":"AJY=","field":"n"},
            {"type":"array","items":{"type":"string","optional":true,"name":"io.debezium.data.Enum",
             "parameters":{"allowed":"a,b"}},"optional":true,"field":"moods"},
            {"type":"bytes","optional":true,"name":"io.debezium.data.Bits","parameters":{"length":"8"},"field":"b"}
        ],"optional":true,"field":"after"},
        {"type":"string","optional":false,"field":"op"}],"optional":false,"name":"x.Envelope"}"#;

    #[test]
    fn an_envelopes_fields_are_those_of_its_row() {
        let schema = Schema::parse(Raw::parse(ENVELOPE).unwrap()).unwrap();
        let names: Vec<_> = schema.fields().iter().map(|field| &*field.name).collect();
        assert_eq!(names, ["id", "n", "moods", "b"]);
        let id = schema.field_type("id").unwrap();
        assert_eq!(
            (id.form, id.meaning, id.optional),
            (Form::Int32, Meaning::Plain, false)
        );
        let n = &schema.fields()[1];
        assert_eq!(
            (n.field_type.scale, n.field_type.precision),
            (Some(2), Some(10))
        );
        assert_eq!(n.default.as_deref(), Some("\"AJY=\""));
        let moods = schema.field_type("moods").unwrap().items.as_ref().unwrap();
        assert_eq!(
            (moods.meaning, moods.allowed.as_deref()),
            (Meaning::Text, Some("a,b"))
        );
        assert_eq!(schema.field_type("b").unwrap().length, Some(8));
        assert_eq!(schema.field_type("before"), None);
    }

    #[test]
    fn other_blocks_are_refused_by_type() {
        for block in [
            "{}".to_owned(),
            r#"{"fields":{}}"#.to_owned(),
            r#"{"fields":[{"type":"int32"}]}"#.to_owned(),
            r#"{"fields":[{"type":"int128","field":"a"}]}"#.to_owned(),
        ] {
            let reject = Schema::parse(Raw::parse(&block).unwrap()).unwrap_err();
            assert_eq!(reject.reason, Reason::UnknownType, "{block}");
        }
    }

    #[test]
    fn a_block_is_made_something_of_once_while_it_is_remembered() {
        let mut cache = SchemaCache::new();
        let blocks: Vec<String> = (0..=BLOCKS_MAX)
            .map(|i| format!(r#"{{"fields":[{{"type":"int32","field":"f{i}"}}]}}"#))
            .collect();
        let mut made = 0;
        let mut get = |block: &str| {
            let name = cache.get(Raw::parse(block).unwrap(), |schema| {
                made += 1;
                Ok(schema.fields()[0].name.clone())
            });
            (String::from(&***name.unwrap()), made)
        };
        assert_eq!(get(&blocks[0]), ("f0".to_owned(), 1));
        assert_eq!(get(&blocks[1]), ("f1".to_owned(), 2));
        assert_eq!(get(&blocks[0]), ("f0".to_owned(), 2));
        for block in &blocks[2..] {
            get(block);
        }
        assert_eq!(get(&blocks[1]), ("f1".to_owned(), BLOCKS_MAX + 1));
        assert_eq!(
            get(&blocks[0]),
            ("f0".to_owned(), BLOCKS_MAX + 2),
            "the oldest went"
        );
    }
}
