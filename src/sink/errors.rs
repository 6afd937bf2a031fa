//! What each answer of ClickHouse means for the rows: the one table.
//!
//! Codes are those of `src/Common/ErrorCodes.cpp` in ClickHouse.

use clickhouse::error::Error;

/// The reason to halt when something behind the table fails for the rows that it was given.
pub(crate) const VIEW_FAILED: &str = "view_failed";

/// What to do about a failed insert or query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The world must change, the batch need not: wait and try again. The reason is a metric label.
    Retry(&'static str),
    /// One of the rows cannot be written: split until it stands alone, then dead-letter it.
    Split,
    /// Only an operator can mend it: leave the group, say what to do, touch nothing.
    Halt(&'static str),
}

/// A failed insert or query, with the server's code where it gave one.
#[derive(Debug)]
pub(crate) struct InsertError {
    /// ClickHouse's error code.
    pub(crate) code: Option<u32>,
    /// What was answered, shortened.
    pub(crate) message: String,
    pub(crate) remedy: Remedy,
}

impl std::fmt::Display for InsertError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

const MESSAGE_CHARS_MAX: usize = 600;

impl InsertError {
    /// The rows were refused, and so many of them are in the table: what refuses them is behind it.
    pub(crate) fn although_written(self, rows: usize) -> Self {
        let message = format!(
            "{rows} of the rows are in the table although they are refused: what stands behind it, as a \
             view, fails and lacks them: {}",
            self.message
        );
        InsertError {
            remedy: Remedy::Halt(VIEW_FAILED),
            message,
            ..self
        }
    }
}

/// The view that an insert was pushing rows to when it failed. The table before it may have them.
fn failed_view(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("while pushing to view ")?;
    let ends = [". ", ": ", " ("].iter().filter_map(|end| rest.find(end));
    Some(rest[..ends.min().unwrap_or(rest.len())].trim_end_matches('.'))
}

impl From<Error> for InsertError {
    fn from(error: Error) -> Self {
        let message = full_text(&error);
        let code = code_of(&message);
        let view = failed_view(&message);
        let remedy = match (&error, code) {
            (_, Some(code)) => match remedy_of(code, &message) {
                Remedy::Retry(reason) if view.is_none() || reason != "server" => {
                    Remedy::Retry(reason)
                }
                _ if view.is_some() => Remedy::Halt(VIEW_FAILED),
                remedy => remedy,
            },
            (Error::TimedOut, _) => Remedy::Retry("timeout"),
            (Error::BadResponse(_), None) => Remedy::Retry("bad_response"),
            _ => Remedy::Retry("network"),
        };
        let message = match view {
            Some(view) => format!(
                "view {view} fails behind the table and lacks rows that the table may have: {message}"
            ),
            None => message,
        };
        InsertError {
            code,
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
            remedy,
        }
    }
}

/// The code in `Code: 252. DB::Exception: …`, wherever it stands in the text.
fn code_of(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once("Code: ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn full_text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn remedy_of(code: u32, message: &str) -> Remedy {
    match code {
        // TOO_MANY_PARTS is about the table, unless it is about this one insert.
        252 if message.contains("single INSERT block") => Remedy::Split,
        252 => Remedy::Retry("too_many_parts"),
        159 | 160 | 209 => Remedy::Retry("timeout"),
        210 | 279 | 32 => Remedy::Retry("network"),
        202 => Remedy::Retry("too_many_queries"),
        241 => Remedy::Retry("memory"),
        242 | 164 => Remedy::Retry("read_only"),
        243 => Remedy::Retry("disk_full"),
        225 | 285 | 286 | 319 | 999 => Remedy::Retry("replication"),
        // A value that the column, a constraint or a view does not take.
        6 | 26 | 27 | 33 | 38 | 41 | 53 | 69 | 70 | 72 | 117 | 128 | 131 | 153 | 321 | 349
        | 395 | 407 | 469 | 691 => Remedy::Split,
        60 | 81 => Remedy::Halt("missing_table"),
        10 | 16 | 20 | 44 | 47 | 50 | 62 | 73 | 115 | 452 => Remedy::Halt("schema"),
        192 | 193 | 194 | 195 | 291 | 497 | 516 => Remedy::Halt("authentication"),
        // Retrying what we do not know never loses a row, and the log says that it happens.
        _ => Remedy::Retry("server"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(text: &str) -> Remedy {
        InsertError::from(Error::BadResponse(text.to_owned())).remedy
    }

    #[test]
    fn each_kind_of_answer_has_one_remedy() {
        let cases = [
            (
                "Code: 241. DB::Exception: Memory limit",
                Remedy::Retry("memory"),
            ),
            (
                "Code: 252. DB::Exception: Too many parts (300)",
                Remedy::Retry("too_many_parts"),
            ),
            (
                "Code: 252. DB::Exception: Too many partitions for single INSERT block",
                Remedy::Split,
            ),
            (
                "Code: 469. DB::Exception: Constraint `c` is violated",
                Remedy::Split,
            ),
            (
                "Code: 60. DB::Exception: Table x does not exist",
                Remedy::Halt("missing_table"),
            ),
            (
                "Code: 516. DB::Exception: Authentication failed",
                Remedy::Halt("authentication"),
            ),
            (
                "Code: 6. DB::Exception: Cannot parse string 'x' as UInt32: while pushing to view d.v.",
                Remedy::Halt(VIEW_FAILED),
            ),
            (
                "Code: 4711. DB::Exception: of tomorrow: while pushing to view d.v (0ce5)",
                Remedy::Halt(VIEW_FAILED),
            ),
            (
                "Code: 241. DB::Exception: Memory limit: while pushing to view d.v.",
                Remedy::Retry("memory"),
            ),
            (
                "Code: 319. DB::Exception: Unknown status of part all_4_4_0",
                Remedy::Retry("replication"),
            ),
            (
                "Code: 4711. DB::Exception: of tomorrow",
                Remedy::Retry("server"),
            ),
            (
                "<html>502 Bad Gateway</html>",
                Remedy::Retry("bad_response"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(remedy(text), expected, "{text}");
        }
        assert_eq!(
            InsertError::from(Error::TimedOut).remedy,
            Remedy::Retry("timeout")
        );
    }

    #[test]
    fn a_view_that_fails_is_named_however_long_the_message_is() {
        let text = format!(
            "Code: 6. DB::Exception: {}: while pushing to view analytics.per_minute. (CANNOT_PARSE_TEXT)",
            "x".repeat(2_000)
        );
        let error = InsertError::from(Error::BadResponse(text));
        assert!(
            error
                .message
                .starts_with("view analytics.per_minute fails behind"),
            "{error}"
        );
        let older = "while pushing to view analytics.`per minute` (6f1c-…)";
        assert_eq!(failed_view(older), Some("analytics.`per minute`"));
        for text in [
            "pushing to view v: more",
            "pushing to view v.",
            "pushing to view v",
        ] {
            assert_eq!(failed_view(&format!("while {text}")), Some("v"), "{text}");
        }
        assert_eq!(failed_view("Code: 6. DB::Exception: no number"), None);
    }

    #[test]
    fn the_code_is_found_inside_a_longer_text() {
        assert_eq!(code_of("bad response: Code: 27. DB::Exception"), Some(27));
        assert_eq!(code_of("connection closed"), None);
    }
}
