//! `format = "string"`: a record is one text in UTF-8.

use std::sync::Arc;

use super::{Reader, Unread, Values};
use crate::decode::json::Raw;
use crate::decode::{Path, Reason, Reject, guise};
use crate::table::ColumnSource;

/// Which slots are the whole text; the others are always absent.
#[derive(Debug)]
pub struct StringPlan {
    is_whole: Vec<bool>,
}

/// Reads texts.
#[derive(Debug)]
pub struct StringReader {
    plan: Arc<StringPlan>,
}

/// A record's text.
#[derive(Debug, Clone, Copy)]
pub struct Text<'r, 'a> {
    plan: &'r StringPlan,
    text: &'a str,
}

impl StringPlan {
    pub(super) fn new(paths: &[Path]) -> Self {
        StringPlan {
            is_whole: paths.iter().map(Path::is_whole).collect(),
        }
    }
}

impl StringReader {
    pub(super) fn new(plan: Arc<StringPlan>) -> Self {
        StringReader { plan }
    }
}

/// The text of a record.
pub(super) fn utf8(value: Option<&[u8]>) -> Result<&str, Reject> {
    let value = value.ok_or_else(|| Reject::new(Reason::NullValue, "the record has no value"))?;
    simdutf8::compat::from_utf8(value).map_err(|error| {
        let at = error.valid_up_to();
        guise::explained(
            Reject::invalid_value(format!("not UTF-8 at byte {at}")),
            value,
        )
    })
}

impl Reader for StringReader {
    type Values<'r, 'a> = Text<'r, 'a>;

    fn read<'r, 'a>(&'r mut self, value: Option<&'a [u8]>) -> Result<Text<'r, 'a>, Unread> {
        Ok(Text {
            plan: &self.plan,
            text: utf8(value)?,
        })
    }

    fn unknown_names(&self, _known: usize) -> Vec<&str> {
        vec![]
    }
}

impl Values for Text<'_, '_> {
    fn append(
        &self,
        column: &ColumnSource,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        column.encode_value(self.get(column.slot()), out, with_default_flag)
    }

    fn get(&self, slot: usize) -> Raw<'_> {
        if self.plan.is_whole[slot] {
            Raw::string(self.text)
        } else {
            Raw::ABSENT
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Column, ColumnType, DefaultKind, RawMode};

    fn read(type_name: &str, value: Option<&[u8]>) -> Result<Vec<u8>, String> {
        let column = |slot| {
            let column = Column {
                name: "c".to_owned(),
                column_type: ColumnType::parse(type_name).unwrap(),
                default_kind: DefaultKind::None,
            };
            ColumnSource::new(column, slot, false, None, RawMode::Off).unwrap()
        };
        let paths = [Path::field("c"), Path::parse("$").unwrap()];
        let mut reader = StringReader::new(Arc::new(StringPlan::new(&paths)));
        let values = reader.read(value).map_err(|unread| match unread {
            Unread::Refused(reject) => reject.to_string(),
            Unread::Dropped(rule) => rule.to_owned(),
            Unread::NeedsSchema(_) | Unread::Misfit(..) => unreachable!("texts have none"),
        })?;
        assert!(values.get(0).is_missing());
        let mut out = vec![];
        values.append(&column(0), &mut out, false).unwrap();
        let rest = out.len();
        let appended = values.append(&column(1), &mut out, false);
        appended.map_err(|reject| reject.to_string())?;
        Ok(out.split_off(rest))
    }

    #[test]
    fn the_whole_value_is_the_columns_text_and_nothing_else_is_there() {
        let long = "x".repeat(300);
        assert_eq!(read("String", Some(b"")), Ok(vec![0]));
        assert_eq!(
            read("String", Some(b"{\"c\": \"\\n\"}\n")).unwrap(),
            b"\x0c{\"c\": \"\\n\"}\n"
        );
        assert_eq!(
            read("String", Some(long.as_bytes())).unwrap()[2..],
            *long.as_bytes()
        );
        assert_eq!(
            read("LowCardinality(Nullable(String))", Some("é".as_bytes())).unwrap(),
            b"\0\x02\xc3\xa9"
        );
        assert_eq!(read("UInt8", Some(b"42")), Ok(vec![42]));
        assert_eq!(
            read("Nullable(Date)", Some(b"1970-01-02")),
            Ok(vec![0, 1, 0])
        );
    }

    #[test]
    fn what_is_no_text_or_does_not_fit_the_column_is_refused() {
        assert_eq!(
            read("String", None).unwrap_err(),
            "null_value: the record has no value"
        );
        assert_eq!(
            read("String", Some(b"ab\xff")).unwrap_err(),
            "invalid_value: not UTF-8 at byte 2"
        );
        assert_eq!(
            read("UInt8", Some(b"256")).unwrap_err(),
            "out_of_range: c: UInt8"
        );
    }
}
