//! What reading an event and making its columns takes by itself, without Kafka, sessions and inserts.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use sandbox::generate::Events;
use streamweir::decode::Path;
use streamweir::format::{
    AnyReader, Avro, AvroSchema, Format as Read, Protobuf, ProtobufSchema, ReadPlan, Reader,
    Values as _, Wish,
};
use streamweir::table::{Column, ColumnSource, ColumnType, DefaultKind, RawMode};

use super::{Format, binary};
use crate::topic::{SEED, START_MS, USERS};

/// As many as lie in a processor's cache, as records lie that were just fetched.
const EVENTS: i64 = 2_000;
const PASSES: usize = 200;

/// Those columns of the shipped table that an event fills; of some their text is asked for, by sessions, the
/// event time and the profile.
const COLUMNS: [(&str, &str, bool); 12] = [
    ("event_id", "String", false),
    ("event_type", "LowCardinality(String)", true),
    ("user_id", "UInt64", true),
    ("session_id", "String", true),
    ("timestamp", "DateTime64(3, 'UTC')", true),
    ("page_url", "String", true),
    ("referrer", "String", false),
    ("user_agent", "String", false),
    ("ip_address", "String", false),
    ("country", "LowCardinality(String)", false),
    ("city", "String", false),
    ("properties", "String", false),
];

/// Prints nanoseconds an event, the least of many passes, and returns them in the formats' order.
///
/// # Errors
/// An event that is not read.
pub(super) fn measure() -> Result<Vec<(Format, f64)>> {
    println!("\nreading and columns alone, {EVENTS} events, the least of {PASSES} passes:");
    let mut all = vec![];
    for format in Format::ALL {
        let mut made = Events::new(SEED, USERS);
        let records: Result<Vec<Vec<u8>>> = (0..EVENTS)
            .map(|number| format.value(made.next(START_MS + number).1))
            .collect();
        let nanos = of_format(format, &records?)?;
        println!("{:9} {nanos:5.0} ns/event", format.name());
        all.push((format, nanos));
    }
    Ok(all)
}

fn of_format(format: Format, records: &[Vec<u8>]) -> Result<f64> {
    let read = match format {
        Format::Json => Read::Json,
        Format::Avro => Read::Avro(Avro {
            schema: Some(Arc::new(AvroSchema::parse(binary::AVRO_SCHEMA)?)),
            framed: true,
        }),
        Format::Protobuf => Read::Protobuf(Protobuf {
            schema: Some(Arc::new(ProtobufSchema::from_source(
                binary::PROTOBUF_SCHEMA,
                &[],
            )?)),
            framed: true,
        }),
    };
    let (mut columns, mut wishes) = (vec![], vec![]);
    for (slot, &(name, type_name, is_asked_for)) in COLUMNS.iter().enumerate() {
        let column = Column {
            name: name.to_owned(),
            column_type: ColumnType::parse(type_name)?,
            default_kind: DefaultKind::None,
        };
        let raw = match (format, name) {
            (Format::Json, "properties") => RawMode::Object,
            _ => RawMode::Off,
        };
        let column = ColumnSource::new(column, slot, false, None, raw)?;
        wishes.push(Wish {
            path: Path::parse(&format!("$.{name}"))?,
            column: Some(column.clone()),
            is_asked_for,
        });
        columns.push(column);
    }
    let plan = ReadPlan::new(&read, wishes, &[])?;
    match plan.reader() {
        AnyReader::Json(mut reader) => least(&mut reader, &columns, records),
        AnyReader::Avro(mut reader) => least(&mut *reader, &columns, records),
        AnyReader::Protobuf(mut reader) => least(&mut *reader, &columns, records),
        _ => Err(anyhow!("no reader of {}", format.name())),
    }
}

fn least<R: Reader>(reader: &mut R, columns: &[ColumnSource], records: &[Vec<u8>]) -> Result<f64> {
    let (mut row, mut least) = (vec![], None);
    for _ in 0..PASSES {
        let (start, mut bytes) = (Instant::now(), 0);
        for record in records {
            row.clear();
            let values = reader
                .read(Some(record))
                .map_err(|unread| anyhow!("{unread:?}"))?;
            for (slot, (_, _, is_asked_for)) in COLUMNS.iter().enumerate() {
                if *is_asked_for {
                    bytes += values.get(slot).as_received().len();
                }
            }
            for column in columns {
                let appended = values.append(column, &mut row, false);
                appended.map_err(|reject| anyhow!("{reject}"))?;
            }
            bytes += row.len();
        }
        let nanos = start.elapsed().as_nanos() as f64 / records.len() as f64;
        anyhow::ensure!(bytes > records.len(), "rows of events have bytes");
        least = Some(least.map_or(nanos, |least: f64| least.min(nanos)));
    }
    least.context("no pass")
}
