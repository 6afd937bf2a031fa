//! One pipeline's Redis: whether it answers, and what it forgets.

use std::time::Duration;

use ::redis::{RedisError, Value};

use super::super::facts::{Reached, RedisFacts};
use crate::config::{Redis, RedisForm, redacted};
use crate::lookup::{Connections, refuses_user, said};

/// Of connecting, and of each question.
const TIMEOUT: Duration = Duration::from_secs(6);

pub(super) async fn gather(config: &Redis) -> Reached<RedisFacts> {
    match tokio::time::timeout(TIMEOUT * 2, ask(config)).await {
        Ok(reached) => reached,
        Err(_) => Reached::No(format!("no answer within {} s", TIMEOUT.as_secs() * 2)),
    }
}

async fn ask(config: &Redis) -> Reached<RedisFacts> {
    // Of a cluster one node is asked.
    let connections = Connections::new(&Redis {
        form: match config.form {
            RedisForm::Cluster => RedisForm::Server,
            _ => config.form.clone(),
        },
        timeout: TIMEOUT,
        ..config.clone()
    });
    let connected = match connections {
        Ok(connections) => connections.get().await,
        Err(why) => return Reached::No(why),
    };
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
    let mut found = facts(&text);
    if found.is_cluster {
        let mut command = ::redis::cmd("CLUSTER");
        command.arg("INFO");
        let state = command.query_async::<String>(&mut connection).await;
        found.is_cluster_down = state.is_ok_and(|text| text.contains("cluster_state:fail"));
    }
    // A server that reads its data, or lacks its master, answers nothing else.
    let answer = ::redis::cmd("GET")
        .arg("streamweir")
        .query_async::<Value>(&mut connection)
        .await;
    match answer {
        Err(error) if matches!(error.code(), Some("LOADING" | "MASTERDOWN")) => not_reached(&error),
        _ => Reached::Yes(found),
    }
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
        is_cluster_down: false,
    }
}

fn not_reached(error: &RedisError) -> Reached<RedisFacts> {
    let text = redacted(&said(error));
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
            is_cluster_down: false,
        };
        assert_eq!(facts(info), expected);
        assert_eq!(facts(""), RedisFacts::default());
    }
}
