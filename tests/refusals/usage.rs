//! Command lines and configurations that cannot work.

use std::process::Output;

use crate::support::{Job, command};

fn run(job: &Job, arguments: &[&str]) -> (Option<i32>, String, String) {
    let (path, _) = job.write_config("usage");
    let output = command(&path, arguments).output().expect("it starts");
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn every_problem_of_a_configuration_is_told_with_its_key_and_ends_with_code_2() {
    let mut job = Job::new("problems");
    job.set("service.http_listen_", "x");
    job.set("service.memory_max", "1KiB");
    job.set("pipeline.batch.flush_interval", 5);
    job.set("pipeline.delivery", "exactly_twice");
    job.set("pipeline.dead_letter.ratio_max", 2.0);
    job.set("kafka.properties.group.id", "x");
    let keys = [
        "service.http_listen_",
        "service.memory_max",
        "flush_interval",
        "delivery",
        "ratio_max",
        "group.id",
    ];
    for command in [
        &["run"][..],
        &["check"],
        &["check", "--json"],
        &["schema", "print"],
    ] {
        let (code, out, err) = run(&job, command);
        assert_eq!(code, Some(2), "{command:?}: {out}{err}");
        for key in keys {
            assert!(
                format!("{out}{err}").contains(key),
                "{command:?}: {key}: {out}{err}"
            );
        }
        if command.contains(&"--json") {
            let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
            let problems = json["problems"].as_array().expect("a list");
            assert_eq!(problems.len(), keys.len(), "{out}");
            assert!(
                problems
                    .iter()
                    .all(|p| p["key"].is_string() && p["message"].is_string())
            );
        }
    }
}

#[test]
fn a_sound_configuration_passes_check_without_any_server() {
    let mut job = Job::new("sound");
    for (key, value) in [
        ("clickhouse.url", "http://127.0.0.1:1"),
        ("redis.url", "redis://127.0.0.1:1"),
    ] {
        job.set(key, value);
    }
    job.set("kafka.bootstrap_servers", vec!["127.0.0.1:1"]);
    let (code, out, err) = run(&job, &["check"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, out, err) = run(&job, &["check", "--json"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(0), "{out}");
}

#[test]
fn unknown_words_on_the_command_line_end_with_code_2() {
    let job = Job::new("words");
    for (arguments, word) in [
        (&["run", "--fast"][..], "--fast"),
        (&["fly"], "fly"),
        (&["run", "--pipeline", "nobody"], "nobody"),
        (&["run", "--until", "tomorrow"], "tomorrow"),
        (&["schema", "drop"], "drop"),
    ] {
        let (code, out, err) = run(&job, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {out}{err}");
        assert!(err.contains(word), "{arguments:?}: {err}");
    }
    let (_, _, err) = run(&job, &["run", "--pipeline", "nobody"]);
    assert!(
        err.contains("clickstream"),
        "the known names are told: {err}"
    );
}

#[test]
fn a_configuration_that_is_not_there_ends_with_code_2_and_its_path() {
    let job = Job::new("nowhere");
    let path = job.directory.path().join("nowhere.toml");
    for arguments in [&["run"][..], &["check"]] {
        let output = command(&path, arguments).output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("nowhere.toml"), "{said}");
    }
}

#[test]
fn completions_and_the_man_page_are_printed_without_a_configuration() {
    let built = |arguments: &[&str]| {
        let nowhere = std::path::Path::new("/no/such/config.toml");
        let output = command(nowhere, arguments).output().expect("it starts");
        let text = String::from_utf8(output.stdout).expect("text");
        (output.status.code(), text)
    };
    let commands = ["run", "doctor", "dead-letters", "offsets", "checkpoints"];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script) = built(&["completions", shell]);
        assert_eq!(code, Some(0), "{shell}");
        for name in commands {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
    assert_eq!(built(&["completions", "tcsh"]).0, Some(2));
    let (code, page) = built(&["man"]);
    assert_eq!(code, Some(0));
    assert!(page.contains(".TH streamweir 1"), "{page}");
    for words in [
        "streamweir offsets reset",
        "streamweir dead\\-letters replay",
        "STREAMWEIR_LOG",
        "--refused-max",
    ] {
        let plain = page.replace("\\-", "-");
        assert!(
            plain.contains(&words.replace("\\-", "-")),
            "{words}: {page}"
        );
    }
    assert_eq!(page.matches(".SH COMMANDS").count(), 1);
    assert_eq!(
        page.matches(".SH OPTIONS").count(),
        1,
        "those of all commands"
    );
}
