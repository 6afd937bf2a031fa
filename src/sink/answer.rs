//! What counts as an answer of ClickHouse, and what only looks like one.
//!
//! A status of 200 proves little: the server sends it before it has done the work, and puts the
//! exception of a later failure into the body; a proxy answers what it likes. An acknowledgement has
//! an empty body, a result has the form that was asked for, and once this cluster was seen to sign its
//! answers (`X-ClickHouse-…`, which some proxies strip) an answer without a signature is none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use clickhouse::Client;
use clickhouse::error::Error;

const TEXT_BYTES_MAX: usize = 4_096;

/// Whether a server signs its answers, as far as is known. Some fronts sign those to inserts alone.
#[derive(Debug, Default)]
pub(super) struct Signature {
    of_reads: AtomicBool,
    of_inserts: AtomicBool,
}

impl Signature {
    /// Notes an answer to a read; whether it can be one.
    pub(super) fn accepts_read(&self, is_signed: bool) -> bool {
        self.of_reads.fetch_or(is_signed, Ordering::Relaxed);
        is_signed || !self.of_reads.load(Ordering::Relaxed)
    }

    /// The same of an insert, whose answer says nothing else.
    fn accepts_insert(&self, is_signed: bool) -> bool {
        self.of_inserts.fetch_or(is_signed, Ordering::Relaxed);
        let signs = [&self.of_inserts, &self.of_reads];
        is_signed || !signs.iter().any(|signs| signs.load(Ordering::Relaxed))
    }

    fn missing() -> Error {
        Error::Other(
            "200 without any X-ClickHouse header, which this server's answers have: something in between \
             answered in its place"
                .into(),
        )
    }
}

/// Runs a statement; what it returns, in `format`.
pub(super) async fn ask(
    client: &Client,
    signature: &Signature,
    sql: &str,
    format: &str,
    timeout: Duration,
) -> Result<Bytes, Error> {
    let mut cursor = client.query_raw(sql).fetch_bytes(format)?;
    let collected = tokio::time::timeout(timeout, cursor.collect()).await;
    let bytes = collected.map_err(|_| Error::TimedOut)??;
    if let Some(other) = something_else(&bytes) {
        return Err(Error::Other(other.into()));
    }
    if !signature.accepts_read(cursor.summary().is_some()) {
        return Err(Signature::missing());
    }
    Ok(bytes)
}

/// Hands what a statement returns to `each`, in `format`, piece by piece, each of which may take `patience`.
/// False from `each` ends it; returns whether all was read.
pub(super) async fn pieces(
    client: &Client,
    signature: &Signature,
    sql: &str,
    format: &str,
    patience: Duration,
    each: &mut impl FnMut(&[u8]) -> bool,
) -> Result<bool, Error> {
    let mut cursor = client.query_raw(sql).fetch_bytes(format)?;
    let mut is_first = true;
    loop {
        let next = tokio::time::timeout(patience, cursor.next()).await;
        let piece = next.map_err(|_| Error::TimedOut)??;
        let Some(piece) = piece else { break };
        if std::mem::take(&mut is_first)
            && let Some(other) = something_else(&piece)
        {
            return Err(Error::Other(other.into()));
        }
        if !each(&piece) {
            return Ok(false);
        }
    }
    match signature.accepts_read(cursor.summary().is_some()) {
        true => Ok(true),
        false => Err(Signature::missing()),
    }
}

/// Whether an insert is acknowledged.
pub(super) fn acknowledgement(
    signature: &Signature,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Error> {
    let code = headers
        .get("X-ClickHouse-Exception-Code")
        .and_then(|value| value.to_str().ok());
    let text = text(body);
    if status != StatusCode::OK || code.is_some() {
        let whole = match code {
            Some(code) if !text.contains("Code: ") => format!("Code: {code}. {text}"),
            _ if text.is_empty() => status.to_string(),
            _ if !text.contains("Code: ") => format!("{status}: {text}"),
            _ => text,
        };
        return Err(Error::BadResponse(whole));
    }
    if !body.is_empty() {
        // No fault of the rows: whatever it says, they may be stored.
        let whole = format!("200 with a body, which no insert has: {text}");
        return Err(Error::Other(whole.into()));
    }
    let is_signed = headers
        .keys()
        .any(|name| name.as_str().starts_with("x-clickhouse-"));
    if signature.accepts_insert(is_signed) {
        Ok(())
    } else {
        Err(Signature::missing())
    }
}

/// The offsets of a row of `groupArray(toUInt64(…)), 'end'` in RowBinary; `None` for anything else, and
/// for a part of it.
pub(super) fn offsets(mut bytes: &[u8]) -> Option<Vec<i64>> {
    let mut count: u64 = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        count |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let length = usize::try_from(count).ok()?.checked_mul(8)?;
    let (offsets, end) = bytes.split_at_checked(length)?;
    let offset = |b: &[u8]| i64::from_le_bytes(b.try_into().expect("chunks of eight"));
    (end == b"\x03end").then(|| offsets.chunks_exact(8).map(offset).collect())
}

/// A result that is an exception, or the page of a proxy.
fn something_else(body: &[u8]) -> Option<String> {
    let head = text(&body[..body.len().min(TEXT_BYTES_MAX)]);
    let lower = head.to_ascii_lowercase();
    let digits = lower.strip_prefix("code: ");
    let is_exception = digits.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        && lower.contains("exception");
    let is_page = lower.starts_with("<html") || lower.starts_with("<!doctype");
    (is_exception || is_page).then(|| format!("200 with something else than a result: {head}"))
}

fn text(body: &[u8]) -> String {
    let body = &body[..body.len().min(TEXT_BYTES_MAX)];
    String::from_utf8_lossy(body).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::errors::{InsertError, Remedy};
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &str)], body: &str) -> Result<(), Remedy> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let signature = Signature::default();
        assert!(signature.accepts_read(true));
        acknowledgement(&signature, status, &map, body.as_bytes())
            .map_err(|error| InsertError::from(error).remedy)
    }

    #[test]
    fn only_an_empty_and_signed_200_acknowledges_an_insert() {
        let summary = ("x-clickhouse-summary", "{}");
        let code = ("x-clickhouse-exception-code", "241");
        assert_eq!(judged(200, &[summary], ""), Ok(()));
        let tagged = "\r\n__exception__\r\ntag\r\nCode: 241. DB::Exception: Memory\n27 tag\r\n__exception__\r\n";
        let cases: [(u16, &[_], &str, Remedy); 11] = [
            (
                200,
                &[],
                "Code: 241. DB::Exception: Memory limit\n",
                Remedy::Retry("memory"),
            ),
            (200, &[summary], tagged, Remedy::Retry("memory")),
            (200, &[summary, code], "", Remedy::Retry("memory")),
            (
                200,
                &[summary],
                "Code: 319. DB::Exception: Unknown status",
                Remedy::Retry("replication"),
            ),
            (200, &[], "", Remedy::Retry("network")),
            (
                200,
                &[summary],
                "<html>welcome</html>",
                Remedy::Retry("network"),
            ),
            (
                500,
                &[summary],
                "Code: 241. DB::Exception: Memory",
                Remedy::Retry("memory"),
            ),
            (500, &[code], "", Remedy::Retry("memory")),
            (204, &[summary], "", Remedy::Retry("bad_response")),
            (
                503,
                &[],
                "upstream connect error or disconnect/reset before headers",
                Remedy::Retry("bad_response"),
            ),
            (
                302,
                &[],
                "<html>log in</html>",
                Remedy::Retry("bad_response"),
            ),
        ];
        for (status, headers, body, remedy) in cases {
            assert_eq!(
                judged(status, headers, body),
                Err(remedy),
                "{status} {headers:?} {body}"
            );
        }
    }

    #[test]
    fn answers_need_a_signature_once_one_was_seen() {
        let accepts = |signed: &[&str]| {
            let signature = Signature::default();
            for kind in signed {
                let accepted = match *kind {
                    "read" => signature.accepts_read(true),
                    _ => signature.accepts_insert(true),
                };
                assert!(accepted);
            }
            (
                signature.accepts_read(false),
                signature.accepts_insert(false),
            )
        };
        // A proxy may strip all of them.
        assert_eq!(accepts(&[]), (true, true));
        assert_eq!(accepts(&["insert"]), (true, false));
        assert_eq!(accepts(&["read"]), (false, false));
        assert_eq!(accepts(&["read", "insert"]), (false, false));
    }

    #[test]
    fn a_look_is_read_only_when_it_is_whole() {
        let looked = |offsets: &[u64]| {
            let mut bytes = vec![];
            let mut count = offsets.len();
            while count > 0x7f {
                bytes.push(u8::try_from(count & 0x7f).unwrap() | 0x80);
                count >>= 7;
            }
            bytes.push(u8::try_from(count).unwrap());
            bytes.extend(offsets.iter().flat_map(|o| o.to_le_bytes()));
            bytes.extend(b"\x03end");
            bytes
        };
        assert_eq!(offsets(&looked(&[])), Some(vec![]));
        assert_eq!(offsets(&looked(&[7, 9])), Some(vec![7, 9]));
        let many: Vec<u64> = (0..300).collect();
        let whole = looked(&many);
        assert_eq!(offsets(&whole).unwrap().len(), 300);
        for length in 0..whole.len() {
            assert_eq!(offsets(&whole[..length]), None, "{length} bytes");
        }
        for other in [
            "<html><title>Sign in</title></html>",
            "Code: 241. DB::Exception: x",
            "\n",
        ] {
            assert_eq!(offsets(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn pages_and_exceptions_are_no_results() {
        for other in [
            "Code: 241. DB::Exception: Memory limit",
            "<html>",
            "\n<!DOCTYPE html>",
        ] {
            assert!(something_else(other.as_bytes()).is_some(), "{other}");
        }
        for result in ["", "1\n", "{\"name\":\"Code: 1\"}", "Code: none"] {
            assert_eq!(something_else(result.as_bytes()), None, "{result}");
        }
    }
}
