//! A table and a pipeline for the records of a topic: pure.

use super::guess::{Field, Guess};
use crate::decode::json::{Kind, Raw};
use crate::target::quote_name;

/// Columns beyond this are left out: nobody reads such a proposal.
const FIELDS_MAX: usize = 500;

/// What the records are.
#[derive(Debug)]
pub(super) enum Shape {
    /// Objects, with what was seen of their members.
    Objects(Vec<Field>),
    /// Changes of a database's rows.
    Changes,
    /// Texts that are no objects.
    Texts,
    /// Something that no text is, and what it looks like.
    Binary(&'static str),
    /// No record has a value.
    Nothing,
}

/// Looks at the values of records.
pub(super) fn shape<'v>(values: impl Iterator<Item = &'v [u8]>) -> (Shape, usize) {
    let (mut fields, mut count): (Vec<Field>, usize) = (vec![], 0);
    let mut changes = 0;
    let mut other = None;
    for value in values {
        count += 1;
        let object = str::from_utf8(value)
            .ok()
            .and_then(|text| Raw::parse(text).ok());
        let Some(object) = object.filter(|raw| raw.kind() == Kind::Object) else {
            other.get_or_insert(value);
            continue;
        };
        changes += usize::from(is_change(object));
        for (name, member) in object.members() {
            match fields.iter().position(|field| field.name == *name) {
                Some(known) => fields[known].see(member),
                None if fields.len() < FIELDS_MAX => {
                    let mut field = Field::new(&name);
                    field.see(member);
                    fields.push(field);
                }
                None => {}
            }
        }
    }
    let shape = match other {
        _ if count == 0 => Shape::Nothing,
        Some([0, _, _, _, _, ..]) => Shape::Binary(
            "begins like a record of a schema registry (Avro, Protobuf or JSON Schema)",
        ),
        Some([0x1f, 0x8b, ..]) => Shape::Binary("begins like gzip"),
        Some([0x28, 0xb5, 0x2f, 0xfd, ..]) => Shape::Binary("begins like zstd"),
        Some(value) if str::from_utf8(value).is_err() => Shape::Binary("is no text"),
        Some(_) => Shape::Texts,
        None if changes == count => Shape::Changes,
        None => Shape::Objects(fields),
    };
    (shape, count)
}

fn is_change(object: Raw<'_>) -> bool {
    let member = |of: Raw<'_>, wanted: &str| of.members().any(|(name, _)| name == wanted);
    let payload = object.members().find(|(name, _)| name == "payload");
    let change = payload.map_or(object, |(_, payload)| payload);
    member(change, "op")
        && member(change, "source")
        && (member(change, "after") || member(change, "before"))
}

/// A name made of a topic's: of a table, a pipeline and a group.
pub(super) fn name_of(topic: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = topic.chars().map(legal).take(60).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// The statement that creates the table, and the lines of the pipeline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) ddl: String,
    pub(super) config: String,
    /// Name, type and why it was guessed, of each column that a field fills.
    pub(super) columns: Vec<(String, String, Option<String>)>,
}

/// For objects.
pub(super) fn of_objects(topic: &str, fields: &[Field], records: usize) -> Proposal {
    let guesses: Vec<(&Field, Guess)> = fields.iter().map(|f| (f, f.guess(records))).collect();
    let time = guesses.iter().find(|(_, guess)| guess.is_time);
    let time_name = time.map(|(field, _)| &*field.name);
    let columns: Vec<_> = guesses
        .iter()
        .map(|(field, guess)| {
            (
                field.name.clone(),
                guess.type_name.clone(),
                guess.why.clone(),
            )
        })
        .collect();
    let mut mapped = String::new();
    for (field, guess) in &guesses {
        let keys = match (guess.is_raw, guess.unit) {
            (true, _) => "raw = \"any\"".to_owned(),
            (_, Some(unit)) => format!("unit = \"{unit}\""),
            _ => continue,
        };
        mapped.push_str(&format!("{} = {{ {keys} }}\n", quoted(&field.name)));
    }
    let time_line = match time {
        Some((field, guess)) => {
            let unit = guess.unit.map(|unit| format!("time_unit = \"{unit}\"\n"));
            format!(
                "time_field = {}                # guessed: the first field that every record has a time in\n{}",
                quoted(&field.name),
                unit.unwrap_or_default()
            )
        }
        None => {
            "time_field = \"\"               # no field has a time in every record\n".to_owned()
        }
    };
    Proposal {
        ddl: ddl(topic, &columns, time_name),
        config: config(topic, "", &time_line, &mapped),
        columns,
    }
}

/// For texts: one column takes all of it.
pub(super) fn of_texts(topic: &str) -> Proposal {
    let why = "records are no JSON objects".to_owned();
    let columns = vec![("message".to_owned(), "String".to_owned(), Some(why))];
    let format = "format = \"string\"              # or csv, see docs/formats.md\n";
    Proposal {
        ddl: ddl(topic, &columns, None),
        config: config(topic, format, "", "message = \"$\"\n"),
        columns,
    }
}

fn ddl(topic: &str, columns: &[(String, String, Option<String>)], time: Option<&str>) -> String {
    let own = [
        ("_topic", "LowCardinality(String)"),
        ("_partition", "UInt32"),
        ("_offset", "UInt64"),
    ];
    let named = columns.iter().map(|(name, type_name, why)| {
        let why = why
            .as_ref()
            .map(|why| format!("    -- {}", why.replace('\n', " ")));
        (name.as_str(), type_name.as_str(), why.unwrap_or_default())
    });
    let own = own.map(|(name, type_name)| (name, type_name, String::new()));
    let all: Vec<_> = named.chain(own).collect();
    let last = all.len() - 1;
    let lines: String = all
        .iter()
        .enumerate()
        .map(|(at, (name, type_name, why))| {
            let comma = if at == last { "" } else { "," };
            format!("    {} {type_name}{comma}{why}\n", quote_name(name))
        })
        .collect();
    let order = match time {
        Some(time) => format!("PARTITION BY toYYYYMM({0})\nORDER BY {0}", quote_name(time)),
        None => "ORDER BY (_topic, _partition, _offset)".to_owned(),
    };
    format!(
        "CREATE TABLE {}\n(\n{lines})\nENGINE = MergeTree\n{order}\n\
         SETTINGS non_replicated_deduplication_window = 10000",
        quote_name(&name_of(topic))
    )
}

fn config(topic: &str, format: &str, time: &str, columns: &str) -> String {
    let name = name_of(topic);
    let columns = match columns {
        "" => String::new(),
        columns => format!("[pipeline.columns]\n{columns}"),
    };
    format!(
        "[[pipeline]]\nname = \"{name}\"\nkind = \"enrichment\"\ntopics = [{}]\ngroup_id = \"{name}\"\n\
         {format}{time}{columns}[pipeline.clickhouse]\ntable = \"{name}\"\n",
        quoted(topic)
    )
}

/// For changes of a database's rows: the daemon derives the table itself.
pub(super) fn of_changes(topic: &str) -> String {
    let name = name_of(topic);
    format!(
        "[[pipeline]]\nname = \"{name}\"\nkind = \"cdc\"                      # every record looks like a change of \
         Debezium\ntopics = [{}]\ngroup_id = \"{name}\"\ncreate_tables = true\n",
        quoted(topic)
    )
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn proposed(topic: &str, values: &[&str]) -> Proposal {
        let (shape, count) = shape(values.iter().map(|value| value.as_bytes()));
        match shape {
            Shape::Objects(fields) => of_objects(topic, &fields, count),
            Shape::Texts => of_texts(topic),
            other => panic!("{other:?}"),
        }
    }

    fn assert_valid(config: &str) {
        let loaded = Config::parse(config, "c", std::path::Path::new("/"), []);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}\n{config}"));
        assert_eq!(loaded.config.pipelines.len(), 1);
    }

    #[test]
    fn objects_become_a_table_and_a_pipeline_that_is_valid() {
        let proposal = proposed(
            "shop.orders",
            &[
                r#"{"id":1,"at":1763719200,"odd na`me":"x","mixed":1}"#,
                r#"{"id":2,"at":1763719201,"mixed":"a"}"#,
            ],
        );
        assert_valid(&proposal.config);
        assert!(
            proposal.config.contains("time_field = \"at\""),
            "{}",
            proposal.config
        );
        assert!(
            proposal.config.contains("mixed = { raw = \"any\" }")
                || proposal.config.contains("\"mixed\" = { raw = \"any\" }")
        );
        assert_eq!(
            proposal.ddl,
            "CREATE TABLE `shop_orders`\n(\n    `id` Int64,    -- seen 1 to 2\n    \
             `at` DateTime('UTC'),    -- seen 1763719200 to 1763719201: seconds, by their size\n    \
             `odd na\\`me` Nullable(String),    -- absent or null in 1 of 2 records\n    \
             `mixed` String,    -- seen as integer and text: kept as JSON text\n    \
             `_topic` LowCardinality(String),\n    `_partition` UInt32,\n    `_offset` UInt64\n)\n\
             ENGINE = MergeTree\nPARTITION BY toYYYYMM(`at`)\nORDER BY `at`\n\
             SETTINGS non_replicated_deduplication_window = 10000"
        );
    }

    #[test]
    fn other_records_are_told_by_what_they_look_like() {
        assert_valid(&proposed("t", &["a line", "[1]"]).config);
        assert_valid(&proposed("t", &["{}"]).config);
        let of = |value: &[u8]| shape(std::iter::once(value)).0;
        assert!(
            matches!(of(b"\0\0\0\0\x07rest"), Shape::Binary(what) if what.contains("registry"))
        );
        assert!(matches!(
            of(b"\x1f\x8b\x08"),
            Shape::Binary("begins like gzip")
        ));
        assert!(matches!(of(b"\xff\xfe"), Shape::Binary("is no text")));
        let change = br#"{"payload":{"op":"c","source":{},"after":{}}}"#;
        assert!(matches!(of(change), Shape::Changes));
        assert_valid(&of_changes("shop.public.orders"));
        assert!(matches!(shape(std::iter::empty()).0, Shape::Nothing));
    }
}
