//! Names of columns for fields of records, and the paths to these fields: pure.

use std::collections::HashSet;

/// Columns that are filled by what Kafka says of the record, unless they are mapped.
const RESERVED: [&str; 9] = [
    "_topic",
    "_partition",
    "_offset",
    "_index",
    "_key",
    "_timestamp",
    "_timestamp_type",
    "_headers",
    "_value",
];
/// Of a column's name, in bytes: the configuration takes 200.
const NAME_BYTES_MAX: usize = 180;
/// Of a path that the configuration takes, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// Gives each column a name of its own.
#[derive(Debug)]
pub(super) struct Names {
    taken: HashSet<String>,
}

impl Names {
    pub(super) fn new() -> Names {
        Names {
            taken: RESERVED.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// The name of the column for the field that these names lead to; `None` where no path leads to it.
    pub(super) fn of(&mut self, path: &[String]) -> Option<String> {
        if path_of(path).len() > PATH_BYTES_MAX {
            return None;
        }
        let legal = |c: char| match c {
            '.' | '`' | '\\' | '$' => '_',
            c if c.is_control() => '_',
            c => c,
        };
        let mut name: String = path.join("_").chars().map(legal).collect();
        while name.len() > NAME_BYTES_MAX {
            name.pop();
        }
        if name.trim().is_empty() {
            name = "field".to_owned();
        }
        let mut own = name.clone();
        let mut count = 1;
        while self.taken.contains(&own) {
            count += 1;
            own = format!("{name}_{count}");
        }
        self.taken.insert(own.clone());
        Some(own)
    }
}

/// The path as the configuration writes it.
pub(super) fn path_of(path: &[String]) -> String {
    let is_plain = |name: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(legal)
    };
    let step = |name: &String| match is_plain(name) {
        true => format!(".{name}"),
        false => format!(".\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    format!("${}", path.iter().map(step).collect::<String>())
}

/// What is asked for without a path: the field of the column's own name.
pub(super) fn is_found_by_name(column: &str, path: &[String]) -> bool {
    path.len() == 1 && path[0] == column
}

/// A name made of a topic's: of a table, a pipeline and a group.
pub(super) fn name_of(topic: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = topic.chars().map(legal).take(60).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Path;

    #[test]
    fn each_field_has_a_column_of_its_own_and_a_path_that_leads_to_it() {
        let mut names = Names::new();
        for (path, name) in [
            (&["id"][..], "id"),
            (&["user", "id"], "user_id"),
            (&["user_id"], "user_id_2"),
            (&["user.id"], "user_id_3"),
            (&["_offset"], "_offset_2"),
            (&["a b"], "a b"),
            (&["odd`\\$"], "odd___"),
            (&["odd\"\\"], "odd\"_"),
            (&[""], "field"),
            (&["\n"], "_"),
        ] {
            let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(names.of(&path).as_deref(), Some(name), "{path:?}");
            if path[0].is_empty() {
                continue;
            }
            let parsed = Path::parse(&path_of(&path)).unwrap_or_else(|e| panic!("{e}"));
            let read: Vec<&str> = parsed.names().collect();
            assert_eq!(read, path);
        }
        let long = "x".repeat(300);
        assert_eq!(
            names.of(&[long]).map(|name| name.len()),
            Some(NAME_BYTES_MAX)
        );
        assert_eq!(names.of(&["x".repeat(2000)]), None);
        assert_eq!(name_of("1.shop-orders"), "_1_shop_orders");
    }
}
