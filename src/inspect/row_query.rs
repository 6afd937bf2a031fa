//! Rows that were made here, as a query that a server reads them from. Nothing is written.

use std::fmt::Write as _;

use crate::pipeline::judging::Rows;
use crate::sink::{quote_name, quote_text};

/// Rows in one statement.
const ROWS_MAX: usize = 100;
/// Digits of rows in one statement, two for each byte.
const DIGITS_MAX: usize = 120_000;

/// `SELECT * FROM format(…)` of the rows, the first ones where they are many.
pub(super) fn as_query(rows: &Rows) -> String {
    let columns = rows.columns.iter();
    let columns = columns.map(|(name, type_name)| format!("{} {type_name}", quote_name(name)));
    let columns = quote_text(&columns.collect::<Vec<_>>().join(", "));
    let mut hex = String::new();
    for row in rows.rows.iter().take(ROWS_MAX) {
        if hex.len() + row.len() * 2 > DIGITS_MAX && !hex.is_empty() {
            break;
        }
        for byte in row {
            write!(hex, "{byte:02x}").expect("writing to a string succeeds");
        }
    }
    let format = match rows.has_default_flags {
        true => "RowBinaryWithDefaults",
        false => "RowBinary",
    };
    format!("SELECT * FROM format({format}, {columns}, unhex('{hex}'))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_digits_behind_their_columns() {
        let rows = Rows {
            columns: vec![("a`b".to_owned(), "Enum8('x' = 1)".to_owned())],
            key_len: 0,
            has_default_flags: false,
            rows: vec![vec![1], vec![255]],
        };
        let expected =
            "SELECT * FROM format(RowBinary, '`a\\\\`b` Enum8(\\'x\\' = 1)', unhex('01ff'))";
        assert_eq!(as_query(&rows), expected);
    }
}
