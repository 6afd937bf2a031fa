//! Telling an insert whose rows are streamed from every other statement.

/// `INSERT INTO … FORMAT name`, with what follows the name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StreamedInsert {
    /// The statement up to the word FORMAT.
    pub(super) head: String,
    pub(super) format: String,
    pub(super) inline_data: Vec<u8>,
}

impl StreamedInsert {
    /// `None` for any other statement, also for `INSERT … SELECT` and `INSERT … VALUES`, which
    /// the engine runs as they are.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        // Rows behind the statement need not be text.
        let sql = match std::str::from_utf8(text) {
            Ok(sql) => sql,
            Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).ok()?,
        };
        let mut words = Words { sql, position: 0 };
        let (_, first) = words.next()?;
        if !first.eq_ignore_ascii_case("INSERT") {
            return None;
        }
        while let Some((start, word)) = words.next() {
            let is = |name: &str| word.eq_ignore_ascii_case(name);
            if is("SELECT") || is("VALUES") || is("WITH") {
                return None;
            }
            if is("FORMAT") {
                let (name_start, format) = words.next()?;
                return Some(Self {
                    head: sql[..start].to_owned(),
                    format: format.to_owned(),
                    inline_data: rows_after(&text[name_start + format.len()..]).to_vec(),
                });
            }
        }
        None
    }
}

/// The server skips spaces and one end of line after the format's name, and no more: a row may begin
/// with either.
fn rows_after(name: &[u8]) -> &[u8] {
    let blanks = name.iter().take_while(|b| b" \t\x0c".contains(b)).count();
    let rest = &name[blanks..];
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest);
    rest.strip_prefix(b"\n").unwrap_or(rest)
}

/// The bare words of a statement, outside of quotes, comments and parentheses.
struct Words<'s> {
    sql: &'s str,
    position: usize,
}

impl<'s> Iterator for Words<'s> {
    /// Where the word starts, and the word.
    type Item = (usize, &'s str);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.sql.as_bytes();
        let mut depth = 0usize;
        while let Some(&byte) = bytes.get(self.position) {
            let start = self.position;
            match byte {
                b'\'' | b'"' | b'`' => self.skip_quoted(byte),
                b'-' if self.sql[start..].starts_with("--") => self.skip_past("\n"),
                b'/' if self.sql[start..].starts_with("/*") => self.skip_past("*/"),
                b'(' => (depth, self.position) = (depth + 1, start + 1),
                b')' => (depth, self.position) = (depth.saturating_sub(1), start + 1),
                _ if is_word(byte) => {
                    let length = bytes[start..].iter().take_while(|b| is_word(**b)).count();
                    self.position += length;
                    if depth == 0 {
                        return Some((start, &self.sql[start..self.position]));
                    }
                }
                _ => self.position += 1,
            }
        }
        None
    }
}

impl Words<'_> {
    fn skip_quoted(&mut self, quote: u8) {
        let bytes = self.sql.as_bytes();
        self.position += 1;
        while let Some(&byte) = bytes.get(self.position) {
            self.position += if byte == b'\\' { 2 } else { 1 };
            if byte == quote {
                return;
            }
        }
    }

    fn skip_past(&mut self, end: &str) {
        let rest = &self.sql[self.position..];
        self.position += rest.find(end).map_or(rest.len(), |at| at + end.len());
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Names and values of a `multipart/form-data` body.
pub(super) fn multipart_fields(body: &str, boundary: &str) -> Vec<(String, String)> {
    let delimiter = format!("--{boundary}");
    let parts = body
        .split(delimiter.as_str())
        .filter_map(|part| part.split_once("\r\n\r\n"));
    parts
        .filter_map(|(head, value)| {
            let (_, name) = head.split_once("name=\"")?;
            let (name, _) = name.split_once('"')?;
            Some((
                name.to_owned(),
                value.strip_suffix("\r\n").unwrap_or(value).to_owned(),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_with_a_format_is_streamed() {
        let insert =
            StreamedInsert::parse(b"INSERT INTO `a FORMAT b`(x, y) FORMAT RowBinary").unwrap();
        assert_eq!(insert.head, "INSERT INTO `a FORMAT b`(x, y) ");
        assert_eq!(insert.format, "RowBinary");
        assert_eq!(insert.inline_data, b"");
    }

    #[test]
    fn inline_rows_follow_the_format() {
        let sql = b"insert into t settings a='FORMAT' format JSONEachRow\n{\"x\":1}";
        assert_eq!(
            StreamedInsert::parse(sql).unwrap().inline_data,
            b"{\"x\":1}"
        );
        // Ten columns, or a first row that begins with a space.
        for rows in [b"\n\x01a", b" \n\xff", b";\x80 "] {
            let sql = [b"INSERT INTO t FORMAT RowBinary\n", rows.as_slice()].concat();
            assert_eq!(StreamedInsert::parse(&sql).unwrap().inline_data, rows);
        }
    }

    #[test]
    fn other_statements_are_not_streamed() {
        for sql in [
            "SELECT 1 FORMAT JSON",
            "INSERT INTO t SELECT 1 FORMAT Null",
            "INSERT INTO t VALUES ('a FORMAT b')",
            "INSERT INTO t (a) VALUES (1)",
            "",
        ] {
            assert_eq!(StreamedInsert::parse(sql.as_bytes()), None, "{sql}");
        }
    }
}
