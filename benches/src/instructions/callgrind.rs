//! Counting with callgrind, which executes a program on a simulated processor: the same program
//! with the same input takes the same number of instructions on every machine.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Instructions by function, those of the functions it calls included.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    inclusive: HashMap<String, u64>,
    total: u64,
}

impl Counts {
    /// Runs `program` and counts while one of the functions named by `toggles` runs. In these `*`
    /// stands for anything.
    ///
    /// # Errors
    /// Without valgrind, or when the program fails.
    pub(crate) fn of(program: &Path, arguments: &[&str], toggles: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let output = directory.path().join("callgrind.out");
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--compress-strings=no"]);
        command.args(["--compress-pos=no", "--collect-atstart=no"]);
        for toggle in toggles {
            command.arg(format!("--toggle-collect={toggle}"));
        }
        command.arg(format!("--callgrind-out-file={}", output.display()));
        command.arg(program).args(arguments);
        let ran = command.output().context(
            "valgrind does not start: tests/sandbox/install.sh installs it (`make deps`)",
        )?;
        if !ran.status.success() {
            bail!("valgrind: {}", String::from_utf8_lossy(&ran.stderr));
        }
        Self::read(&fs::read_to_string(output)?)
    }

    /// Reads the format of callgrind without compressed names and positions: after `fn=` lines of
    /// position and cost; after `calls=` one line with the cost of the function called.
    fn read(text: &str) -> Result<Self> {
        let mut counts = Counts::default();
        let mut function = "";
        let mut is_call = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                function = name;
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|c: char| c.is_ascii_digit()) {
                let cost = line.split(' ').nth(1).context("a cost")?.parse::<u64>()?;
                *counts.inclusive.entry(function.to_owned()).or_default() += cost;
                if !is_call {
                    counts.total += cost;
                }
                is_call = false;
            }
        }
        ensure!(counts.total > 0, "callgrind counted nothing");
        Ok(counts)
    }

    /// All instructions counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Those of the functions whose name contains `part`, and of what they call.
    ///
    /// # Errors
    /// When there is none: it was renamed or inlined, and a stage would be counted as nothing.
    pub(crate) fn inside(&self, part: &str) -> Result<u64> {
        let found = self
            .inclusive
            .iter()
            .filter(|(name, _)| name.contains(part));
        let counts: Vec<u64> = found.map(|(_, count)| *count).collect();
        ensure!(!counts.is_empty(), "no function named {part} was executed");
        Ok(counts.iter().sum())
    }

    /// The functions that take most, for a look at what a stage consists of.
    pub(crate) fn largest(&self, count: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.inclusive.iter().map(|(n, c)| (&**n, *c)).collect();
        all.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        all.truncate(count);
        all
    }
}
