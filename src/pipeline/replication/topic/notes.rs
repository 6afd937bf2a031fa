//! Columns that are filled from the record around the row.

use super::super::replica::Replica;
use crate::decode::json::{Plan, Scanner};
use crate::decode::{Path, Reject};

/// Reads the columns filled from the record around the row, with and without a schema block.
#[derive(Debug)]
pub(super) struct Notes {
    bare: Scanner,
    in_block: Scanner,
}

impl Notes {
    pub(super) fn new(replica: &Replica) -> Option<Notes> {
        let paths = || replica.notes.iter().map(|note| &note.path);
        let in_payload = |path: &Path| {
            let payload = Path::field("payload");
            path.names().fold(payload, |path, name| path.member(name))
        };
        let bare: Vec<Path> = paths().cloned().collect();
        let in_block: Vec<Path> = paths().map(in_payload).collect();
        (!bare.is_empty()).then(|| Notes {
            bare: Scanner::new(Plan::new(&bare)),
            in_block: Scanner::new(Plan::new(&in_block)),
        })
    }

    pub(super) fn append(
        &mut self,
        value: Option<&[u8]>,
        replica: &Replica,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let is_in_block = value.is_some_and(|value| value.starts_with(br#"{"schema":"#));
        let scanner = if is_in_block {
            &mut self.in_block
        } else {
            &mut self.bare
        };
        let is_nothing = value.is_none_or(|value| value.trim_ascii() == b"null");
        if is_nothing {
            for note in &replica.notes {
                note.column.column().column_type.encode_null_or_zero(out);
            }
            return Ok(());
        }
        let scanned = scanner.read(value)?;
        let fields = scanner.fields(scanned);
        for note in &replica.notes {
            note.column.encode(&fields, out, false)?;
        }
        Ok(())
    }
}
