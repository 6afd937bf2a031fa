//! The file of `map_file`: CSV (RFC 4180) with the header `from,to`.

use std::collections::HashMap;
use std::path::Path;

use crate::config::value::Text;

/// Largest file.
const BYTES_MAX: u64 = 64 << 20;

pub(super) const NAME: Text = Text {
    allowed: "the path of a file, not empty",
    check: |text| !text.is_empty() && !text.contains('\0'),
};

/// What becomes of which text.
///
/// # Errors
/// A file that cannot be read, or is none of this form.
pub(super) fn read(path: &Path) -> Result<HashMap<Box<str>, Box<str>>, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .len();
    if size > BYTES_MAX {
        return Err(format!("it has {size} bytes, more than {BYTES_MAX}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    entries(&text)
}

fn entries(text: &str) -> Result<HashMap<Box<str>, Box<str>>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Lines {
        rest: text,
        line: 0,
    };
    match lines.next() {
        Some(Ok((1, header))) if header == ["from", "to"] => {}
        _ => return Err("its first line is not from,to".to_owned()),
    }
    let mut entries = HashMap::new();
    for line in lines {
        let (number, fields) = line?;
        let [from, to] = <[String; 2]>::try_from(fields)
            .map_err(|fields| format!("line {number} has {} fields, not 2", fields.len()))?;
        if entries.insert(from.clone().into(), to.into()).is_some() {
            return Err(format!("line {number} has {from:?} again"));
        }
    }
    Ok(entries)
}

/// The lines that are not empty, each with its number.
struct Lines<'t> {
    rest: &'t str,
    line: usize,
}

impl Iterator for Lines<'_> {
    type Item = Result<(usize, Vec<String>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            self.line += 1;
            match self
                .rest
                .strip_prefix("\r\n")
                .or(self.rest.strip_prefix('\n'))
            {
                Some(rest) => self.rest = rest,
                None => break,
            }
        }
        let number = self.line;
        let mut fields = vec![];
        loop {
            let (field, rest) = match self.rest.strip_prefix('"') {
                Some(quoted) => match self.quoted(quoted) {
                    Some(read) => read,
                    None => {
                        self.rest = "";
                        return Some(Err(format!(
                            "line {number} has a quote that does not close"
                        )));
                    }
                },
                None => {
                    let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
                    let (field, rest) = self.rest.split_at(end);
                    let is_last = !rest.starts_with(',');
                    let field = if is_last {
                        field.strip_suffix('\r').unwrap_or(field)
                    } else {
                        field
                    };
                    (field.to_owned(), rest)
                }
            };
            fields.push(field);
            let rest = rest
                .strip_prefix('\r')
                .filter(|rest| rest.starts_with('\n'))
                .unwrap_or(rest);
            match rest.as_bytes().first() {
                Some(b',') => self.rest = &rest[1..],
                Some(b'\n') => {
                    self.rest = &rest[1..];
                    return Some(Ok((number, fields)));
                }
                None => {
                    self.rest = "";
                    return Some(Ok((number, fields)));
                }
                Some(_) => {
                    self.rest = "";
                    return Some(Err(format!(
                        "line {number} has text behind a closing quote"
                    )));
                }
            }
        }
    }
}

impl<'t> Lines<'t> {
    /// A field behind its opening quote, and the text behind its closing one.
    fn quoted(&mut self, text: &'t str) -> Option<(String, &'t str)> {
        let mut field = String::new();
        let mut rest = text;
        loop {
            let (part, behind) = rest.split_once('"')?;
            self.line += part.matches('\n').count();
            field.push_str(part);
            match behind.strip_prefix('"') {
                Some(behind) => {
                    field.push('"');
                    rest = behind;
                }
                None => return Some((field, behind)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(text: &str) -> Result<Vec<(String, String)>, String> {
        let mut entries: Vec<(String, String)> = entries(text)?
            .into_iter()
            .map(|(from, to)| (from.into(), to.into()))
            .collect();
        entries.sort();
        Ok(entries)
    }

    #[test]
    fn a_file_has_a_header_and_two_fields_a_line() {
        let text =
            "\u{feff}from,to\r\nUK,GB\r\n\r\n\"a,\"\"b\"\"\",\"line\nbreak\"\r\n,empty\nlast,";
        let pairs = [
            ("", "empty"),
            ("UK", "GB"),
            ("a,\"b\"", "line\nbreak"),
            ("last", ""),
        ];
        let pairs = pairs.map(|(from, to)| (from.to_owned(), to.to_owned()));
        assert_eq!(sorted(text), Ok(pairs.to_vec()));
        for (text, why) in [
            ("", "its first line is not from,to"),
            ("to,from\na,b", "its first line is not from,to"),
            ("from,to\na", "line 2 has 1 fields, not 2"),
            ("from,to\na,b,c", "line 2 has 3 fields, not 2"),
            ("from,to\na,b\na,c", "line 3 has \"a\" again"),
            ("from,to\n\"a,b", "line 2 has a quote that does not close"),
            (
                "from,to\n\"a\"x,b",
                "line 2 has text behind a closing quote",
            ),
        ] {
            assert_eq!(sorted(text), Err(why.to_owned()), "{text:?}");
        }
    }
}
