//! Private fields: JSON with their values hidden, for whatever keeps records as they are.

use super::mask::{REDACTED, redacted};
use crate::decode::json::{Kind, Raw};
use crate::decode::text::{append_escaped_to, append_json};
use crate::decode::{Path, PathError, Step};
use crate::table::ColumnType;

/// Paths of private fields, from some value on. Elements of arrays are passed through: `$.items.email` is
/// also that of every element of `items`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrivateFields {
    /// Of each its names; an empty list is the value itself.
    fields: Vec<Vec<Box<str>>>,
}

impl PrivateFields {
    /// # Errors
    /// One of them is no path.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p str>) -> Result<PrivateFields, PathError> {
        let fields = paths.into_iter().map(|path| Ok(names(&Path::parse(path)?)));
        Ok(PrivateFields {
            fields: fields.collect::<Result<_, _>>()?,
        })
    }

    /// As if all of the value were private.
    #[must_use]
    pub fn everything() -> PrivateFields {
        PrivateFields {
            fields: vec![vec![]],
        }
    }

    /// Whether nothing is private.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether a path leads to a private field or into one.
    ///
    /// # Errors
    /// No path.
    pub fn cover(&self, path: &str) -> Result<bool, PathError> {
        let names = names(&Path::parse(path)?);
        Ok(self.fields.iter().any(|field| names.starts_with(field)))
    }

    /// Whether a private field is all or a part of what a path leads to, or it is a part of that. What is no
    /// path touches nothing.
    #[must_use]
    pub fn touch(&self, path: &str) -> bool {
        let is_within = self.within(path).is_ok_and(|within| !within.is_empty());
        is_within || self.cover(path) == Ok(true)
    }

    /// Those that lie in the value of a path, as it has them.
    ///
    /// # Errors
    /// No path.
    pub fn within(&self, path: &str) -> Result<PrivateFields, PathError> {
        let names = names(&Path::parse(path)?);
        let within = self.fields.iter();
        let within = within.filter_map(|field| Some(field.strip_prefix(&names[..])?.to_vec()));
        Ok(PrivateFields {
            fields: within.filter(|rest| !rest.is_empty()).collect(),
        })
    }

    /// The first field that a column of this type has a place for which takes no `***`: no value with the field
    /// would fit the column. With the type of that place.
    #[must_use]
    pub fn refused_by<'t>(&self, column_type: &'t ColumnType) -> Option<(String, &'t ColumnType)> {
        let mut fields = self.fields.iter();
        fields.find_map(|field| Some((field.join("."), refusing(column_type, field)?)))
    }

    /// The JSON text of a value with its private fields hidden; none where it has none.
    #[must_use]
    pub fn hidden(&self, value: Raw<'_>) -> Option<String> {
        if self.fields.is_empty() || !matches!(value.kind(), Kind::Object | Kind::Array) {
            return None;
        }
        let fields: Vec<&[Box<str>]> = self.fields.iter().map(|field| &**field).collect();
        let mut out = String::with_capacity(value.as_received().len());
        write(value, &fields, &mut out);
        Some(out)
    }

    /// The same of a whole record; none where it is no JSON object, so that nothing in it can be hidden.
    #[must_use]
    pub fn hidden_record(&self, record: &[u8]) -> Option<String> {
        let text = str::from_utf8(record).ok()?;
        let value = Raw::parse(text).ok()?;
        if value.kind() != Kind::Object {
            return None;
        }
        Some(self.hidden(value).unwrap_or_else(|| text.to_owned()))
    }
}

fn names(path: &Path) -> Vec<Box<str>> {
    let below = path.steps().iter().filter_map(|step| match step {
        Step::Member(name) => Some(&**name),
        Step::Element(_) | Step::All => None,
    });
    path.names().chain(below).map(Box::from).collect()
}

/// The type of what names lead to in a value, where it takes no `***`; none also where they lead nowhere.
fn refusing<'t>(column_type: &'t ColumnType, names: &[Box<str>]) -> Option<&'t ColumnType> {
    let Some((first, rest)) = names.split_first() else {
        let encoded = column_type.encode_text(REDACTED, &mut vec![]);
        return encoded.is_err().then_some(column_type);
    };
    match column_type {
        ColumnType::LowCardinality(inner)
        | ColumnType::Nullable(inner)
        | ColumnType::Array(inner) => refusing(inner, names),
        ColumnType::Map(pair) => refusing(&pair.1, rest),
        ColumnType::Tuple(fields) => match fields.names() {
            Some(declared) => {
                let place = declared.iter().position(|name| name == first)?;
                refusing(&fields.types()[place], rest)
            }
            None => {
                let mut types = fields.types().iter();
                types.find_map(|inner| refusing(inner, names))
            }
        },
        _ => None,
    }
}

fn write(value: Raw<'_>, fields: &[&[Box<str>]], out: &mut String) {
    if fields.is_empty() {
        return write_json(value, out);
    }
    if fields.iter().any(|field| field.is_empty()) {
        let is_missing = value.is_missing();
        return write_json(if is_missing { value } else { redacted() }, out);
    }
    match value.kind() {
        Kind::Array => {
            out.push('[');
            for (place, element) in value.elements().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(element, fields, out);
            }
            out.push(']');
        }
        Kind::Object => {
            out.push('{');
            for (place, (name, member)) in value.members().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                out.push('"');
                append_escaped_to(&name, out);
                out.push_str("\":");
                let below = fields.iter().filter(|field| *field[0] == *name);
                let below: Vec<&[Box<str>]> = below.map(|field| &field[1..]).collect();
                write(member, &below, out);
            }
            out.push('}');
        }
        _ => write_json(value, out),
    }
}

fn write_json(value: Raw<'_>, out: &mut String) {
    let mut json = vec![];
    append_json(value, &mut json);
    out.push_str(&String::from_utf8_lossy(&json));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_takes_no_word_refuses_the_field() {
        let refused = |fields: &[&str], type_name: &str| {
            let private = PrivateFields::new(fields.iter().copied()).unwrap();
            let column_type = ColumnType::parse(type_name).unwrap();
            let found = private.refused_by(&column_type);
            found.map(|(field, refusing)| format!("{field} {refusing}"))
        };
        for (fields, type_name, expected) in [
            (
                &["$.ssn"][..],
                "Tuple(ssn UInt64, n String)",
                Some("ssn UInt64"),
            ),
            (
                &["$.ssn"],
                "Tuple(ssn Nullable(UInt64))",
                Some("ssn Nullable(UInt64)"),
            ),
            (&["$.n"], "Tuple(ssn UInt64, n String)", None),
            (&["$.n"], "Tuple(n LowCardinality(Nullable(String)))", None),
            (
                &["$.n"],
                "Tuple(n FixedString(2))",
                Some("n FixedString(2)"),
            ),
            (&["$.other"], "Tuple(ssn UInt64)", None),
            (
                &["$.n", "$.a.b"],
                "Tuple(n String, a Tuple(b Date))",
                Some("a.b Date"),
            ),
            (
                &["$.a"],
                "Tuple(a Tuple(b String))",
                Some("a Tuple(b String)"),
            ),
            (&["$.a"], "Tuple(a Array(String))", Some("a Array(String)")),
            (&["$.no"], "Array(Tuple(no Int32))", Some("no Int32")),
            (&["$.no"], "Map(String, UInt8)", Some("no UInt8")),
            (&["$.no"], "Map(String, String)", None),
            (&["$.no"], "JSON", None),
            (&["$.no"], "String", None),
            (&[], "Tuple(a UInt8)", None),
        ] {
            let found = refused(fields, type_name);
            assert_eq!(found.as_deref(), expected, "{fields:?} {type_name}");
        }
    }
}
