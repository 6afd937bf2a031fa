//! A real schema registry, Apicurio's, whose schemas are in memory.
//!
//! `install.sh registry` fetches it. It needs a newer Java than the other parts: `REGISTRY_JAVA` names one,
//! else the newest that Debian has installed is taken.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::http::answers;
use crate::kafka::log_to;
use crate::process::Process;
use crate::wait;
use crate::workdir::{ScratchDir, free_port, installed, log_tail, sandbox_dir};

const START_TIMEOUT: Duration = Duration::from_secs(180);
const JAVA_MIN: u32 = 21;

/// A running registry, killed when dropped.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    process: Process,
    _dir: ScratchDir,
}

impl Registry {
    /// Whether it was fetched.
    pub fn is_installed() -> bool {
        sandbox_dir().join("registry").exists()
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it was not fetched, there is no Java that it runs on, or it gives up.
    pub fn start() -> Result<Self> {
        let (port, dir) = (free_port()?, ScratchDir::create("registry")?);
        let log = dir.path().join("registry.log");
        let mut command = Command::new(java()?);
        command
            .args([
                "-Xmx400m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-XX:-UsePerfData",
                "-Dquarkus.http.host=127.0.0.1",
                "-Dquarkus.management.host=127.0.0.1",
            ])
            .arg(format!("-Dquarkus.management.port={}", free_port()?))
            .arg(format!("-Dquarkus.http.port={port}"))
            .arg("-jar")
            .arg(installed("registry")?.join("quarkus-run.jar"))
            .current_dir(dir.path())
            .stdin(Stdio::null());
        log_to(&mut command, &log)?;
        let registry = Registry {
            port,
            process: Process::spawn(command)?,
            _dir: dir,
        };
        let url = format!("{}/subjects", registry.url());
        wait::until("the schema registry answers", START_TIMEOUT, || {
            if let Some(status) = registry.process.try_wait() {
                return Some(Err(anyhow::anyhow!("the schema registry ended, {status}")));
            }
            answers(&url).then_some(Ok(()))
        })
        .with_context(|| log_tail(&log))?
        .with_context(|| log_tail(&log))?;
        Ok(registry)
    }

    /// `host:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it speaks the protocol of Confluent's.
    pub fn url(&self) -> String {
        format!("http://{}/apis/ccompat/v7", self.address())
    }

    /// Where converters register schemas.
    pub fn own_url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/registry/v2", self.port)
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// SIGCONT after [`Registry::pause`].
    pub fn resume(&self) {
        self.process.resume();
    }

    /// The text of a schema.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn schema(&self, id: u32) -> Result<String> {
        let url = format!("{}/schemas/ids/{id}", self.url());
        let mut answer = ureq::get(&url).call().with_context(|| url.clone())?;
        let answer: serde_json::Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        let text = answer["schema"].as_str();
        Ok(text.with_context(|| format!("{url}: {answer}"))?.to_owned())
    }
}

/// An executable that is new enough.
fn java() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("REGISTRY_JAVA") {
        return Ok(path.into());
    }
    let homes = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten();
    let found = homes.flatten().filter_map(|entry| {
        let java = entry.path().join("bin/java");
        let version = version(&entry.file_name().to_string_lossy())?;
        (version >= JAVA_MIN && is_file(&java)).then_some((version, java))
    });
    match found.max() {
        Some((_, java)) => Ok(java),
        None => bail!(
            "no Java {JAVA_MIN} or later in /usr/lib/jvm for the schema registry: install one, or set \
             REGISTRY_JAVA to its executable"
        ),
    }
}

fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// The first number in the name of an installation, such as `temurin-25-jdk-amd64` and
/// `java-1.17.0-openjdk-amd64`, behind the `1.` that old ones begin with.
fn version(name: &str) -> Option<u32> {
    let mut numbers = name.split(|c: char| !c.is_ascii_digit());
    let mut numbers = numbers.by_ref().filter_map(|part| part.parse().ok());
    match numbers.next() {
        Some(1) => numbers.next(),
        first => first,
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn an_installation_says_its_version() {
        for (name, expected) in [
            ("temurin-25-jdk-amd64", Some(25)),
            ("java-1.17.0-openjdk-amd64", Some(17)),
            ("java-21-openjdk", Some(21)),
            ("default-java", None),
        ] {
            assert_eq!(version(name), expected, "{name}");
        }
    }
}
