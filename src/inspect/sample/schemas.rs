//! The columns of records whose schemas a registry has.

use std::collections::BTreeMap;

use super::Failure;
use super::guess::{Field, Guess};
use super::look::{Look, are_names_of_a_change};
use super::proposal::Column;
use crate::config::SchemaRegistry;
use crate::decode::json::{Kind, Raw};
use crate::format::{
    AsJson, Avro, Format, Protobuf, Purpose, SchemaColumn, SchemaKey, json_schema_columns,
    merged_columns, schema_of,
};
use crate::registry::{NoAnswer, Questions, WrittenBy};

/// Schemas of one topic that are asked for.
const SCHEMAS_MAX: usize = 20;

/// What the schemas of the records say of them.
#[derive(Debug)]
pub(super) struct OfSchemas {
    pub(super) format: &'static str,
    pub(super) columns: Vec<Column>,
    pub(super) is_change: bool,
    /// Records that could be read.
    pub(super) records: usize,
    pub(super) notes: Vec<String>,
}

/// Whoever asks the registry.
pub(super) fn questions(registry: &SchemaRegistry) -> Result<Questions, Failure> {
    Questions::new(registry).map_err(Failure::Usage)
}

pub(super) fn failed(registry: &SchemaRegistry, error: NoAnswer) -> Failure {
    match error {
        NoAnswer::Unavailable(why) => Failure::Unreachable(format!(
            "the schema registry could not be reached at {}: {why} (schema_registry.url)",
            registry.urls.join(", ")
        )),
        NoAnswer::Forbidden(why) => Failure::Refused(crate::registry::forbidden(&why).advice),
        NoAnswer::Unusable(why) | NoAnswer::MissingReference(why) => Failure::Refused(why),
    }
}

/// A schema and the message of it that a record is.
type Written = (SchemaKey, Vec<i32>);

/// Asks for the schemas that the records name, and looks at the values that they have.
pub(super) fn of_schemas(
    registry: &SchemaRegistry,
    records: &[Look<'_>],
) -> Result<OfSchemas, Failure> {
    let mut counts: Vec<(Written, usize)> = vec![];
    for record in records {
        let Some(written) = schema_of(record.value, record.header) else {
            continue;
        };
        match counts.iter_mut().find(|(known, _)| *known == written) {
            Some((_, count)) => *count += 1,
            None => counts.push((written, 1)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let questions = questions(registry)?;
    let mut known: BTreeMap<String, Option<WrittenBy>> = BTreeMap::new();
    let mut found: Vec<(Written, WrittenBy)> = vec![];
    let mut notes = vec![];
    for ((key, place), count) in counts.into_iter().take(SCHEMAS_MAX) {
        let schema = match known.get(&key.to_string()) {
            Some(schema) => schema.clone(),
            None => {
                let asked = questions.schema(key).map_err(|e| failed(registry, e))?;
                known.insert(key.to_string(), asked.clone());
                asked
            }
        };
        match schema {
            Some(schema) => found.push(((key, place), schema)),
            None => notes.push(format!(
                "the schema registry has no schema {key}, which {count} records name"
            )),
        }
    }
    let Some(format) = found.first().map(|(_, schema)| schema.format()) else {
        let why = notes.first().cloned().unwrap_or_default();
        return Err(Failure::Refused(why));
    };
    let all = found.len();
    found.retain(|(_, schema)| schema.format() == format);
    if found.len() < all {
        notes.push(format!(
            "schemas of other types than {format} were left out"
        ));
    }
    let columns = columns_of(&found)?;
    let is_change = are_names_of_a_change(|name| columns.iter().any(|c| c.path[0] == name));
    let (fields, records) = values(&found, &columns, records);
    let columns = columns.into_iter().zip(&fields);
    Ok(OfSchemas {
        format,
        columns: columns
            .map(|(column, field)| seen(column, field, records))
            .collect(),
        is_change,
        records,
        notes,
    })
}

/// The columns of a table for records of all these schemas.
fn columns_of(found: &[(Written, WrittenBy)]) -> Result<Vec<SchemaColumn>, Failure> {
    let mut merged: Option<Vec<SchemaColumn>> = None;
    for ((_, place), schema) in found {
        let columns = columns_of_one(schema, place)?;
        merged = Some(match merged {
            Some(known) => merged_columns(known, columns),
            None => columns,
        });
    }
    Ok(merged.unwrap_or_default())
}

/// The columns for the records of one schema.
pub(super) fn columns_of_one(
    schema: &WrittenBy,
    place: &[i32],
) -> Result<Vec<SchemaColumn>, Failure> {
    let refused = |error: crate::format::SchemaError| Failure::Refused(error.to_string());
    match schema {
        WrittenBy::Avro(schema) => schema.columns().map_err(refused),
        WrittenBy::Json(text) => json_schema_columns(text).map_err(refused),
        WrittenBy::Protobuf(schema) => schema
            .columns(place)
            .ok_or_else(|| Failure::Refused(format!("the schema has no message at {place:?}"))),
    }
}

/// What the records have for each column, and how many of them could be read.
fn values(
    found: &[(Written, WrittenBy)],
    columns: &[SchemaColumn],
    records: &[Look<'_>],
) -> (Vec<Field>, usize) {
    let names = columns.iter().map(|column| column.path.last());
    let mut fields: Vec<Field> = names
        .map(|name| Field::new(name.map_or("", String::as_str)))
        .collect();
    let format = match found.first() {
        Some((_, WrittenBy::Avro(_))) => Format::Avro(Avro::default()),
        Some((_, WrittenBy::Protobuf(_))) => Format::Protobuf(Protobuf::default()),
        _ => return (fields, 0),
    };
    let Ok(Some(mut reader)) = AsJson::new(&format, Purpose::Fields) else {
        return (fields, 0);
    };
    for ((key, _), schema) in found {
        match schema {
            WrittenBy::Avro(schema) => drop(reader.add_avro(*key, schema.clone())),
            WrittenBy::Protobuf(schema) => reader.add_protobuf(*key, schema.clone()),
            WrittenBy::Json(_) => {}
        }
    }
    let mut count = 0;
    for record in records {
        let Ok(json) = reader.read(record.value, record.header) else {
            continue;
        };
        let Some(object) = str::from_utf8(json).ok().and_then(|j| Raw::parse(j).ok()) else {
            continue;
        };
        count += 1;
        for (column, field) in columns.iter().zip(&mut fields) {
            if let Some(value) = at(object, &column.path) {
                field.see(value);
            }
        }
    }
    (fields, count)
}

fn at<'a>(object: Raw<'a>, path: &[String]) -> Option<Raw<'a>> {
    path.iter().try_fold(object, |object, name| {
        let is_object = object.kind() == Kind::Object;
        let mut members = is_object.then(|| object.members()).into_iter().flatten();
        members.find(|(own, _)| own == name).map(|(_, value)| value)
    })
}

/// A column as its schema has it, with what the schema cannot say: whether a number is a time, and whether
/// every record has the moment that it may leave out.
fn seen(column: SchemaColumn, field: &Field, records: usize) -> Column {
    let mut own = Column::of_schema(column);
    let guess: Guess = field.guess(records);
    let is_number = own.type_name == "Int64" && guess.is_time;
    let in_all = records > 0 && field.values == records;
    let moment = own
        .type_name
        .strip_prefix("Nullable(DateTime64")
        .and_then(|rest| rest.strip_suffix(')'));
    if is_number {
        own.type_name.clone_from(&guess.type_name);
        own.why = guess.why;
        own.unit = guess.unit;
        own.is_time = true;
    } else if let (Some(rest), true) = (moment, in_all) {
        own.type_name = format!("DateTime64{rest}");
        own.why = Some(format!(
            "all {records} records have it, the schema lets it be absent"
        ));
        own.is_time = true;
    }
    own
}
