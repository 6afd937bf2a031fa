//! The yardstick: a prototype without the daemon's duties, where one lies beside the checkout.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sandbox::generate::{self, ProfileEncoding};
use sandbox::process::Process;
use sandbox::workdir::{free_port, project_root};
use sandbox::{Sandbox, wait};
use tempfile::TempDir;

use crate::child::{self, Run};
use crate::topic::{EventTopic, USERS};

pub(crate) struct Prototype {
    program: PathBuf,
    port: String,
    redis: String,
    directory: TempDir,
    _server: Process,
}

impl Prototype {
    /// Builds it and starts its discarding server; `None`, with a word on why, where it is not.
    pub(crate) fn prepare(parts: &Sandbox) -> Result<Option<Self>> {
        let source = project_root().join("../shared/examples/limit");
        if !source.exists() {
            println!("(p) is left out: {} is not there", source.display());
            return Ok(None);
        }
        let program = match build(&source) {
            Ok(program) => program,
            Err(error) => {
                println!("(p) is left out: {error:#}");
                return Ok(None);
            }
        };
        // It reads hashes; the profiles of the daemon are JSON. Another database of the same
        // server keeps them apart.
        let redis = format!("{}/1", parts.redis.url());
        generate::load_profiles(&redis, "user:profile:", USERS, ProfileEncoding::Hash)?;
        let port = free_port()?.to_string();
        let mut server = Command::new(&program);
        server.arg("server").arg(format!("port={port}"));
        server.stdin(Stdio::null());
        let server = Process::spawn(server)?;
        wait::until(
            "the prototype's server listens",
            Duration::from_secs(20),
            || TcpStream::connect(format!("127.0.0.1:{port}")).ok(),
        )?;
        Ok(Some(Self {
            program,
            port,
            redis,
            directory: tempfile::tempdir()?,
            _server: server,
        }))
    }

    /// Drains the topic with everything it can do.
    pub(crate) fn run(&self, parts: &Sandbox, topic: &EventTopic) -> Result<Run> {
        let mut command = Command::new(&self.program);
        command.args(["drain", "stage=6", "compact=1", "wait=one"]);
        command.args(["k.fetch.queue.backoff.ms=2", "k.queued.min.messages=1000"]);
        command.arg("k.queued.max.messages.kbytes=8192");
        command.arg(format!("brokers={}", parts.kafka.bootstrap()));
        command.arg(format!("topic={}", topic.name));
        command.arg(format!("redis={}", self.redis));
        command.arg(format!("port={}", self.port));
        let log = self.directory.path().join("prototype.log");
        let run = child::run(command, &log)?;
        let text = fs::read_to_string(&log)?;
        let said = |name: &str| {
            let word = text
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name));
            word.with_context(|| format!("no {name} in {text:?}"))
        };
        ensure!(
            said("n=")? == topic.events.to_string(),
            "it saw {} events",
            said("n=")?
        );
        ensure!(
            said("bad=")? == "0",
            "it could not read {} events",
            said("bad=")?
        );
        println!("         its own count, without its start: {}", text.trim());
        Ok(run)
    }
}

/// Built from a copy, so that nothing is left beside the checkout.
fn build(source: &std::path::Path) -> Result<PathBuf> {
    let copy = std::env::temp_dir().join("streamweir-limit");
    fs::create_dir_all(copy.join("src"))?;
    fs::copy(source.join("Cargo.toml"), copy.join("Cargo.toml"))?;
    for file in fs::read_dir(source.join("src"))? {
        let file = file?;
        fs::copy(file.path(), copy.join("src").join(file.file_name()))?;
    }
    println!("building the prototype in {} …", copy.display());
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .args(["build", "--release", "--quiet"])
        .current_dir(&copy);
    // What cargo set for us is not meant for another package.
    cargo.env_remove("CARGO_TARGET_DIR");
    let built = cargo.output().context("cannot start cargo")?;
    ensure!(
        built.status.success(),
        "it does not build: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(copy.join("target/release/limit"))
}
