//! `[redis]`: where profiles are looked up.

use std::time::Duration;

use secrecy::SecretString;

use super::quantity::Span;
use super::secret::{has_credentials, redacted};
use super::section::Section;
use super::tree::Value;
use super::value::{Kind, text_of};

/// `[redis]`, for a pipeline overridden key by key by `[pipeline.redis]`.
#[derive(Debug, Clone)]
pub struct Redis {
    /// `redis://`, `rediss://` or `unix://`; may hold credentials, so it is a secret (see
    /// [`super::redacted`]).
    pub url: SecretString,
    /// For a server that wants one; not set when `url` has credentials.
    pub password: Option<SecretString>,
    /// How long one request may take, 10 ms to 60 s.
    pub timeout: Duration,
}

struct RedisUrl;

impl Kind for RedisUrl {
    type Out = String;

    fn allowed(&self) -> String {
        "an address \"redis://host:port\", \"rediss://host:port\" (TLS) or \"unix:///path\""
            .to_owned()
    }

    fn read(&self, value: &Value) -> Option<String> {
        let text = text_of(value)?;
        let (scheme, rest) = text.split_once("://")?;
        let target_ok = match scheme {
            "redis" | "rediss" => {
                let after_user = rest.rsplit('@').next().unwrap_or_default();
                let authority = after_user.split(['/', '?']).next().unwrap_or_default();
                let (host, port) = match authority.rsplit_once(':') {
                    Some((host, port)) if !port.ends_with(']') => (host, port),
                    _ => (authority, "6379"),
                };
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            }
            "unix" | "redis+unix" => rest.starts_with('/'),
            _ => false,
        };
        let legal = !text.contains(|c: char| c.is_whitespace() || c.is_control());
        (target_ok && legal).then(|| text.to_owned())
    }

    fn canonical(&self, out: &String) -> String {
        redacted(out)
    }
}

impl Redis {
    pub(super) fn read(mut section: Section<'_>) -> Redis {
        let url = section.take_or("url", RedisUrl, "redis://localhost:6379".to_owned());
        let password = section.take_secret("password");
        if password.is_some() && has_credentials(&url) {
            section.problem(
                "url",
                "must not hold credentials when redis.password is set as well",
            );
        }
        let redis = Redis {
            url: SecretString::from(url),
            password,
            timeout: section.take_or("timeout", Span::millis(10, 60_000), Duration::from_secs(1)),
        };
        section.finish();
        redis
    }
}
