//! Where the figures come from.

use std::fs;
use std::process::Command;

use anyhow::Result;
use sandbox::Sandbox;
use sandbox::workdir::{project_root, sandbox_dir};

/// Processor, kernel and versions, one line each.
pub(crate) fn facts(parts: &Sandbox) -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or("?", |(_, value)| value.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let clickhouse = parts.clickhouse.query("SELECT version()");
    let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
    Ok([
        format!("date        {}", output("date", &["-u", "+%F %R UTC"])),
        format!("commit      {}", commit()),
        format!(
            "machine     {cores} cores, {} (model {})",
            field("model name"),
            field("model\t")
        ),
        format!("kernel      {}", kernel.trim()),
        format!(
            "versions    {}, librdkafka {librdkafka}, Kafka {}, ClickHouse {clickhouse}, {}",
            output("rustc", &["--version"]),
            kafka_version(),
            redis_version()
        ),
        load()?,
    ]
    .join("\n"))
}

/// What else the machine is busy with: everything runs on the same cores.
pub(crate) fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let averages: Vec<&str> = load.split(' ').take(3).collect();
    Ok(format!(
        "load        {} (1, 5, 15 minutes)",
        averages.join(" ")
    ))
}

fn commit() -> String {
    let directory = project_root().display().to_string();
    let head = output(
        "git",
        &["-C", &directory, "describe", "--always", "--dirty"],
    );
    if head.is_empty() {
        "?".to_owned()
    } else {
        head
    }
}

fn kafka_version() -> String {
    let jars = fs::read_dir(sandbox_dir().join("kafka"))
        .into_iter()
        .flatten();
    let names = jars
        .flatten()
        .map(|jar| jar.file_name().to_string_lossy().into_owned());
    let version = |name: String| {
        let name = name
            .strip_prefix("kafka-server-")?
            .strip_suffix(".jar")?
            .to_owned();
        name.starts_with(|c: char| c.is_ascii_digit())
            .then_some(name)
    };
    names
        .into_iter()
        .find_map(version)
        .unwrap_or("?".to_owned())
}

fn redis_version() -> String {
    let text = output("redis-server", &["--version"]);
    let version = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="));
    format!("Redis {}", version.unwrap_or("?"))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}
