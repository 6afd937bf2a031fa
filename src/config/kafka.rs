//! `[kafka]`: the cluster, and what librdkafka is told about it.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::client_property;
use super::quantity::grouped;
use super::secret::has_credentials;
use super::section::Section;
use super::value::{List, Scalar, Text};

/// `[kafka]`, for a pipeline overridden key by key by `[pipeline.kafka]`.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host` or `host:port` each, at least one.
    pub bootstrap_servers: Vec<String>,
    /// Passed to librdkafka; none of the keys that are the daemon's own.
    pub properties: BTreeMap<String, Property>,
}

/// The value of a librdkafka property.
#[derive(Debug, Clone)]
pub enum Property {
    /// May be shown.
    Plain(String),
    /// May not.
    Secret(SecretString),
}

impl Property {
    /// The value for librdkafka; not to be logged.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Property::Plain(text) => text,
            Property::Secret(secret) => secret.expose_secret(),
        }
    }
}

const SERVER: Text = Text {
    allowed: "a broker as \"host:port\"",
    check: is_server,
};

fn is_server(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().unwrap_or(0)),
        _ => (text, 9092),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_ok = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
    };
    port > 0 && !host.is_empty() && host_ok
}

impl Kafka {
    /// Reads the keys of this section and leaves the others.
    pub(super) fn read(section: &mut Section<'_>) -> Kafka {
        let servers = List {
            of: SERVER,
            may_be_empty: false,
        };
        let default_servers = vec!["localhost:9092".to_owned()];
        let mut properties = BTreeMap::new();
        let mut written = section.section("properties");
        for key in written.keys() {
            read_property(&mut written, &key, &mut properties);
        }
        let kafka = Kafka {
            bootstrap_servers: section.take_or("bootstrap_servers", servers, default_servers),
            properties,
        };
        kafka.check_times(&written);
        kafka
    }

    /// How long a consumer may go without polling; librdkafka's default is 300 s.
    #[must_use]
    pub fn max_poll_interval(&self) -> Duration {
        self.milliseconds("max.poll.interval.ms", 300_000)
    }

    /// How long the group waits for a silent member; librdkafka's default is 45 s.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.milliseconds("session.timeout.ms", 45_000)
    }

    fn milliseconds(&self, key: &str, default: u64) -> Duration {
        let value = self
            .properties
            .get(key)
            .and_then(|property| property.value().parse().ok());
        Duration::from_millis(value.unwrap_or(default))
    }

    /// `properties` is where they were written.
    fn check_times(&self, properties: &Section<'_>) {
        let (heartbeat, session, poll) = (
            "heartbeat.interval.ms",
            "session.timeout.ms",
            "max.poll.interval.ms",
        );
        for (key, max) in [
            (heartbeat, 3_600_000),
            (session, 3_600_000),
            (poll, 86_400_000),
        ] {
            if let Some(property) = self.properties.get(key)
                && !property
                    .value()
                    .parse()
                    .is_ok_and(|ms: u64| (1..=max).contains(&ms))
            {
                let (max, found) = (grouped(max), property.value());
                let message =
                    format!("must be an integer from 1 to {max} (milliseconds), found {found:?}");
                properties.problem(key, message);
                return;
            }
        }
        let heartbeat_interval = self.milliseconds(heartbeat, 3_000);
        self.check_less(
            properties,
            (session, self.session_timeout()),
            (poll, self.max_poll_interval()),
        );
        self.check_less(
            properties,
            (heartbeat, heartbeat_interval),
            (session, self.session_timeout()),
        );
    }

    fn check_less(
        &self,
        properties: &Section<'_>,
        (lesser, lesser_time): (&str, Duration),
        (greater, greater_time): (&str, Duration),
    ) {
        if lesser_time >= greater_time {
            let message = format!(
                "{lesser} ({} ms) must be less than {greater} ({} ms)",
                lesser_time.as_millis(),
                greater_time.as_millis()
            );
            let written = if self.properties.contains_key(lesser) {
                lesser
            } else {
                greater
            };
            properties.problem(written, message);
        }
    }
}

fn read_property(
    section: &mut Section<'_>,
    key: &str,
    properties: &mut BTreeMap<String, Property>,
) {
    if let Some(secret_key) = key.strip_suffix("_file").filter(|key| is_secret(key)) {
        if !section.has(secret_key) {
            let secret = section.take_secret(secret_key);
            properties.extend(secret.map(|value| (secret_key.to_owned(), Property::Secret(value))));
        }
        return;
    }
    if let Some(reason) = why_refused(key) {
        section.take_node(key);
        section.problem(key, format!("cannot be set here: {reason}"));
        return;
    }
    if !key
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte))
    {
        section.take_node(key);
        section.problem(
            key,
            "must be the name of a librdkafka property: a-z, 0-9, '.' and '_', such as \
             security.protocol",
        );
        return;
    }
    if !client_property::exists(key) {
        section.take_node(key);
        // Whatever stands beside a key that nobody knows may be a password.
        let refusal = client_property::refusal(key, "", false);
        section.problem(key, refusal.unwrap_or_default());
        return;
    }
    if is_secret(key) {
        let secret = section.take_secret(key);
        if let Some(value) = &secret
            && let Some(refusal) = client_property::refusal(key, value.expose_secret(), false)
        {
            section.problem(key, refusal);
        }
        properties.extend(secret.map(|value| (key.to_owned(), Property::Secret(value))));
        return;
    }
    let Some(text) = section.take(key, Scalar) else {
        return;
    };
    if key.ends_with(".ms") && text.parse::<i64>().is_err() {
        section.problem(
            key,
            format!("must be an integer (milliseconds), found {text:?}"),
        );
    } else if let Some(refusal) = client_property::refusal(key, &text, true) {
        section.problem(key, refusal);
    }
    let property = if has_credentials(&text) {
        Property::Secret(SecretString::from(text))
    } else {
        Property::Plain(text)
    };
    properties.insert(key.to_owned(), property);
}

/// Properties whose value must never be shown; each has a `_file` twin.
pub(super) fn is_secret(key: &str) -> bool {
    const SECRETS: [&str; 4] = [
        "ssl.key.pem",
        "ssl_key",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.extensions",
    ];
    SECRETS.contains(&key)
        || [".password", ".secret", ".passphrase", ".private.key.pem"]
            .iter()
            .any(|suffix| key.ends_with(suffix))
}

/// The keys that are the daemon's own, with the reason.
fn why_refused(key: &str) -> Option<&'static str> {
    Some(match key {
        "group.id" => "set pipeline.group_id",
        "bootstrap.servers" | "metadata.broker.list" => "set kafka.bootstrap_servers",
        "group.instance.id" => "set service.instance_id; every lane appends its own number",
        "group.protocol" | "group.protocol.type" => "set pipeline.group_protocol",
        "partition.assignment.strategy" | "group.remote.assignor" => {
            "the kind of pipeline decides how partitions are assigned"
        }
        "auto.offset.reset" => "set pipeline.start_offset; an offset out of range always halts",
        "enable.auto.commit"
        | "auto.commit.enable"
        | "auto.commit.interval.ms"
        | "enable.auto.offset.store"
        | "offset.store.method"
        | "offset.store.path"
        | "offset.store.sync.interval.ms" => {
            "offsets are committed only after the write behind them is acknowledged"
        }
        "isolation.level" => "only committed records are read (read_committed)",
        "enable.partition.eof" => "the daemon needs the ends of partitions and turns it on",
        "queued.max.messages.kbytes" | "queued.min.messages" => {
            "it is derived from service.memory_max"
        }
        "enable.idempotence"
        | "enable.gapless.guarantee"
        | "acks"
        | "request.required.acks"
        | "max.in.flight"
        | "max.in.flight.requests.per.connection" => {
            "dead letters and outputs are produced idempotently with acks=all"
        }
        "transactional.id" | "transaction.timeout.ms" => {
            "transactions are the daemon's own, with an id per lane"
        }
        "plugin.library.paths" | "interceptors" => "no foreign code is loaded into the daemon",
        "opaque"
        | "default_topic_conf"
        | "enabled_events"
        | "msg_order_cmp"
        | "ssl_engine_callback_data" => "it is a pointer, not a setting",
        key if key.ends_with("_cb") => "callbacks are the daemon's own",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::Value;
    use super::super::value::Kind;
    use super::*;

    #[test]
    fn brokers_are_host_and_port() {
        for good in [
            "localhost",
            "kafka-1.internal:9092",
            "10.0.0.1:9093",
            "[::1]:9092",
            "[::1]",
        ] {
            assert!(is_server(good), "{good}");
        }
        for bad in [
            "",
            ":9092",
            "a:b",
            "a:0",
            "a:70000",
            "http://a:1",
            "a b:1",
            "a:1,b:1",
            "::1",
        ] {
            assert!(!is_server(bad), "{bad}");
        }
    }

    #[test]
    fn a_scalar_property_has_one_spelling() {
        let property = |value| Scalar.read(&value);
        assert_eq!(property(Value::Boolean(true)).as_deref(), Some("true"));
        assert_eq!(property(Value::Integer(45_000)).as_deref(), Some("45000"));
    }
}
