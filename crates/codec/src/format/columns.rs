//! The columns that a new table would have for the records of a schema.

use crate::decode::decimal::DIGITS_MAX;
use crate::table::ColumnType;

/// More columns than anybody reads; what is beyond is left out.
const COLUMNS_MAX: usize = 500;
/// Fields that are looked at: those of records without columns count too.
const VISITS_MAX: usize = 100_000;
/// Records inside records whose fields are columns of their own.
pub(super) const FLAT_DEPTH_MAX: usize = 4;

/// A column for a field of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaColumn {
    /// The names on the way to the field, at least one.
    pub path: Vec<String>,
    /// As ClickHouse writes it.
    pub type_name: String,
    /// Why, where the schema leaves a choice.
    pub why: Option<String>,
    /// A moment that every record has.
    pub is_time: bool,
    /// The column takes the field's JSON text.
    pub is_raw: bool,
}

/// A type, before it is known whether null is a value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) type_name: String,
    pub(super) why: Option<String>,
    pub(super) is_time: bool,
    pub(super) is_raw: bool,
}

impl Chosen {
    pub(super) fn sure(type_name: impl Into<String>) -> Chosen {
        Chosen {
            type_name: type_name.into(),
            why: None,
            is_time: false,
            is_raw: false,
        }
    }

    pub(super) fn because(type_name: impl Into<String>, why: impl Into<String>) -> Chosen {
        Chosen {
            why: Some(why.into()),
            ..Chosen::sure(type_name)
        }
    }

    /// Of several kinds of values: their JSON text.
    pub(super) fn text_of_json(why: impl Into<String>) -> Chosen {
        Chosen {
            is_raw: true,
            ..Chosen::because("String", why)
        }
    }

    pub(super) fn moment(digits: usize) -> Chosen {
        Chosen {
            is_time: true,
            ..Chosen::sure(format!("DateTime64({digits}, 'UTC')"))
        }
    }

    /// Of so many digits, or a text where there is no such Decimal.
    pub(super) fn decimal(precision: usize, scale: usize) -> Chosen {
        match precision <= usize::from(DIGITS_MAX) && scale <= precision {
            true => Chosen::sure(format!("Decimal({}, {scale})", precision.max(1))),
            false => Chosen::because("String", format!("a decimal of {precision} digits")),
        }
    }

    /// The same as elements of an array.
    pub(super) fn array(self, has_nulls: bool) -> Chosen {
        if self.is_raw {
            return Chosen::text_of_json("elements of several kinds: kept as JSON text");
        }
        let element = match has_nulls {
            true => nullable(&self.type_name),
            false => self.type_name,
        };
        Chosen {
            why: self.why,
            ..Chosen::sure(format!("Array({element})"))
        }
    }

    /// The same as values of a map.
    pub(super) fn map(self, has_nulls: bool) -> Chosen {
        let is_plain = !self.is_raw && !self.type_name.starts_with("JSON");
        if !is_plain {
            return Chosen::sure("JSON");
        }
        let value = match has_nulls {
            true => nullable(&self.type_name),
            false => self.type_name,
        };
        Chosen {
            why: self.why,
            ..Chosen::sure(format!("Map(String, {value})"))
        }
    }
}

/// The type with NULL, where there is one.
pub(super) fn nullable(type_name: &str) -> String {
    let text = match type_name.strip_prefix("LowCardinality(") {
        Some(rest) => format!("LowCardinality(Nullable({rest})"),
        None => format!("Nullable({type_name})"),
    };
    let holds_itself = ["Array(", "Map(", "JSON"].iter();
    let mut holds_itself = holds_itself.map(|start| type_name.starts_with(start));
    match !holds_itself.any(|holds| holds) && ColumnType::parse(&text).is_ok() {
        true => text,
        false => type_name.to_owned(),
    }
}

/// The columns that were found so far.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) found: Vec<SchemaColumn>,
    visits: usize,
}

impl Columns {
    /// Whether to look at no more fields.
    pub(super) fn is_full(&mut self) -> bool {
        self.visits += 1;
        self.found.len() >= COLUMNS_MAX || self.visits > VISITS_MAX
    }

    pub(super) fn push(&mut self, path: &[String], chosen: Chosen, may_be_absent: bool) {
        let type_name = match may_be_absent {
            true => nullable(&chosen.type_name),
            false => chosen.type_name,
        };
        self.found.push(SchemaColumn {
            path: path.to_vec(),
            type_name,
            why: chosen.why,
            is_time: chosen.is_time && !may_be_absent,
            is_raw: chosen.is_raw,
        });
    }
}

impl SchemaColumn {
    fn may_be_absent(mut self) -> SchemaColumn {
        self.type_name = nullable(&self.type_name);
        self.is_time = false;
        self
    }

    /// The same column, of a type that differs by NULL alone, if it does: that may stand inside, as in an Array.
    fn with_nulls_of(mut self, other: &SchemaColumn) -> SchemaColumn {
        let has_null = |name: &str| name.contains("Nullable(");
        if has_null(&other.type_name) && !has_null(&self.type_name) {
            self.type_name.clone_from(&other.type_name);
            self.is_time = false;
        }
        if other.is_raw && !self.is_raw {
            self.is_raw = true;
            self.why.clone_from(&other.why);
        }
        self
    }

    /// A column for the values of both.
    fn for_both(self, other: &SchemaColumn) -> SchemaColumn {
        let has_null = |name: &str| name.contains("Nullable(");
        let plain = |name: &str| match name.contains("Nullable(") {
            true => name.replacen("Nullable(", "", 1).replacen(')', "", 1),
            false => name.to_owned(),
        };
        let widened = match (plain(&self.type_name), plain(&other.type_name)) {
            (own, same) if own == same => return self.with_nulls_of(other),
            (own, same) => wider(&own, &same),
        };
        let (type_name, is_raw) = match widened {
            // Where one takes JSON text, both do.
            Some(type_name) => (type_name.to_owned(), self.is_raw || other.is_raw),
            None => ("String".to_owned(), true),
        };
        let has_long = is_long(&self.type_name) || is_long(&other.type_name);
        let rounds = match has_long && type_name == "Float64" {
            true => "; Float64 rounds integers beyond 2^53",
            false => "",
        };
        let widened = SchemaColumn {
            why: Some(format!(
                "{} in one schema, {} in another{rounds}",
                self.type_name, other.type_name
            )),
            is_time: false,
            is_raw,
            type_name,
            path: self.path,
        };
        match has_null(&self.type_name) || has_null(&other.type_name) {
            true => widened.may_be_absent(),
            false => widened,
        }
    }
}

/// Of more than the 53 bits that Float64 keeps.
fn is_long(name: &str) -> bool {
    matches!(name, "Int64" | "Nullable(Int64)")
}

fn wider(one: &str, other: &str) -> Option<&'static str> {
    let is = |name: &str| one == name || other == name;
    let both = |names: &[&str]| names.contains(&one) && names.contains(&other);
    match () {
        () if both(&["Int32", "Int64", "UInt32"]) => Some("Int64"),
        () if both(&["UInt32", "UInt64"]) => Some("UInt64"),
        () if both(&["Float32", "Float64"]) => Some("Float64"),
        () if is("Float64") && both(&["Int32", "Int64", "UInt32", "Float64"]) => Some("Float64"),
        () if both(&["String", "LowCardinality(String)"]) => Some("String"),
        () => None,
    }
}

/// The columns of a table for the records of both schemas.
#[must_use]
pub fn merged_columns(
    mut columns: Vec<SchemaColumn>,
    others: Vec<SchemaColumn>,
) -> Vec<SchemaColumn> {
    let has = |list: &[SchemaColumn], path: &[String]| list.iter().any(|c| c.path == path);
    let mut merged: Vec<SchemaColumn> = vec![];
    for column in columns.drain(..) {
        let other = others.iter().find(|other| other.path == column.path);
        merged.push(match other {
            Some(other) => column.for_both(other),
            None => column.may_be_absent(),
        });
    }
    for other in others {
        if !has(&merged, &other.path) && merged.len() < COLUMNS_MAX {
            merged.push(other.may_be_absent());
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_two_schemas_takes_the_values_of_both() {
        let column = |name: &str, type_name: &str| SchemaColumn {
            path: vec![name.to_owned()],
            type_name: type_name.to_owned(),
            why: None,
            is_time: type_name.starts_with("DateTime"),
            is_raw: false,
        };
        let merged = |one: &[(&str, &str)], other: &[(&str, &str)]| {
            let list = |of: &[(&str, &str)]| of.iter().map(|(n, t)| column(n, t)).collect();
            let merged = merged_columns(list(one), list(other));
            let line = |c: &SchemaColumn| format!("{} {}", c.path[0], c.type_name);
            (merged.iter().map(line).collect::<Vec<_>>(), merged)
        };
        for (one, other, expected) in [
            ("Int32", "Int32", "Int32"),
            ("Int32", "Int64", "Int64"),
            ("Int32", "Nullable(Int32)", "Nullable(Int32)"),
            ("Nullable(Int32)", "Int64", "Nullable(Int64)"),
            ("Float32", "Float64", "Float64"),
            ("Int64", "Float64", "Float64"),
            ("Int64", "String", "String"),
            ("Array(String)", "Array(String)", "Array(String)"),
            (
                "Array(String)",
                "Array(Nullable(String))",
                "Array(Nullable(String))",
            ),
            (
                "Array(Nullable(Decimal(9, 2)))",
                "Array(Decimal(9, 2))",
                "Array(Nullable(Decimal(9, 2)))",
            ),
            (
                "Map(String, String)",
                "Map(String, Nullable(String))",
                "Map(String, Nullable(String))",
            ),
            ("Array(String)", "String", "String"),
            ("LowCardinality(String)", "String", "String"),
            (
                "LowCardinality(String)",
                "LowCardinality(Nullable(String))",
                "LowCardinality(Nullable(String))",
            ),
            (
                "DateTime64(3, 'UTC')",
                "DateTime64(3, 'UTC')",
                "DateTime64(3, 'UTC')",
            ),
        ] {
            let (lines, columns) = merged(&[("a", one)], &[("a", other)]);
            assert_eq!(lines, [format!("a {expected}")], "{one} {other}");
            assert_eq!(columns[0].is_time, one.starts_with("DateTime"));
        }
        let (lines, columns) = merged(
            &[("a", "Int32"), ("t", "DateTime64(3, 'UTC')")],
            &[("b", "String"), ("a", "Int32")],
        );
        let expected = [
            "a Int32",
            "t Nullable(DateTime64(3, 'UTC'))",
            "b Nullable(String)",
        ];
        assert_eq!(lines, expected);
        assert!(!columns[1].is_time);
        let (_, columns) = merged(&[("a", "Nullable(Int64)")], &[("a", "Float64")]);
        let why = columns[0].why.as_deref().unwrap_or_default();
        assert!(
            why.ends_with("Float64 rounds integers beyond 2^53"),
            "{why}"
        );
        let (_, columns) = merged(&[("a", "Int32")], &[("a", "Float64")]);
        let why = columns[0].why.as_deref();
        assert_eq!(why, Some("Int32 in one schema, Float64 in another"));
    }

    #[test]
    fn a_column_of_json_text_in_one_schema_takes_it_of_both() {
        let column = |type_name: &str, is_raw: bool| SchemaColumn {
            path: vec!["a".to_owned()],
            type_name: type_name.to_owned(),
            why: is_raw.then(|| "several types".to_owned()),
            is_time: false,
            is_raw,
        };
        for plain in [
            "String",
            "Nullable(String)",
            "LowCardinality(String)",
            "Int64",
        ] {
            let (plain, raw) = (column(plain, false), column("String", true));
            for (one, other) in [(&plain, &raw), (&raw, &plain)] {
                let merged = merged_columns(vec![one.clone()], vec![other.clone()]);
                assert!(merged[0].is_raw, "{one:?} {other:?}");
                assert!(merged[0].why.is_some());
                assert!(merged[0].type_name.contains("String"));
            }
        }
    }
}
