//! `[schema_registry]`: where the schemas of records are asked for.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::quantity::Span;
use super::secret::{has_control_characters, has_credentials};
use super::section::Section;
use super::tls_files::read_file;
use super::tree::Value;
use super::value::{Kind, OneOrMore, Text, text_of};

/// `[schema_registry]`, for a pipeline overridden key by key by `[pipeline.schema_registry]`.
#[derive(Debug, Clone)]
pub struct SchemaRegistry {
    /// Servers of one registry, `http://` or `https://`, at least one, with their path and without a slash
    /// at the end.
    pub urls: Vec<String>,
    /// Who asks, with basic authentication; empty: nobody.
    pub user: String,
    /// May be empty.
    pub password: SecretString,
    /// In place of user and password: a bearer token.
    pub token: Option<SecretString>,
    /// Certificates in PEM that the server's is to be signed by; none: the machine's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate in PEM, where the server wants one.
    pub cert_file: Option<PathBuf>,
    /// Its key in PEM.
    pub key_file: Option<PathBuf>,
    /// How long what was found counts, 1 s to 365 days.
    pub cache_ttl: Duration,
    /// How long one request may take, 10 ms to 60 s.
    pub timeout: Duration,
}

struct RegistryUrl;

impl Kind for RegistryUrl {
    type Out = String;

    fn allowed(&self) -> String {
        "an address such as \"http://localhost:8081\" or \"https://host/apis/ccompat/v7\", without user, \
         password and query"
            .to_owned()
    }

    fn read(&self, value: &Value) -> Option<String> {
        let text = text_of(value)?;
        let url = url::Url::parse(text).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        let is_bare = url.query().is_none() && url.fragment().is_none() && !has_credentials(text);
        let has_space = text.contains(|c: char| c.is_whitespace() || c.is_control());
        (is_http && is_bare && !has_space).then(|| text.trim_end_matches('/').to_owned())
    }

    fn canonical(&self, out: &String) -> String {
        out.clone()
    }
}

const USER: Text = Text {
    allowed: "the name of a user without ':' and control characters, or \"\" for none",
    check: |text| !text.contains(|c: char| c == ':' || c.is_control()),
};

impl SchemaRegistry {
    /// Reads the section; `None` where nothing of it is written.
    pub(super) fn read(mut section: Section<'_>, is_needed: bool) -> Option<SchemaRegistry> {
        let is_written = !section.keys().is_empty();
        if !is_written && !is_needed {
            // So that the keys are known.
            section.finish();
            return None;
        }
        let urls = section.take("url", OneOrMore(RegistryUrl));
        if urls.is_none() && is_written && !section.was_written("url") {
            section.problem("url", "is required: the address of the schema registry");
        }
        let registry = SchemaRegistry {
            urls: urls.unwrap_or_default(),
            user: section.take_or("user", USER, String::new()),
            password: section.take_secret("password").unwrap_or_default(),
            token: section.take_secret("token"),
            ca_file: read_file(&mut section, "ca_file"),
            cert_file: read_file(&mut section, "cert_file"),
            key_file: read_file(&mut section, "key_file"),
            cache_ttl: section.take_or(
                "cache_ttl",
                Span::secs(1, 365 * 86_400),
                Duration::from_secs(3600),
            ),
            timeout: section.take_or("timeout", Span::millis(10, 60_000), Duration::from_secs(5)),
        };
        registry.check(&section);
        section.finish();
        (!registry.urls.is_empty()).then_some(registry)
    }

    fn check(&self, section: &Section<'_>) {
        if self.token.is_some() && !self.user.is_empty() {
            section.problem(
                "token",
                "cannot be set together with user: keep one of them",
            );
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            let (missing, present) = match self.cert_file {
                Some(_) => ("key_file", "cert_file"),
                None => ("cert_file", "key_file"),
            };
            section.problem(missing, format!("is required together with {present}"));
        }
        for (key, secret) in [
            ("password", Some(&self.password)),
            ("token", self.token.as_ref()),
        ] {
            if secret.is_some_and(has_control_characters) {
                let message = "must not hold control characters, such as line breaks: it travels in a header \
                               (not shown: it is a secret)";
                section.problem(&section.written_secret(key), message);
            }
        }
    }
}
