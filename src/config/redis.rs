//! `[redis]`: where profiles are looked up.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::quantity::Span;
use super::secret::{has_credentials, redacted};
use super::section::Section;
use super::tls_files::TlsFiles;
use super::tree::Value;
use super::value::{Boolean, Kind, List, Text, text_of};

/// `[redis]`, for a pipeline overridden key by key by `[pipeline.redis]`.
#[derive(Debug, Clone)]
pub struct Redis {
    /// `redis://`, `rediss://` or `unix://`; may hold credentials, so it is a secret (see
    /// [`super::redacted`]).
    pub url: SecretString,
    /// More nodes of the cluster, or more sentinels, without credentials.
    pub other_urls: Vec<String>,
    /// Who asks; empty: the default user, or the one of `url`.
    pub user: String,
    /// For a server that wants one; not set when `url` has credentials.
    pub password: Option<SecretString>,
    /// What the addresses are.
    pub form: RedisForm,
    /// For `rediss://`.
    pub tls: TlsFiles,
    /// How long one request may take, 10 ms to 60 s.
    pub timeout: Duration,
}

/// What stands behind the addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisForm {
    /// One server that has every key, or, which shows with its first answer, one node of a cluster.
    Server,
    /// Nodes of a cluster, of which each has a part of the keys.
    Cluster,
    /// Sentinels, which know where the master of this name is.
    Sentinel { master: String },
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

const USER: Text = Text {
    allowed: "the name of a user without control characters, or \"\" for the default user",
    check: |text| !text.contains(char::is_control),
};

const MASTER: Text = Text {
    allowed: "the name of a master that the sentinels watch, such as \"mymaster\"",
    check: |text| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()),
};

impl Redis {
    pub(super) fn read(mut section: Section<'_>) -> Redis {
        let (url, other_urls) = read_urls(&mut section);
        let password = section.take_secret("password");
        let user = section.take("user", USER).unwrap_or_default();
        // Those in the address of a sentinel are the sentinel's own.
        let written = [("password", password.is_some()), ("user", !user.is_empty())];
        let also = written.iter().find(|(_, is_written)| *is_written);
        if let Some((key, _)) = also
            && has_credentials(&url)
            && !section.has("sentinel")
        {
            let why = format!("must not hold credentials when redis.{key} is set as well");
            section.problem("url", why);
        }
        let form = read_form(&mut section, &url, !other_urls.is_empty());
        let redis = Redis {
            url: SecretString::from(url),
            other_urls,
            user,
            password,
            form,
            tls: TlsFiles::read(&mut section),
            timeout: section.take_or("timeout", Span::millis(10, 60_000), Duration::from_secs(1)),
        };
        section.finish();
        redis
    }

    /// The addresses, for people: without credentials.
    #[must_use]
    pub fn label(&self) -> String {
        let first = redacted(self.url.expose_secret());
        let all = std::iter::once(first).chain(self.other_urls.iter().cloned());
        all.collect::<Vec<_>>().join(", ")
    }
}

/// The first address, and those behind it.
fn read_urls(section: &mut Section<'_>) -> (String, Vec<String>) {
    if section.has("url") && section.has("urls") {
        section.problem("urls", "cannot be set together with url: keep one of them");
    }
    let urls = section.take(
        "urls",
        List {
            of: RedisUrl,
            may_be_empty: false,
        },
    );
    let Some(urls) = urls else {
        let url = section.take_or("url", RedisUrl, "redis://localhost:6379".to_owned());
        return (url, vec![]);
    };
    section.take("url", RedisUrl);
    if urls.iter().any(|url| has_credentials(url)) {
        let advice = "must not hold credentials: set redis.user and redis.password";
        section.problem("urls", advice);
    }
    let mut urls = urls.into_iter();
    (urls.next().unwrap_or_default(), urls.collect())
}

fn read_form(section: &mut Section<'_>, url: &str, has_several: bool) -> RedisForm {
    let is_cluster = section.take("cluster", Boolean).unwrap_or(false);
    let master = section.take("sentinel", MASTER);
    if is_cluster && master.is_some() {
        let why =
            "cannot be set together with cluster: sentinels watch servers that have every key";
        section.problem("sentinel", why);
    }
    let is_socket = !url.starts_with("redis://") && !url.starts_with("rediss://");
    if is_socket && (is_cluster || master.is_some()) {
        let key = if is_cluster { "cluster" } else { "sentinel" };
        section.problem(
            key,
            "needs addresses redis://host:port or rediss://host:port",
        );
    }
    match master {
        Some(master) => RedisForm::Sentinel { master },
        None if is_cluster => RedisForm::Cluster,
        None => {
            if has_several {
                let why = "names several servers: set cluster = true where they are nodes of a cluster, or \
                           sentinel to the name of the master where they are sentinels";
                section.problem("urls", why);
            }
            RedisForm::Server
        }
    }
}
