//! The development companion of streamweir: it starts the real parts for tests and the demo and
//! makes traffic. It is never shipped.
//!
//! - Parts, each a child process on a free loopback port: [`kafka`], [`clickhouse`] (the engine
//!   behind its HTTP interface, [`clickhouse_front`]), [`redis`]; [`shared`] starts one of each
//!   for a whole test executable.
//! - Several servers of ClickHouse: [`replicated`], two replicas with [`zookeeper`] between them.
//! - Databases whose changes are captured, and the worker that does it: [`postgres`],
//!   [`mariadb`], [`connect`] (Kafka Connect with Debezium); [`registry`], where it writes Avro.
//! - Who vouches for them: [`certificates`].
//! - Between the daemon and a part: [`fault`], a proxy that fails on demand; [`tls_front`].
//! - Changes to such a database, and whether a replica equals it in the end: [`workload`],
//!   [`compare`]; what to look at where it does not: [`evidence`].
//! - Whoever looks at the status page: [`browser`].
//! - Records in and out: [`topic`], [`console`] (Apache Kafka's own clients), [`oracle`] (recorded cases), [`generate`] (endless ones).
//! - All of it together: [`demo`].

pub mod browser;
pub mod certificates;
pub mod clickhouse;
pub mod clickhouse_front;
pub mod compare;
pub mod connect;
pub mod console;
pub mod demo;
pub mod evidence;
pub mod fault;
pub mod generate;
mod http;
pub mod kafka;
pub mod mariadb;
pub mod oracle;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod registry;
pub mod replicated;
pub mod tls_front;
pub mod topic;
pub mod wait;
pub mod workdir;
pub mod workload;
pub mod zookeeper;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Once, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use clickhouse::ClickHouse;
use kafka::{Kafka, KafkaOptions};
use redis::Redis;

/// Of a broker that keeps the topics of hundreds of tests: some thousand partitions.
const SHARED_HEAP_MIB: u32 = 1024;

/// With `SANDBOX_HICCUPS` in the environment: how often the shared broker stands still, and for how long.
const HICCUP_INTERVAL: Duration = Duration::from_secs(15);
const HICCUP: Duration = Duration::from_millis(2_500);

/// One of each part.
#[derive(Debug)]
pub struct Sandbox {
    /// The broker.
    pub kafka: Kafka,
    /// The analytical database.
    pub clickhouse: ClickHouse,
    /// The profile store.
    pub redis: Redis,
}

impl Sandbox {
    /// Starts the three parts at once.
    pub fn start() -> Result<Self> {
        thread::scope(|scope| {
            let kafka = scope.spawn(|| {
                Kafka::start(KafkaOptions {
                    heap_mib: SHARED_HEAP_MIB,
                    // Nobody kills it. A machine that stands still for two seconds must not cost it its place:
                    // for a moment no partition of it would have a leader.
                    properties: vec![("broker.session.timeout.ms".into(), "60000".into())],
                    ..KafkaOptions::default()
                })
            });
            let clickhouse = scope.spawn(ClickHouse::start);
            let redis = Redis::start()?;
            Ok(Self {
                kafka: kafka.join().expect("starting a broker does not panic")?,
                clickhouse: clickhouse
                    .join()
                    .expect("starting an engine does not panic")?,
                redis,
            })
        })
    }
}

/// The parts that all tests of one executable share; they end with the process. Names from
/// [`unique`] keep the tests apart.
///
/// # Panics
/// When a part does not start: no test can go on without.
pub fn shared() -> &'static Sandbox {
    static SHARED: OnceLock<Sandbox> = OnceLock::new();
    static HICCUPS: Once = Once::new();
    let shared = SHARED.get_or_init(|| Sandbox::start().expect("the sandbox's parts start"));
    HICCUPS.call_once(|| {
        if std::env::var_os("SANDBOX_HICCUPS").is_some() {
            thread::spawn(|| hiccup(&shared.kafka));
        }
    });
    shared
}

/// The broker stands still for a moment again and again, longer than many tests' sessions last: groups move while
/// whatever a test looks at is under way. No test may fail of it.
fn hiccup(kafka: &Kafka) {
    loop {
        thread::sleep(HICCUP_INTERVAL);
        kafka.pause();
        thread::sleep(HICCUP);
        kafka.resume();
    }
}

/// `name` with a random end: good as a topic, consumer group, table, database or key prefix.
pub fn unique(name: &str) -> String {
    format!("{name}_{:010x}", random_u64() & 0xff_ffff_ffff)
}

fn random_u64() -> u64 {
    // The standard library keys its hash maps randomly; that is enough for names and ports.
    RandomState::new().build_hasher().finish()
}
