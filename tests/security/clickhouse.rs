//! ClickHouse over TLS, for users with a password and a certificate.

use std::fs;

use sandbox::certificates::Authority;
use sandbox::tls_front::TlsFront;
use sandbox::wait;

use crate::support::{Job, PATIENCE, command};

#[test]
fn rows_are_written_over_tls_by_a_user_whose_password_and_certificate_stand_in_files() {
    let mut job = Job::new("clickhouse_tls");
    job.create_topic(1);
    job.produce_events(0, 0..10);
    let authority = Authority::new("clickhouse").expect("an authority");
    let [server, client] = ["server", "client"].map(|name| authority.issue(name).expect("issued"));
    let backend = job.clickhouse_url.trim_start_matches("http://").to_owned();
    let front = TlsFront::start(&backend, &authority, &server).expect("a front");
    let directory = job.directory.path().to_owned();
    fs::write(directory.join("password"), "hush-hush\n").expect("a file");
    let text = |path: &std::path::Path| path.display().to_string();
    job.set("clickhouse.url", front.url());
    job.set("clickhouse.user", "writer");
    job.set(
        "clickhouse.password_file",
        text(&directory.join("password")),
    );
    job.set("service.start_timeout", "5s");

    // Nobody whom this machine trusts has signed the server's certificate.
    let (code, log) = job.run_to_code("untrusted", &["--until", "latest"]);
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("certificate"), "{log}");
    assert_eq!(front.heard(), "");
    // The server wants a certificate, which nobody shows.
    job.set("clickhouse.ca_file", text(&authority.ca_file()));
    let (code, log) = job.run_to_code("anonymous", &["--until", "latest"]);
    assert_eq!(code, 3, "{log}");
    assert_eq!(front.heard(), "");

    job.set("clickhouse.cert_file", text(&client.cert_file));
    job.set("clickhouse.key_file", text(&client.key_file));
    job.set("service.start_timeout", "60s");
    job.apply_schema();
    job.run_to_end();
    assert_eq!(job.rows_and_offsets(), (10, 10));
    let heard = front.heard().to_lowercase();
    for header in ["x-clickhouse-user: writer", "x-clickhouse-key: hush-hush"] {
        assert!(heard.contains(header), "{header}");
    }
    // The commands that look at live systems come in by the same way.
    let (path, _) = job.write_config("audit");
    let mut last = String::new();
    wait::until("audit finds nothing", PATIENCE, || {
        let output = command(&path, &["audit", "--pipeline", "clickstream", "--json"]).output();
        let output = output.expect("it starts");
        last = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {last}"));
    assert!(!last.contains("hush-hush"), "{last}");
}
