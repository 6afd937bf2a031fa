//! The command line of the sandbox.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use sandbox::clickhouse_front::Replica;
use sandbox::compare::{self, ReplicaOptions};
use sandbox::generate::{self, ProfileEncoding, Progress, Start, Traffic, Volume};
use sandbox::replicated::Replicated;
use sandbox::workload::{self, Limit, Workload};
use sandbox::{Sandbox, clickhouse_front, demo, topic, workdir};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Starts the real parts and makes traffic, for the demo and the tests of streamweir.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show streamweir at work on live traffic and check that every event arrived once
    Demo(DemoArguments),
    /// Show change data capture at work on random changes and compare every value at the end
    DemoCdc(DemoCdcArguments),
    /// Show raw records, clean ones and windows from one topic and hold every table against a second count
    DemoMedallion(DemoArguments),
    /// Start Kafka, ClickHouse and Redis, say where they are, and end with Ctrl-C
    Up,
    /// Start two replicas of ClickHouse with ZooKeeper, say where they are, and end with Ctrl-C
    Replicated,
    /// Start Kafka, ClickHouse, PostgreSQL and Kafka Connect with Debezium, say where they are, and
    /// end with Ctrl-C
    Debezium {
        /// MariaDB as well, with a worker of its own
        #[arg(long)]
        mariadb: bool,
    },
    /// Change the tables of a PostgreSQL or MariaDB database at random
    Workload(WorkloadArguments),
    /// Compare a replica in ClickHouse with its source table, value by value
    Compare(CompareArguments),
    /// Produce clickstream events and fill Redis with profiles
    Generate(GenerateArguments),
    /// Serve ClickHouse's HTTP interface over its engine's library
    Clickhouse(ClickhouseArguments),
}

#[derive(Debug, Args)]
struct DemoArguments {
    /// Stop after so many seconds; by default on Ctrl-C
    #[arg(long)]
    seconds: Option<u64>,
    /// Events a second
    #[arg(long, default_value_t = 2_000)]
    rate: u64,
}

#[derive(Debug, Args)]
struct DemoCdcArguments {
    /// Stop after so many seconds; by default on Ctrl-C
    #[arg(long)]
    seconds: Option<u64>,
    /// Statements a second
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Same seed, same statements of each session
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// A configuration with a pipeline of kind `cdc`; the demo puts its addresses in
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct WorkloadArguments {
    /// postgresql://… or mysql://…
    #[arg(long)]
    url: String,
    /// Create the tables first
    #[arg(long)]
    create: bool,
    /// How many statements
    #[arg(long, required_unless_present = "seconds", conflicts_with = "seconds")]
    statements: Option<u64>,
    /// For how long
    #[arg(long)]
    seconds: Option<u64>,
    /// Statements a second; by default as many as possible
    #[arg(long)]
    rate: Option<u64>,
    /// Connections that work at the same time
    #[arg(long, default_value_t = 4)]
    sessions: u64,
    /// Different keys of each table
    #[arg(long, default_value_t = 2_000)]
    keys: u64,
    /// Same seed, same statements of each session
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Add, rename and drop columns on the way
    #[arg(long)]
    evolve: bool,
}

#[derive(Debug, Args)]
struct CompareArguments {
    /// postgresql://… or mysql://…
    #[arg(long)]
    url: String,
    /// The source's table
    #[arg(long)]
    table: String,
    /// URL of ClickHouse's HTTP interface
    #[arg(long)]
    clickhouse: String,
    /// database.table of the replica
    #[arg(long)]
    replica: String,
    /// What a text column of the replica holds for bytes
    #[arg(long, value_enum, default_value = "raw")]
    binary: compare::Binary,
}

#[derive(Debug, Args)]
struct GenerateArguments {
    /// host:port of a broker
    #[arg(long)]
    brokers: String,
    /// Created when missing
    #[arg(long, default_value = "user-events")]
    topic: String,
    /// Partitions of a topic that is created
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// How many events, as fast as possible
    #[arg(long, required_unless_present = "rate", conflicts_with = "rate")]
    events: Option<u64>,
    /// Events a second
    #[arg(long)]
    rate: Option<u64>,
    /// For how long, with --rate; by default until killed
    #[arg(long, requires = "rate")]
    seconds: Option<u64>,
    /// Number of different users
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// Same seed, same events
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Event time of the first event in milliseconds since 1970 (one event a millisecond), or
    /// `now` (each event the moment of producing)
    #[arg(long, default_value = "1763683200000", value_parser = parse_start)]
    start_ms: Start,
    /// Every so-many-th event is spoiled; 0: none
    #[arg(long, default_value_t = 0)]
    poison_every: u64,
    /// Fill this server with the users' profiles first
    #[arg(long)]
    redis: Option<String>,
    /// How profiles are kept
    #[arg(long, value_enum, default_value = "json")]
    redis_encoding: ProfileEncoding,
    /// What comes before the user in a profile's key
    #[arg(long, default_value = "user:profile:")]
    redis_prefix: String,
}

#[derive(Debug, Args)]
struct ClickhouseArguments {
    /// Loopback port to listen at
    #[arg(long)]
    port: u16,
    /// Data directory; created when missing
    #[arg(long)]
    path: PathBuf,
    /// libchdb.so; by default the one that install.sh fetched
    #[arg(long)]
    library: Option<PathBuf>,
    /// The engine's configuration as XML, as for a replica
    #[arg(long)]
    config: Option<PathBuf>,
    /// Loopback port where other replicas fetch parts
    #[arg(long, requires = "config")]
    interserver_port: Option<u16>,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Demo(arguments) => {
            let duration = arguments.seconds.map(Duration::from_secs);
            if !demo::run(arguments.rate, duration)? {
                bail!("the demo's verdict is bad: see above");
            }
            Ok(())
        }
        Command::DemoCdc(arguments) => {
            let options = demo::cdc::Options {
                rate: arguments.rate,
                duration: arguments.seconds.map(Duration::from_secs),
                seed: arguments.seed,
                config: arguments.config,
            };
            if !demo::cdc::run(&options)? {
                bail!("a replica differs from its source: see above");
            }
            Ok(())
        }
        Command::DemoMedallion(arguments) => {
            let duration = arguments.seconds.map(Duration::from_secs);
            if !demo::medallion::run(arguments.rate, duration)? {
                bail!("the demo's verdict is bad: see above");
            }
            Ok(())
        }
        Command::Up => up(),
        Command::Replicated => replicated(),
        Command::Debezium { mariadb } => debezium(mariadb),
        Command::Workload(arguments) => change(arguments),
        Command::Compare(arguments) => compare(&arguments),
        Command::Generate(arguments) => generate(arguments),
        Command::Clickhouse(arguments) => {
            let fetched = || workdir::sandbox_dir().join("clickhouse/libchdb.so");
            let library = arguments.library.unwrap_or_else(fetched);
            let replica = arguments.config.map(|config| Replica {
                config,
                interserver_port: arguments.interserver_port,
            });
            clickhouse_front::serve(arguments.port, &arguments.path, &library, replica.as_ref())
        }
    }
}

fn up() -> Result<()> {
    let parts = Sandbox::start()?;
    println!("export KAFKA_BROKERS={}", parts.kafka.bootstrap());
    println!("export CLICKHOUSE_URL={}", parts.clickhouse.url());
    println!("export REDIS_URL={}", parts.redis.url());
    Signals::new([SIGINT, SIGTERM])?.forever().next();
    Ok(())
}

fn replicated() -> Result<()> {
    let parts = Replicated::start()?;
    let [first, second] = &parts.replicas;
    for (name, replica) in [("R1", first), ("R2", second)] {
        println!("export CLICKHOUSE_{name}_URL={}", replica.url());
        println!("export CLICKHOUSE_{name}_PID={}", replica.pid());
    }
    println!("export ZOOKEEPER=127.0.0.1:{}", parts.zookeeper.port());
    println!("export ZOOKEEPER_PID={}", parts.zookeeper.pid());
    Signals::new([SIGINT, SIGTERM])?.forever().next();
    Ok(())
}

fn debezium(mariadb: bool) -> Result<()> {
    let parts = demo::cdc::Parts::start()?;
    println!("export KAFKA_BROKERS={}", parts.kafka.bootstrap());
    println!("export CLICKHOUSE_URL={}", parts.clickhouse.url());
    println!("export POSTGRES_URL={}", parts.postgres.url());
    println!("export CONNECT_URL={}", parts.connect.url());
    let more = mariadb.then(|| parts.start_mariadb()).transpose()?;
    if let Some((mariadb, connect)) = &more {
        println!("export MARIADB_URL={}", mariadb.url());
        println!("export MARIADB_CONNECT_URL={}", connect.url());
    }
    Signals::new([SIGINT, SIGTERM])?.forever().next();
    Ok(())
}

fn change(arguments: WorkloadArguments) -> Result<()> {
    if arguments.create {
        workload::create_tables(&arguments.url)?;
    }
    let limit = match (arguments.seconds, arguments.statements) {
        (Some(seconds), _) => Limit::Time(Duration::from_secs(seconds)),
        (None, statements) => Limit::Statements(statements.unwrap_or_default()),
    };
    let workload = Workload {
        url: arguments.url,
        sessions: arguments.sessions,
        seed: arguments.seed,
        limit,
        statements_per_second: arguments.rate,
        keys: arguments.keys,
        evolve: arguments.evolve,
        defaults: true,
        large_keys_return: true,
    };
    println!(
        "{}",
        workload::run(&workload, &workload::Progress::default())?
    );
    Ok(())
}

fn compare(arguments: &CompareArguments) -> Result<()> {
    let options = ReplicaOptions {
        binary: arguments.binary,
        ..ReplicaOptions::default()
    };
    let comparison = compare::tables(
        &arguments.url,
        &arguments.table,
        &arguments.clickhouse,
        &arguments.replica,
        &options,
    )?;
    println!("{comparison}");
    if !comparison.is_equal() {
        bail!("the replica differs from its source: see above");
    }
    Ok(())
}

fn generate(arguments: GenerateArguments) -> Result<()> {
    if let Some(redis) = &arguments.redis {
        let (prefix, users) = (&arguments.redis_prefix, arguments.users);
        generate::load_profiles(redis, prefix, users, arguments.redis_encoding)?;
        println!("{users} profiles at {redis}");
    }
    if topic::partition_count(&arguments.brokers, &arguments.topic)? == 0 {
        let settings = [("retention.ms", "-1"), ("retention.bytes", "-1")];
        topic::create(
            &arguments.brokers,
            &arguments.topic,
            arguments.partitions,
            &settings,
        )?;
    }
    let duration = arguments.seconds.map(Duration::from_secs);
    let volume = match (arguments.events, arguments.rate) {
        (Some(events), _) => Volume::Events(events),
        (None, rate) => Volume::Rate {
            per_second: rate.unwrap_or_default(),
            duration,
        },
    };
    let traffic = Traffic {
        bootstrap: arguments.brokers,
        topic: arguments.topic,
        volume,
        users: arguments.users,
        seed: arguments.seed,
        start: arguments.start_ms,
        poison_every: arguments.poison_every,
    };
    let begun = Instant::now();
    let sent = generate::run(&traffic, &Progress::default())?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{sent} events in {seconds:.1} s ({:.0}/s)",
        sent as f64 / seconds
    );
    Ok(())
}

fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "now" => Ok(Start::Now),
        number => number
            .parse()
            .map(Start::At)
            .map_err(|_| "a number or `now`".to_owned()),
    }
}
