//! Kafka, ClickHouse and Redis for the demo: started, or somebody's own.

use anyhow::{Context, Result, ensure};

use crate::clickhouse::{self, ClickHouse};
use crate::kafka::{self, Kafka, KafkaOptions};
use crate::redis::{self, Redis};
use crate::topic;

/// The three parts and the names used in them. Dropped, it removes what was made in parts that
/// are not ours, and ends those that are.
#[derive(Debug)]
pub(super) struct Parts {
    kafka: Part<Kafka>,
    clickhouse: Part<ClickHouse>,
    redis: Part<Redis>,
    /// Put before every name; empty where all parts are ours.
    prefix: String,
}

#[derive(Debug)]
struct Part<P> {
    place: String,
    /// `None` where it is somebody's own.
    ours: Option<P>,
}

impl<P> Part<P> {
    fn find(variable: &str, start: impl FnOnce() -> Result<(String, P)>) -> Result<Self> {
        match std::env::var(variable) {
            Ok(place) if !place.is_empty() => Ok(Self { place, ours: None }),
            _ => start().map(|(place, part)| Self {
                place,
                ours: Some(part),
            }),
        }
    }

    fn is_ours(&self) -> bool {
        self.ours.is_some()
    }
}

impl Parts {
    pub(super) fn start() -> Result<Self> {
        println!("starting Kafka, ClickHouse and Redis …");
        let kafka = Part::find("KAFKA_BROKERS", || {
            let kafka = Kafka::start(KafkaOptions::default())?;
            Ok((kafka.bootstrap().to_owned(), kafka))
        })?;
        let clickhouse = Part::find("CLICKHOUSE_URL", || {
            let clickhouse = ClickHouse::start()?;
            Ok((clickhouse.url(), clickhouse))
        })?;
        let redis = Part::find("REDIS_URL", || {
            let redis = Redis::start()?;
            Ok((redis.url(), redis))
        })?;
        let ours = kafka.is_ours() && clickhouse.is_ours() && redis.is_ours();
        let prefix = if ours {
            String::new()
        } else {
            crate::unique("demo") + "_"
        };
        let parts = Self {
            kafka,
            clickhouse,
            redis,
            prefix,
        };
        parts.check()?;
        println!("  kafka       {}", parts.bootstrap());
        println!("  clickhouse  {}", parts.clickhouse_url());
        println!("  redis       {}", parts.redis_url());
        Ok(parts)
    }

    fn check(&self) -> Result<()> {
        let (bootstrap, clickhouse) = (self.bootstrap(), self.clickhouse_url());
        ensure!(
            kafka::answers(bootstrap),
            "no Kafka broker answers at {bootstrap}"
        );
        ensure!(
            clickhouse::answers(clickhouse),
            "no ClickHouse answers at {clickhouse}"
        );
        redis::connect(self.redis_url()).map(|_| ())
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.kafka.place
    }

    pub(super) fn clickhouse_url(&self) -> &str {
        &self.clickhouse.place
    }

    pub(super) fn redis_url(&self) -> &str {
        &self.redis.place
    }

    pub(super) fn topic(&self) -> String {
        format!("{}user-events", self.prefix)
    }

    pub(super) fn dead_letter_topic(&self) -> String {
        format!("{}streamweir-dead-letters", self.prefix)
    }

    pub(super) fn group(&self) -> String {
        format!("{}clickstream-processor", self.prefix)
    }

    pub(super) fn database(&self) -> String {
        format!("{}analytics", self.prefix)
    }

    pub(super) fn key_prefix(&self) -> String {
        format!("{}user:profile:", self.prefix)
    }

    pub(super) fn create_topics(&self, partitions: i32) -> Result<()> {
        topic::create(self.bootstrap(), &self.topic(), partitions, &[])?;
        topic::create(self.bootstrap(), &self.dead_letter_topic(), 1, &[])
    }

    fn remove_from_theirs(&self) -> Result<()> {
        if !self.kafka.is_ours() {
            topic::delete(self.bootstrap(), &self.topic())?;
            topic::delete(self.bootstrap(), &self.dead_letter_topic())?;
            topic::delete_group(self.bootstrap(), &self.group())?;
        }
        if !self.clickhouse.is_ours() {
            let statement = format!("DROP DATABASE IF EXISTS {}", self.database());
            clickhouse::query(self.clickhouse_url(), &statement)?;
        }
        if !self.redis.is_ours() {
            redis::delete_keys(self.redis_url(), &self.key_prefix())
                .context("cannot remove the profiles")?;
        }
        Ok(())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if self.prefix.is_empty() {
            return;
        }
        if let Err(error) = self.remove_from_theirs() {
            eprintln!("left behind, all named {}…: {error:#}", self.prefix);
        }
    }
}
