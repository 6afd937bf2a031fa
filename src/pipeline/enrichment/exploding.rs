//! `explode`: each element of an array in a record makes a row. A record makes all of its rows or none.

use super::profiles::Profile;
use super::reading::{NotRead, Unjudged, at, judge};
use super::row::{Row, SessionEvent};
use super::schemas::SCHEMA_HEADER;
use super::{CHUNK_BYTES_MAX, EnrichmentOperator, PartitionState, PendingRow, rows_first};
use crate::decode::json::Kind;
use crate::decode::{Reason, Reject};
use crate::format::{AnyReader, Reader, Unread, Values as _};
use crate::lane::{Accepted, NotAccepted};
use crate::pipeline::payload::Payload;
use crate::sink::Stage;
use crate::source::Record;

/// What a row takes beside its bytes: where its parts lie, its turn to be judged, its offset in the batch.
const ROW_BYTES: usize = size_of::<PendingRow>() + size_of::<Unjudged>() + size_of::<i64>();

/// What the rows of one record may take, and those of the records that are judged together: every row
/// repeats what the record has for all of them.
const BYTES_MAX: usize = CHUNK_BYTES_MAX;

/// What this many rows take whose columns have so many bytes.
fn rows_bytes(rows: usize, heads: usize) -> usize {
    heads.saturating_add(rows.saturating_mul(ROW_BYTES))
}

impl EnrichmentOperator {
    /// [`crate::lane::Operator::accept`] where records make several rows.
    #[cold]
    pub(super) fn accept_exploded(
        &mut self,
        state: &PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        if rows_bytes(self.rows.len(), self.heads.len()) >= BYTES_MAX {
            return Err(NotAccepted::Later(rows_first()));
        }
        let (heads, rows) = (self.heads.len(), self.rows.len());
        let unjudged = self.unjudged.len();
        let exploded = self.explode(state, record);
        if let Some(halt) = self.unknown_field(record) {
            self.heads.truncate(heads);
            self.rows.truncate(rows);
            self.unjudged.truncate(unjudged);
            return Err(halt.into());
        }
        match exploded {
            Ok(()) if self.rows.len() == rows => Ok(Accepted::Dropped("no_elements")),
            Ok(()) => Ok(Accepted::Rows(self.rows.len() - rows)),
            Err(not_read) => {
                self.heads.truncate(heads);
                self.rows.truncate(rows);
                self.unjudged.truncate(unjudged);
                match not_read {
                    NotRead::Refused(refusal) => Err(refusal.into()),
                    NotRead::Dropped(rule) => Ok(Accepted::Dropped(rule)),
                    NotRead::NeedsSchema(key) => {
                        self.take_schema(key)?;
                        self.accept_exploded(state, record)
                    }
                    NotRead::Misfit(key, error) => Err(self.misfit(key, &error)),
                }
            }
        }
    }

    fn explode(&mut self, state: &PartitionState, record: Record<'_>) -> Result<(), NotRead> {
        // The rows go beside the reader and what it reads, which the values are borrowed from.
        let mut reader = std::mem::replace(&mut self.reader, self.plan.read.reader());
        let empty = Payload::new(self.settings.compression);
        let mut payload = std::mem::replace(&mut self.payload, empty);
        let exploded = match (payload.open(record.value()), &mut reader) {
            (Err(reject), _) => Err(at(Stage::Decode)(reject).into()),
            (Ok(value), AnyReader::Json(reader)) => self.explode_with(reader, state, record, value),
            (Ok(value), AnyReader::JsonSchema(reader)) => {
                match reader.set_header(record.header(SCHEMA_HEADER)) {
                    Ok(()) => self.explode_with(reader, state, record, value),
                    Err(reject) => Err(at(Stage::Decode)(reject).into()),
                }
            }
            // Records of other formats are not exploded: the configuration says so.
            (
                Ok(_),
                AnyReader::String(_)
                | AnyReader::Csv(_)
                | AnyReader::Avro(_)
                | AnyReader::Protobuf(_),
            ) => Ok(()),
        };
        (self.reader, self.payload) = (reader, payload);
        exploded
    }

    fn explode_with<R: Reader>(
        &mut self,
        reader: &mut R,
        state: &PartitionState,
        record: Record<'_>,
        value: Option<&[u8]>,
    ) -> Result<(), NotRead> {
        if self.plan.drops_tombstones && value.is_none() {
            return Err(NotRead::Dropped("tombstone"));
        }
        let plan = self.plan.clone();
        let Some(explode) = &plan.explode else {
            return Ok(());
        };
        let values = match reader.read(value) {
            Ok(values) => values,
            Err(Unread::Refused(reject)) => return Err(at(Stage::Decode)(reject).into()),
            Err(Unread::Dropped(rule)) => return Err(NotRead::Dropped(rule)),
            Err(Unread::NeedsSchema(key)) => return Err(NotRead::NeedsSchema(key)),
            Err(Unread::Misfit(key, error)) => return Err(NotRead::Misfit(key, error)),
        };
        judge(&plan, &values, record, &mut self.judged)?;
        let array = values.get(explode.slot);
        if !array.is_missing() && array.kind() != Kind::Array {
            let reject = Reject::invalid_value(format!("explode: {} is no array", explode.path));
            return Err(at(Stage::Decode)(reject).into());
        }
        let (first, rows) = (self.heads.len(), self.rows.len());
        // A field of the record: all of its rows have one.
        let mut of_record = None;
        for (element, index) in array.elements().zip(0u32..) {
            let head_start = self.heads.len();
            let mut row = Row {
                plan: &plan,
                values: &values,
                out: &mut self.heads,
                starts: &mut self.starts,
                scratch: &mut self.scratch,
                made: &mut self.made,
            };
            let made = row.exploded_columns(explode, element);
            made.map_err(|reject| at(Stage::Encode)(of_element(reject, index)))?;
            let time_ms = row.event_time(record, &self.settings);
            let time_ms = time_ms.map_err(at(Stage::Operate))?;
            row.record_columns(state, record, index)
                .map_err(at(Stage::Encode))?;
            row.quality_columns(&self.judged);
            let profile = match of_record {
                Some(profile) => profile,
                None => {
                    let has_key = row.lookup_key().map_err(at(Stage::Encode))?;
                    match &mut self.profiles {
                        Some(profiles) if has_key => profiles.note(&self.scratch),
                        _ => Profile::Defaults,
                    }
                }
            };
            of_record = Some(profile);
            self.unjudged.push(Unjudged {
                time_ms,
                session: SessionEvent::default(),
                makes_row: true,
            });
            self.rows.push(PendingRow {
                head: (head_start, self.heads.len()),
                session: None,
                profile,
            });
            if rows_bytes(self.rows.len() - rows, self.heads.len() - first) > BYTES_MAX {
                let detail = format!("its elements make more than {BYTES_MAX} bytes of rows");
                return Err(at(Stage::Encode)(Reject::new(Reason::TooLarge, detail)).into());
            }
        }
        Ok(())
    }
}

/// A refusal that says which element it is about.
#[cold]
fn of_element(reject: Reject, index: u32) -> Reject {
    let detail = format!("{} (element {index})", reject.detail);
    Reject::new(reject.reason, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_columns_take_room_too() {
        assert_eq!(rows_bytes(0, 7), 7);
        assert!(rows_bytes(BYTES_MAX / 64, 0) > BYTES_MAX);
        assert_eq!(rows_bytes(usize::MAX, 1), usize::MAX);
    }
}
