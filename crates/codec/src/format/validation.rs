//! Records that are checked by the JSON Schema of their writer: `json_schema.validate`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Retrieve, Uri, ValidationError, Validator};
use serde_json::Value;

use super::avro::{of_header, split_frame};
use super::{SchemaError, SchemaKey, Unread};
use crate::decode::json::{Plan, Scanner};
use crate::decode::{Reason, Reject};

/// Schemas that one lane keeps.
const SCHEMAS_MAX: usize = 1_000;
/// Steps back that one pattern may take over one text.
const BACKTRACK_MAX: usize = 100_000;
/// Of what is said of a record or a schema.
const DETAIL_BYTES_MAX: usize = 400;
/// The address of a schema that has none, which its references are relative to.
const BASE: &str = "json-schema:///";

/// A JSON Schema, compiled. It is shared by the lanes.
#[derive(Debug)]
pub struct JsonSchema {
    validator: Validator,
    /// What its texts take.
    text_bytes: usize,
}

/// The schemas that a registry has for references, by the names that it gives them. Nothing is fetched.
struct References(HashMap<String, Value>);

impl Retrieve for References {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let uri = uri.as_str();
        // A name is an address of its own, or the rest of one behind that of the schema.
        let is_named = |name: &str| uri == name || uri.ends_with(&format!("/{name}"));
        let found = self.0.iter().find(|(name, _)| is_named(name));
        let (_, schema) = found.ok_or("the registry has no reference of this name")?;
        Ok(schema.clone())
    }
}

impl JsonSchema {
    /// Compiles a schema. `references`: those that it refers to, by the names it gives them.
    ///
    /// # Errors
    /// A text is no JSON, no JSON Schema, or refers to what is not there.
    pub fn parse_with(
        text: &str,
        references: &[(String, String)],
    ) -> Result<JsonSchema, SchemaError> {
        let read = |text: &str| -> Result<Value, SchemaError> {
            serde_json::from_str(text)
                .map_err(|error| SchemaError(format!("no JSON Schema: {error}")))
        };
        let schema = read(text)?;
        let mut known = HashMap::new();
        for (name, text) in references {
            known.insert(name.clone(), read(text)?);
        }
        let mut options = jsonschema::options()
            .with_retriever(References(known))
            .with_base_uri(BASE)
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_MAX));
        // What the serializers of registries write that say nothing else.
        if schema.get("$schema").is_none() {
            options = options.with_draft(Draft::Draft7);
        }
        let validator = options
            .build(&schema)
            .map_err(|error| SchemaError(shortened(format!("no JSON Schema: {error}"))))?;
        let text_bytes = references.iter().map(|(_, text)| text.len()).sum::<usize>();
        Ok(JsonSchema {
            validator,
            text_bytes: text.len() + text_bytes,
        })
    }

    /// Checks a record. What is said of it has no value of it, and no name that only it has.
    ///
    /// # Errors
    /// `schema_violation`: it is not valid. `invalid_json` and the like: it is no JSON.
    pub fn check(&self, key: SchemaKey, body: &[u8]) -> Result<(), Reject> {
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(_) => return Err(unreadable(body)),
        };
        self.validator.validate(&value).map_err(|error| {
            Reject::new(
                Reason::SchemaViolation,
                shortened(violation(key, &value, &error)),
            )
        })
    }

    /// Bytes of its texts.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }
}

/// Why a body cannot be looked at: the scanner says it as where nothing is validated.
#[cold]
fn unreadable(body: &[u8]) -> Reject {
    let mut scanner = Scanner::new(Arc::new(Plan::new(&[])));
    match scanner.scan(Some(body)) {
        Err(reject) => reject,
        Ok(_) => {
            let detail =
                "cannot be validated: a number beyond 64-bit floats, or more than 128 levels";
            Reject::new(Reason::SchemaViolation, detail)
        }
    }
}

#[cold]
fn violation(key: SchemaKey, record: &Value, error: &ValidationError<'_>) -> String {
    let rule = error.evaluation_path().as_str();
    let place = place(record, error.instance_path().as_str(), rule);
    let missing = match error.kind() {
        // The schema's word, not the record's.
        ValidationErrorKind::Required { property } => format!(": {property} is absent"),
        ValidationErrorKind::Type { kind } => format!(": {}", expected(kind)),
        _ => String::new(),
    };
    format!("{place} is not valid by schema {key}, {rule}{missing}")
}

fn expected(kind: &jsonschema::error::TypeKind) -> String {
    use jsonschema::error::TypeKind;
    match kind {
        TypeKind::Single(one) => format!("expected {one}"),
        TypeKind::Multiple(types) => {
            let names: Vec<String> = types.iter().map(|one| one.to_string()).collect();
            format!("expected {}", names.join(" or "))
        }
    }
}

/// Where in the record: names that the schema has, and places in arrays. Any other name is the record's own,
/// as in an object of addresses, and may be private.
fn place(record: &Value, path: &str, rule: &str) -> String {
    let known: BTreeSet<&str> = rule.split('/').collect();
    let mut at = Some(record);
    let mut place = "$".to_owned();
    for name in path.split('/').skip(1) {
        let is_array = at.is_some_and(Value::is_array);
        place.push('.');
        place.push_str(if is_array || known.contains(name) {
            name
        } else {
            "*"
        });
        at = at.and_then(|value| value.pointer(&format!("/{name}")));
    }
    place
}

fn shortened(mut text: String) -> String {
    if text.len() > DETAIL_BYTES_MAX {
        text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
        text.push('…');
    }
    text
}

/// What one lane validates its records by.
#[derive(Debug, Default)]
pub(super) struct Validation {
    schemas: HashMap<SchemaKey, Arc<JsonSchema>>,
    header: Option<SchemaKey>,
}

impl Validation {
    /// The header of the next record that names its schema in place of a frame.
    pub(super) fn set_header(&mut self, header: Option<&[u8]>) -> Result<(), Reject> {
        let key = header.map(of_header).transpose();
        self.header = key.map_err(nameless)?;
        Ok(())
    }

    pub(super) fn add(&mut self, key: SchemaKey, schema: Arc<JsonSchema>) {
        if self.schemas.len() >= SCHEMAS_MAX {
            self.schemas.clear();
        }
        self.schemas.insert(key, schema);
    }

    pub(super) fn forget(&mut self) {
        self.schemas.clear();
    }

    pub(super) fn text_bytes(&self) -> usize {
        let schemas = self.schemas.values();
        schemas.map(|schema| schema.text_bytes()).sum()
    }

    /// Whether the schema of a record is there.
    pub(super) fn prepare(&self, value: &[u8]) -> Result<(), Unread> {
        self.schema(value).map(|_| ())
    }

    /// Checks a record by its own schema; what is behind its frame.
    pub(super) fn check<'v>(&self, value: &'v [u8]) -> Result<&'v [u8], Unread> {
        let (key, schema, body) = self.schema(value)?;
        schema.check(key, body)?;
        Ok(body)
    }

    fn schema<'v>(&self, value: &'v [u8]) -> Result<(SchemaKey, &JsonSchema, &'v [u8]), Unread> {
        let (key, body) = match self.header {
            Some(key) => (key, unframed(value)),
            None => split_frame(value).map_err(nameless)?,
        };
        let schema = self.schemas.get(&key).ok_or(Unread::NeedsSchema(key))?;
        Ok((key, schema, body))
    }
}

/// A record behind its frame, if there is one: no JSON begins with 0 or 1.
pub(super) fn unframed(value: &[u8]) -> &[u8] {
    match value.first() {
        Some(0 | 1) => split_frame(value).map_or(value, |(_, body)| body),
        _ => value,
    }
}

#[cold]
fn nameless(_: Reject) -> Reject {
    let detail = "names no schema to validate it by: neither a registry's frame nor a header \
                  __value_schema_id is before it";
    Reject::new(Reason::SchemaViolation, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: &str, record: &str) -> Result<(), String> {
        let schema = JsonSchema::parse_with(schema, &[]).expect("a schema");
        let checked = schema.check(SchemaKey::Id(7), record.as_bytes());
        checked.map_err(|reject| reject.to_string())
    }

    const ORDER: &str = r##"{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},
        "mail":{"type":"string","format":"email","pattern":"^[a-z@.]+$"},
        "by":{"type":"object","additionalProperties":{"type":"integer"}},
        "lines":{"type":"array","items":{"$ref":"#/definitions/line"}}},
        "definitions":{"line":{"properties":{"n":{"minimum":1}}}}}"##;

    #[test]
    fn a_record_that_is_not_valid_says_where_and_by_which_rule_and_never_what_it_holds() {
        assert_eq!(
            check(
                ORDER,
                r#"{"id":1,"mail":"a@b.c","by":{"x":1},"lines":[{"n":1}],"more":null}"#
            ),
            Ok(())
        );
        for (record, expected) in [
            (
                r#"{"mail":"a@b.c"}"#,
                "schema_violation: $ is not valid by schema 7, /required: \"id\" is absent",
            ),
            (
                r#"{"id":"secret"}"#,
                "schema_violation: $.id is not valid by schema 7, /properties/id/type: expected integer",
            ),
            (
                r#"{"id":1,"mail":"SECRET"}"#,
                "schema_violation: $.mail is not valid by schema 7, /properties/mail/pattern",
            ),
            (
                r#"{"id":1,"mail":"secret"}"#,
                "schema_violation: $.mail is not valid by schema 7, /properties/mail/format",
            ),
            (
                r#"{"id":1,"by":{"49170123456":"secret"}}"#,
                "schema_violation: $.by.* is not valid by schema 7, /properties/by/additionalProperties/type: \
                 expected integer",
            ),
            (
                r#"{"id":1,"lines":[{"n":1},{"n":0}]}"#,
                "schema_violation: $.lines.1.n is not valid by schema 7, \
                 /properties/lines/items/$ref/properties/n/minimum",
            ),
            (
                r#"{"id":1e999}"#,
                "schema_violation: cannot be validated: a number beyond 64-bit floats, or more than 128 levels",
            ),
        ] {
            assert_eq!(
                check(ORDER, record).as_ref().map_err(String::as_str),
                Err(expected)
            );
        }
        let none = check(ORDER, r#"{"id":"#).expect_err("no JSON");
        assert!(none.starts_with("invalid_json: "), "{none}");
    }

    #[test]
    fn references_are_those_of_the_registry_and_nothing_is_fetched() {
        let referring = r##"{"properties":{"a":{"$ref":"address.json"},
            "b":{"$ref":"address.json#/definitions/zip"}}}"##;
        let address = r#"{"required":["zip"],"definitions":{"zip":{"type":"string"}}}"#;
        let known = [("address.json".to_owned(), address.to_owned())];
        for schema in [
            referring.to_owned(),
            referring.replacen('{', r#"{"$id":"https://shop.example/order.json","#, 1),
        ] {
            let read = JsonSchema::parse_with(&schema, &known).expect("a schema");
            let check = |record: &str| read.check(SchemaKey::Id(7), record.as_bytes());
            assert_eq!(check(r#"{"a":{"zip":1},"b":"1"}"#), Ok(()));
            for record in [r#"{"a":{}}"#, r#"{"b":1}"#] {
                let reject = check(record).expect_err("not valid");
                assert_eq!(reject.reason, Reason::SchemaViolation);
            }
            let error = JsonSchema::parse_with(&schema, &[]).expect_err("it lacks a schema");
            assert!(error.0.contains("retrieving it failed"), "{error}");
        }
        for reference in ["http://127.0.0.1:1/x.json", "file:///etc/passwd"] {
            let schema = format!(r#"{{"$ref":"{reference}"}}"#);
            let error = JsonSchema::parse_with(&schema, &[]).expect_err("nothing is fetched");
            assert!(error.0.contains("retrieving it failed"), "{error}");
        }
    }

    #[test]
    fn schemas_that_lead_to_themselves_and_patterns_that_go_back_come_to_an_end() {
        for schema in [
            r##"{"$ref":"#"}"##,
            r##"{"allOf":[{"$ref":"#/definitions/a"}],"definitions":{"a":{"anyOf":[{"$ref":"#"}]}}}"##,
        ] {
            if let Ok(schema) = JsonSchema::parse_with(schema, &[]) {
                let _ = schema.check(SchemaKey::Id(1), b"{\"a\":[1]}");
            }
        }
        let text = format!(r#"{{"a":"{}!"}}"#, "a".repeat(60));
        let pattern = r#"{"properties":{"a":{"pattern":"^(?=(a+)+$)(a|a)*$"}}}"#;
        let began = std::time::Instant::now();
        check(pattern, &text).expect_err("not valid");
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let deep = check("{}", &format!(r#"{{"a":{deep}}}"#)).expect_err("too deep for it");
        assert!(deep.contains("cannot be validated"), "{deep}");
    }

    #[test]
    fn each_record_is_checked_by_its_own_schema_and_one_that_names_none_is_refused() {
        let schema = |text: &str| Arc::new(JsonSchema::parse_with(text, &[]).expect("a schema"));
        let mut validation = Validation::default();
        validation.add(SchemaKey::Id(1), schema(r#"{"required":["a"]}"#));
        validation.add(SchemaKey::Id(2), schema(r#"{"required":["b"]}"#));
        let framed = |id: u8, body: &str| [&[0, 0, 0, 0, id], body.as_bytes()].concat();
        assert_eq!(
            validation.check(&framed(1, r#"{"a":1}"#)),
            Ok(&br#"{"a":1}"#[..])
        );
        assert!(matches!(
            validation.check(&framed(2, r#"{"a":1}"#)),
            Err(Unread::Refused(_))
        ));
        let unknown = framed(3, "{}");
        let unknown = validation.check(&unknown);
        assert_eq!(unknown, Err(Unread::NeedsSchema(SchemaKey::Id(3))));
        match validation.check(b"{}") {
            Err(Unread::Refused(reject)) => {
                assert!(reject.detail.contains("names no schema"), "{reject}")
            }
            other => panic!("{other:?}"),
        }
        validation
            .set_header(Some(&[0, 0, 0, 0, 2]))
            .expect("a header");
        assert_eq!(validation.check(br#"{"b":1}"#), Ok(&br#"{"b":1}"#[..]));
        validation.set_header(Some(b"x")).expect_err("no header");
        for id in 10..10 + SCHEMAS_MAX as u32 {
            validation.add(SchemaKey::Id(id), schema("{}"));
        }
        assert!(validation.schemas.len() <= SCHEMAS_MAX);
    }
}
