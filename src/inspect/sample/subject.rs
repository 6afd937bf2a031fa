//! A table and a pipeline for what a subject of a schema registry describes.

use super::look::are_names_of_a_change;
use super::proposal::{Column, Reading, note_of_servers, of_changes, of_columns};
use super::schemas::{columns_of_one, failed, questions};
use super::surroundings::surroundings;
use super::{Sampled, plain_pipeline, reader, registry_of};
use crate::config::Config;
use crate::inspect::Failure;

/// The place of the first message of a source of Protobuf.
const FIRST_MESSAGE: &[i32] = &[0];

/// Asks the registry for the newest schema of the subject. `topic`: whose records it describes; none: the one
/// that is part of the subject's name, as most producers name subjects.
///
/// # Errors
/// The registry does not answer, has no such subject, or its schema describes no record.
pub fn of_subject(config: &Config, subject: &str, topic: Option<&str>) -> Result<Sampled, Failure> {
    let without_end = subject.strip_suffix("-value").unwrap_or(subject);
    let topic = topic.unwrap_or(without_end);
    let pipeline = reader(config, topic).or_else(|error| {
        // A subject may be named after a type, whatever its letters.
        plain_pipeline(config, "records", "json").ok_or(error)
    })?;
    let Some(registry) = registry_of(config, &pipeline) else {
        let why = "--from-registry needs [schema_registry] with url";
        return Err(Failure::Usage(why.to_owned()));
    };
    let asked = questions(&registry)?.latest(subject);
    let Some(found) = asked.map_err(|error| failed(&registry, error))? else {
        let urls = registry.urls.join(", ");
        let why = format!("the schema registry at {urls} has no subject {subject}");
        return Err(Failure::Refused(why));
    };
    let columns = columns_of_one(&found.schema, FIRST_MESSAGE)?;
    let is_change = are_names_of_a_change(|name| columns.iter().any(|c| c.path[0] == name));
    let format = found.schema.format();
    let reading = Reading {
        format: Some(format),
        key_format: Some(format).filter(|_| is_change),
        ..Reading::default()
    };
    let asked = Some(&registry).filter(|_| format != "json_schema");
    let around = surroundings(config, &pipeline, asked, topic);
    let proposal = match is_change {
        true => of_changes(&reading, &around),
        false => {
            let columns: Vec<Column> = columns.into_iter().map(Column::of_schema).collect();
            of_columns(&columns, &reading, &around)
        }
    };
    let version = found.version;
    let mut notes: Vec<String> = note_of_servers(&proposal, &around).into_iter().collect();
    if topic == subject {
        notes.push("the topic is guessed: the subject's name".to_owned());
    }
    Ok(Sampled {
        made_of: format!("of subject {subject}, version {version}"),
        topic: topic.to_owned(),
        records: 0,
        format,
        database: around.database,
        proposal,
        notes,
    })
}
