//! `make bench` still does what it says: every part once, over few records. The figures mean nothing here.

use std::process::Command;

const RECORDS: &str = "2000";

#[test]
fn every_part_of_the_benchmark_runs_to_its_end() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throughput"));
    for part in ["--events", "--changes", "--sales", "--joins"] {
        command.args([part, RECORDS]);
    }
    let output = command
        .args(["--rounds", "1", "--kinds", "bdeqru"])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    for row in [
        "(b) drain",
        "(d) daemon",
        "(e) daemon into ClickHouse",
        "(q) ",
        "(r) ",
        "joined",
    ] {
        assert!(said.contains(row), "no {row}:\n{said}");
    }
}
