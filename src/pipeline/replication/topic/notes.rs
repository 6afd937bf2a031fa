//! Columns that are filled from the record around the row.

use super::super::replica::Replica;
use crate::debezium::has_block;
use crate::decode::json::{Plan, Scanned, Scanner};
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
        let probes = || ["schema", "payload"].map(Path::field);
        let bare: Vec<Path> = paths().cloned().chain(probes()).collect();
        let in_block: Vec<Path> = paths().map(in_payload).chain(probes()).collect();
        (!replica.notes.is_empty()).then(|| Notes {
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
        // A flattened row may begin so too, and another converter than Connect's may write a block otherwise.
        let is_likely = value.is_some_and(|value| value.starts_with(br#"{"schema":"#));
        let (likely, other) = if is_likely {
            (&mut self.in_block, &mut self.bare)
        } else {
            (&mut self.bare, &mut self.in_block)
        };
        let is_nothing = value.is_none_or(|value| value.trim_ascii() == b"null");
        if is_nothing {
            for note in &replica.notes {
                note.column.column().column_type.encode_null_or_zero(out);
            }
            return Ok(());
        }
        let count = replica.notes.len();
        let (scanned, is_in_block) = scan(likely, value, count)?;
        let (scanner, scanned) = if is_in_block == is_likely {
            (likely, scanned)
        } else {
            let (scanned, _) = scan(other, value, count)?;
            (other, scanned)
        };
        let fields = scanner.fields(scanned);
        for note in &replica.notes {
            note.column.encode(&fields, out, false)?;
        }
        Ok(())
    }
}

/// Scans a record, and tells whether it has a schema block by what stands behind the `count` columns.
fn scan<'a>(
    scanner: &mut Scanner,
    value: Option<&'a [u8]>,
    count: usize,
) -> Result<(Scanned<'a>, bool), Reject> {
    let scanned = scanner.read(value)?;
    let fields = scanner.fields(scanned);
    let (schema, payload) = (fields.get(count), fields.get(count + 1));
    Ok((scanned, has_block(schema, payload, fields.whole())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Kind};
    use crate::sink::{ColumnInfo, TableInfo};

    fn replica() -> Replica {
        let text = "[[pipeline]]\nname = \"p\"\nkind = \"cdc\"\ntopics = [\"shop.t\"]\ngroup_id = \"g\"\n\
                    [pipeline.columns]\nat = \"$.__source_ts_ms\"\n";
        let loaded = Config::parse(text, "config.toml", std::path::Path::new("."), []);
        let mut config = loaded.expect("a configuration").config;
        let Kind::Cdc(cdc) = config.pipelines.remove(0).kind else {
            panic!("changes")
        };
        let column = |(name, type_name): (&str, &str)| ColumnInfo {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            default_kind: String::new(),
        };
        let columns = [
            ("id", "Int32"),
            ("schema", "String"),
            ("at", "Nullable(UInt8)"),
            ("_version", "UInt64"),
            ("_deleted", "UInt8"),
        ];
        let info = TableInfo {
            engine: "ReplacingMergeTree".to_owned(),
            engine_full: "ReplacingMergeTree(_version, _deleted) ORDER BY id".to_owned(),
            sorting_key: "id".to_owned(),
            partition_key: String::new(),
            columns: columns.map(column).to_vec(),
            metadata_version: 0,
            has_tokens: false,
        };
        let key = ["id".to_owned()];
        Replica::new("d.t", "`d`.`t`", &info, &key, &cdc, "shop.t", |_| true).expect("a replica")
    }

    #[test]
    fn a_column_from_around_the_row_is_found_whatever_the_record_begins_with() {
        let replica = replica();
        let mut notes = Notes::new(&replica).expect("a column");
        for (value, expected) in [
            (r#"{"id":1,"schema":"a","__source_ts_ms":7}"#, &[0, 7][..]),
            (r#"{"schema":"a","id":1,"__source_ts_ms":7}"#, &[0, 7]),
            (
                r#"{"schema":null,"payload":null,"id":1,"__source_ts_ms":7}"#,
                &[0, 7],
            ),
            (
                r#"{"schema":{"type":"struct"},"payload":{"id":1,"__source_ts_ms":7}}"#,
                &[0, 7],
            ),
            (
                r#"{"payload":{"id":1,"__source_ts_ms":7},"schema":{"type":"struct"}}"#,
                &[0, 7],
            ),
            (r#"{"schema":null,"payload":{"id":1}}"#, &[1]),
        ] {
            let mut out = vec![];
            let appended = notes.append(Some(value.as_bytes()), &replica, &mut out);
            assert_eq!((appended, &out[..]), (Ok(()), expected), "{value}");
        }
    }
}
