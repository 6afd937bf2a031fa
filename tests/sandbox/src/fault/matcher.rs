//! Which requests a fault is for, and what is remembered of each request.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::clickhouse_front::FrameReader;
use crate::http::Request;

/// A request the proxy has taken in.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// The statement: from the URL, else the body, decompressed (the first 64 KiB).
    pub query: String,
    /// `insert_deduplication_token`, where it was set.
    pub token: Option<String>,
    /// All other query parameters.
    pub settings: BTreeMap<String, String>,
    /// Bytes of the request's path and query parameters, as sent.
    pub address_bytes: usize,
    /// Bytes of the body as sent, compressed or not.
    pub body_bytes: usize,
    /// Whether a fault was injected into it.
    pub faulted: bool,
    /// Status of the reply that reached the proxy or was made by it; `None` while it is under way
    /// or when there was none.
    pub status: Option<u16>,
}

impl SeenRequest {
    pub(super) fn new(request: &Request, body: &[u8]) -> Self {
        const QUERY_BYTES_MAX: usize = 64 << 10;
        let mut settings: BTreeMap<String, String> = request.parameters.iter().cloned().collect();
        let is_compressed = settings.get("decompress").is_some_and(|value| value == "1");
        let query = settings.remove("query").unwrap_or_else(|| {
            let mut text = Vec::new();
            let body: Box<dyn std::io::Read> = if is_compressed {
                Box::new(FrameReader::new(body))
            } else {
                Box::new(body)
            };
            // What a damaged body has before the damage is enough.
            let _ = body.take(QUERY_BYTES_MAX as u64).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            query,
            token: settings.remove("insert_deduplication_token"),
            settings,
            address_bytes: request.target.len(),
            body_bytes: body.len(),
            faulted: false,
            status: None,
        }
    }

    /// The offsets at the end of the deduplication token, `…:from-to`.
    pub fn token_range(&self) -> Option<std::ops::Range<i64>> {
        let token = self.token.as_deref()?;
        let (from, to) = token.rsplit(':').find_map(|part| part.split_once('-'))?;
        Some(from.parse().ok()?..to.parse().ok()?)
    }

    /// Whether it is an INSERT.
    pub fn is_insert(&self) -> bool {
        let start = self.query.trim_start().as_bytes();
        start
            .get(..6)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"INSERT"))
    }
}

/// Chooses requests.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    inserts_only: bool,
    query_contains: Option<String>,
    token_contains: Option<String>,
    predicate: Option<fn(&SeenRequest) -> bool>,
    skip: usize,
}

impl Matcher {
    /// Every request, `/ping` included.
    pub fn any() -> Self {
        Self::default()
    }

    /// Every INSERT.
    pub fn inserts() -> Self {
        Self {
            inserts_only: true,
            ..Self::default()
        }
    }

    /// Only statements that contain this text.
    pub fn query_contains(self, text: &str) -> Self {
        Self {
            query_contains: Some(text.to_owned()),
            ..self
        }
    }

    /// Only inserts whose deduplication token contains this text.
    pub fn token_contains(self, text: &str) -> Self {
        Self {
            token_contains: Some(text.to_owned()),
            ..self
        }
    }

    /// Only requests of which this holds.
    pub fn only(self, predicate: fn(&SeenRequest) -> bool) -> Self {
        Self {
            predicate: Some(predicate),
            ..self
        }
    }

    /// Lets the first `count` matching requests pass.
    pub fn after(self, count: usize) -> Self {
        Self {
            skip: count,
            ..self
        }
    }

    /// Whether the request matches; counts those that are let pass.
    pub(super) fn takes(&mut self, request: &SeenRequest) -> bool {
        let contains = |wanted: &Option<String>, text: &str| {
            wanted.as_deref().is_none_or(|wanted| text.contains(wanted))
        };
        let matches = (!self.inserts_only || request.is_insert())
            && contains(&self.query_contains, &request.query)
            && contains(
                &self.token_contains,
                request.token.as_deref().unwrap_or_default(),
            )
            && self.predicate.is_none_or(|holds| holds(request));
        if matches && self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        matches
    }
}
