//! The command line of the sandbox.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use sandbox::generate::{self, ProfileEncoding, Progress, Start, Traffic, Volume};
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
    /// Start Kafka, ClickHouse and Redis, say where they are, and end with Ctrl-C
    Up,
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
        Command::Up => up(),
        Command::Generate(arguments) => generate(arguments),
        Command::Clickhouse(arguments) => {
            let fetched = || workdir::sandbox_dir().join("clickhouse/libchdb.so");
            let library = arguments.library.unwrap_or_else(fetched);
            clickhouse_front::serve(arguments.port, &arguments.path, &library)
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
