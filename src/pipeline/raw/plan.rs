//! Which column takes which part of a record.

use crate::config::{ColumnMapping, KeyFormat, Raw, RecordField};
use crate::decode::Reject;
use crate::pipeline::record_column::{Origin, RecordColumn, Times};
use crate::sink::{ColumnInfo, RowFormat};
use crate::table::{Column, ColumnType, DefaultKind};

/// In rows with defaults: no value follows.
const OWN_DEFAULT: u8 = 1;

/// How one table's rows are made. Shared by the lanes.
#[derive(Debug)]
pub(crate) struct RawPlan {
    columns: Vec<RecordColumn>,
    with_default_flag: bool,
    names: Vec<String>,
}

impl RawPlan {
    /// Maps the columns of the table.
    ///
    /// # Errors
    /// The first column that cannot be filled, with what to do about it.
    pub(crate) fn new(
        config: &Raw,
        table: &[ColumnInfo],
        needs_provenance: bool,
    ) -> Result<Self, String> {
        let is_there = |name: &&String| table.iter().any(|column| column.name == **name);
        if let Some(missing) = config.columns.keys().find(|name| !is_there(name)) {
            return Err(format!(
                "pipeline.columns names column {missing}, which the table does not have: add it with ALTER \
                 TABLE … ADD COLUMN, or correct the configuration"
            ));
        }
        let mut columns = vec![];
        for info in table {
            let column = record_column(config, info)?;
            columns.extend(column.map(|column| column.hiding(&config.privacy)));
        }
        let names: Vec<String> = columns.iter().map(|c| c.name().to_owned()).collect();
        let named = config.provenance(names.iter().map(|name| &**name));
        match named {
            Err(missing) if needs_provenance => {
                return Err(format!(
                    "no column of the table takes the record's {missing}, which exactly_once needs (topic \
                     LowCardinality(String), partition UInt32, offset UInt64, or others mapped by {{ from = \
                     {missing:?} }}): add it with ALTER TABLE … ADD COLUMN, or choose delivery = \
                     \"at_least_once\""
                ));
            }
            _ if names.is_empty() => {
                return Err("no column of the table takes a part of the record".to_owned());
            }
            _ => {}
        }
        Ok(RawPlan {
            with_default_flag: columns.iter().any(RecordColumn::needs_server_default),
            columns,
            names,
        })
    }

    /// Appends the row of a record.
    ///
    /// # Errors
    /// A value that its column does not hold. The plan has columns that hold every value.
    #[inline]
    pub(super) fn encode(&self, origin: Origin<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
        let flag = self.with_default_flag;
        let mut columns = self.columns.iter();
        columns.try_for_each(|column| column.encode(origin, out, flag))
    }

    /// The same, each value by itself; `None`: the table's own default takes its place.
    pub(super) fn values(&self, origin: Origin<'_>) -> Vec<Option<Vec<u8>>> {
        let flag = self.with_default_flag;
        let value = |column: &RecordColumn| {
            let mut out = vec![];
            column.encode(origin, &mut out, flag).ok()?;
            match flag {
                true if out.first() == Some(&OWN_DEFAULT) => None,
                true => Some(out.split_off(1)),
                false => Some(out),
            }
        };
        self.columns.iter().map(value).collect()
    }

    /// The columns that are inserted, in the order in which they stand in a row.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// How the values of a row stand one behind the other.
    pub(crate) fn format(&self) -> RowFormat {
        match self.with_default_flag {
            true => RowFormat::ValuesOrDefaults,
            false => RowFormat::Values,
        }
    }
}

/// A column that takes a part of the record; none: the server fills it.
fn record_column(config: &Raw, info: &ColumnInfo) -> Result<Option<RecordColumn>, String> {
    let (name, type_name) = (&info.name, &info.type_name);
    let default_kind =
        DefaultKind::parse(&info.default_kind).map_err(|error| format!("{name}: {error}"))?;
    let mapping = config.columns.get(name);
    let field = match default_kind {
        DefaultKind::Materialized | DefaultKind::Alias => {
            return match mapping {
                Some(_) => Err(format!(
                    "column {name} is computed by the table, and pipeline.columns maps it: leave the mapping out"
                )),
                None => Ok(None),
            };
        }
        _ => config.field_of(name),
    };
    let Some(field) = field else {
        return match default_kind {
            DefaultKind::None => Err(format!(
                "nothing fills column {name} {type_name}: map it in [pipeline.columns] by from, give it a \
                 DEFAULT, or drop it"
            )),
            _ => Ok(None),
        };
    };
    let column_type = ColumnType::parse(type_name)
        .map_err(|error| format!("column {name} {type_name}: {error}"))?;
    let column = Column {
        name: name.clone(),
        column_type,
        default_kind,
    };
    made(field, column, mapping).map(Some)
}

/// The strictest form of each column: it holds whatever a record has.
fn made(
    field: RecordField,
    column: Column,
    mapping: Option<&ColumnMapping>,
) -> Result<RecordColumn, String> {
    RecordColumn::check_holds_all(&field, &column)?;
    RecordColumn::new(field, column, mapping, KeyFormat::Json, Times::default())
        .map(RecordColumn::clamped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::record_column::RecordPlace;
    use crate::source::{MadeRecord, TopicPartition};

    /// The shipped table's columns.
    const COLUMNS: [(&str, &str, &str); 11] = [
        ("message_key", "Nullable(String)", ""),
        ("message_value", "Nullable(String)", ""),
        ("headers", "Array(Tuple(String, String))", ""),
        ("topic", "LowCardinality(String)", ""),
        ("partition", "UInt32", ""),
        ("offset", "UInt64", ""),
        ("kafka_timestamp", "DateTime64(3, 'UTC')", ""),
        ("timestamp_type", "LowCardinality(String)", ""),
        ("schema_id", "Nullable(UInt32)", ""),
        ("ingestion_timestamp", "DateTime64(3)", "DEFAULT"),
        ("processing_date", "Date", "DEFAULT"),
    ];

    fn infos(columns: &[(&str, &str, &str)]) -> Vec<ColumnInfo> {
        let info = |(name, type_name, kind): &(&str, &str, &str)| ColumnInfo {
            name: (*name).to_owned(),
            type_name: (*type_name).to_owned(),
            default_kind: (*kind).to_owned(),
        };
        columns.iter().map(info).collect()
    }

    fn raw(mapped: &[(&str, &str)]) -> Raw {
        let entry = |(column, from): &(&str, &str)| {
            let mapping = ColumnMapping {
                from: RecordField::parse(from),
                ..ColumnMapping::default()
            };
            ((*column).to_owned(), mapping)
        };
        Raw {
            columns: mapped.iter().map(entry).collect(),
            privacy: crate::steps::PrivateFields::default(),
        }
    }

    fn row(plan: &RawPlan, made: &MadeRecord<'_>) -> Vec<Option<Vec<u8>>> {
        let place = RecordPlace::new(&TopicPartition {
            topic: "t".into(),
            partition: 3,
        });
        plan.values(super::super::origin(&place, made.record()))
    }

    #[test]
    fn every_byte_of_a_record_is_in_its_row() {
        let plan = RawPlan::new(&raw(&[]), &infos(&COLUMNS), true).unwrap();
        assert_eq!(plan.names().len(), 9);
        let headers = [
            ("a".to_owned(), Some(b"\xff\0".to_vec())),
            ("a".to_owned(), None),
        ];
        let value = b"\0\0\0\x01\x02\xff\xfe";
        let made = MadeRecord::new(Some(b"\xc3"), Some(value), 1_000, 7).of("t", 3, &headers);
        let expected: [&[u8]; 9] = [
            b"\0\x01\xc3",
            b"\0\x07\0\0\0\x01\x02\xff\xfe",
            b"\x02\x01a\x02\xff\0\x01a\0",
            b"\x01t",
            &[3, 0, 0, 0],
            &7u64.to_le_bytes(),
            &1_000u64.to_le_bytes(),
            b"\0",
            &[0, 2, 1, 0, 0],
        ];
        let expected: Vec<_> = expected.into_iter().map(|v| Some(v.to_vec())).collect();
        assert_eq!(row(&plan, &made), expected);
        let tombstone = row(&plan, &MadeRecord::new(None, None, -1, 8));
        assert_eq!(tombstone[..2], [Some(vec![1]), Some(vec![1])]);
        assert_eq!(tombstone[8], Some(vec![1]));
    }

    #[test]
    fn columns_may_be_fewer_and_have_other_names() {
        let columns = infos(&[
            ("body", "String", ""),
            ("origin", "String", ""),
            ("part", "Int64", ""),
            ("at", "UInt64", ""),
            ("tenant", "String", "DEFAULT"),
        ]);
        let named = [
            ("body", "value"),
            ("origin", "topic"),
            ("part", "partition"),
            ("at", "offset"),
            ("tenant", "header:tenant"),
        ];
        let plan = RawPlan::new(&raw(&named), &columns, true).unwrap();
        let made = MadeRecord::new(None, Some(b"\xff"), 1_000, 7);
        let values = row(&plan, &made);
        assert_eq!(values[0].as_deref(), Some(&b"\x01\xff"[..]));
        assert_eq!(values[4], None, "the server's default");
    }

    #[test]
    fn a_column_that_would_make_a_record_a_dead_letter_is_refused() {
        let with = |column: (&str, &str, &str)| {
            let mut columns = infos(&COLUMNS);
            columns.retain(|known| known.name != column.0);
            columns.extend(infos(&[column]));
            RawPlan::new(&raw(&[]), &columns, true).map(|_| ())
        };
        for (column, said) in [
            (("message_value", "FixedString(3)", ""), "must be String"),
            (("message_key", "UInt64", ""), "must be String"),
            (("offset", "UInt32", ""), "must be UInt64"),
            (("partition", "UInt16", ""), "must be UInt32"),
            (("schema_id", "UInt8", ""), "must be Nullable(UInt32)"),
            (
                ("mesage_value", "String", ""),
                "nothing fills column mesage_value",
            ),
            (
                ("topic", "String", "MATERIALIZED"),
                "takes the record's topic",
            ),
        ] {
            let error = with(column).expect_err(column.0);
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(with(("kafka_timestamp", "DateTime", "")), Ok(()));
        assert_eq!(
            with(("extra", "AggregateFunction(sum, UInt8)", "DEFAULT")),
            Ok(())
        );
        let missing = raw(&[("nowhere", "value")]);
        let error = RawPlan::new(&missing, &infos(&COLUMNS), true).map(|_| ());
        assert!(error.unwrap_err().contains("names column nowhere"));
        let few = infos(&COLUMNS[..3]);
        assert!(RawPlan::new(&raw(&[]), &few, true).is_err());
        assert!(RawPlan::new(&raw(&[]), &few, false).is_ok());
    }
}
