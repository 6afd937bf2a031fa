//! One pipeline's Redis: whether it answers, and what it forgets.

use std::time::Duration;

use ::redis::{Client, IntoConnectionInfo as _, RedisError};
use secrecy::ExposeSecret as _;

use super::super::facts::{Reached, RedisFacts};
use crate::config::{Redis, redacted};
use crate::lookup::refuses_user;

/// Of connecting, and of each question.
const TIMEOUT: Duration = Duration::from_secs(6);

pub(super) async fn gather(config: &Redis) -> Reached<RedisFacts> {
    match tokio::time::timeout(TIMEOUT * 2, ask(config)).await {
        Ok(reached) => reached,
        Err(_) => Reached::No(format!("no answer within {} s", TIMEOUT.as_secs() * 2)),
    }
}

async fn ask(config: &Redis) -> Reached<RedisFacts> {
    // The client's own error could repeat the URL, and with it a password.
    let unreadable = || Reached::No("redis.url is not understood by the client".to_owned());
    let Ok(mut info) = config.url.expose_secret().into_connection_info() else {
        return unreadable();
    };
    if let Some(password) = &config.password {
        let settings = info.redis_settings().clone();
        info = info.set_redis_settings(settings.set_password(password.expose_secret()));
    }
    let Ok(client) = Client::open(info) else {
        return unreadable();
    };
    let connected = client.get_multiplexed_async_connection().await;
    let mut connection = match connected {
        Ok(connection) => connection,
        Err(error) => return not_reached(&error),
    };
    let ping = ::redis::cmd("PING");
    if let Err(error) = ping.query_async::<String>(&mut connection).await {
        return not_reached(&error);
    }
    let mut text = String::new();
    for section in ["memory", "cluster"] {
        let mut command = ::redis::cmd("INFO");
        command.arg(section);
        // Not everybody may ask.
        if let Ok(more) = command.query_async::<String>(&mut connection).await {
            text.push_str(&more);
        }
    }
    Reached::Yes(facts(&text))
}

/// Of the answers to INFO.
fn facts(info: &str) -> RedisFacts {
    let value = |name: &str| {
        let mut pairs = info.lines().filter_map(|line| line.trim().split_once(':'));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    RedisFacts {
        maxmemory: value("maxmemory").and_then(|n| n.parse().ok()).unwrap_or(0),
        maxmemory_policy: value("maxmemory_policy").unwrap_or_default().to_owned(),
        is_cluster: value("cluster_enabled") == Some("1"),
    }
}

fn not_reached(error: &RedisError) -> Reached<RedisFacts> {
    let text = redacted(&error.to_string());
    if refuses_user(error) {
        Reached::Refused(text)
    } else {
        Reached::No(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_says_of_its_memory_is_read_line_by_line() {
        let info = "# Memory\r\nused_memory:1\r\nmaxmemory:1048576\r\nmaxmemory_human:1.00M\r\n\
                    maxmemory_policy:allkeys-lru\r\n# Cluster\r\ncluster_enabled:1\r\n";
        let expected = RedisFacts {
            maxmemory: 1_048_576,
            maxmemory_policy: "allkeys-lru".to_owned(),
            is_cluster: true,
        };
        assert_eq!(facts(info), expected);
        assert_eq!(facts(""), RedisFacts::default());
    }
}
