//! Where a value lies in a record: `$.page.url`.

use std::fmt;

/// Longest path: more names than this is a mistake, and it bounds the scanner's recursion.
const NAMES_MAX: usize = 32;

// Objects on the way to a path's end are within the depth that every record may have.
const _: () = assert!(NAMES_MAX < super::json::DEPTH_MAX);

/// Names of members from the top-level object down; no array steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    names: Vec<Box<str>>,
}

/// A text that is no path, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "path {text:?} {why}; a path is \"$.name\" or \"$.name.name\", without array steps, or \"$\" for the whole record"
)]
pub struct PathError {
    text: String,
    why: &'static str,
}

impl Path {
    /// Reads `$.a.b`, or `$` for the record itself. Names are taken as they stand, compared with member names after unescaping.
    ///
    /// # Errors
    /// Anything but `$` and then dots and names; brackets, stars, quotes and backslashes in a name;
    /// more than 32 names.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        let refuse = |why| {
            Err(PathError {
                text: text.to_owned(),
                why,
            })
        };
        let Some(rest) = text.strip_prefix('$') else {
            return refuse("does not start with $");
        };
        if rest.contains(['[', ']', '*']) {
            return refuse("has an array step or a wildcard");
        }
        if rest.is_empty() {
            return Ok(Path::whole());
        }
        let Some(rest) = rest.strip_prefix('.') else {
            return refuse("names no member");
        };
        let names: Vec<Box<str>> = rest.split('.').map(Box::from).collect();
        if names.iter().any(|name| name.is_empty()) {
            return refuse("has an empty name");
        }
        if rest.contains(|c: char| c.is_control() || matches!(c, '"' | '\'' | '\\')) {
            return refuse("has a quote, a backslash or a control character in a name");
        }
        if names.len() > NAMES_MAX {
            return refuse("has more than 32 names");
        }
        Ok(Path { names })
    }

    /// `$`: the record itself.
    #[must_use]
    pub fn whole() -> Path {
        Path { names: vec![] }
    }

    /// Whether this is `$`.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.names.is_empty()
    }

    /// `$.name` for the one top-level member of exactly this name, dots and all.
    #[must_use]
    pub fn field(name: &str) -> Path {
        Path {
            names: vec![name.into()],
        }
    }

    /// The member `name` of the object that this path leads to, dots and all.
    ///
    /// # Panics
    /// When the path has 32 names already.
    #[must_use]
    pub fn member(&self, name: &str) -> Path {
        assert!(self.names.len() < NAMES_MAX, "a path has at most 32 names");
        let mut names = self.names.clone();
        names.push(name.into());
        Path { names }
    }

    /// The names from the top-level object down; none for the record itself.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.names.iter().try_for_each(|name| write!(f, ".{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back_as_they_were_written() {
        for text in ["$", "$.a", "$.page.url", "$.überschrift.a b", "$.0"] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Path::parse("$.page").unwrap(), Path::field("page"));
        let url = Path::field("page").member("url");
        assert_eq!(Path::parse("$.page.url").unwrap(), url);
    }

    #[test]
    fn array_steps_and_other_query_languages_are_refused_by_name() {
        for text in [
            "", "a", "$.", "$a", "$..a", "$.a.", "$.a[0]", "$[0]", "$.*", "$.\"a\"", "$['a']",
            "$.a\n", "/a",
        ] {
            let error = Path::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        assert!(Path::parse(&format!("${}", ".a".repeat(33))).is_err());
        assert!(Path::parse(&format!("${}", ".a".repeat(32))).is_ok());
    }
}
