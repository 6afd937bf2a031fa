//! What each answer of ClickHouse means for the rows: the one table.
//!
//! Codes are those of `src/Common/ErrorCodes.cpp` in ClickHouse.

use clickhouse::error::Error;

use super::server_settings::is_of_later_versions;
use crate::causes::with_causes;

/// The reason to halt when something behind the table fails for the rows that it was given.
pub(crate) const VIEW_FAILED: &str = "view_failed";

/// The reason to halt when a proxy finds the address of a statement too long.
pub(crate) const ADDRESS_FAILED: &str = "address_too_long";

/// What to do about a failed insert or query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The world must change, the batch need not: wait and try again. The reason is a metric label.
    Retry(&'static str),
    /// One of the rows cannot be written: split until it stands alone, then dead-letter it.
    Split,
    /// Something between us and the server takes no request as large: split. See [`super::refusals`].
    TooLarge,
    /// An answer that this table does not know. It is tried again a few times; if the server answers
    /// otherwise meanwhile, the rows are split. See [`super::refusals`].
    Unclassified,
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
    /// A server that is behind the others.
    pub(super) fn behind(message: String) -> Self {
        InsertError {
            code: None,
            message,
            remedy: Remedy::Retry("replication"),
        }
    }

    /// Nothing was sent to the server.
    pub(super) fn not_sent(message: String) -> Self {
        InsertError {
            code: None,
            message,
            remedy: Remedy::Retry("interrupted"),
        }
    }

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
        let message = with_causes(&error);
        let code = code_of(&message);
        let view = failed_view(&message);
        let remedy = match (&error, code) {
            (_, Some(code)) => match remedy_of(code, &message) {
                Remedy::Retry(reason) => Remedy::Retry(reason),
                _ if view.is_some() => Remedy::Halt(VIEW_FAILED),
                remedy => remedy,
            },
            (Error::TimedOut, _) => Remedy::Retry("timeout"),
            (Error::BadResponse(text), None) => remedy_without_code(text),
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

/// Some other program answered: a proxy, a load balancer, a firewall.
fn remedy_without_code(text: &str) -> Remedy {
    let text = text.to_ascii_lowercase();
    let has_number = |number: &str| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| word == number)
    };
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    let size = [
        "entity too large",
        "payload too large",
        "content too large",
        "body too large",
    ];
    // Settings stand in the address: no row makes it shorter.
    let address = [
        "uri too long",
        "uri too large",
        "header fields too large",
        "header too large",
    ];
    let gateway = [
        "bad gateway",
        "timeout",
        "timed out",
        "unavailable",
        "too many requests",
    ];
    // A success or a redirection that is no answer of ClickHouse says nothing about the rows.
    let status = text.get(..3).and_then(|status| status.parse::<u16>().ok());
    if status.is_some_and(|status| (200..400).contains(&status)) {
        Remedy::Retry("bad_response")
    } else if ["414", "431"].into_iter().any(has_number) || has(&address) {
        Remedy::Halt(ADDRESS_FAILED)
    } else if has_number("413") || has(&size) {
        Remedy::TooLarge
    } else if ["429", "502", "503", "504"].into_iter().any(has_number) || has(&gateway) {
        Remedy::Retry("bad_response")
    } else {
        Remedy::Unclassified
    }
}

fn remedy_of(code: u32, message: &str) -> Remedy {
    match code {
        // TOO_MANY_PARTS is about the table, unless it is about this one insert.
        252 if message.contains("single INSERT block") => Remedy::Split,
        252 | 692 => Remedy::Retry("too_many_parts"),
        159 | 160 | 209 | 718 => Remedy::Retry("timeout"),
        // The server's own connections: sockets, names, other servers. 1000: of the library below it.
        86 | 95 | 96 | 198 | 210 | 279 | 410 | 519 | 1000 => Remedy::Retry("network"),
        202 | 203 | 216 | 364 | 373 | 439 | 700 | 745 => Remedy::Retry("too_many_queries"),
        201 => Remedy::Retry("quota"),
        173 | 241 => Remedy::Retry("memory"),
        242 => Remedy::Retry("read_only"),
        74 | 75 | 76 | 204 | 214 | 243 | 425 | 499 | 533 | 534 | 693 | 707 => {
            Remedy::Retry("disk_full")
        }
        225 | 244 | 254 | 265 | 285 | 286 | 289 | 319 | 369 | 416 | 529 | 659 | 999 => {
            Remedy::Retry("replication")
        }
        // The server stops, starts, or does something else to the table at this moment.
        236 | 335 | 341 | 384 | 394 | 473 | 517 | 677 | 696 | 733 | 734 | 735 | 738 => {
            Remedy::Retry("interrupted")
        }
        156 | 281 | 510 => Remedy::Retry("dictionary"),
        // Limits of the user's profile on one statement.
        158 | 307 | 396 => Remedy::TooLarge,
        // The names and types that the rows state are not those of the table.
        53 | 117 if is_about_columns(message) => Remedy::Halt("schema"),
        // The end of a text inside an expression; else of the request itself, which ends where it should.
        32 | 33 if is_about_the_body(message) => Remedy::Unclassified,
        32 if is_about_a_value(message) => Remedy::Split,
        // A value that the column, a constraint, an expression or a view does not take: CANNOT_PARSE_…,
        // …_OUT_OF_BOUND, sizes that do not match, overflows, throwIf.
        6 | 11 | 12 | 13 | 19 | 25 | 26 | 27 | 33 | 38 | 41 | 53 | 69 | 70 | 72 | 117 | 120
        | 125 | 127 | 128 | 130 | 131 | 135 | 153 | 169 | 170 | 190 | 248 | 321 | 346 | 349
        | 366 | 376 | 395 | 407 | 427 | 441 | 467 | 469 | 490 | 621 | 632 | 645 | 675 | 676
        | 691 | 728 => Remedy::Split,
        60 | 81 | 218 => Remedy::Halt("missing_table"),
        // Another version answers behind the address than the one that said what it knows: it is asked anew.
        73 | 115 if is_of_later_versions(message) => Remedy::Retry("interrupted"),
        8 | 10 | 16 | 20 | 44 | 46 | 47 | 50 | 62 | 73 | 115 | 452 => Remedy::Halt("schema"),
        // READONLY is about the user; a replica that is read-only for now says 242.
        164 | 192 | 193 | 194 | 195 | 291 | 497 | 516 | 720 => Remedy::Halt("authentication"),
        _ => Remedy::Unclassified,
    }
}

/// Whether the text is about what stands in front of the rows: their columns' names and types.
fn is_about_columns(message: &str) -> bool {
    let of_rows = message.contains("Type of '") || message.contains("Unknown field found");
    let of_block =
        message.contains("Cannot convert: ") || message.contains("Unknown column with name");
    of_rows || of_block && message.contains("Native")
}

/// Whether what could not be read is the request's own body: it was cut short, or is not what it says.
fn is_about_the_body(message: &str) -> bool {
    message.contains("BinaryRowInputFormat") || message.contains("hile executing Native")
}

/// Whether the text names an expression that was being computed, or a text that was being read.
fn is_about_a_value(message: &str) -> bool {
    let signs = [
        "while converting",
        "while executing",
        "while parsing",
        "cannot parse",
    ];
    let message = message.to_ascii_lowercase();
    signs.iter().any(|sign| message.contains(sign))
}

impl InsertError {
    /// Whether a replica could not finish the insert: a part that it shows may still be dropped, and one
    /// that it does not show may still come.
    pub(super) fn is_unfinished(&self) -> bool {
        matches!(self.code, Some(319 | 999))
    }

    /// Whether the insert may be running on for all that this says: no answer, that of a gateway, or that of a
    /// replica which could not finish it. Any other answer of the server's ends it, and what a proxy refuses (4xx)
    /// it has not passed on.
    pub(super) fn may_run_on(&self) -> bool {
        if self.is_unfinished() {
            return true;
        }
        // With several servers the address that was asked stands before it.
        let text = self.message.split_once("bad response: ");
        let status = text.map_or(&self.message[..], |(_, text)| text).get(..3);
        let status = status.and_then(|status| status.parse::<u16>().ok());
        let is_passed_on = status.is_none_or(|s| !(400..500).contains(&s) || s == 408 || s == 499);
        self.code.is_none() && is_passed_on
    }

    /// Whether fewer rows in one statement may succeed where these cannot: a limit of its own memory or time.
    pub(super) fn is_of_one_statement(&self) -> bool {
        let is_over_memory = self.code == Some(241)
            && (self.message.contains("(for query)") || self.message.contains("Query memory"));
        is_over_memory || self.is_over_time()
    }

    /// Whether the statement ran longer than `max_execution_time`, which also happens while a server is slow. Other
    /// waits of the server's end with the same code.
    pub(super) fn is_over_time(&self) -> bool {
        self.code == Some(159) && self.message.contains("Timeout exceeded: elapsed")
    }
}

#[cfg(test)]
mod tests;
