//! As much of HTTP/1.1 as the ClickHouse front and the fault proxy speak: requests with their
//! query parameters, bodies with a length or in chunks, whole responses.

use std::io::{self, BufRead, Read, Write};
use std::time::Duration;

use percent_encoding::percent_decode_str;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const LINE_BYTES_MAX: u64 = 1 << 20;
const HEADERS_MAX: usize = 200;

/// Whether a GET of `url` is answered with success, and soon.
pub(crate) fn answers(url: &str) -> bool {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_TIMEOUT))
        .build();
    ureq::Agent::new_with_config(config).get(url).call().is_ok()
}

/// The head of a request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query as sent.
    pub(crate) target: String,
    pub(crate) path: String,
    /// Query parameters, decoded, in order.
    pub(crate) parameters: Vec<(String, String)>,
    headers: Headers,
}

impl Request {
    /// Reads the next head; `None` when the client has hung up in between.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(invalid(format!("not a request line: {line:?}")));
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(Some(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            path: path.to_owned(),
            parameters: parse_query(query),
            headers: Headers::read(reader)?,
        }))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers.0
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body that follows the head. It must be read to its end before the next request.
    pub(crate) fn body<R: BufRead>(&self, reader: R) -> io::Result<Body<R>> {
        Body::after(&self.headers, reader, 0)
    }
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

#[derive(Debug, Clone, Default)]
struct Headers(Vec<(String, String)>);

impl Headers {
    fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let mut headers = Vec::new();
        loop {
            let line = read_line(reader)?;
            let line = line.trim_end();
            if line.is_empty() {
                return Ok(Self(headers));
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(invalid(format!("not a header: {line:?}")));
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            if headers.len() > HEADERS_MAX {
                return Err(invalid(format!("more than {HEADERS_MAX} headers")));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads a line with its end; empty only at the end of the stream.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.take(LINE_BYTES_MAX).read_line(&mut line)?;
    if !line.is_empty() && !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A message body. Where the stream ends before the body does, reading fails with
/// `UnexpectedEof`: a cut body never looks like a short one.
#[derive(Debug)]
pub(crate) struct Body<R> {
    reader: R,
    framing: Framing,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    /// Bytes left of a body of known length.
    Length(u64),
    /// Bytes left of the current chunk.
    Chunk(u64),
    Done,
}

impl<R: BufRead> Body<R> {
    fn after(headers: &Headers, reader: R, length_default: u64) -> io::Result<Self> {
        let chunked = headers
            .get("transfer-encoding")
            .is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
        let framing = match headers.get("content-length") {
            _ if chunked => Framing::Chunk(0),
            Some(text) => Framing::Length(
                text.parse()
                    .map_err(|_| invalid(format!("not a content-length: {text:?}")))?,
            ),
            None => Framing::Length(length_default),
        };
        let mut body = Self { reader, framing };
        if chunked {
            body.next_chunk()?;
        }
        Ok(body)
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let line = read_line(&mut self.reader)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let digits = line.trim().split(';').next().unwrap_or_default();
        let bytes = u64::from_str_radix(digits, 16)
            .map_err(|_| invalid(format!("not a chunk size: {line:?}")))?;
        self.framing = Framing::Chunk(bytes);
        if bytes == 0 {
            Headers::read(&mut self.reader)?;
            self.framing = Framing::Done;
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        let mut line_end = [0; 2];
        self.reader.read_exact(&mut line_end)?;
        self.next_chunk()
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = match self.framing {
            Framing::Done | Framing::Length(0) => return Ok(0),
            Framing::Length(left) | Framing::Chunk(left) => left,
        };
        let wanted = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.reader.read(&mut out[..wanted])?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = left - read as u64;
        match self.framing {
            Framing::Length(_) => self.framing = Framing::Length(left),
            Framing::Chunk(_) if left == 0 => self.end_chunk()?,
            Framing::Chunk(_) | Framing::Done => self.framing = Framing::Chunk(left),
        }
        Ok(read)
    }
}

/// A whole response.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Reads a response to its end: by its length, its chunks, or the end of the connection.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let line = read_line(reader)?;
        let status = line
            .split_whitespace()
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut headers = Headers::read(reader)?;
        let mut body = Vec::new();
        let framed = ["content-length", "transfer-encoding"]
            .iter()
            .any(|n| headers.get(n).is_some());
        if framed {
            Body::after(&headers, &mut *reader, 0)?.read_to_end(&mut body)?;
        } else {
            reader.read_to_end(&mut body)?;
        }
        headers.0.retain(|(name, _)| {
            !matches!(
                name.as_str(),
                "content-length" | "transfer-encoding" | "connection"
            )
        });
        Ok(Self {
            status,
            headers: headers.0,
            body,
        })
    }

    pub(crate) fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        writer.write_all(&bytes)?;
        writer.flush()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> (Request, io::Result<Vec<u8>>) {
        let mut reader = text.as_bytes();
        let request = Request::read(&mut reader).unwrap().unwrap();
        let mut bytes = Vec::new();
        let read = request
            .body(&mut reader)
            .and_then(|mut body| body.read_to_end(&mut bytes))
            .map(|_| bytes);
        (request, read)
    }

    #[test]
    fn query_parameters_are_decoded() {
        let (request, _) = request("POST /?a=1&query=INSERT+INTO%20t HTTP/1.1\r\n\r\n");
        assert_eq!(request.parameter("query"), Some("INSERT INTO t"));
        assert_eq!(request.path, "/");
    }

    #[test]
    fn chunks_are_joined() {
        let (_, body) = request(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        );
        assert_eq!(body.unwrap(), b"abcde");
    }

    #[test]
    fn a_cut_body_is_an_error_in_either_framing() {
        let (_, body) = request("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc");
        assert_eq!(body.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (_, body) =
            request("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        assert_eq!(body.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
