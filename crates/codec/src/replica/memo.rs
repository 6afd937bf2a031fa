//! What is remembered of a column in its comment, behind whatever else stands there.

use std::fmt;
use std::str::FromStr;

const BEGIN: &str = "[streamweir";
const ADDED: &str = "added=";
const STOPPED: &str = "stopped=";
const RETURNED: &str = "returned";
const CLEARED: &str = "cleared=";

/// What a column's comment says of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ColumnMemo {
    /// The first record with the field, as far as is known: earlier records lack the field because the
    /// source did not have it yet.
    pub added: Option<Since>,
    /// The first record without the field, until records have it again.
    pub stopped: Option<Since>,
    /// The field has come again once. A second time says nothing: records of several shapes may take turns.
    pub returned: bool,
    /// The first record without the field of a column that the source dropped and made anew: values of
    /// earlier records are another column's.
    pub cleared: Option<Since>,
}

/// A record in the order of its partition, and in that of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// Its `_version`, which orders the records of one partition.
    pub version: u64,
    /// When the source had the change, epoch microseconds: it tells records of several partitions apart.
    pub at_us: i64,
}

impl ColumnMemo {
    /// Of a comment; nothing is remembered where it does not say so.
    #[must_use]
    pub fn read(comment: &str) -> ColumnMemo {
        let mut memo = ColumnMemo::default();
        let Some((_, words)) = split(comment) else {
            return memo;
        };
        for word in words.split_ascii_whitespace() {
            if let Some(since) = word.strip_prefix(ADDED) {
                memo.added = since.parse().ok();
            } else if let Some(since) = word.strip_prefix(STOPPED) {
                memo.stopped = since.parse().ok();
            } else if let Some(since) = word.strip_prefix(CLEARED) {
                memo.cleared = since.parse().ok();
            } else if word == RETURNED {
                memo.returned = true;
            }
        }
        memo
    }

    /// The comment with this memo in the place of its old one.
    #[must_use]
    pub fn comment(self, comment: &str) -> String {
        let own = split(comment).map_or(comment, |(own, _)| own.trim_end());
        let added = self.added.map(|since| format!(" {ADDED}{since}"));
        let stopped = self.stopped.map(|since| format!(" {STOPPED}{since}"));
        let returned = self.returned.then(|| format!(" {RETURNED}"));
        let cleared = self.cleared.map(|since| format!(" {CLEARED}{since}"));
        let words = [added, stopped, returned, cleared];
        let words = words.map(Option::unwrap_or_default).concat();
        let space = if own.is_empty() { "" } else { " " };
        match &*words {
            "" => own.to_owned(),
            words => format!("{own}{space}{BEGIN}{words}]"),
        }
    }
}

/// What others wrote, and the words of the memo behind it.
fn split(comment: &str) -> Option<(&str, &str)> {
    let (own, memo) = comment.trim_end().strip_suffix(']')?.rsplit_once(BEGIN)?;
    memo.starts_with(' ').then_some((own, memo))
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.version, self.at_us)
    }
}

impl FromStr for Since {
    type Err = ();

    fn from_str(text: &str) -> Result<Since, ()> {
        let (version, at_us) = text.split_once('/').ok_or(())?;
        Ok(Since {
            version: version.parse().map_err(|_| ())?,
            at_us: at_us.parse().map_err(|_| ())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_stands_behind_what_others_wrote_and_goes_without_a_trace() {
        let since = |version, at_us| Some(Since { version, at_us });
        let memo = ColumnMemo {
            added: since(7, -5),
            stopped: since(u64::MAX, 1_763_719_200_123_456),
            returned: true,
            cleared: since(3, 0),
        };
        for own in ["", "of the shop", "a [b]", "[streamweir"] {
            let comment = memo.comment(own);
            assert_eq!(ColumnMemo::read(&comment), memo, "{comment}");
            let again = ColumnMemo {
                stopped: None,
                ..memo
            };
            let comment = again.comment(&comment);
            assert_eq!(ColumnMemo::read(&comment), again, "{comment}");
            assert_eq!(ColumnMemo::default().comment(&comment), own);
        }
    }

    #[test]
    fn what_is_no_memo_says_nothing() {
        for comment in [
            "",
            "x",
            "[streamweir stopped=x]",
            "[streamweir stopped=7]",
            "[streamweir stopped=7/1",
            "[streamweirs]",
            "a]",
        ] {
            let memo = ColumnMemo::read(comment);
            assert_eq!(memo, ColumnMemo::default(), "{comment}");
        }
    }
}
