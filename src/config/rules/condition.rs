//! One condition: `{ field = "$.quantity", gt = 0 }`, or several put together.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use hashbrown::HashSet;
use sha2::{Digest as _, Sha256};

use super::entries;
use crate::config::quantity::{Integer, grouped};
use crate::config::section::Section;
use crate::config::tree::Value;
use crate::config::value::{Boolean, Choice, Kind, List, Text, text_of};
use crate::decode::Path;
use crate::rules::{Computed, Condition, JsonType, Lines, Operand, Test};

/// Conditions in conditions.
const DEPTH_MAX: usize = 16;
/// Of a file of values.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A path to one value.
const FIELD: Text = Text {
    allowed: "a path such as \"$.address.country\", without array steps",
    check: |text| text.len() <= 1024 && Path::parse(text).is_ok_and(|path| path.steps().is_empty()),
};

const ANY_TEXT: Text = Text {
    allowed: "a text",
    check: |_| true,
};

const TYPES: Choice<JsonType> = Choice(&[
    ("string", JsonType::String),
    ("number", JsonType::Number),
    ("integer", JsonType::Integer),
    ("boolean", JsonType::Boolean),
    ("object", JsonType::Object),
    ("array", JsonType::Array),
]);

/// A number, a text, a boolean or a time.
struct Scalars;

impl Kind for Scalars {
    type Out = Operand;

    fn allowed(&self) -> String {
        "a number, a text, true, false or a time".to_owned()
    }

    fn read(&self, value: &Value) -> Option<Operand> {
        Some(match value {
            Value::Integer(integer) => Operand::Number(integer.to_string()),
            Value::Float(float) if float.is_finite() => Operand::Number(format!("{float:?}")),
            Value::Boolean(boolean) => Operand::Text(boolean.to_string()),
            Value::Datetime(time) => Operand::Text(time.clone()),
            other => Operand::Text(text_of(other)?.to_owned()),
        })
    }

    fn canonical(&self, out: &Operand) -> String {
        match out {
            Operand::Number(text) => text.clone(),
            Operand::Text(text) => format!("{text:?}"),
        }
    }
}

/// A number, or the text of one.
struct Exact;

impl Kind for Exact {
    type Out = String;

    fn allowed(&self) -> String {
        "a number from 0 on, such as 0.01 or \"0.005\"".to_owned()
    }

    fn read(&self, value: &Value) -> Option<String> {
        let (Operand::Number(text) | Operand::Text(text)) = Scalars.read(value)?;
        let is_number = text.parse::<f64>().is_ok_and(|number| number >= 0.0);
        is_number.then_some(text)
    }

    fn canonical(&self, out: &String) -> String {
        out.clone()
    }
}

/// `None`: there are problems. `place`: where the effective configuration has it.
pub(super) fn read(mut section: Section<'_>, place: &str, depth: usize) -> Option<Condition> {
    if depth > DEPTH_MAX {
        let message = format!("must not be nested more than {DEPTH_MAX} times");
        section.reader.problem(section.key_path(), message);
        return None;
    }
    let mut parts = vec![];
    let mut is_whole = true;
    for (key, together) in [
        ("all", Condition::All as fn(Vec<Condition>) -> Condition),
        ("any", Condition::Any),
    ] {
        if section.has(key) {
            let place = format!("{place}.{key}");
            let each = entries(&mut section, key, &place).into_iter().enumerate();
            let each = each.map(|(nth, one)| read(one, &format!("{place}.{nth}"), depth + 1));
            let each: Vec<Option<Condition>> = each.collect();
            if each.is_empty() {
                section.problem(key, "must have at least one condition");
            }
            is_whole &= !each.is_empty() && each.iter().all(Option::is_some);
            parts.push(together(each.into_iter().flatten().collect()));
        }
    }
    if let Some(not) = section.section_if_present("not") {
        match read(not, &format!("{place}.not"), depth + 1) {
            Some(not) => parts.push(Condition::Not(Box::new(not))),
            None => is_whole = false,
        }
    }
    if let Some(path) = section.take("field", FIELD) {
        let tests = read_tests(&mut section);
        if tests.is_empty() {
            let message = "must say what the field is to be: gt = 0, present = true, …";
            section.reader.problem(section.key_path(), message);
        }
        parts.extend(tests.into_iter().map(|test| Condition::Field {
            path: path.clone(),
            test,
        }));
    }
    if parts.is_empty() && is_whole {
        let message = "must have a field and what it is to be, or all, any or not";
        section.reader.problem(section.key_path(), message);
    }
    section.finish();
    match parts.len() {
        _ if !is_whole => None,
        0 => None,
        1 => parts.pop(),
        _ => Some(Condition::All(parts)),
    }
}

fn read_tests(section: &mut Section<'_>) -> Vec<Test> {
    let mut tests = vec![];
    tests.extend(flag(section, "present", Test::Present, Some(Test::Absent)));
    tests.extend(flag(section, "absent", Test::Absent, Some(Test::Present)));
    for (key, test) in [
        ("eq", Test::Equal as fn(Operand) -> Test),
        ("ne", Test::NotEqual),
        ("gt", Test::Above),
        ("gte", Test::AtLeast),
        ("lt", Test::Below),
        ("lte", Test::AtMost),
    ] {
        tests.extend(section.take(key, Scalars).map(test));
    }
    let operands = || List {
        of: Scalars,
        may_be_empty: false,
    };
    if let Some(mut bounds) = section.take("between", operands()) {
        match (bounds.pop(), bounds.pop(), bounds.pop()) {
            (Some(to), Some(from), None) => tests.push(Test::Between(from, to)),
            _ => section.problem(
                "between",
                "must be a list of two: [from, to], both included",
            ),
        }
    }
    tests.extend(section.take("in", operands()).map(Test::In));
    tests.extend(section.take("not_in", operands()).map(Test::NotIn));
    tests.extend(read_file(section));
    for (key, test) in [
        ("matches", Test::Matches as fn(String) -> Test),
        ("starts_with", Test::StartsWith),
        ("ends_with", Test::EndsWith),
    ] {
        tests.extend(section.take(key, ANY_TEXT).map(test));
    }
    let length = || Integer {
        min: 0,
        max: 1 << 30,
        unit: "characters",
    };
    let shortest = section.take("length_min", length());
    let longest = section.take("length_max", length());
    if shortest.zip(longest).is_some_and(|(min, max)| min > max) {
        section.problem("length_max", "must not be below length_min");
    }
    tests.extend(shortest.map(Test::LengthMin));
    tests.extend(longest.map(Test::LengthMax));
    tests.extend(section.take("type", TYPES).map(Test::Type));
    tests.extend(flag(section, "is_uuid", Test::IsUuid, None));
    tests.extend(flag(section, "is_email", Test::IsEmail, None));
    tests.extend(flag(section, "is_ip", Test::IsIp, None));
    tests.extend(flag(section, "is_url", Test::IsUrl, None));
    tests.extend(read_computed(section));
    tests
}

/// A test that is asked for by `true`, and its opposite by `false` where there is one.
fn flag(section: &mut Section<'_>, key: &str, test: Test, opposite: Option<Test>) -> Option<Test> {
    match (section.take(key, Boolean)?, opposite) {
        (true, _) => Some(test),
        (false, Some(opposite)) => Some(opposite),
        (false, None) => {
            section.problem(
                key,
                "must be true: put not = { … } around it for the opposite",
            );
            None
        }
    }
}

fn read_computed(section: &mut Section<'_>) -> Vec<Test> {
    let fields = || List {
        of: FIELD,
        may_be_empty: false,
    };
    let has_any = ["equals_product", "equals_sum", "equals_field"]
        .iter()
        .any(|key| section.has(key));
    let tolerance = match section.take("tolerance", Exact) {
        Some(_) if !has_any => {
            let message = "goes with equals_product, equals_sum or equals_field alone";
            section.problem("tolerance", message);
            return vec![];
        }
        tolerance => tolerance.unwrap_or_else(|| "0".to_owned()),
    };
    let of = |paths| Computed {
        paths,
        tolerance: tolerance.clone(),
    };
    let product = section.take("equals_product", fields());
    let sum = section.take("equals_sum", fields());
    let same = section.take("equals_field", FIELD);
    let same = same.map(|path| Test::EqualsField {
        path,
        tolerance: tolerance.clone(),
    });
    let product = product.map(|paths| Test::EqualsProduct(of(paths)));
    let sum = sum.map(|paths| Test::EqualsSum(of(paths)));
    product.into_iter().chain(sum).chain(same).collect()
}

/// `in_file`: one value a line, as it stands there; empty lines are none.
fn read_file(section: &mut Section<'_>) -> Option<Test> {
    let file = section.take("in_file", ANY_TEXT)?;
    let path = section.reader.directory.join(&file);
    match read_text(&path) {
        Ok(text) => {
            let lines = Arc::new(values(&text));
            // The values decide, not the file's name, their order or how lines end.
            let digest = digest(&lines);
            section.record("in_file.content", digest.clone());
            Some(Test::InFile(Lines { digest, lines }))
        }
        Err(error) => {
            let message = format!(
                "names a file that cannot be read: {}: {error}",
                path.display()
            );
            section.problem("in_file", message);
            None
        }
    }
}

/// A file of values is read whole; what is no plain file has no end.
fn read_text(path: &std::path::Path) -> Result<String, String> {
    let about = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is no plain file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let size = read.map_err(|error| error.to_string())?;
    if size as u64 > FILE_BYTES_MAX {
        let max = grouped(FILE_BYTES_MAX);
        return Err(format!(
            "it has more than {max} bytes, which are read at most"
        ));
    }
    Ok(text)
}

/// The lines of a text, without a byte order mark and what ends lines.
fn values(text: &str) -> HashSet<Box<str>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(|line| line.trim_end_matches('\r'));
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(Box::from).collect()
}

fn digest(values: &HashSet<Box<str>>) -> String {
    let mut values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
    values.sort_unstable();
    let mut digest = Sha256::new();
    for value in values {
        digest.update(value);
        digest.update("\n");
    }
    format!("{:x}", digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_equal_values_are_equal() {
        let plain = values("DE\nFR\n");
        assert!(plain.contains("DE") && plain.len() == 2);
        for text in ["\u{feff}DE\r\nFR\r\n", "FR\nDE", "DE\n\nFR\nDE\n"] {
            assert_eq!(values(text), plain, "{text:?}");
            assert_eq!(digest(&values(text)), digest(&plain), "{text:?}");
        }
        assert_ne!(digest(&values("DEFR")), digest(&plain));
    }

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let error = read_text(std::path::Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error, "it is no plain file");
    }
}
