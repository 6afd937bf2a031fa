//! `[clickhouse]`: the cluster that is written to, and how an insert is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use super::quantity::Span;
use super::secret::{has_control_characters, has_credentials, redacted};
use super::section::Section;
use super::tls_files::TlsFiles;
use super::tree::Value;
use super::value::{Boolean, Choice, Kind, List, Scalar, Text, text_of};

/// `[clickhouse]`, for a pipeline overridden key by key by `[pipeline.clickhouse]`.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    /// The replicas of one cluster, `http://` or `https://`, at least one, without a slash at the
    /// end and without credentials.
    pub urls: Vec<String>,
    /// The database of the pipeline's table.
    pub database: String,
    /// Who writes.
    pub user: String,
    /// May be empty.
    pub password: SecretString,
    /// Sent with every insert; none of those exactly-once pins.
    pub settings: BTreeMap<String, String>,
    /// For `https://`.
    pub tls: TlsFiles,
    /// How long after the commit that names a range its insert may be sent, 1 s to 5 min.
    pub insert_lease: Duration,
    /// Whether tables that we make are replicated; `None`: where the server has the macro `replica`.
    pub replicated: Option<bool>,
    /// How the columns of an insert are compressed on their way.
    pub compression: InsertCompression,
    /// Ceiling for one insert: `max_execution_time` and the HTTP timeout, 1 s to 10 min.
    pub insert_timeout: Duration,
}

/// How inserts are compressed on their way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InsertCompression {
    /// Little work for a third to a fifth of the bytes.
    #[default]
    Lz4,
    /// Fewer bytes for more work.
    Zstd,
    /// No work.
    None,
}

/// An HTTP address, without the credentials that `user` and `password` are for.
struct HttpUrl;

impl Kind for HttpUrl {
    type Out = String;

    fn allowed(&self) -> String {
        "an address such as \"http://localhost:8123\" or \"https://host:8443\", without user, \
         password (set clickhouse.user and clickhouse.password) and query"
            .to_owned()
    }

    fn read(&self, value: &Value) -> Option<String> {
        let text = text_of(value)?;
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))?;
        let authority = rest.split('/').next().unwrap_or_default();
        let port_ok = match authority.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => {
                port.parse::<u16>().is_ok_and(|port| port > 0)
            }
            _ => true,
        };
        let legal =
            !text.contains(|c: char| c.is_whitespace() || c.is_control() || "?#".contains(c));
        let host_ok = !authority.is_empty() && !authority.starts_with(':');
        (host_ok && port_ok && legal && !has_credentials(text))
            .then(|| text.trim_end_matches('/').to_owned())
    }

    fn canonical(&self, out: &String) -> String {
        redacted(out)
    }
}

/// Databases, tables and columns: quoted with backticks, so almost anything goes.
pub(super) fn is_identifier(text: &str) -> bool {
    let legal = |c: char| !c.is_control() && c != '`' && c != '\\';
    (1..=200).contains(&text.len()) && text.chars().all(legal)
}

const DATABASE: Text = Text {
    allowed: "the name of a database, 1 to 200 bytes without backticks, backslashes, dots and \
              control characters",
    check: |text| is_identifier(text) && !text.contains('.'),
};

pub(super) const TABLE: Text = Text {
    allowed: "the name of a table, 1 to 200 bytes without backticks, backslashes, control \
              characters and dots (the database is clickhouse.database)",
    check: |text| is_identifier(text) && !text.contains('.'),
};

const USER: Text = Text {
    allowed: "the name of a user, not empty, without control characters",
    check: |text| !text.is_empty() && !text.chars().any(char::is_control),
};

impl ClickHouse {
    /// So long after the commit that names a range an insert of it may be running.
    #[must_use]
    pub fn insert_span(&self) -> Duration {
        self.insert_lease + self.insert_timeout
    }

    /// Reads the keys of this section and leaves the others.
    pub(super) fn read(section: &mut Section<'_>) -> ClickHouse {
        let mut settings = BTreeMap::new();
        let mut written = section.section("settings");
        for key in written.keys() {
            if let Some(value) = read_setting(&mut written, &key) {
                settings.insert(key, value);
            }
        }
        let thirty_seconds = Duration::from_secs(30);
        ClickHouse {
            urls: read_urls(section),
            tls: TlsFiles::read(section),
            database: section.take_or("database", DATABASE, "analytics".to_owned()),
            user: section.take_or("user", USER, "default".to_owned()),
            password: read_password(section),
            settings,
            insert_lease: section.take_or("insert_lease", Span::secs(1, 300), thirty_seconds),
            replicated: section.take("replicated", Boolean),
            compression: section.take_or("compression", compressions(), InsertCompression::Lz4),
            insert_timeout: section.take_or("insert_timeout", Span::secs(1, 600), thirty_seconds),
        }
    }
}

fn compressions() -> Choice<InsertCompression> {
    Choice(&[
        ("lz4", InsertCompression::Lz4),
        ("zstd", InsertCompression::Zstd),
        ("none", InsertCompression::None),
    ])
}

fn read_password(section: &mut Section<'_>) -> SecretString {
    let password = section.take_secret("password").unwrap_or_default();
    if has_control_characters(&password) {
        section.problem(
            &section.written_secret("password"),
            "must not hold control characters, such as line breaks: it travels in a header (not \
             shown: it is a secret)",
        );
    }
    password
}

fn read_urls(section: &mut Section<'_>) -> Vec<String> {
    if section.has("url") && section.has("urls") {
        section.problem("urls", "cannot be set together with url: keep one of them");
    }
    let url = section.take("url", HttpUrl);
    let urls = section.take(
        "urls",
        List {
            of: HttpUrl,
            may_be_empty: false,
        },
    );
    let urls = match (url, urls) {
        (_, Some(urls)) => urls,
        (Some(url), None) => vec![url],
        (None, None) => vec!["http://localhost:8123".to_owned()],
    };
    section.record("urls", format!("[{}]", urls.join(", ")));
    section.forget("url");
    urls
}

fn read_setting(section: &mut Section<'_>, key: &str) -> Option<String> {
    if let Some(reason) = why_refused(key) {
        section.take_node(key);
        section.problem(key, format!("cannot be set here: {reason}"));
        return None;
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !key.bytes().all(legal) {
        section.take_node(key);
        section.problem(
            key,
            "must be the name of a ClickHouse setting: letters, digits and '_'",
        );
        return None;
    }
    let is_boolean = section
        .peek(key)
        .is_some_and(|value| matches!(value, Value::Boolean(_)));
    if is_boolean {
        return section
            .take(key, Boolean)
            .map(|on| u8::from(on).to_string());
    }
    section.take(key, Scalar)
}

/// The settings that are the daemon's own, with the reason.
fn why_refused(key: &str) -> Option<&'static str> {
    Some(match key {
        key if key.starts_with("async_insert") => {
            "an insert is acknowledged when it is written; the daemon batches itself"
        }
        "wait_for_async_insert" | "wait_for_async_insert_timeout" => {
            "an insert is acknowledged when it is written; the daemon batches itself"
        }
        "insert_deduplicate"
        | "deduplicate_insert"
        | "insert_deduplication_token"
        | "deduplicate_blocks_in_dependent_materialized_views" => {
            "exactly-once names every insert and needs the server to recognise it"
        }
        "max_insert_block_size"
        | "min_insert_block_size_rows"
        | "min_insert_block_size_bytes"
        | "max_insert_block_size_bytes"
        | "max_insert_threads"
        | "input_format_parallel_parsing"
        | "max_partitions_per_insert_block" => {
            "a batch must stay one block to be deduplicated whole"
        }
        "input_format_with_names_use_header"
        | "input_format_with_types_use_header"
        | "input_format_binary_decode_types_in_binary_format"
        | "input_format_skip_unknown_fields"
        | "input_format_defaults_for_omitted_fields"
        | "input_format_binary_read_json_as_string"
        | "input_format_try_infer_dates"
        | "input_format_try_infer_datetimes"
        | "input_format_allow_errors_num"
        | "input_format_allow_errors_ratio" => {
            "rows state their columns and types, and the server must take each row as it is"
        }
        "max_execution_time" => "set clickhouse.insert_timeout",
        "insert_distributed_sync" | "distributed_foreground_insert" => {
            "an insert is acknowledged when it is written"
        }
        "timeout_overflow_mode" => "an insert that takes too long must fail as a whole",
        "database" => "set clickhouse.database",
        "user" | "password" => "set clickhouse.user and clickhouse.password",
        "query"
        | "query_id"
        | "session_id"
        | "session_check"
        | "session_timeout"
        | "compress"
        | "decompress"
        | "enable_http_compression"
        | "default_format"
        | "wait_end_of_query" => "the daemon forms the request itself",
        "readonly" => "the daemon writes",
        _ => return None,
    })
}
