//! Kafka, ClickHouse and Redis for the demo: started, or somebody's own.

use anyhow::{Context, Result, ensure};

use crate::clickhouse::{self, ClickHouse};
use crate::kafka::{self, Kafka, KafkaOptions};
use crate::redis::{self, Redis};
use crate::topic;

/// What the shipped configuration calls its topics and groups.
pub(super) const EVENTS: &str = "user-events";
pub(super) const CHANGES: &str = "shop.public.orders";
pub(super) const SALES: &str = "sales-events";
pub(super) const SALES_ROWS: &str = "sales-aggregates-1min";
pub(super) const LEFT: &str = "clickstream-events";
pub(super) const RIGHT: &str = "user-profile-updates";
pub(super) const JOINED: &str = "enriched-clickstream";
const DEAD_LETTERS: &str = "streamweir-dead-letters";
const READ: [&str; 5] = [EVENTS, CHANGES, SALES, LEFT, RIGHT];
/// In the order of the shipped pipelines.
pub(super) const GROUPS: [&str; 4] = [
    "clickstream-processor",
    "shop-replica",
    "sales-aggregator",
    "clickstream-enricher",
];

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

    /// What the demo calls what the shipped configuration calls so.
    pub(super) fn named(&self, shipped: &str) -> String {
        format!("{}{shipped}", self.prefix)
    }

    pub(super) fn topic(&self) -> String {
        self.named(EVENTS)
    }

    pub(super) fn dead_letter_topic(&self) -> String {
        self.named(DEAD_LETTERS)
    }

    pub(super) fn group(&self) -> String {
        self.named(GROUPS[0])
    }

    pub(super) fn database(&self) -> String {
        self.named("analytics")
    }

    pub(super) fn key_prefix(&self) -> String {
        self.named("user:profile:")
    }

    pub(super) fn create_topics(&self, partitions: i32) -> Result<()> {
        for name in READ.into_iter().chain([JOINED]) {
            topic::create(self.bootstrap(), &self.named(name), partitions, &[])?;
        }
        topic::create(self.bootstrap(), &self.dead_letter_topic(), 1, &[])
    }

    fn remove_from_theirs(&self) -> Result<()> {
        if !self.kafka.is_ours() {
            for name in READ.into_iter().chain([SALES_ROWS, JOINED, DEAD_LETTERS]) {
                topic::delete(self.bootstrap(), &self.named(name))?;
            }
            for group in GROUPS {
                topic::delete_group(self.bootstrap(), &self.named(group))?;
            }
        }
        if !self.clickhouse.is_ours() {
            for database in ["analytics", "replica"] {
                let statement = format!("DROP DATABASE IF EXISTS {}", self.named(database));
                clickhouse::query(self.clickhouse_url(), &statement)?;
            }
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
