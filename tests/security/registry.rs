//! A schema registry over TLS, for users with a password, a token and a certificate.

use std::fs;
use std::path::Path;

use sandbox::certificates::Authority;
use sandbox::tls_front::TlsFront;
use sandbox::topic;

use crate::support::registry::{framed, registry_for};
use crate::support::{EVENT_TIME_MS, Job};

const SCHEMA: &str = r#"{"type":"record","name":"E","fields":[{"name":"id","type":"int"}]}"#;
/// Nobody listens there.
const DEAD: &str = "http://127.0.0.1:1";
/// user:right-word
const BASIC: &str = "Basic dXNlcjpyaWdodC13b3Jk";
const BEARER: &str = "Bearer right-token";

/// A pipeline whose records name a schema of the registry.
fn job() -> Job {
    let mut job = Job::raw("registry_tls");
    job.create_topic(1);
    let pipeline = toml::toml! {
        name = "avro"
        kind = "enrichment"
        format = "avro"
        time_field = ""
    };
    for (key, value) in pipeline {
        job.set(&format!("pipeline.{key}"), value);
    }
    job.unset("pipeline.clickhouse.ddl");
    job.set("pipeline.clickhouse.table", "of_avro");
    job.query(
        "CREATE TABLE {db}.of_avro (id UInt8, _topic String, _partition Int32, _offset Int64) \
         ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000",
    );
    job
}

/// One more record; every run begins with asking for its schema.
fn produce(job: &Job, id: u8) {
    let record = topic::Record::new(framed(1, &[2 * id]))
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS);
    topic::produce(job.bootstrap(), &job.topic, [record]).expect("a record");
}

fn assert_rows(job: &Job, expected: &str) {
    let rows = "SELECT arrayStringConcat(groupArray(id), ' ') FROM (SELECT id FROM {db}.of_avro ORDER BY id)";
    assert_eq!(job.query(rows), expected);
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_registry_behind_tls_serves_who_may_read_and_whoever_may_not_is_told_why() {
    let mut job = job();
    let authority = Authority::new("registry").expect("an authority");
    let [server, client] = ["server", "client"].map(|name| authority.issue(name).expect("issued"));
    let let_in = vec![BASIC.to_owned(), BEARER.to_owned()];
    let url = registry_for(vec![(1, SCHEMA.to_owned())], Some(let_in));
    let backend = url.trim_start_matches("http://").trim_end_matches("/base");
    let open = TlsFront::start_for_anyone(backend, &server).expect("a front");
    let closed = TlsFront::start(backend, &authority, &server).expect("a front");
    let directory = job.directory.path().to_owned();
    for (file, content) in [
        ("password", "right-word\n"),
        ("wrong-password", "wrong-word\n"),
        ("token", "right-token\n"),
    ] {
        fs::write(directory.join(file), content).expect("a file");
    }

    // Nobody whom this machine trusts has signed the certificate: waited for, and said with the key.
    let urls = |front: &TlsFront| vec![DEAD.to_owned(), format!("{}/base", front.url())];
    job.set("service.start_timeout", "6s");
    job.set("pipeline.schema_registry.url", urls(&open));
    job.set("pipeline.schema_registry.user", "user");
    let password = |file| text(&directory.join(file));
    job.set(
        "pipeline.schema_registry.password_file",
        password("password"),
    );
    produce(&job, 1);
    let untrusted = job.run_to_code("untrusted", &["--until", "latest"]);
    // An authority that is known, but another one.
    let other = Authority::new("other").expect("an authority");
    job.set("pipeline.schema_registry.ca_file", text(&other.ca_file()));
    let distrusted = job.run_to_code("distrusted", &["--until", "latest"]);
    for (code, log) in [untrusted, distrusted] {
        assert_eq!(code, 3, "{log}");
        for words in ["UnknownIssuer", "schema_registry.ca_file", DEAD] {
            assert!(log.contains(words), "{words}: {log}");
        }
    }
    assert_eq!(open.heard(), "", "no password was sent to a stranger");

    // The right authority, a user with a password; the first address is dead.
    job.set("service.start_timeout", "60s");
    job.set(
        "pipeline.schema_registry.ca_file",
        text(&authority.ca_file()),
    );
    job.run_to_end();
    assert_rows(&job, "1");

    // A wrong password halts and says so, also where the last address is dead.
    produce(&job, 2);
    job.set(
        "pipeline.schema_registry.password_file",
        password("wrong-password"),
    );
    let advice = ["401 Unauthorized", "schema_registry.user", "password_file"];
    job.assert_halts("refused", "authentication", &advice);
    let turned: Vec<String> = urls(&open).into_iter().rev().collect();
    job.set("pipeline.schema_registry.url", turned);
    job.assert_halts("refused-first", "authentication", &advice);

    // A server that wants a certificate says so to who shows none.
    job.unset("pipeline.schema_registry.user");
    job.unset("pipeline.schema_registry.password_file");
    job.set("pipeline.schema_registry.token_file", password("token"));
    job.set("pipeline.schema_registry.url", urls(&closed));
    job.set("service.start_timeout", "6s");
    let (code, log) = job.run_to_code("anonymous", &["--until", "latest"]);
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("schema_registry.cert_file"), "{log}");

    // A certificate and a token.
    job.set("service.start_timeout", "60s");
    job.set(
        "pipeline.schema_registry.cert_file",
        text(&client.cert_file),
    );
    job.set("pipeline.schema_registry.key_file", text(&client.key_file));
    job.run_to_end();
    assert_rows(&job, "1 2");
    let heard = format!("{}{}", open.heard(), closed.heard());
    for sent in [BASIC, BEARER] {
        assert!(heard.contains(sent), "{sent}");
    }

    // What is not secret needs no authority: neither file nor the machine's.
    job.unset("pipeline.schema_registry.ca_file");
    job.unset("pipeline.schema_registry.cert_file");
    job.unset("pipeline.schema_registry.key_file");
    job.set("pipeline.schema_registry.url", url.as_str());
    produce(&job, 3);
    let empty = tempfile::tempdir().expect("a directory");
    let nothing = empty.path().join("none.pem");
    let environment = [
        ("SSL_CERT_FILE", text(&nothing)),
        ("SSL_CERT_DIR", text(empty.path())),
    ];
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let daemon = job.start_with("bare", &["--until", "latest"], &environment);
    let status = daemon
        .process
        .wait(crate::support::PATIENCE)
        .expect("it ends");
    assert!(status.success(), "{}", daemon.log());
    assert_rows(&job, "1 2 3");
    for instance in ["untrusted", "refused", "to-end", "anonymous", "bare"] {
        let log = fs::read_to_string(directory.join(format!("{instance}.log"))).expect("a log");
        for secret in ["right-word", "wrong-word", "right-token"] {
            assert!(!log.contains(secret), "{instance}: {log}");
        }
    }
}
