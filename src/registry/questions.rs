//! Schemas for commands: asked for once each, with the server's answer as it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::client::{Answer, Client, NoAnswer};
use crate::config::SchemaRegistry;
use crate::format::{AvroSchema, ProtobufSchema, SchemaError, SchemaKey};

/// How long all of one question may take, with the schemas that a schema refers to.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks one registry.
#[derive(Debug)]
pub(crate) struct Questions {
    client: Client,
    runtime: Runtime,
}

/// What records are written by.
#[derive(Debug, Clone)]
pub(crate) enum WrittenBy {
    Avro(Arc<AvroSchema>),
    Protobuf(Arc<ProtobufSchema>),
    /// The text of a JSON Schema.
    Json(String),
}

impl WrittenBy {
    /// `format` of a pipeline.
    pub(crate) fn format(&self) -> &'static str {
        match self {
            WrittenBy::Avro(_) => "avro",
            WrittenBy::Protobuf(_) => "protobuf",
            WrittenBy::Json(_) => "json_schema",
        }
    }
}

/// The newest schema of a subject.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) version: u64,
    pub(crate) schema: WrittenBy,
}

impl Questions {
    /// # Errors
    /// Certificates cannot be used.
    pub(crate) fn new(config: &SchemaRegistry) -> Result<Questions, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Ok(Questions {
            client: Client::new(config).map_err(|why| format!("schema_registry: {why}"))?,
            runtime: runtime.map_err(|error| error.to_string())?,
        })
    }

    /// The schema of this key; `None`: the registry has none.
    ///
    /// # Errors
    /// The registry does not answer, lets nobody in, or has what cannot be used.
    pub(crate) fn schema(&self, key: SchemaKey) -> Result<Option<WrittenBy>, NoAnswer> {
        let answer = self.within(self.client.schema(key))?;
        let read = |answer: Answer| read(&answer, &format!("schema {key} of the registry"));
        answer.map(read).transpose()
    }

    /// The newest schema of a subject; `None`: there is no such subject.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn latest(&self, subject: &str) -> Result<Option<Subject>, NoAnswer> {
        let Some((version, answer)) = self.within(self.client.latest(subject))? else {
            return Ok(None);
        };
        let what = format!("subject {subject} of the registry, version {version}");
        let schema = read(&answer, &what)?;
        Ok(Some(Subject { version, schema }))
    }

    fn within<T>(&self, asking: impl Future<Output = Result<T, NoAnswer>>) -> Result<T, NoAnswer> {
        let asking = async { tokio::time::timeout(PATIENCE, asking).await };
        self.runtime.block_on(asking).unwrap_or_else(|_| {
            let (label, seconds) = (self.client.label(), PATIENCE.as_secs());
            let why = format!("{label}: no answer within {seconds} s");
            Err(NoAnswer::Unavailable(why))
        })
    }
}

fn read(answer: &Answer, what: &str) -> Result<WrittenBy, NoAnswer> {
    let unusable = |error: SchemaError| NoAnswer::Unusable(format!("{what}: {error}"));
    match answer.kind.as_str() {
        "AVRO" => {
            let texts = answer.references.iter().map(|(_, text)| text.clone());
            let texts: Vec<String> = texts.collect();
            let schema = AvroSchema::parse_with(&answer.text, &texts).map_err(unusable)?;
            Ok(WrittenBy::Avro(Arc::new(schema)))
        }
        "PROTOBUF" => {
            let schema = ProtobufSchema::from_source(&answer.text, &answer.references);
            Ok(WrittenBy::Protobuf(Arc::new(schema.map_err(unusable)?)))
        }
        "JSON" => Ok(WrittenBy::Json(answer.text.clone())),
        other => Err(NoAnswer::Unusable(format!("{what} is of type {other}"))),
    }
}
