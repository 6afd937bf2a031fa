//! Whether texts are lines of fields, and what separates the fields: pure.

use std::collections::HashSet;

use super::guess::Field;
use crate::decode::json::Raw;
use crate::format::{AsJson, Csv, Format, Purpose};

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// One line with a comma in it may as well be a sentence.
const LINES_MIN: usize = 2;
/// More fields than a line has.
const FIELDS_MAX: usize = 500;
/// The longest name of a field.
const NAME_BYTES_MAX: usize = 64;

/// How the lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) names: Vec<String>,
    pub(super) delimiter: u8,
    /// Whether a record is the names of the fields.
    pub(super) has_header: bool,
}

impl Lines {
    pub(super) fn csv(&self) -> Csv {
        Csv {
            columns: Some(self.names.clone()),
            delimiter: self.delimiter,
            header: self.has_header,
        }
    }
}

/// How these texts are lines of as many fields each; `None`: they are not.
pub(super) fn lines(texts: &[&str]) -> Option<Lines> {
    if texts.len() < LINES_MIN {
        return None;
    }
    // Of several the first one.
    let found = DELIMITERS.iter().rev().filter_map(|delimiter| {
        let count = field_count(texts.first()?, *delimiter);
        let is_even = (2..=FIELDS_MAX).contains(&count)
            && texts
                .iter()
                .all(|text| field_count(text, *delimiter) == count);
        is_even.then_some((count, *delimiter))
    });
    let (count, delimiter) = found.max_by_key(|(count, _)| *count)?;
    let plain = Lines {
        names: (1..=count)
            .map(|number| format!("column_{number}"))
            .collect(),
        delimiter,
        has_header: false,
    };
    let rows: Option<Vec<Vec<String>>> = read(&plain, texts);
    let rows = rows?;
    let header = rows
        .iter()
        .position(|row| is_header(row) && differs(row, &rows));
    Some(match header {
        Some(header) => Lines {
            names: rows[header].clone(),
            has_header: true,
            ..plain
        },
        None => plain,
    })
}

/// Fields of a line, those in quotes counted as one.
fn field_count(text: &str, delimiter: u8) -> usize {
    let mut is_quoted = false;
    let mut count = 1;
    for byte in text.bytes() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            byte if byte == delimiter && !is_quoted => count += 1,
            _ => {}
        }
    }
    count
}

/// The fields as texts; `None`: a line cannot be read.
fn read(lines: &Lines, texts: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut reader = AsJson::new(&Format::Csv(lines.csv()), Purpose::Fields).ok()??;
    let row = |text: &&str| {
        let json = reader.read(text.as_bytes(), None).ok()?;
        let json = str::from_utf8(json).ok()?;
        let object = Raw::parse(json).ok()?;
        let field = |name: &String| {
            let found = object.members().find(|(own, _)| own == name);
            found.map_or(String::new(), |(_, value)| value.as_received().to_owned())
        };
        Some(lines.names.iter().map(field).collect())
    };
    texts.iter().map(row).collect()
}

/// Names look like names, and no name is there twice.
fn is_header(row: &[String]) -> bool {
    let is_name = |text: &String| {
        let legal = |c: char| c.is_alphanumeric() || "_- .".contains(c);
        let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
        starts && text.len() <= NAME_BYTES_MAX && text.chars().all(legal)
    };
    let different: HashSet<&String> = row.iter().collect();
    row.iter().all(is_name) && different.len() == row.len()
}

/// Whether a field of all other lines is no text, as no name of a field is.
fn differs(header: &[String], rows: &[Vec<String>]) -> bool {
    let others = || rows.iter().filter(|row| *row != header);
    others().next().is_some()
        && (0..header.len()).any(|place| {
            let mut field = Field::new("");
            for row in others() {
                let text = &row[place];
                let is_number = text.parse::<f64>().is_ok() && !text.is_empty();
                match is_number {
                    true => field.see(Raw::written(crate::decode::json::Kind::Number, text)),
                    false => field.see(Raw::string(text)),
                }
            }
            let type_name = field.guess(others().count()).type_name;
            !type_name.contains("String")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_as_many_fields_each_are_told_from_texts() {
        let of = |texts: &[&str]| {
            let lines = lines(texts)?;
            let delimiter = char::from(lines.delimiter);
            Some((lines.names.join(" "), delimiter, lines.has_header))
        };
        let some =
            |names: &str, delimiter, has_header| Some((names.to_owned(), delimiter, has_header));
        for (texts, expected) in [
            (&["a,1", "b,2"][..], some("column_1 column_2", ',', false)),
            (
                &["id;user name", "1;x", "2;\"y;z\""],
                some("id user name", ';', true),
            ),
            (&["1;x", "id;name"], some("id name", ';', true)),
            (&["a,b", "c,d"], some("column_1 column_2", ',', false)),
            (
                &["a\tb|c", "d\te|f"],
                some("column_1 column_2", '\t', false),
            ),
            (&["1,2;3", "1,2;3"], some("column_1 column_2", ',', false)),
            (
                &["a;b;1,5", "c;d;2,5"],
                some("column_1 column_2 column_3", ';', false),
            ),
            (&["one, two"], None),
            (&["one, two", "three"], None),
            (&["a,\"b", "c,\"d"], None),
            (&["plain", "text"], None),
            (&[], None),
        ] {
            assert_eq!(of(texts), expected, "{texts:?}");
        }
    }
}
