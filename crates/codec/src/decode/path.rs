//! Where a value lies in a record: `$.page.url`.

use std::fmt;

/// Longest path: more steps than this is a mistake, and it bounds the scanner's recursion.
const STEPS_MAX: usize = 32;

// Objects on the way to a path's end are within the depth that every record may have.
const _: () = assert!(STEPS_MAX < super::json::DEPTH_MAX);

/// Names of members from the top-level object down, and what to do behind the first array on the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    names: Vec<Box<str>>,
    steps: Vec<Step>,
}

/// A step from a value to one in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The member of this name.
    Member(Box<str>),
    /// The element of this number, from 0 on.
    Element(usize),
    /// Every element.
    All,
}

/// A text that is no path, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "path {text:?} {why}; a path is \"$.name.name\", \"$.\\\"quoted.name\\\"\" or \"$.list[0].name\" with [0] \
     or [*] for elements, or \"$\" for the whole record"
)]
pub struct PathError {
    text: String,
    why: &'static str,
}

impl Path {
    /// Reads `$.a.b`, `$."a.b"`, `$.a[0].b`, `$.a[*].b`, or `$` for the record itself. Names are compared
    /// with member names after unescaping; in quotes a backslash stands before a quote or a backslash.
    ///
    /// # Errors
    /// Anything else, and more than 32 steps.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        let refuse = |why| PathError {
            text: text.to_owned(),
            why,
        };
        let mut rest = text
            .strip_prefix('$')
            .ok_or_else(|| refuse("does not start with $"))?;
        let mut path = Path::whole();
        while !rest.is_empty() {
            let (step, behind) = step(rest).map_err(refuse)?;
            match step {
                Step::Member(name) if path.steps.is_empty() => path.names.push(name),
                _ if path.names.is_empty() => {
                    return Err(refuse(
                        "begins with an array step, and a record is an object",
                    ));
                }
                step => path.steps.push(step),
            }
            if path.names.len() + path.steps.len() > STEPS_MAX {
                return Err(refuse("has more than 32 steps"));
            }
            rest = behind;
        }
        Ok(path)
    }

    /// `$`: the record itself.
    #[must_use]
    pub fn whole() -> Path {
        Path {
            names: vec![],
            steps: vec![],
        }
    }

    /// Whether this is `$`.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.names.is_empty() && self.steps.is_empty()
    }

    /// `$.name` for the one top-level member of exactly this name, dots and all.
    #[must_use]
    pub fn field(name: &str) -> Path {
        Path {
            names: vec![name.into()],
            steps: vec![],
        }
    }

    /// The member `name` of the object that this path leads to, dots and all.
    ///
    /// # Panics
    /// When the path has 32 names already.
    #[must_use]
    pub fn member(&self, name: &str) -> Path {
        assert!(self.names.len() < STEPS_MAX, "a path has at most 32 steps");
        let mut path = self.clone();
        match path.steps.is_empty() {
            true => path.names.push(name.into()),
            false => path.steps.push(Step::Member(name.into())),
        }
        path
    }

    /// The names from the top-level object down to the first array step; none for the record itself.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The steps from the first array step on.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// The step that a text begins with, and the text behind it.
fn step(text: &str) -> Result<(Step, &str), &'static str> {
    if let Some(rest) = text.strip_prefix(".\"") {
        return quoted_name(rest);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (element, rest) = rest
            .split_once(']')
            .ok_or("has a bracket that does not close")?;
        return match element.parse() {
            _ if element == "*" => Ok((Step::All, rest)),
            Ok(index) if element.len() <= 9 && !element.starts_with('+') => {
                Ok((Step::Element(index), rest))
            }
            _ => Err("has brackets around something else than a number or *"),
        };
    }
    let rest = text.strip_prefix('.').ok_or("has text behind a step")?;
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if name.is_empty() {
        return Err("has an empty name");
    }
    if name.contains(needs_quotes) {
        return Err("has a quote, a star, a bracket, a backslash or a control character in a name");
    }
    Ok((Step::Member(name.into()), rest))
}

fn needs_quotes(c: char) -> bool {
    c.is_control() || matches!(c, '"' | '\'' | '\\' | '*' | ']' | '[' | '.')
}

/// A name in quotes, the first of which is behind us.
fn quoted_name(text: &str) -> Result<(Step, &str), &'static str> {
    let mut name = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next() {
            Some('"') => return Ok((Step::Member(name.into()), chars.as_str())),
            Some('\\') => match chars.next() {
                Some(c @ ('"' | '\\')) => name.push(c),
                _ => {
                    return Err(
                        "has a backslash before something else than a quote or a backslash",
                    );
                }
            },
            Some(c) => name.push(c),
            None => return Err("has a quote that does not close"),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.names.iter().try_for_each(|name| write_name(name, f))?;
        self.steps.iter().try_for_each(|step| match step {
            Step::Member(name) => write_name(name, f),
            Step::Element(index) => write!(f, "[{index}]"),
            Step::All => f.write_str("[*]"),
        })
    }
}

fn write_name(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !name.is_empty() && !name.contains(needs_quotes) {
        return write!(f, ".{name}");
    }
    let name = name.replace('\\', "\\\\").replace('"', "\\\"");
    write!(f, ".\"{name}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back_as_they_were_written() {
        for text in [
            "$",
            "$.a",
            "$.page.url",
            "$.überschrift.a b",
            "$.0",
            "$.a[0]",
            "$.a[*].b[12].\"c.d\"",
            "$.\"a.b\".c",
            "$.\"\\\"\\\\*\"",
            "$.\"\"",
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Path::parse("$.page").unwrap(), Path::field("page"));
        assert_eq!(Path::parse("$.\"a.b\"").unwrap(), Path::field("a.b"));
        let url = Path::field("page").member("url");
        assert_eq!(Path::parse("$.page.url").unwrap(), url);
    }

    #[test]
    fn other_query_languages_are_refused_by_name() {
        for text in [
            "",
            "a",
            "$.",
            "$a",
            "$..a",
            "$.a.",
            "$.a[",
            "$.a[-1]",
            "$.a[+1]",
            "$.a[1]b",
            "$.a[]",
            "$.a[9999999999]",
            "$[0]",
            "$.*",
            "$.\"a",
            "$.\"a\"b",
            "$.\"\\n\"",
            "$['a']",
            "$.a\n",
            "/a",
        ] {
            let error = Path::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        assert!(Path::parse(&format!("${}", ".a".repeat(33))).is_err());
        assert!(Path::parse(&format!("${}", ".a".repeat(32))).is_ok());
    }
}
