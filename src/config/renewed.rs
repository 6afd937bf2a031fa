//! The secrets of a configuration that was read again, laid into the one that is in use.

use super::created::Base;
use super::kafka;
use super::secret::redacted;
use super::tree::{Node, Table, Value};
use super::value::text_of;

impl Base {
    /// Takes the secrets of `newer`; everything else stays as it was at the start.
    pub fn renew_secrets(&mut self, newer: &Base) {
        let (own, newer) = (&mut self.globals, &newer.globals);
        renew(&mut own.kafka, &newer.kafka);
        renew(&mut own.clickhouse, &newer.clickhouse);
        renew(&mut own.redis, &newer.redis);
        renew(&mut own.schema_registry, &newer.schema_registry);
        if let (Some(own), Some(newer)) = (&own.mask_key, &newer.mask_key)
            && own.renew(newer)
        {
            tracing::warn!(
                key = newer.id(),
                "the key of masks is another one: rows from now on have other values in columns with mask = \
                 \"hmac\""
            );
        }
    }
}

fn renew(own: &mut Table, newer: &Table) {
    own.entries.retain(|key, node| {
        let found = newer.entries.get(key);
        if let (Value::Table(inner), None) = (&mut node.value, found) {
            renew(inner, &Table::absent(String::new()));
        }
        found.is_some() || !is_secret(key)
    });
    for (key, node) in &newer.entries {
        if is_secret(key) {
            own.entries.insert(key.clone(), node.clone());
            continue;
        }
        match (own.entries.get_mut(key), &node.value) {
            (Some(own), newer) => renew_value(&mut own.value, newer),
            (None, Value::Table(inner)) => {
                let mut secrets = Table::absent(inner.key_path.clone());
                renew(&mut secrets, inner);
                if !secrets.entries.is_empty() {
                    let value = Value::Table(secrets);
                    let key_path = node.key_path.clone();
                    own.entries.insert(key.clone(), Node { key_path, value });
                }
            }
            (None, _) => {}
        }
    }
}

fn renew_value(own: &mut Value, newer: &Value) {
    if let (Value::Table(own), Value::Table(newer)) = (&mut *own, newer) {
        renew(own, newer);
        return;
    }
    // A URL with other credentials in it is the same server.
    let shown = |value: &Value| text_of(value).map(redacted);
    if shown(own).is_some() && shown(own) == shown(newer) {
        *own = newer.clone();
    }
}

/// A secret, or the name of the file that holds it.
fn is_secret(key: &str) -> bool {
    let key = key.strip_suffix("_file").unwrap_or(key);
    matches!(key, "password" | "token") || kafka::is_secret(key)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;
    use crate::config::{Config, Pipeline};

    fn base(text: &str) -> Base {
        let loaded = Config::parse(text, "config.toml", Path::new("/"), []);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        loaded.config.base
    }

    fn made(base: &Base) -> Pipeline {
        let pipeline = json!({ "name": "made", "kind": "enrichment", "topics": ["t"], "group_id": "g",
                               "clickhouse": { "table": "t" }, "lookup": { "columns": { "email": {} } } });
        let read = base.read_pipeline(&pipeline, &[]);
        read.unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[test]
    fn secrets_are_taken_and_everything_else_waits_for_a_restart() {
        let mut own = base(
            "[clickhouse]\nurl = \"http://one:8123\"\npassword = \"old\"\n\
             [redis]\nurl = \"redis://u:old@one\"\n\
             [kafka.properties]\nsecurity.protocol = \"sasl_plaintext\"\nsasl.username = \"u\"\n\
             sasl.password = \"old\"\n",
        );
        let before = made(&own).effective;
        own.renew_secrets(&base(
            "[clickhouse]\nurl = \"http://two:8123\"\nuser = \"other\"\npassword = \"new\"\n\
             [redis]\nurl = \"redis://u:new@one\"\n\
             [kafka.properties]\nsecurity.protocol = \"sasl_ssl\"\nlinger.ms = 7\n\
             \"sasl.password\" = \"new\"\n",
        ));
        let renewed = made(&own);
        assert_eq!(renewed.effective, before);
        assert_eq!(renewed.clickhouse.password.expose_secret(), "new");
        let password = renewed.kafka.properties["sasl.password"].value();
        assert_eq!(password, "new");
        assert_eq!(renewed.redis.url.expose_secret(), "redis://u:new@one");
        // The password of another server stays away; one that is taken back is gone.
        own.renew_secrets(&base("[redis]\nurl = \"redis://u:third@two\"\n"));
        let renewed = made(&own);
        assert_eq!(renewed.effective, before);
        assert_eq!(renewed.redis.url.expose_secret(), "redis://u:new@one");
        assert_eq!(renewed.clickhouse.password.expose_secret(), "");
        assert!(!renewed.kafka.properties.contains_key("sasl.password"));
    }
}
