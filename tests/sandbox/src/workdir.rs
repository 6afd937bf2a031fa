//! Where things lie: the sandbox directory with what `install.sh` fetched, a scratch directory
//! for each part that runs, and free loopback ports.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use anyhow::{Context, Result, bail, ensure};

/// The directory that `install.sh` fills: `SANDBOX_DIR`, or `.sandbox` at the project's root.
pub fn sandbox_dir() -> PathBuf {
    match std::env::var_os("SANDBOX_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => project_root().join(".sandbox"),
    }
}

/// The project's root, as it was when this crate was compiled.
pub fn project_root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}

/// A file or directory that `install.sh` puts into the sandbox directory.
pub(crate) fn installed(name: &str) -> Result<PathBuf> {
    let path = sandbox_dir().join(name);
    ensure!(
        path.exists(),
        "{} is missing: run `make deps` first, or `make deps-test` for what tests alone run",
        path.display()
    );
    Ok(path)
}

/// The executable `name` of this workspace: the variable `env` where it is set, else the one that
/// stands beside the running executable (test executables lie one directory deeper).
///
/// # Errors
/// When it is in neither place, that is, not built yet.
pub fn executable(name: &str, env: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(env) {
        return Ok(PathBuf::from(path));
    }
    let current = std::env::current_exe().context("where is the running executable?")?;
    let found = current
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file());
    found.with_context(|| {
        format!(
            "no `{name}` beside {}: run `cargo build --workspace`, or set {env}",
            current.display()
        )
    })
}

/// A directory of one running part, removed when dropped. What a killed process left behind is
/// swept by the next one.
#[derive(Debug)]
pub(crate) struct ScratchDir(PathBuf);

impl ScratchDir {
    pub(crate) fn create(part: &str) -> Result<Self> {
        static SWEPT: Once = Once::new();
        let runs = sandbox_dir().join("run");
        SWEPT.call_once(|| sweep(&runs));
        Self::create_in(&runs, part)
    }

    /// One in the system's directory for temporary files, where every user gets at it: a checkout
    /// may lie where only its owner does.
    pub(crate) fn create_for_any_user(part: &str) -> Result<Self> {
        static SWEPT: Once = Once::new();
        let runs = std::env::temp_dir().join("streamweir-sandbox");
        SWEPT.call_once(|| sweep(&runs));
        Self::create_in(&runs, part)
    }

    fn create_in(runs: &Path, part: &str) -> Result<Self> {
        static CREATED: AtomicU64 = AtomicU64::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let dir = runs.join(format!("{}-{number}-{part}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What cannot be removed now is swept by a later run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the scratch directories of processes that are gone.
fn sweep(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .split('-')
            .next()
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A free loopback port that this process has not been given before.
///
/// It lies below the ephemeral range, so that no outgoing connection takes it between two lives
/// of a part that restarts.
pub fn free_port() -> Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    const FIRST: u64 = 11_000;
    const COUNT: u64 = 21_000;
    let mut given = GIVEN.lock().expect("no holder of this lock panics");
    let given = given.get_or_insert_default();
    for _ in 0..1_000 {
        let port = (FIRST + crate::random_u64() % COUNT) as u16;
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free loopback port in {FIRST}..{}", FIRST + COUNT)
}

/// The last lines of a log file, for error messages.
pub(crate) fn log_tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(3_000)..]).into_owned();
    format!("{}:\n{text}", path.display())
}
