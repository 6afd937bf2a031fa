//! What a pipeline that has halted leaves under `service.state_dir`, so that others know of it when the
//! process has ended too.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::halt::Halt;

/// Why a pipeline has halted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Halted {
    pub(crate) reason: String,
    pub(crate) advice: String,
}

fn path(state_dir: &Path, pipeline: &str) -> PathBuf {
    state_dir.join(pipeline).join("halted.json")
}

/// It has halted.
pub(super) fn note(state_dir: &Path, pipeline: &str, halt: &Halt) {
    let halted = Halted {
        reason: halt.reason.to_owned(),
        advice: halt.advice.clone(),
    };
    let path = path(state_dir, pipeline);
    let text = serde_json::to_vec(&halted).unwrap_or_default();
    // Only `wait` reads it; the log and the exit code say the same.
    if let Err(error) = std::fs::write(&path, text) {
        tracing::debug!(path = %path.display(), %error, "the halt is not noted");
    }
}

/// It starts again.
pub(super) fn forget(state_dir: &Path, pipeline: &str) {
    let _ = std::fs::remove_file(path(state_dir, pipeline));
}

/// Why it has halted, if a process that keeps its files here has said so.
pub(crate) fn read(state_dir: &Path, pipeline: &str) -> Option<Halted> {
    let text = std::fs::read(path(state_dir, pipeline)).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_is_known_until_the_pipeline_starts_again() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path();
        assert_eq!(read(state_dir, "orders"), None);
        note(
            state_dir,
            "orders",
            &Halt::new("schema", "no directory yet"),
        );
        std::fs::create_dir(state_dir.join("orders")).unwrap();
        note(state_dir, "orders", &Halt::new("schema", "add the column"));
        let halted = read(state_dir, "orders").unwrap();
        assert_eq!(
            (&*halted.reason, &*halted.advice),
            ("schema", "add the column")
        );
        assert_eq!(read(state_dir, "items"), None);
        forget(state_dir, "orders");
        forget(state_dir, "orders");
        assert_eq!(read(state_dir, "orders"), None);
    }
}
