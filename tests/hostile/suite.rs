//! The JSON Parsing Test Suite (nst/JSONTestSuite) and what is made of it here.
//!
//! The files lie in `tests/material/json`: `y_*` must be accepted, `n_*` refused; of `i_*`, which a
//! parser may treat either way, this file says what we do.

use std::fs;
use std::path::PathBuf;

/// `i_*` files that are not UTF-8.
const NOT_UTF8: [&str; 13] = [
    "i_string_UTF-16LE_with_BOM",
    "i_string_UTF-8_invalid_sequence",
    "i_string_UTF8_surrogate_U+D800",
    "i_string_invalid_utf-8",
    "i_string_iso_latin_1",
    "i_string_lone_utf8_continuation_byte",
    "i_string_not_in_unicode_range",
    "i_string_overlong_sequence_2_bytes",
    "i_string_overlong_sequence_6_bytes",
    "i_string_overlong_sequence_6_bytes_null",
    "i_string_truncated-utf-8",
    "i_string_utf16BE_no_BOM",
    "i_string_utf16LE_no_BOM",
];

/// One file.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// Where the content stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is the record.
    Record,
    /// It is the value of a member.
    Member,
}

/// All files, by name.
pub(crate) fn files() -> Vec<File> {
    let directory =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/material/json/test_parsing");
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| {
        panic!(
            "the JSON Parsing Test Suite belongs in {}: {error}",
            directory.display()
        )
    });
    let mut files: Vec<File> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let content = fs::read(path).unwrap();
            File { name, content }
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

impl File {
    /// Why there is no JSON value in this place; `None` where there is one.
    pub(crate) fn fault(&self, place: Place) -> Option<&'static str> {
        match self.name.as_str() {
            "n_structure_100000_opening_arrays"
            | "n_structure_open_array_object"
            | "i_structure_500_nested_arrays" => Some("too_deep"),
            // A byte order mark may lead a record; inside one it is no white space.
            "i_structure_UTF-8_BOM_empty_object" => {
                (place == Place::Member).then_some("invalid_json")
            }
            name if name.starts_with("n_") || NOT_UTF8.contains(&name) => Some("invalid_json"),
            _ => None,
        }
    }

    /// The content without white space around it.
    pub(crate) fn value(&self) -> &[u8] {
        self.content.trim_ascii()
    }

    /// Whether the content, if it is JSON, is an object.
    pub(crate) fn is_object(&self) -> bool {
        let unmarked = self.content.strip_prefix(b"\xef\xbb\xbf");
        unmarked
            .unwrap_or(&self.content)
            .trim_ascii_start()
            .starts_with(b"{")
    }
}
