//! One request and its response.

use std::io::{self, Read, Write};
use std::time::Instant;

use super::engine::{Answer, Connection, Engine};
use super::frames::{FrameReader, compress};
use super::statement::{StreamedInsert, multipart_fields};
use crate::http::{Request, Response};

const PIECE_BYTES: usize = 256 << 10;

/// Query parameters that steer the request; all others are settings.
const NOT_SETTINGS: &[&str] = &[
    "query",
    "database",
    "default_format",
    "compress",
    "decompress",
    "user",
    "password",
    "role",
    "query_id",
    "session_id",
    "session_check",
    "session_timeout",
    "wait_end_of_query",
    "buffer_size",
    "quota_key",
    "stacktrace",
];

/// Why a request has no result.
enum Failure {
    /// The client is gone or its body is cut: nobody is left to answer.
    Client(io::Error),
    /// The engine's message, `Code: N. DB::Exception: …`.
    Statement(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Statement(error.to_string()),
            _ => Self::Client(error),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Statement(message)
    }
}

pub(super) struct Exchange<'r> {
    engine: &'r Engine,
    request: &'r Request,
    started: Instant,
}

impl<'r> Exchange<'r> {
    pub(super) fn new(engine: &'r Engine, request: &'r Request) -> Self {
        Self {
            engine,
            request,
            started: Instant::now(),
        }
    }

    /// Runs the request's statement.
    ///
    /// # Errors
    /// When the client is gone; what an insert had sent until then is dropped.
    pub(super) fn answer(&self, body: &mut impl Read) -> io::Result<Response> {
        match self.run(body) {
            Ok(answer) => self.success(answer),
            Err(Failure::Statement(message)) => Ok(failure(&message)),
            Err(Failure::Client(error)) => Err(error),
        }
    }

    fn run(&self, body: &mut impl Read) -> Result<Answer, Failure> {
        let connection = self.engine.connect()?;
        self.prepare(&connection)?;
        let mut body = self.decoded(body)?;
        let in_url = self.request.parameter("query").unwrap_or_default();
        if let Some(insert) = StreamedInsert::parse(in_url.as_bytes()) {
            return stream(&connection, insert, &mut body);
        }
        let mut text = Vec::new();
        if in_url.is_empty() {
            let limit = self.statement_bytes_max();
            body.by_ref().take(limit + 1).read_to_end(&mut text)?;
            if let Some(insert) = StreamedInsert::parse(&text) {
                return stream(&connection, insert, &mut body);
            }
            if text.len() as u64 > limit {
                return Err(Failure::Statement(format!(
                    "Code: 62. DB::Exception: Syntax error: failed at position {limit}: Max query size exceeded"
                )));
            }
        }
        body.read_to_end(&mut text)?;
        let mut parameters = self.parameters();
        let sql = match self
            .request
            .header("content-type")
            .and_then(multipart_boundary)
        {
            Some(boundary) => {
                let (sql, more) = from_multipart(&text, boundary);
                parameters.extend(more);
                sql
            }
            None => [in_url.as_bytes(), &text].concat(),
        };
        if let Some(insert) = StreamedInsert::parse(&sql) {
            return stream(&connection, insert, &mut io::empty());
        }
        Ok(connection.query(&sql, self.format(), &parameters)?)
    }

    /// Chooses the database and the settings of the request's session.
    fn prepare(&self, connection: &Connection<'_>) -> Result<(), String> {
        let database = self
            .request
            .parameter("database")
            .or(self.request.header("x-clickhouse-database"));
        if let Some(database) = database.filter(|name| !name.is_empty()) {
            connection.query(
                format!("USE {}", quoted(database, '`')).as_bytes(),
                "Null",
                &[],
            )?;
        }
        let settings: Vec<String> = self
            .request
            .parameters
            .iter()
            .filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str()))
            .filter(|(name, _)| !name.starts_with("param_"))
            .map(|(name, value)| format!("{} = {}", quoted(name, '`'), quoted(value, '\'')))
            .collect();
        if !settings.is_empty() {
            let statement = format!("SET {}", settings.join(", "));
            connection.query(statement.as_bytes(), "Null", &[])?;
        }
        Ok(())
    }

    /// The body as the statement reads it: after Content-Encoding and `decompress=1`.
    fn decoded<'b>(&self, body: &'b mut impl Read) -> Result<Box<dyn Read + 'b>, Failure> {
        let transferred: Box<dyn Read> = match self.request.header("content-encoding") {
            None | Some("identity") => Box::new(body),
            Some("lz4") => Box::new(lz4_flex::frame::FrameDecoder::new(body)),
            Some(other) => {
                return Err(Failure::Statement(format!(
                    "Code: 89. DB::Exception: the sandbox reads no Content-Encoding {other}"
                )));
            }
        };
        Ok(match self.request.parameter("decompress") {
            Some("1") => Box::new(FrameReader::new(transferred)),
            _ => transferred,
        })
    }

    /// How much of a body the server reads as statement, where the address has none.
    fn statement_bytes_max(&self) -> u64 {
        let mut settings = self.request.parameters.iter().rev();
        let asked = settings.find(|(name, _)| name == "max_query_size");
        asked
            .and_then(|(_, bytes)| bytes.parse().ok())
            .unwrap_or(262_144)
    }

    fn parameters(&self) -> Vec<(String, String)> {
        let all = self.request.parameters.iter();
        all.filter_map(|(name, value)| {
            Some((name.strip_prefix("param_")?.to_owned(), value.clone()))
        })
        .collect()
    }

    fn format(&self) -> &str {
        let asked = self.request.parameter("default_format");
        asked
            .or(self.request.header("x-clickhouse-format"))
            .unwrap_or("TabSeparated")
    }

    fn success(&self, answer: Answer) -> io::Result<Response> {
        let summary = format!(
            "{{\"read_rows\":\"{}\",\"written_rows\":\"{}\",\"elapsed_ns\":\"{}\"}}",
            answer.rows_read,
            answer.rows_written,
            self.started.elapsed().as_nanos()
        );
        let (encoding, output) = self.encoded(answer.output)?;
        let mut response = Response::new(200, output)
            .with_header("X-ClickHouse-Summary", summary)
            .with_header("X-ClickHouse-Format", self.format())
            .with_header("X-ClickHouse-Timezone", "UTC");
        if let Some(encoding) = encoding {
            response = response.with_header("Content-Encoding", encoding);
        }
        Ok(response)
    }

    /// The output as the client asked for it, with the Content-Encoding if there is one.
    fn encoded(&self, output: Vec<u8>) -> io::Result<(Option<&'static str>, Vec<u8>)> {
        if self.request.parameter("compress") == Some("1") {
            return Ok((None, compress(&output)));
        }
        let accepted = self.request.header("accept-encoding").unwrap_or_default();
        if output.is_empty() || !accepted.split(',').any(|name| name.trim() == "lz4") {
            return Ok((None, output));
        }
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(&output)?;
        let encoded = encoder.finish().map_err(io::Error::other)?;
        Ok((Some("lz4"), encoded))
    }
}

/// Feeds the rows to the engine as they arrive. Every early return cancels the insert.
fn stream(
    connection: &Connection<'_>,
    statement: StreamedInsert,
    body: &mut dyn Read,
) -> Result<Answer, Failure> {
    let mut insert = connection.insert(&statement.head, &statement.format)?;
    if !statement.inline_data.is_empty() {
        insert.append(&statement.inline_data)?;
    }
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match body.read(&mut piece)? {
            0 => return Ok(insert.finish()?),
            count => insert.append(&piece[..count])?,
        }
    }
}

fn multipart_boundary(content_type: &str) -> Option<&str> {
    let rest = content_type.strip_prefix("multipart/form-data")?;
    Some(rest.split_once("boundary=")?.1.trim_matches('"'))
}

/// Statement and parameters of a form.
fn from_multipart(body: &[u8], boundary: &str) -> (Vec<u8>, Vec<(String, String)>) {
    let mut sql = Vec::new();
    let mut parameters = Vec::new();
    for (name, value) in multipart_fields(&String::from_utf8_lossy(body), boundary) {
        if name == "query" {
            sql = value.into_bytes();
        } else if let Some(name) = name.strip_prefix("param_") {
            parameters.push((name.to_owned(), value));
        }
    }
    (sql, parameters)
}

fn quoted(text: &str, quote: char) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace(quote, &format!("\\{quote}"));
    format!("{quote}{escaped}{quote}")
}

fn failure(message: &str) -> Response {
    let code = exception_code(message);
    let status = match code {
        16 | 46 | 47 | 60 | 81 => 404,
        497 | 516 => 403,
        6 | 26 | 27 | 32 | 33 | 36 | 38 | 40 | 41 | 53 | 62 | 69 | 72 | 89 | 115 | 117 => 400,
        202 => 503,
        _ => 500,
    };
    Response::new(status, message).with_header("X-ClickHouse-Exception-Code", code.to_string())
}

fn exception_code(message: &str) -> u32 {
    const UNKNOWN_EXCEPTION: u32 = 1002;
    let digits = message.split_once("Code: ").map_or("", |(_, rest)| rest);
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(UNKNOWN_EXCEPTION)
}
