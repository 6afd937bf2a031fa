//! `format = "csv"`: a record is one line of fields (RFC 4180).
//!
//! A field in quotes is a text, in which a doubled quote stands for one. Without quotes a field is a
//! number, `true` or `false` where it reads as one, else a text; an empty one and `\N` are missing. One
//! line break at the end is no part of the line.

use std::sync::Arc;

use super::{Reader, Unread, Values};
use crate::decode::json::{Kind, Raw};
use crate::decode::{Path, Reject, text};
use crate::table::{ColumnSource, ColumnType};

/// `[pipeline.csv]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// The names of the fields in their order. None: those of the columns that events fill, in the order of
    /// the table; a line may then end early.
    pub columns: Option<Vec<String>>,
    /// What stands between fields: one byte of ASCII.
    pub delimiter: u8,
    /// Whether a record that consists of the names is passed by.
    pub header: bool,
}

/// Where each slot's value is in a line.
#[derive(Debug)]
pub struct CsvPlan {
    names: Vec<String>,
    /// Whether lines may have fewer fields than there are names.
    may_end_early: bool,
    delimiter: u8,
    header: bool,
    /// The field of each slot; `None`: no field has its name.
    field_of_slot: Vec<Option<usize>>,
}

/// Reads lines.
#[derive(Debug)]
pub struct CsvReader {
    plan: Arc<CsvPlan>,
    fields: Vec<Field>,
    /// Texts with doubled quotes, as they are meant.
    unquoted: String,
}

/// Where a field's text is.
#[derive(Debug, Clone, Copy)]
struct Field {
    from: usize,
    end: usize,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the line, without quotes.
    Bare,
    /// In the line, between quotes.
    Quoted,
    /// Among the texts of the reader.
    Unquoted,
}

/// The fields of a line.
#[derive(Debug, Clone, Copy)]
pub struct Line<'r, 'a> {
    plan: &'r CsvPlan,
    fields: &'r [Field],
    unquoted: &'r str,
    text: &'a str,
}

impl CsvPlan {
    /// `columns`: the columns that events fill, in the table's order.
    pub(super) fn new(csv: &Csv, paths: &[Path], columns: &[String]) -> Self {
        let names = csv.columns.clone().unwrap_or_else(|| columns.to_vec());
        let field_of = |path: &Path| {
            let mut steps = path.names();
            let name = steps.next().filter(|_| steps.next().is_none())?;
            names.iter().position(|known| known == name)
        };
        CsvPlan {
            field_of_slot: paths.iter().map(field_of).collect(),
            may_end_early: csv.columns.is_none(),
            delimiter: csv.delimiter,
            header: csv.header,
            names,
        }
    }
}

impl CsvReader {
    pub(super) fn new(plan: Arc<CsvPlan>) -> Self {
        CsvReader {
            plan,
            fields: vec![],
            unquoted: String::new(),
        }
    }

    /// Splits a line into its fields.
    fn split(&mut self, text: &str) -> Result<(), Reject> {
        self.fields.clear();
        self.unquoted.clear();
        let bytes = text.as_bytes();
        let mut at = 0;
        loop {
            let (field, end) = if bytes.get(at) == Some(&b'"') {
                self.quoted(text, at + 1)?
            } else {
                bare(bytes, at, self.plan.delimiter)?
            };
            self.fields.push(field);
            if self.fields.len() > self.plan.names.len() {
                return Err(self.wrong_count("more"));
            }
            match bytes.get(end) {
                None => break,
                Some(&byte) if byte == self.plan.delimiter => at = end + 1,
                Some(b'\n' | b'\r') => return Err(second_line(end)),
                Some(_) => {
                    let detail = format!("a quote at byte {end} is followed by text");
                    return Err(Reject::invalid_value(detail));
                }
            }
        }
        if self.fields.len() < self.plan.names.len() && !self.plan.may_end_early {
            return Err(self.wrong_count("only"));
        }
        Ok(())
    }

    /// The field whose opening quote is before `from`, and the position behind its closing one.
    fn quoted(&mut self, text: &str, from: usize) -> Result<(Field, usize), Reject> {
        let bytes = text.as_bytes();
        let start = self.unquoted.len();
        let mut part = from;
        loop {
            let quote = bytes[part..].iter().position(|&byte| byte == b'"');
            let Some(quote) = quote.map(|len| part + len) else {
                let detail = format!("the quote at byte {} does not close", from - 1);
                return Err(Reject::invalid_value(detail));
            };
            if bytes.get(quote + 1) == Some(&b'"') {
                self.unquoted.push_str(&text[part..=quote]);
                part = quote + 2;
                continue;
            }
            let (from, end, place) = if part == from {
                (from, quote, Place::Quoted)
            } else {
                self.unquoted.push_str(&text[part..quote]);
                (start, self.unquoted.len(), Place::Unquoted)
            };
            return Ok((Field { from, end, place }, quote + 1));
        }
    }

    #[cold]
    fn wrong_count(&self, how: &str) -> Reject {
        let (fields, names) = (self.fields.len(), self.plan.names.len());
        Reject::invalid_value(format!("{how} {fields} fields, expected {names}"))
    }

    fn is_header(&self, text: &str) -> bool {
        let line = self.line(text);
        self.plan.header
            && line.fields.len() == self.plan.names.len()
            && line
                .fields
                .iter()
                .zip(&self.plan.names)
                .all(|(field, name)| line.text(*field) == *name)
    }

    fn line<'r, 'a>(&'r self, text: &'a str) -> Line<'r, 'a> {
        Line {
            plan: &self.plan,
            fields: &self.fields,
            unquoted: &self.unquoted,
            text,
        }
    }
}

/// Lines as JSON objects.
#[derive(Debug)]
pub(super) struct CsvText {
    reader: CsvReader,
}

impl CsvText {
    pub(super) fn new(csv: &Csv) -> Self {
        let paths: Vec<Path> = csv
            .columns
            .iter()
            .flatten()
            .map(|name| Path::field(name))
            .collect();
        CsvText {
            reader: CsvReader::new(Arc::new(CsvPlan::new(csv, &paths, &[]))),
        }
    }

    /// Puts a line in the place of `out`. Fields that are missing are no members.
    pub(super) fn write_json(&mut self, line: &[u8], out: &mut String) -> Result<(), Unread> {
        let line = self.reader.read(Some(line))?;
        let mut json = std::mem::take(out).into_bytes();
        json.clear();
        json.push(b'{');
        for (slot, name) in line.plan.names.iter().enumerate() {
            let value = line.get(slot);
            if value.is_missing() {
                continue;
            }
            if json.len() > 1 {
                json.push(b',');
            }
            text::append_json(Raw::string(name), &mut json);
            json.push(b':');
            text::append_json(value, &mut json);
        }
        json.push(b'}');
        *out = String::from_utf8(json).unwrap_or_default();
        Ok(())
    }
}

/// The field without quotes that begins here, and where it ends.
fn bare(bytes: &[u8], from: usize, delimiter: u8) -> Result<(Field, usize), Reject> {
    let ends = |&byte: &u8| byte == delimiter || matches!(byte, b'\n' | b'\r' | b'"');
    let end = bytes[from..].iter().position(ends);
    let end = end.map_or(bytes.len(), |len| from + len);
    if bytes.get(end) == Some(&b'"') {
        let detail = format!("a quote at byte {end} in a field without quotes");
        return Err(Reject::invalid_value(detail));
    }
    let place = Place::Bare;
    Ok((Field { from, end, place }, end))
}

#[cold]
fn second_line(at: usize) -> Reject {
    Reject::invalid_value(format!("a line break at byte {at}: a record is one line"))
}

impl Line<'_, '_> {
    fn text(&self, field: Field) -> &str {
        match field.place {
            Place::Bare | Place::Quoted => &self.text[field.from..field.end],
            Place::Unquoted => &self.unquoted[field.from..field.end],
        }
    }
}

impl Reader for CsvReader {
    type Values<'r, 'a> = Line<'r, 'a>;

    fn read<'r, 'a>(&'r mut self, value: Option<&'a [u8]>) -> Result<Line<'r, 'a>, Unread> {
        let text = super::string::utf8(value)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        self.split(line)?;
        if self.is_header(line) {
            return Err(Unread::Dropped("header"));
        }
        Ok(self.line(line))
    }

    fn unknown_names(&self, known: usize) -> Vec<&str> {
        let is_taken = |index: &usize| self.plan.field_of_slot.contains(&Some(*index));
        let indexes = (0..self.plan.names.len()).filter(|index| !is_taken(index));
        let names = indexes.map(|index| self.plan.names[index].as_str());
        names.skip(known).collect()
    }
}

impl Values for Line<'_, '_> {
    fn append(
        &self,
        column: &ColumnSource,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        let value = self.get(column.slot());
        // Lists have no form of their own in a line.
        let is_list = matches!(column.column().column_type, ColumnType::Array(_));
        if is_list && value.kind() == Kind::String {
            let json = Raw::parse(value.as_received()).map_err(|_| {
                Reject::invalid_value("not a JSON array").about(&column.column().name)
            })?;
            return column.encode_value(json, out, with_default_flag);
        }
        column.encode_value(value, out, with_default_flag)
    }

    fn get(&self, slot: usize) -> Raw<'_> {
        let index = self.plan.field_of_slot[slot];
        let Some(&field) = index.and_then(|index| self.fields.get(index)) else {
            return Raw::ABSENT;
        };
        match (self.text(field), field.place) {
            ("" | "\\N", Place::Bare) => Raw::ABSENT,
            (text, Place::Bare) => Raw::bare(text),
            (text, _) => Raw::string(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn csv(columns: &[&str]) -> Csv {
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        Csv {
            columns: Some(columns),
            delimiter: b',',
            header: false,
        }
    }

    /// The fields of a line of three, as text with its kind.
    fn read_as(csv: &Csv, line: &[u8]) -> Result<Vec<String>, String> {
        let paths = ["a", "b", "c"].map(Path::field);
        let columns = ["a", "b", "c"].map(str::to_owned);
        let mut reader = CsvReader::new(Arc::new(CsvPlan::new(csv, &paths, &columns)));
        let values = match reader.read(Some(line)) {
            Ok(values) => values,
            Err(Unread::Refused(reject)) => return Err(reject.to_string()),
            Err(Unread::Dropped(rule)) => return Err(rule.to_owned()),
            Err(Unread::NeedsSchema(_) | Unread::Misfit(..)) => unreachable!("lines have none"),
        };
        let shown = |slot| match values.get(slot) {
            raw if raw.is_missing() => "-".to_owned(),
            raw => format!("{:?} {}", raw.kind(), raw.as_received()),
        };
        Ok((0..3).map(shown).collect())
    }

    fn read(line: &str) -> Result<Vec<String>, String> {
        read_as(&csv(&["a", "b", "c"]), line.as_bytes())
    }

    #[test]
    fn fields_are_numbers_booleans_or_texts_and_may_be_missing() {
        for (line, expected) in [
            (
                "1,-2.5e3,true\n",
                ["Number 1", "Number -2.5e3", "True true"],
            ),
            ("x, y ,007\r\n", ["String x", "String  y ", "String 007"]),
            ("\"1\",\"\",\"a,b\"", ["String 1", "String ", "String a,b"]),
            (",\\N,", ["-", "-", "-"]),
            (
                "\"a\"\"b\",\"\"\"\",\"\"\"\"\"\"",
                ["String a\"b", "String \"", "String \"\""],
            ),
            (
                "\"two\nlines\",ü,\"\\N\"",
                ["String two\nlines", "String ü", "String \\N"],
            ),
        ] {
            assert_eq!(read(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn what_is_no_line_of_these_fields_is_refused() {
        for (line, detail) in [
            ("", "only 1 fields, expected 3"),
            ("1,2", "only 2 fields, expected 3"),
            ("1,2,3,4", "more 4 fields, expected 3"),
            ("1,2,\"3", "the quote at byte 4 does not close"),
            ("1,\"2\"x,3", "a quote at byte 5 is followed by text"),
            ("1,2\"x\",3", "a quote at byte 3 in a field without quotes"),
            (
                "1,2,3\n4,5,6\n",
                "a line break at byte 5: a record is one line",
            ),
        ] {
            assert_eq!(
                read(line),
                Err(format!("invalid_value: {detail}")),
                "{line:?}"
            );
        }
        let bytes = read_as(&csv(&["a", "b", "c"]), b"1,2,\xff");
        assert_eq!(bytes, Err("invalid_value: not UTF-8 at byte 4".to_owned()));
    }

    #[test]
    fn names_delimiter_header_and_the_tables_order_are_as_configured() {
        let other = Csv {
            delimiter: b'\t',
            header: true,
            ..csv(&["c", "x", "a"])
        };
        let read = |line: &str| read_as(&other, line.as_bytes());
        assert_eq!(read("1\t2\t3").unwrap(), ["Number 3", "-", "Number 1"]);
        assert_eq!(read("c\t\"x\"\ta\n"), Err("header".to_owned()));
        let of_table = Csv {
            columns: None,
            ..csv(&[])
        };
        let read = |line: &str| read_as(&of_table, line.as_bytes());
        assert_eq!(read("1,2").unwrap(), ["Number 1", "Number 2", "-"]);
        assert!(read("1,2,3,4").is_err());
    }

    proptest! {
        #[test]
        fn quoted_fields_come_back_and_no_line_panics(
            fields in proptest::array::uniform3(".{0,12}"),
            any in ".{0,40}",
        ) {
            let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line: Vec<String> = fields.iter().map(quoted).collect();
            let expected: Vec<String> = fields.iter().map(|field| format!("String {field}")).collect();
            prop_assert_eq!(read(&line.join(",")).unwrap(), expected);
            let _ = read(&any);
        }
    }
}
