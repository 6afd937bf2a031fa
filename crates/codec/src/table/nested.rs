//! The columns `n.a` and `n.b` of a Nested `n`: arrays of equal length, from an object of arrays or from
//! an array of objects.

use super::ColumnType;
use super::encode::append_length;
use super::steps::member;
use crate::decode::Reject;
use crate::decode::json::{Kind, Raw};
use crate::decode::time::TimeRules;

/// One column of a Nested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nested {
    /// Its name behind the point.
    member: Box<str>,
    /// Those of the others.
    others: Box<[Box<str>]>,
    /// The slot of the member that is literally called like the column.
    literal: usize,
}

/// What a record has for a column of a Nested.
pub(super) enum Members<'a> {
    /// The column's own value, which is absent where nothing says how many elements it has.
    Own(Raw<'a>),
    /// One for each element.
    Each(Vec<Raw<'a>>),
    /// None, where the other columns have so many elements.
    Zeros(usize),
}

impl Nested {
    /// `column` is `n.a`, and `others` are the other columns of the Nested; `literal` is the slot of a member
    /// that is literally called `n.a`. None for a name without point.
    #[must_use]
    pub fn new<'n, 'c>(
        column: &'n str,
        others: impl Iterator<Item = &'c str>,
        literal: usize,
    ) -> Option<(&'n str, Nested)> {
        let (of, member) = column.split_once('.')?;
        let others = others.filter_map(|other| Some(other.split_once('.')?.1.into()));
        let nested = Nested {
            member: member.into(),
            others: others.collect(),
            literal,
        };
        Some((of, nested))
    }

    /// The slot of what stands in for the Nested where the record has none.
    pub(super) fn literal(&self) -> usize {
        self.literal
    }

    /// Finds the column's part of the value of the Nested.
    pub(super) fn find<'a>(&self, value: Raw<'a>) -> Result<Members<'a>, Reject> {
        match value.kind() {
            Kind::Object => Ok(self.of_object(value)),
            Kind::Array => {
                let of_element = |element: Raw<'a>| match element.kind() {
                    Kind::Object | Kind::Null => Ok(member(element, &self.member)),
                    _ => Err(Reject::invalid_value("an element that is no object")),
                };
                let each = value.elements().map(of_element);
                Ok(Members::Each(each.collect::<Result<_, _>>()?))
            }
            _ => Err(Reject::invalid_value(
                "neither an object of arrays nor an array of objects",
            )),
        }
    }

    fn of_object<'a>(&self, object: Raw<'a>) -> Members<'a> {
        let own = member(object, &self.member);
        if !own.is_missing() {
            return Members::Own(own);
        }
        let others = self.others.iter().map(|other| member(object, other));
        let there = others.filter(|other| !other.is_missing());
        match there.map(|other| other.elements().count()).max() {
            None => Members::Own(own),
            Some(count) => Members::Zeros(count),
        }
    }
}

impl ColumnType {
    /// Appends values as the elements of an Array; missing ones are NULL or zero.
    pub(super) fn encode_members(
        &self,
        values: &[Raw<'_>],
        rules: TimeRules<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let ColumnType::Array(inner) = self else {
            return Err(Reject::invalid_value(format!("{self} holds no elements")));
        };
        append_length(values.len(), out);
        for value in values {
            if value.is_missing() {
                inner.encode_null_or_zero(out);
            } else {
                inner.encode_in(*value, rules, out)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(json: &str) -> Result<Vec<u8>, String> {
        let (of, nested) = Nested::new("n.a", ["n.b", "n.c"].into_iter(), 1).expect("a name");
        assert_eq!(of, "n");
        let column = ColumnType::parse("Array(UInt8)").expect("a type");
        let mut out = vec![];
        let value = Raw::parse(json).expect("JSON");
        let encoded = match nested.find(value).map_err(|reject| reject.to_string())? {
            Members::Own(own) if own.is_missing() => Ok(()),
            Members::Own(own) => column.encode(own, &mut out),
            Members::Each(each) => column.encode_members(&each, TimeRules::default(), &mut out),
            Members::Zeros(count) => {
                column.encode_members(&vec![Raw::ABSENT; count], TimeRules::default(), &mut out)
            }
        };
        encoded.map(|()| out).map_err(|reject| reject.to_string())
    }

    #[test]
    fn an_object_of_arrays_and_an_array_of_objects_fill_the_same_columns() {
        for (json, expected) in [
            (r#"{"a":[1,2],"b":["x","y"]}"#, &[2, 1, 2][..]),
            (r#"[{"a":1,"b":"x"},{"b":"y","a":2}]"#, &[2, 1, 2]),
            (
                r#"[{"a":1,"a":3},{"b":"y"},null,{"a":null}]"#,
                &[4, 3, 0, 0, 0],
            ),
            (r#"{"b":["x","y"]}"#, &[2, 0, 0]),
            (r#"{"a":null,"c":[7]}"#, &[1, 0]),
            ("[]", &[0]),
            (r#"{"b":[]}"#, &[0]),
            ("{}", &[]),
        ] {
            assert_eq!(encoded(json).as_deref(), Ok(expected), "{json}");
        }
        for json in [
            "7",
            "[7]",
            r#"{"a":7}"#,
            r#"[{"a":300}]"#,
            r#"{"a":[null]}"#,
        ] {
            assert!(encoded(json).is_err(), "{json}");
        }
    }
}
