//! From the value that a scanner found to those behind array steps.

use crate::decode::json::{Kind, Raw};
use crate::decode::{Reject, Step};

/// What steps lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// One value, absent where the record has none.
    One(Raw<'a>),
    /// One for each element, after a step to every element; absent ones included.
    Many(Vec<Raw<'a>>),
}

/// Follows the steps from a value that is there.
///
/// # Errors
/// `invalid_value` where a step to every element meets no array.
pub(crate) fn follow<'a>(value: Raw<'a>, steps: &[Step]) -> Result<Found<'a>, Reject> {
    if !steps.contains(&Step::All) {
        return Ok(Found::One(steps.iter().fold(value, single)));
    }
    let mut found = vec![value];
    for step in steps {
        found = match step {
            Step::All => {
                let mut elements = vec![];
                for value in found.into_iter().filter(|value| !value.is_missing()) {
                    if value.kind() != Kind::Array {
                        return Err(Reject::invalid_value("[*] on something that is no array"));
                    }
                    elements.extend(value.elements());
                }
                elements
            }
            step => found.into_iter().map(|value| single(value, step)).collect(),
        };
    }
    Ok(Found::Many(found))
}

/// The member or element; of equal names the last. Absent in values of other kinds.
fn single<'a>(value: Raw<'a>, step: &Step) -> Raw<'a> {
    let found = match step {
        Step::Member(wanted) => Some(member(value, wanted)),
        Step::Element(index) => value.elements().nth(*index),
        Step::All => None,
    };
    found.unwrap_or(Raw::ABSENT)
}

/// The member of this name; of equal names the last.
pub(super) fn member<'a>(value: Raw<'a>, wanted: &str) -> Raw<'a> {
    let members = value.members().filter(|(name, _)| **name == *wanted);
    members.last().map_or(Raw::ABSENT, |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Path;

    fn at(path: &str, json: &str) -> Result<String, String> {
        let path = Path::parse(path).unwrap();
        let shown = |raw: Raw<'_>| match raw.kind() {
            Kind::Absent => "-".to_owned(),
            _ => raw.as_received().to_owned(),
        };
        match follow(Raw::parse(json).unwrap(), path.steps()) {
            Ok(Found::One(raw)) => Ok(shown(raw)),
            Ok(Found::Many(raws)) => Ok(raws.into_iter().map(shown).collect::<Vec<_>>().join(" ")),
            Err(reject) => Err(reject.to_string()),
        }
    }

    #[test]
    fn steps_lead_to_elements_and_their_members() {
        let items = r#"[{"sku":"a","n":[1,2]},{"n":[],"sku":1,"sku":"b"},{"n":null},7]"#;
        for (path, expected) in [
            ("$.i[0].sku", "a"),
            ("$.i[1].sku", "b"),
            ("$.i[2].sku", "-"),
            ("$.i[2].n", "null"),
            ("$.i[3].sku", "-"),
            ("$.i[4]", "-"),
            ("$.i[0].n[1]", "2"),
            ("$.i[*].sku", "a b - -"),
            ("$.i[*].n[*]", "1 2"),
            ("$.i[*].n[0]", "1 - - -"),
        ] {
            assert_eq!(at(path, items).as_deref(), Ok(expected), "{path}");
        }
        assert_eq!(at("$.i[0]", "{}").as_deref(), Ok("-"));
        assert_eq!(at("$.i[*]", "[]").as_deref(), Ok(""));
        assert!(at("$.i[*]", "{}").is_err());
        assert!(at("$.i[*].sku[*]", items).is_err());
    }
}
