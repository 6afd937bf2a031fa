//! The parts of the demo of change data capture.

use std::thread;

use anyhow::Result;

use super::{DEAD_LETTER_TOPIC, PREFIX, WAIT_TIMEOUT};
use crate::clickhouse::ClickHouse;
use crate::connect::{Connect, ConnectOptions, Connector, Plugin};
use crate::kafka::{Kafka, KafkaOptions};
use crate::mariadb::MariaDb;
use crate::postgres::{Postgres, PostgresOptions};
use crate::{topic, wait, workload};

/// A source with the tables of a workload, the worker that reads its log, and where it all goes.
#[derive(Debug)]
pub struct Parts {
    /// The broker.
    pub kafka: Kafka,
    /// The analytical database.
    pub clickhouse: ClickHouse,
    /// The source.
    pub postgres: Postgres,
    /// The worker with one connector, whose records carry their schema.
    pub connect: Connect,
}

impl Parts {
    /// Starts the parts, creates the tables, and waits for the topic of each.
    pub fn start() -> Result<Self> {
        let (kafka, clickhouse, postgres) = thread::scope(|scope| {
            let kafka = scope.spawn(|| Kafka::start(KafkaOptions::default()));
            let clickhouse = scope.spawn(ClickHouse::start);
            let postgres = Postgres::start(&PostgresOptions::default())?;
            workload::create_tables(&postgres.url())?;
            let kafka = kafka.join().expect("starting a broker does not panic")?;
            let clickhouse = clickhouse.join();
            let clickhouse = clickhouse.expect("starting an engine does not panic")?;
            anyhow::Ok((kafka, clickhouse, postgres))
        })?;
        topic::create(kafka.bootstrap(), DEAD_LETTER_TOPIC, 1, &[])?;
        let connector = Connector::postgres(PREFIX, &postgres, PREFIX).heartbeat_ms(1_000);
        let mut options = ConnectOptions::new(Plugin::Postgres);
        options.schemas = true;
        let connect = Connect::start(kafka.bootstrap(), &options, vec![connector])?;
        wait_for_topics(
            kafka.bootstrap(),
            &postgres.url(),
            &format!("{PREFIX}.public"),
        )?;
        Ok(Self {
            kafka,
            clickhouse,
            postgres,
            connect,
        })
    }

    /// Starts another source with tables of a workload, MariaDB, and a worker that reads its log
    /// into topics `maria.shop.…` of the same broker.
    pub fn start_mariadb(&self) -> Result<(MariaDb, Connect)> {
        let bootstrap = self.kafka.bootstrap();
        let mariadb = MariaDb::start()?;
        workload::create_tables(&mariadb.url())?;
        let connector = Connector::mariadb("maria", &mariadb, bootstrap, "maria");
        let mut options = ConnectOptions::new(Plugin::MariaDb);
        options.schemas = true;
        let connect = Connect::start(bootstrap, &options, vec![connector])?;
        wait_for_topics(bootstrap, &mariadb.url(), "maria.shop")?;
        Ok((mariadb, connect))
    }
}

/// Waits for the first record of every table of a workload.
fn wait_for_topics(bootstrap: &str, url: &str, prefix: &str) -> Result<()> {
    for table in workload::tables(url)? {
        let topic = format!("{prefix}.{table}");
        wait::until(&format!("topic {topic} is there"), WAIT_TIMEOUT, || {
            let ends = topic::end_offsets(bootstrap, &topic).ok()?;
            (ends.values().sum::<i64>() > 0).then_some(())
        })?;
    }
    Ok(())
}
