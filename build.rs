//! Says which commit is built: in `--version` and in `streamweir_build_info`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=STREAMWEIR_COMMIT");
    let told = std::env::var("STREAMWEIR_COMMIT").ok();
    let commit = told.filter(|commit| !commit.is_empty());
    let commit = commit.or_else(head).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=STREAMWEIR_COMMIT={commit}");
}

/// The commit that is checked out, where this is a checkout and git is there.
fn head() -> Option<String> {
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    // Both change with a commit; a file that is not there would have the script run each time.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    Some(commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
