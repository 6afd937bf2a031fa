//! The tables that recorded schema blocks ask for.

use streamweir::debezium::{Field, Schema};
use streamweir::decode::json::Raw;
use streamweir::replica::{Fit, OwnNames, ReplicaTable, column_type_for, fit};
use streamweir::table::ColumnType;

use crate::corpus::{Record, Recording, Source};
use crate::{KEYED, replica};

const VARIANT: &str = "envelope_schema";

fn fields(record: &Record) -> Option<Vec<Field>> {
    let value = Raw::parse(record.value.as_deref()?).expect("JSON");
    let (_, block) = value.members().find(|(name, _)| *name == *"schema")?;
    Some(
        Schema::parse(block)
            .expect("a schema block")
            .fields()
            .to_vec(),
    )
}

#[test]
fn a_table_is_made_with_the_columns_that_fit_its_records() {
    let recording = Recording::load(Source::Postgres, VARIANT);
    for table in [
        "orders",
        "order_items",
        "kitchen_sink",
        "multi_pk",
        "toasty",
        "swap_pk",
    ] {
        let records = recording.of(table);
        let fields = records.iter().find_map(fields).expect("a schema block");
        let key: Vec<String> = replica::key_columns(table)
            .iter()
            .map(|k| (*k).to_owned())
            .collect();
        let made =
            ReplicaTable::of_fields("replica", table, &fields, &key, &[], &OwnNames::default());
        let made = made.unwrap_or_else(|error| panic!("{error}"));
        let mut expected = replica::columns(Source::Postgres, VARIANT, table);
        for (name, column_type) in &mut expected {
            let made = column_type.to_string();
            if made.contains("DateTime64(") && !made.contains("'UTC'") {
                // A time without zone is the source's clock, on a server of any zone.
                let made = made.replacen(')', ", 'UTC')", 1);
                *column_type = ColumnType::parse(&made).expect("a type");
            }
            // Text with a zone does not say how many digits the source's type has.
            if name == "c_tstz3" {
                *column_type = ColumnType::parse("Nullable(DateTime64(6, 'UTC'))").expect("a type");
            }
        }
        assert_eq!(made.columns(), expected, "{table}");
    }
}

#[test]
fn columns_that_fit_a_sources_records_are_never_altered() {
    let recording = Recording::load(Source::Postgres, VARIANT);
    let mut seen = 0;
    for table in KEYED {
        let columns = replica::columns(Source::Postgres, VARIANT, table);
        let key = replica::key_columns(table);
        for field in recording.of(table).iter().filter_map(fields).flatten() {
            let column = columns.iter().find(|(name, _)| **name == *field.name);
            if let Some((name, column_type)) = column {
                let fit = fit(&field.field_type, column_type, key.contains(&name.as_str()));
                assert_eq!(fit, Fit::Fits, "{table}.{name} {column_type}");
                seen += 1;
            }
        }
    }
    assert!(seen > 1000, "{seen}");
}

#[test]
fn a_column_follows_its_source_from_type_to_type() {
    let recording = Recording::load(Source::Postgres, VARIANT);
    let mut steps = vec![];
    for field in recording.of("evolving").iter().filter_map(fields).flatten() {
        let column = column_type_for(&field.field_type, false);
        if *field.name == *"a" && steps.last() != Some(&column) {
            if let Some(before) = steps.first() {
                let expected = match *before == column {
                    true => Fit::Fits,
                    false => Fit::Widen(column.clone()),
                };
                assert_eq!(fit(&field.field_type, before, false), expected);
            }
            steps.push(column);
        }
    }
    let names: Vec<String> = steps.iter().map(ToString::to_string).collect();
    assert_eq!(names[..2], ["Nullable(Int32)", "Nullable(Int64)"]);
}
