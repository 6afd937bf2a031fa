//! What an event costs in another format: the same events in JSON, Avro and Protobuf, through the shipped
//! pipeline.

mod binary;
mod reading;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use protox::Compiler;
use sandbox::clickhouse::ClickHouse;
use sandbox::generate::{self, Events, ProfileEncoding};
use sandbox::workdir::executable;
use sandbox::{Sandbox, topic};
use toml::{Table, Value};

use crate::daemon::{DaemonRuns, Work, section};
use crate::report::{Kind, Report};
use crate::topic::{EventTopic, PARTITIONS, SEED, START_MS, USERS};

/// Binary events may take so many times what they take in JSON.
const TIMES_MAX: f64 = 0.8;

/// How the events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// As the generator makes them
    Json,
    /// Avro behind a registry's frame
    Avro,
    /// Protobuf behind a registry's frame
    Protobuf,
}

impl Format {
    pub(crate) const ALL: [Format; 3] = [Format::Json, Format::Avro, Format::Protobuf];

    fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Avro => "avro",
            Format::Protobuf => "protobuf",
        }
    }

    fn value(self, event: &[u8]) -> Result<Vec<u8>> {
        match self {
            Format::Json => Ok(event.to_vec()),
            Format::Avro => binary::avro(&serde_json::from_slice(event)?),
            Format::Protobuf => binary::protobuf(&serde_json::from_slice(event)?),
        }
    }
}

/// Measures and prints.
///
/// # Errors
/// When a run fails, or leaves other rows than the events'.
pub(crate) fn measure(parts: &Sandbox, events: u64, rounds: usize) -> Result<()> {
    ensure!(events > 0, "nothing to do");
    let (redis, keys) = (parts.redis.url(), "user:profile:");
    generate::load_profiles(&redis, keys, USERS, ProfileEncoding::Json)?;
    let schemas = Schemas::write()?;
    let mut topics = vec![];
    for format in Format::ALL {
        topics.push(FormatTopic::fill(parts, &schemas, format, events)?);
    }
    println!();
    let mut daemons = vec![];
    for topic in &topics {
        println!(
            "{}: {events} events of {} bytes on average in {PARTITIONS} partitions",
            topic.format.name(),
            topic.value_bytes / events
        );
        let program = executable("streamweir", "STREAMWEIR_BIN")?;
        let daemon = DaemonRuns::new(parts, topic, program)?;
        // Once into the engine, uncounted: every row is there and has its own values.
        daemon.read_into_the_engine()?;
        daemons.push((topic.format, daemon));
    }
    let mut report = Report::new("event", events);
    for round in 1..=rounds {
        for (format, daemon) in &daemons {
            let (run, _) = daemon.read_into_nowhere()?;
            report.add(round, Kind::Format(*format), run);
        }
        daemons.rotate_left(1);
    }
    println!("\n{report}");
    let alone = reading::measure()?;
    let json_alone = alone.first().context("JSON was measured")?.1;
    println!();
    let json = report.median_cpu_us(Kind::Format(Format::Json));
    let json = json.context("JSON was measured")?;
    for format in [Format::Avro, Format::Protobuf] {
        let own = report.median_cpu_us(Kind::Format(format));
        let ratio = own.context("it was measured")? / json;
        let judged = if ratio <= TIMES_MAX { "held" } else { "MISSED" };
        let name = format.name();
        let own_alone = alone.iter().find(|(of, _)| *of == format);
        let own_alone = own_alone.context("it was measured")?.1;
        println!(
            "{name} / json: {ratio:.2}; at most {TIMES_MAX}: {judged}; reading and columns alone {:.2}",
            own_alone / json_alone
        );
    }
    Ok(())
}

/// The schemas that the pipelines are given.
struct Schemas {
    directory: tempfile::TempDir,
}

impl Schemas {
    fn write() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = |name| directory.path().join(name);
        std::fs::write(path("event.avsc"), binary::AVRO_SCHEMA)?;
        std::fs::write(path("event.proto"), binary::PROTOBUF_SCHEMA)?;
        let mut compiler = Compiler::new([directory.path()])?;
        compiler.include_imports(true).open_file("event.proto")?;
        std::fs::write(path("event.pb"), compiler.encode_file_descriptor_set())?;
        Ok(Schemas { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// The events in one format, in a topic of their own.
struct FormatTopic<'s> {
    name: String,
    format: Format,
    events: u64,
    value_bytes: u64,
    schemas: &'s Schemas,
}

impl<'s> FormatTopic<'s> {
    fn fill(parts: &Sandbox, schemas: &'s Schemas, format: Format, events: u64) -> Result<Self> {
        let bootstrap = parts.kafka.bootstrap();
        let name = format!("bench.events-{}", format.name());
        topic::create(bootstrap, &name, PARTITIONS, &[("retention.ms", "-1")])?;
        let (mut made, mut value_bytes) = (Events::new(SEED, USERS), 0);
        let mut failed = None;
        let records = (0..events).map_while(|number| {
            let time_ms = START_MS + i64::try_from(number).ok()?;
            let (user, event) = made.next(time_ms);
            let value = format
                .value(event)
                .map_err(|error| failed = Some(error))
                .ok()?;
            value_bytes += value.len() as u64;
            let key = user.to_string().into_bytes();
            Some(topic::Record::new(value).key(key))
        });
        let sent = topic::produce(bootstrap, &name, records)?;
        if let Some(error) = failed {
            return Err(error);
        }
        ensure!(sent == events, "{sent} of {events} events were made");
        Ok(FormatTopic {
            name,
            format,
            events,
            value_bytes,
            schemas,
        })
    }

    fn file(&self, name: &str) -> Value {
        self.schemas.path(name).display().to_string().into()
    }
}

impl Work for FormatTopic<'_> {
    fn topic(&self) -> &str {
        &self.name
    }

    fn records(&self) -> u64 {
        self.events
    }

    fn config(&self) -> Result<Table> {
        let mut config = EventTopic::pipeline()?;
        let pipeline = config["pipeline"][0].as_table_mut().context("a pipeline")?;
        pipeline.insert("format".into(), self.format.name().into());
        match self.format {
            Format::Json => return Ok(config),
            Format::Avro => {
                let avro = section(pipeline, "avro")?;
                avro.insert("schema_file".into(), self.file("event.avsc"));
                avro.insert("framed".into(), true.into());
            }
            Format::Protobuf => {
                let protobuf = section(pipeline, "protobuf")?;
                protobuf.insert("descriptor_file".into(), self.file("event.pb"));
                protobuf.insert("message".into(), "bench.Event".into());
                protobuf.insert("framed".into(), true.into());
            }
        }
        // A record's members are written as JSON, there is no text to keep as it came.
        section(section(pipeline, "columns")?, "properties")?.remove("raw");
        Ok(config)
    }

    /// Each row is the event's, whatever it was written in: the sum of what the generator made.
    fn check(&self, clickhouse: &ClickHouse, database: &str) -> Result<()> {
        let found = clickhouse.try_query(&format!(
            "SELECT count(), uniqExact(event_id), countIf(ip_address != '' AND city != ''), \
             countIf(JSONExtractString(properties, 'ab') IN ('A', 'B')), \
             countIf(user_email = concat('user', toString(user_id), '@example.com')), \
             sum(toUnixTimestamp64Milli(timestamp) - {START_MS}) \
             FROM {database}.clickstream_events"
        ))?;
        let n = self.events;
        let expected = format!("{n}\t{n}\t{n}\t{n}\t{n}\t{}", n * (n - 1) / 2);
        ensure!(found == expected, "the table has {found}, not {expected}");
        Ok(())
    }
}
