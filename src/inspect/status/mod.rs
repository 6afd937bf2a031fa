//! `streamweir status`: the state of a running daemon.

mod table;

use std::time::Duration;

use serde_json::Value;

use super::Failure;
use crate::causes::with_causes;
use crate::config::Service;

pub use self::table::{StatusTable, rows};

const TIMEOUT: Duration = Duration::from_secs(10);
const LIST: &str = "/api/v1/streaming";
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the daemon of a configuration answers.
#[must_use]
pub fn address(service: &Service) -> String {
    let listen = service.http_listen.to_string();
    let own = ["0.0.0.0:", "[::]:"];
    let local = own.iter().find_map(|any| listen.strip_prefix(any));
    let address = match local {
        Some(port) => format!("127.0.0.1:{port}"),
        None => listen,
    };
    match service.http_tls {
        Some(_) => format!("https://{address}"),
        None => address,
    }
}

/// Whether a daemon can be asked there at all.
///
/// # Errors
/// It is no address.
pub fn check(url: &str) -> Result<(), Failure> {
    endpoint(url, LIST).map(|_| ())
}

/// Reads what the daemon at `url` shows: an address such as `http://host:9187` or `host:9187`.
///
/// # Errors
/// Nobody answers there, or it is no streamweir.
pub async fn fetch(url: &str) -> Result<Value, Failure> {
    let address = endpoint(url, LIST)?;
    let (status, bytes) = ask(url, |client| client.get(&address)).await?;
    if !status.is_success() {
        return Err(Failure::Refused(format!(
            "{address} answers {status}: is it a streamweir daemon?"
        )));
    }
    let shown: Option<Value> = serde_json::from_slice(&bytes).ok();
    let shown = shown.filter(|shown| shown["pipelines"].is_array());
    shown.ok_or_else(|| {
        Failure::Refused(format!(
            "{address} answers something else: is it a streamweir daemon?"
        ))
    })
}

/// Has the daemon at `url` do what a path of its control API means.
///
/// # Errors
/// Nobody answers there, or the daemon refuses.
pub async fn post(url: &str, path: &str, token: Option<&str>) -> Result<(), Failure> {
    let address = endpoint(url, path)?;
    let (status, bytes) = ask(url, |client| {
        let request = client.post(&address);
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    })
    .await?;
    if status.is_success() {
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let error = &answer["error"];
    let said = error["message"]
        .as_str()
        .or(error.as_str())
        .unwrap_or_default();
    Err(Failure::Refused(format!(
        "the daemon refuses {path}: {status}: {said}"
    )))
}

async fn ask(
    url: &str,
    request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder,
) -> Result<(reqwest::StatusCode, Vec<u8>), Failure> {
    // Whoever was first has installed the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let away = |error: reqwest::Error| {
        Failure::Unreachable(format!(
            "no daemon answers at {url}: {} (--url, service.http_listen)",
            with_causes(&error)
        ))
    };
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .build();
    let client = client.map_err(away)?;
    let mut answer = request(&client).send().await.map_err(away)?;
    let mut bytes = vec![];
    while let Some(more) = answer.chunk().await.map_err(away)? {
        bytes.extend_from_slice(&more);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Failure::Refused(format!("{url}: the answer is too long")));
        }
    }
    Ok((answer.status(), bytes))
}

fn endpoint(url: &str, path: &str) -> Result<String, Failure> {
    let whole = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let refused = |why: String| Failure::Usage(format!("--url {url:?} is no address: {why}"));
    let parsed = url::Url::parse(&whole).map_err(|error| refused(error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        return Err(refused("write http://host:port".to_owned()));
    }
    let base = whole.trim_end_matches('/');
    let base = base.strip_suffix(LIST).unwrap_or(base);
    Ok(format!("{base}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_lack_the_scheme_and_have_the_path() {
        let expected = "http://host:9187/api/v1/streaming";
        for url in [
            "host:9187",
            "http://host:9187",
            "http://host:9187/",
            "http://host:9187/api/v1/streaming",
        ] {
            assert_eq!(endpoint(url, LIST).unwrap(), expected, "{url}");
        }
        for url in ["", "ftp://host", "http://", "http://host:99999"] {
            assert_eq!(check(url).expect_err(url).code(), 2);
        }
    }

    #[test]
    fn a_daemon_with_tls_is_asked_by_https() {
        let address_of = |tls: &str| {
            let text = format!(
                "[service]\nhttp_listen = \"0.0.0.0:9187\"\n{tls}\n[[pipeline]]\nname = \"a\"\n\
                 kind = \"enrichment\"\ntopics = [\"t\"]\ngroup_id = \"g\"\nclickhouse.table = \"t\"\n"
            );
            let directory = std::path::Path::new("/");
            let loaded = crate::config::Config::parse(&text, "config.toml", directory, []);
            address(&loaded.expect("right").config.service)
        };
        let tls = "http_tls = { cert_file = \"a.pem\", key_file = \"b.pem\" }";
        assert_eq!(address_of(""), "127.0.0.1:9187");
        assert_eq!(address_of(tls), "https://127.0.0.1:9187");
    }
}
