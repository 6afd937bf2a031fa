//! Values of types that are made of several others.

use std::collections::HashMap;

use super::{ColumnType, append_length, dynamic};
use crate::decode::json::{Kind, Raw};
use crate::decode::time::TimeRules;
use crate::decode::{Reject, text};
use crate::table::TupleFields;

/// In the place of the number of a Variant's type: NULL.
pub(super) const NO_TYPE: u8 = 255;

impl ColumnType {
    /// [`ColumnType::encode_in`] of these types.
    pub(super) fn encode_composite(
        &self,
        raw: Raw<'_>,
        rules: TimeRules<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        match self {
            ColumnType::Map(pair) => map(raw, &pair.0, &pair.1, rules, out),
            ColumnType::Tuple(fields) => match fields.names() {
                Some(names) => named(raw, names, fields.types(), rules, out),
                None => unnamed(raw, fields, rules, out),
            },
            ColumnType::Json(_) => json(raw, out),
            ColumnType::Variant(types) => variant(raw, types, rules, out),
            ColumnType::Dynamic(_) => dynamic::encode(raw, out),
            other => other.encode_in(raw, rules, out),
        }
    }

    /// A value within another one; a missing one is NULL or zero, as it is in a column.
    fn encode_part(
        &self,
        raw: Raw<'_>,
        rules: TimeRules<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        if raw.is_missing() {
            self.encode_null_or_zero(out);
            return Ok(());
        }
        self.encode_in(raw, rules, out)
    }
}

/// An object as received: the server takes it apart.
fn json(raw: Raw<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    if raw.kind() != Kind::Object {
        return Err(Reject::invalid_value("not an object"));
    }
    let object = raw.as_received().as_bytes();
    append_length(object.len(), out);
    out.extend_from_slice(object);
    Ok(())
}

/// The members of an object; of equal names the last.
fn map(
    raw: Raw<'_>,
    key: &ColumnType,
    value: &ColumnType,
    rules: TimeRules<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    if raw.kind() != Kind::Object {
        return Err(Reject::invalid_value("not an object"));
    }
    let (mut members, mut rest) = (vec![], raw.members());
    while let Some((name, member)) = rest.next_as_received() {
        members.push((text::to_text(name)?, member));
    }
    let names = members.iter().map(|(name, _)| &**name);
    let last: HashMap<&str, usize> = names.enumerate().map(|(at, name)| (name, at)).collect();
    append_length(last.len(), out);
    for (at, (name, member)) in members.iter().enumerate() {
        if last.get(&**name) != Some(&at) {
            continue;
        }
        key.encode(Raw::string(name), out)
            .map_err(|reject| reject.about(name))?;
        if member.is_missing() && !value.is_nullable() {
            return Err(
                Reject::invalid_value(format!("null in a Map({key}, {value})")).about(name),
            );
        }
        value
            .encode_part(*member, rules, out)
            .map_err(|reject| reject.about(name))?;
    }
    Ok(())
}

/// The members of these names; of equal names the last.
fn named(
    raw: Raw<'_>,
    names: &[Box<str>],
    types: &[ColumnType],
    rules: TimeRules<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    if raw.kind() != Kind::Object {
        return Err(Reject::invalid_value("not an object"));
    }
    let mut values = vec![Raw::ABSENT; names.len()];
    for (name, value) in raw.members() {
        if let Some(at) = names.iter().position(|field| **field == *name) {
            values[at] = value;
        }
    }
    for ((name, field), value) in names.iter().zip(types).zip(values) {
        field
            .encode_part(value, rules, out)
            .map_err(|reject| reject.about(name))?;
    }
    Ok(())
}

/// The elements of an array that has as many as the tuple.
fn unnamed(
    raw: Raw<'_>,
    fields: &TupleFields,
    rules: TimeRules<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    if raw.kind() != Kind::Array {
        return Err(Reject::invalid_value("not an array"));
    }
    let mut elements = raw.elements();
    let wrong_count = || {
        let count = fields.types().len();
        Reject::invalid_value(format!("not an array of {count} elements"))
    };
    for field in fields.types() {
        let element = elements.next().ok_or_else(wrong_count)?;
        field.encode_part(element, rules, out)?;
    }
    elements.next().map_or(Ok(()), |_| Err(wrong_count()))
}

/// The first type that takes the value, those first that are nearest to its kind.
fn variant(
    raw: Raw<'_>,
    types: &[ColumnType],
    rules: TimeRules<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let start = out.len();
    let mut refusal = None;
    let mut order: Vec<(u8, usize)> = types
        .iter()
        .enumerate()
        .map(|(at, one)| (distance(one, raw.kind()), at))
        .collect();
    order.sort_unstable();
    for (_, at) in order {
        out.push(u8::try_from(at).expect("a Variant has at most 254 types"));
        match types[at].encode_in(raw, rules, out) {
            Ok(()) => return Ok(()),
            Err(reject) => refusal.get_or_insert(reject),
        };
        out.truncate(start);
    }
    Err(refusal.unwrap_or_else(|| Reject::invalid_value("no type of the Variant takes it")))
}

/// How far a type is from a kind of JSON value: numbers are numbers before they are texts, and a text is
/// what its form says before it is a String.
fn distance(column_type: &ColumnType, kind: Kind) -> u8 {
    use ColumnType::{
        Bool, Date, Date32, DateTime, DateTime64, Decimal, Dynamic, Enum8, Enum16, Float32,
        Float64, Int8, Int16, Int32, Int64, Int128, Int256, Ipv4, Ipv6, LowCardinality, Nullable,
        String, Time, Time64, UInt8, UInt16, UInt32, UInt64, UInt128, UInt256, Uuid,
    };
    match (column_type, kind) {
        (LowCardinality(inner) | Nullable(inner), kind) => distance(inner, kind),
        (Bool, Kind::True | Kind::False) => 0,
        (Bool, _) => 5,
        (
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Int128 | Int256
            | UInt128 | UInt256,
            kind,
        ) => 1 + 3 * u8::from(kind == Kind::String),
        (Decimal { .. }, kind) => 2 + 2 * u8::from(kind == Kind::String),
        (Float32 | Float64, _) => 4,
        (Enum8(_) | Enum16(_) | Uuid | Ipv4 | Ipv6, Kind::String) => 0,
        (Date | Date32 | Time | Time64 { .. }, Kind::String) => 1,
        (DateTime { .. } | DateTime64 { .. }, Kind::String) => 2,
        (String, Kind::String) => 3,
        (String | Dynamic(_), _) => 7,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(type_name: &str, json: &str) -> Result<Vec<u8>, String> {
        let mut out = vec![];
        let column_type = ColumnType::parse(type_name).expect("a type");
        let raw = Raw::parse(json).expect("JSON");
        let encoded = column_type.encode(raw, &mut out);
        encoded.map(|()| out).map_err(|reject| reject.to_string())
    }

    #[test]
    fn composite_values_have_their_bytes() {
        let cases: [(&str, &str, &[u8]); 33] = [
            (
                "Map(String, UInt8)",
                r#"{"a":1,"b":2}"#,
                b"\x02\x01a\x01\x01b\x02",
            ),
            ("Map(String, UInt8)", "{}", b"\0"),
            (
                "Map(String, UInt8)",
                r#"{"a":1,"b":2,"a":3}"#,
                b"\x02\x01b\x02\x01a\x03",
            ),
            (
                "Map(UInt16, Array(UInt8))",
                r#"{"7":[1]}"#,
                b"\x01\x07\0\x01\x01",
            ),
            (
                "Map(String, Nullable(UInt8))",
                r#"{"\u0061":null}"#,
                b"\x01\x01a\x01",
            ),
            (
                "Map(String, Tuple(a UInt8))",
                r#"{"x":{"a":4}}"#,
                b"\x01\x01x\x04",
            ),
            ("Tuple(UInt8, String)", r#"[1,"a"]"#, b"\x01\x01a"),
            ("Tuple(UInt8, Nullable(UInt8))", "[null,null]", b"\0\x01"),
            (
                "Tuple(a UInt8, `b c` Nullable(String))",
                r#"{"b c":"x","a":1,"d":9}"#,
                b"\x01\0\x01x",
            ),
            (
                "Tuple(a UInt8, b Nullable(String))",
                r#"{"a":1,"a":2}"#,
                b"\x02\x01",
            ),
            (
                "Tuple(a Tuple(b Int8), c Date32)",
                "{}",
                b"\0\x21\x9c\xff\xff",
            ),
            ("Nullable(Tuple(a UInt8))", r#"{"a":5}"#, b"\0\x05"),
            (
                "Nested(a UInt8, b UInt8)",
                r#"[{"a":1},{"b":2}]"#,
                b"\x02\x01\0\0\x02",
            ),
            ("Point", "[1,0]", b"\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\0\0"),
            ("Ring", "[]", b"\0"),
            ("JSON", r#"{"a":[1]}"#, b"\x09{\"a\":[1]}"),
            ("JSON(a UInt8)", "{}", b"\x02{}"),
            ("Nullable(JSON)", "{}", b"\0\x02{}"),
            ("Variant(Bool, String, UInt64)", r#""a""#, b"\x01\x01a"),
            ("Variant(Bool, String, UInt64)", "true", b"\0\x01"),
            (
                "Variant(Bool, String, UInt64)",
                "7",
                b"\x02\x07\0\0\0\0\0\0\0",
            ),
            ("Variant(Bool, String, UInt64)", "-7", b"\x01\x02-7"),
            (
                "Variant(Bool, String, UInt64)",
                "1",
                b"\x02\x01\0\0\0\0\0\0\0",
            ),
            ("Variant(Float64, Int8)", "1.5", b"\0\0\0\0\0\0\0\xf8\x3f"),
            ("Variant(Date, String)", r#""1970-01-02""#, b"\0\x01\0"),
            ("Variant(Date, String)", r#""1970-01""#, b"\x01\x071970-01"),
            ("Variant(Array(UInt8), String)", "[1]", b"\0\x01\x01"),
            (
                "Array(Variant(String, UInt8))",
                r#"[null,1,"x"]"#,
                b"\x03\xff\x01\x01\0\x01x",
            ),
            ("Dynamic", "true", b"\x2d\x01"),
            ("Dynamic", "-1", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff"),
            (
                "Dynamic",
                "18446744073709551615",
                b"\x04\xff\xff\xff\xff\xff\xff\xff\xff",
            ),
            ("Dynamic", "1.5", b"\x0e\0\0\0\0\0\0\xf8\x3f"),
            ("Dynamic", r#""1""#, b"\x15\x011"),
        ];
        for (type_name, json, expected) in cases {
            let seen = encode(type_name, json);
            assert_eq!(seen.as_deref(), Ok(expected), "{type_name} {json}");
        }
        let wide = encode("Dynamic", "18446744073709551616").expect("a value");
        assert_eq!((wide[0], wide[9], wide.len()), (0x0c, 1, 33));
    }

    #[test]
    fn what_is_missing_is_null_or_what_the_server_would_store() {
        for (type_name, expected) in [
            ("Map(String, UInt8)", &b"\0"[..]),
            ("Tuple(a UInt16, b Nullable(String))", b"\0\0\x01"),
            ("Nullable(Tuple(a UInt16))", b"\x01"),
            ("JSON", b"\x02{}"),
            ("Variant(String)", b"\xff"),
            ("Dynamic", b"\0"),
            ("Int128", &[0; 16]),
            ("UInt256", &[0; 32]),
        ] {
            let mut out = vec![];
            let column_type = ColumnType::parse(type_name).expect("a type");
            column_type.encode_null_or_zero(&mut out);
            assert_eq!(out, expected, "{type_name}");
        }
    }

    #[test]
    fn other_values_are_refused_by_what_is_wrong_with_them() {
        for (type_name, json, expected) in [
            ("Map(String, UInt8)", "[]", "invalid_value: not an object"),
            (
                "Map(String, UInt8)",
                r#"{"a":256}"#,
                "out_of_range: a: UInt8",
            ),
            (
                "Map(UInt8, UInt8)",
                r#"{"256":0}"#,
                "out_of_range: 256: UInt8",
            ),
            (
                "Map(String, UInt8)",
                r#"{"a":null}"#,
                "invalid_value: a: null in a Map(String, UInt8)",
            ),
            (
                "Map(String, UInt8)",
                r#"{"\ud800":1}"#,
                "invalid_value: lone surrogate",
            ),
            (
                "Tuple(UInt8, UInt8)",
                "[1]",
                "invalid_value: not an array of 2 elements",
            ),
            (
                "Tuple(UInt8, UInt8)",
                "[1,2,3]",
                "invalid_value: not an array of 2 elements",
            ),
            ("Tuple(UInt8)", "{}", "invalid_value: not an array"),
            ("Tuple(a UInt8)", "[1]", "invalid_value: not an object"),
            (
                "Tuple(a Tuple(b UInt8))",
                r#"{"a":{"b":-1}}"#,
                "out_of_range: a: b: UInt8",
            ),
            ("JSON", "[]", "invalid_value: not an object"),
            ("JSON", r#""{}""#, "invalid_value: not an object"),
            ("Variant(UInt8)", "256", "out_of_range: UInt8"),
            (
                "Dynamic",
                "[]",
                "invalid_value: not a scalar, as Dynamic takes them",
            ),
        ] {
            let seen = encode(type_name, json).unwrap_err();
            assert_eq!(seen, expected, "{type_name} {json}");
        }
    }
}
