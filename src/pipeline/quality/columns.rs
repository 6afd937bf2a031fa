//! The columns that say how a record did.

use super::judged::{Judged, ReadyRules};
use crate::config::{Dedup, Rules};
use crate::table::{Column, ColumnType, append_length};

/// In formats of rows with defaults: a value follows.
const VALUE_FOLLOWS: u8 = 0;

/// What a column takes of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QualityColumn {
    /// 1 where no rule of severity error failed.
    Passed,
    /// The names of the rules that failed.
    Failed,
    /// 1 where the record is a duplicate.
    Duplicate,
}

impl QualityColumn {
    /// What fills a column of this name, if rules do.
    pub(crate) fn of_name(
        rules: &Rules,
        dedup: Option<&Dedup>,
        name: &str,
    ) -> Option<QualityColumn> {
        let flag = dedup.and_then(|dedup| dedup.flag_column.as_deref());
        if flag == Some(name) {
            return Some(QualityColumn::Duplicate);
        }
        let is = |column: &Option<String>| column.as_deref() == Some(name);
        match (is(&rules.passed_column), is(&rules.failed_column)) {
            (true, _) => Some(QualityColumn::Passed),
            (_, true) => Some(QualityColumn::Failed),
            _ => None,
        }
    }
}

/// Such columns of a table, in its order.
#[derive(Debug, Default)]
pub(crate) struct QualityColumns {
    columns: Vec<(QualityColumn, String)>,
    /// The name of each rule, with its length before it.
    names: Vec<Vec<u8>>,
}

impl QualityColumns {
    /// # Errors
    /// A column of another type.
    pub(crate) fn new(
        rules: Option<&ReadyRules>,
        columns: Vec<(QualityColumn, Column)>,
    ) -> Result<Self, String> {
        let encoded = |name: &str| {
            let mut encoded = vec![];
            append_length(name.len(), &mut encoded);
            encoded.extend_from_slice(name.as_bytes());
            encoded
        };
        let names = rules.iter().flat_map(|rules| rules.names().map(encoded));
        let names = names.collect();
        let mut named = vec![];
        for (kind, column) in columns {
            let expected = match (kind, &column.column_type) {
                (
                    QualityColumn::Passed | QualityColumn::Duplicate,
                    ColumnType::UInt8 | ColumnType::Bool,
                ) => None,
                (QualityColumn::Passed | QualityColumn::Duplicate, _) => Some("UInt8 or Bool"),
                (QualityColumn::Failed, ColumnType::Array(inner))
                    if inner.is_text() && !inner.is_nullable() =>
                {
                    None
                }
                (QualityColumn::Failed, _) => Some("Array(String)"),
            };
            if let Some(expected) = expected {
                let (name, column_type) = (&column.name, &column.column_type);
                return Err(format!(
                    "column {name} must be {expected}, not {column_type}"
                ));
            }
            named.push((kind, column.name));
        }
        Ok(QualityColumns {
            columns: named,
            names,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(_, name)| name.as_str())
    }

    /// Appends what the rules said of the last record. `with_default_flag`: a byte before each value.
    pub(crate) fn encode(&self, judged: &Judged, out: &mut Vec<u8>, with_default_flag: bool) {
        for (kind, _) in &self.columns {
            if with_default_flag {
                out.push(VALUE_FOLLOWS);
            }
            match kind {
                QualityColumn::Passed => out.push(u8::from(judged.passes)),
                QualityColumn::Duplicate => out.push(u8::from(judged.is_duplicate)),
                QualityColumn::Failed => {
                    append_length(judged.failed.len(), out);
                    for number in &judged.failed {
                        out.extend_from_slice(&self.names[*number]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::DefaultKind;

    fn column(name: &str, type_name: &str) -> Column {
        Column {
            name: name.to_owned(),
            column_type: ColumnType::parse(type_name).unwrap(),
            default_kind: DefaultKind::None,
        }
    }

    #[test]
    fn failed_rules_stand_by_name_in_their_order() {
        let columns = vec![
            (
                QualityColumn::Failed,
                column("f", "Array(LowCardinality(String))"),
            ),
            (QualityColumn::Passed, column("p", "Bool")),
        ];
        let mut columns = QualityColumns::new(None, columns).unwrap();
        columns.names = vec![b"\x01a".to_vec(), b"\x02bc".to_vec()];
        let judged = Judged {
            failed: vec![0, 1],
            passes: false,
            ..Judged::default()
        };
        let mut out = vec![];
        columns.encode(&judged, &mut out, false);
        assert_eq!(out, b"\x02\x01a\x02bc\0");
        out.clear();
        let judged = Judged {
            passes: true,
            ..Judged::default()
        };
        columns.encode(&judged, &mut out, true);
        assert_eq!(out, b"\0\0\0\x01");
        assert_eq!(columns.names().collect::<Vec<_>>(), ["f", "p"]);
    }

    #[test]
    fn columns_of_other_types_are_refused() {
        for (kind, type_name) in [
            (QualityColumn::Passed, "String"),
            (QualityColumn::Passed, "Nullable(UInt8)"),
            (QualityColumn::Duplicate, "UInt16"),
            (QualityColumn::Failed, "String"),
            (QualityColumn::Failed, "Array(UInt8)"),
            (QualityColumn::Failed, "Array(Nullable(String))"),
        ] {
            let made = QualityColumns::new(None, vec![(kind, column("c", type_name))]);
            assert!(
                made.unwrap_err().contains("column c must be"),
                "{type_name}"
            );
        }
    }
}
