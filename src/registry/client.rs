//! The conversation with a schema registry: the protocol of Confluent's, which others speak too.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::connect;
use crate::causes::with_causes;
use crate::config::SchemaRegistry;
use crate::format::SchemaKey;

const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Schemas that one schema may refer to, those that they refer to included.
const REFERENCES_MAX: usize = 200;
/// Registries count in 32 bits with a sign, and say of other numbers what they say of paths that they do not
/// know.
const ID_MAX: u32 = i32::MAX as u32;

/// Asks the servers of one registry, the next where one does not answer.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    config: SchemaRegistry,
    /// The server that answered last.
    current: AtomicUsize,
}

/// A schema as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub(super) kind: String,
    pub(super) text: String,
    /// Those that it refers to, each once, by the names it gives them.
    pub(super) references: Vec<(String, String)>,
}

impl Answer {
    /// Bytes of its texts.
    pub(super) fn bytes(&self) -> usize {
        let references = self.references.iter().map(|(_, text)| text.len());
        self.text.len() + references.sum::<usize>()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// Another attempt may have one.
    #[error("{0}")]
    Unavailable(String),
    /// Whoever asks is not let in.
    #[error("{0}")]
    Forbidden(String),
    /// What the registry has is of no use: another attempt has the same.
    #[error("{0}")]
    Unusable(String),
    /// The schema refers to one that the registry does not have, or not yet.
    #[error("{0}")]
    MissingReference(String),
}

impl Client {
    /// # Errors
    /// The certificates cannot be read or used.
    pub(super) fn new(config: &SchemaRegistry) -> Result<Client, String> {
        Ok(Client {
            http: connect::http_client(config)?,
            config: config.clone(),
            current: AtomicUsize::new(0),
        })
    }

    pub(super) fn config(&self) -> &SchemaRegistry {
        &self.config
    }

    /// The addresses, for people.
    pub(super) fn label(&self) -> String {
        self.config.urls.join(", ")
    }

    /// The schema of this key, and all that it refers to; `None`: the registry has none.
    pub(super) async fn schema(&self, key: SchemaKey) -> Result<Option<Answer>, NoAnswer> {
        let path = match key {
            SchemaKey::Id(id) if id > ID_MAX => return Ok(None),
            SchemaKey::Id(id) => format!("/schemas/ids/{id}"),
            SchemaKey::Guid(_) => format!("/schemas/guids/{key}"),
        };
        let value = match self.get(&path).await? {
            Got::Value(value) => value,
            Got::Nothing => return Ok(None),
            // Registries before GUIDs know no such path, and say so as they do of any other.
            Got::NoSuchPath(_) if matches!(key, SchemaKey::Guid(_)) => return Ok(None),
            Got::NoSuchPath(why) | Got::NotOfRegistry(why) => {
                return Err(NoAnswer::Unavailable(why));
            }
        };
        let what = format!("schema {key} of the registry");
        self.answered(value, &path, &what).await.map(Some)
    }

    /// The newest schema of a subject, with its version; `None`: there is no such subject.
    pub(super) async fn latest(&self, subject: &str) -> Result<Option<(u64, Answer)>, NoAnswer> {
        let path = format!("/subjects/{}/versions/latest", escaped(subject));
        let value = match self.get(&path).await? {
            Got::Value(value) => value,
            Got::Nothing => return Ok(None),
            Got::NoSuchPath(why) | Got::NotOfRegistry(why) => {
                return Err(NoAnswer::Unavailable(why));
            }
        };
        let version = value["version"].as_u64().unwrap_or_default();
        let what = format!("subject {subject} of the registry");
        let answer = self.answered(value, &path, &what).await?;
        Ok(Some((version, answer)))
    }

    /// A schema with those that it refers to; `what` it is, for people.
    async fn answered(&self, value: Value, path: &str, what: &str) -> Result<Answer, NoAnswer> {
        let mut answer = Answer {
            kind: value["schemaType"].as_str().unwrap_or("AVRO").to_owned(),
            text: schema_text(&value, path)?,
            references: vec![],
        };
        let mut open = references(&value);
        while let Some((name, subject, version)) = open.pop() {
            if answer.references.iter().any(|(known, _)| *known == name) {
                continue;
            }
            if answer.references.len() >= REFERENCES_MAX {
                return Err(NoAnswer::Unusable(format!(
                    "{what} refers to more than {REFERENCES_MAX} schemas"
                )));
            }
            // A subject that was deleted still has what other schemas refer to.
            let path = format!(
                "/subjects/{}/versions/{version}?deleted=true",
                escaped(&subject)
            );
            let value = match self.get(&path).await? {
                Got::Value(value) => value,
                Got::Nothing => {
                    return Err(NoAnswer::MissingReference(format!(
                        "{what} refers to {name}, version {version} of subject {subject}, and there is none"
                    )));
                }
                Got::NoSuchPath(why) | Got::NotOfRegistry(why) => {
                    return Err(NoAnswer::Unavailable(why));
                }
            };
            answer.references.push((name, schema_text(&value, &path)?));
            open.extend(references(&value));
        }
        Ok(answer)
    }

    /// Whether a server answers at all: who may read a schema may not be told anything else.
    pub(super) async fn ping(&self) -> Result<(), NoAnswer> {
        match self.get("/schemas/types").await {
            Ok(_) | Err(NoAnswer::Forbidden(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, path: &str) -> Result<Got, NoAnswer> {
        let count = self.config.urls.len();
        let first = self.current.load(Ordering::Relaxed);
        let mut answers = vec![];
        for turn in 0..count {
            let number = (first + turn) % count;
            match self.get_from(&self.config.urls[number], path).await {
                answer @ Ok(Got::Value(_) | Got::Nothing) => {
                    self.current.store(number, Ordering::Relaxed);
                    return answer;
                }
                other => answers.push(other),
            }
        }
        without_value(answers)
    }

    async fn get_from(&self, url: &str, path: &str) -> Result<Got, NoAnswer> {
        let address = format!("{url}{path}");
        let away = |error: reqwest::Error| {
            let why = with_causes(&error.without_url());
            NoAnswer::Unavailable(format!("{url}: {}", connect::with_key(why)))
        };
        let mut request = self.http.get(&address).header(
            "Accept",
            "application/vnd.schemaregistry.v1+json, application/json",
        );
        if let Some(token) = &self.config.token {
            request = request.bearer_auth(token.expose_secret());
        } else if !self.config.user.is_empty() {
            let password = self.config.password.expose_secret();
            request = request.basic_auth(&self.config.user, Some(password));
        }
        let mut answer = request.send().await.map_err(away)?;
        let status = answer.status();
        let mut bytes = vec![];
        while let Some(more) = answer.chunk().await.map_err(away)? {
            bytes.extend_from_slice(&more);
            if bytes.len() > ANSWER_BYTES_MAX {
                let why = format!("{address}: an answer of more than {ANSWER_BYTES_MAX} bytes");
                return Err(match status.is_success() {
                    true => NoAnswer::Unusable(why),
                    false => NoAnswer::Unavailable(why),
                });
            }
        }
        judged(&address, status, &bytes)
    }
}

/// What a server says of a path.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Value(Value),
    /// The registry does not have it.
    Nothing,
    /// A 404 as a registry says it of paths that it does not know.
    NoSuchPath(String),
    /// A 404 of something else, as a proxy.
    NotOfRegistry(String),
}

/// What several servers say of which none has a value. One that lets nobody in is not waited for, whatever
/// the others say: they are servers of one registry. Of those that do not answer each says why.
fn without_value(answers: Vec<Result<Got, NoAnswer>>) -> Result<Got, NoAnswer> {
    let mut reasons: Vec<String> = vec![];
    let mut last = None;
    for answer in answers {
        match answer {
            Err(NoAnswer::Unavailable(why)) => {
                reasons.push(why);
                last = None;
            }
            Err(NoAnswer::Forbidden(why)) => return Err(NoAnswer::Forbidden(why)),
            other => last = Some(other),
        }
    }
    last.unwrap_or_else(|| Err(NoAnswer::Unavailable(reasons.join("; "))))
}

fn judged(address: &str, status: StatusCode, body: &[u8]) -> Result<Got, NoAnswer> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let said = || {
        let message = value.as_ref().and_then(|value| value["message"].as_str());
        let message = message
            .map(|message| format!(": {message}"))
            .unwrap_or_default();
        format!("{address}: {status}{message}")
    };
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        return Err(NoAnswer::Forbidden(said()));
    }
    if status == StatusCode::NOT_FOUND {
        let odd = || {
            let said = said();
            format!(
                "{said} (no schema registry answers so where it lacks a schema: is the path of \
                 schema_registry.url right?)"
            )
        };
        let code = value
            .as_ref()
            .and_then(|value| value["error_code"].as_u64());
        return Ok(match code {
            Some(40401..=40499) => Got::Nothing,
            Some(404) => Got::NoSuchPath(odd()),
            _ => Got::NotOfRegistry(odd()),
        });
    }
    match value {
        Some(value) if status.is_success() => Ok(Got::Value(value)),
        _ => Err(NoAnswer::Unavailable(said())),
    }
}

fn schema_text(value: &Value, path: &str) -> Result<String, NoAnswer> {
    let text = value["schema"].as_str().map(str::to_owned);
    text.ok_or_else(|| NoAnswer::Unavailable(format!("{path}: an answer without schema")))
}

/// Name, subject and version of each reference.
fn references(value: &Value) -> Vec<(String, String, u64)> {
    let list = value["references"].as_array();
    let of = |reference: &Value| {
        let text = |key: &str| reference[key].as_str().map(str::to_owned);
        Some((
            text("name")?,
            text("subject")?,
            reference["version"].as_u64()?,
        ))
    };
    list.into_iter().flatten().filter_map(of).collect()
}

/// A name as a part of a path.
fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_servers_one_that_refuses_decides_and_each_that_is_away_says_why() {
        let away = |url: &str| Err(NoAnswer::Unavailable(format!("{url}: refused")));
        let forbidden = || Err(NoAnswer::Forbidden("401".to_owned()));
        let no_path = || Ok(Got::NoSuchPath("404".to_owned()));
        let both = Err(NoAnswer::Unavailable("a: refused; b: refused".to_owned()));
        assert_eq!(without_value(vec![away("a"), away("b")]), both);
        for answers in [vec![forbidden(), away("a")], vec![away("a"), forbidden()]] {
            assert_eq!(without_value(answers), forbidden());
        }
        assert_eq!(without_value(vec![away("a"), no_path()]), no_path());
        assert_eq!(without_value(vec![no_path(), away("a")]), away("a"));
    }

    #[test]
    fn a_registry_says_in_which_way_there_is_no_schema() {
        let of = |body: &str| judged("http://r/x", StatusCode::NOT_FOUND, body.as_bytes());
        let missing = of(r#"{"error_code":40403,"message":"no"}"#);
        assert_eq!(missing, Ok(Got::Nothing));
        match of(r#"{"error_code":404,"message":"HTTP 404"}"#) {
            Ok(Got::NoSuchPath(why)) => assert!(why.contains("HTTP 404 ("), "{why}"),
            other => panic!("{other:?}"),
        }
        for body in ["", "<html>", "{}", "[]", r#"{"error_code":"40403"}"#] {
            match of(body) {
                Ok(Got::NotOfRegistry(why)) => {
                    assert!(why.contains("schema_registry.url"), "{why}")
                }
                other => panic!("{body}: {other:?}"),
            }
        }
        assert_eq!(escaped("a/b ü"), "a%2Fb%20%C3%BC");
    }
}
