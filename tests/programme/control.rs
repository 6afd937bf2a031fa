//! The control API under clients that mean harm, and under SIGKILL while it changes something.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sandbox::{topic, wait};
use serde_json::{Value, json};

use super::{Run, Trial};
use crate::support::traffic::Traffic;
use crate::support::{Daemon, Job, PATIENCE, event};

const TOKEN: &str = "open-sesame";
const PARTITIONS: i32 = 2;
const EVENTS_PER_SECOND: u64 = 300;
/// Hostile requests in one round.
const REQUESTS: usize = 1_000;
const CLIENTS: u64 = 4;
/// Of them so many are answered at least: some hang up, and some lose their answer to what they still send.
const ANSWERS_MIN: usize = REQUESTS / 4;
/// Connections of one client that stay open without getting on.
const HELD_MAX: usize = 10;
/// What requests may add to what the process holds.
const GROWTH_MIB_MAX: u64 = 64;
/// Changes that are answered in one life, on average, at least.
const CHANGES_MIN: usize = 4;
/// Events of the created pipelines in one life.
const EVENTS_PER_LIFE: u32 = 10;
/// Pipelines that come and go.
const MADE: usize = 3;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "hostile-requests",
            "1,000 requests that are slow, large, half or of strangers; lanes go on, memory stays",
            20,
            1,
            hostile,
        ),
        Trial::new(
            "control-kills",
            "pipelines are created, replaced and removed; SIGKILL at a random moment",
            60,
            4,
            kills,
        ),
    ]
}

fn hostile(run: &mut Run) {
    let mut job = run.job(PARTITIONS);
    job.set("service.admin_token", TOKEN);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let daemon = job.start("daemon", &[], "");
    job.wait_for_more_rows(300);
    let before_mib = daemon.peak_mib();
    for _ in 0..run.times {
        let answered = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let random = StdRng::seed_from_u64(run.random.random());
                    let http = &daemon.http;
                    scope.spawn(move || besiege(http, random, REQUESTS / CLIENTS as usize))
                })
                .collect();
            job.wait_for_more_rows(100);
            let answers = clients.into_iter().map(|client| client.join());
            answers.map(|a| a.expect("a client ends")).sum::<usize>()
        });
        assert!(answered >= ANSWERS_MIN, "{answered} requests were answered");
        job.wait_for_more_rows(100);
        let alive = daemon.get("/livez").map(|(status, _)| status);
        assert_eq!(alive, Some(200), "{}", daemon.log());
    }
    let after_mib = daemon.peak_mib();
    assert!(
        after_mib < before_mib + GROWTH_MIB_MAX,
        "{before_mib} MiB before, {after_mib} MiB after"
    );
    let (_, all) = daemon.get("/api/v1/streaming").expect("it answers");
    let all: Value = serde_json::from_str(&all).expect("JSON");
    let names = all["pipelines"].as_array().expect("a list").iter();
    let names: Vec<_> = names.map(|p| (&p["name"], &p["state"])).collect();
    assert_eq!(names, [(&json!("clickstream"), &json!("running"))]);
    assert!(kept(&job).is_empty(), "nothing was created");
    let log = daemon.log();
    assert!(!log.contains("panic"), "{log}");
    let produced = traffic.finish();
    job.wait_for_commits_to_end();
    daemon.stop();
    run.prove(&job, produced);
}

/// One client's requests. Whatever is answered is an answer of the contract. How many were answered.
fn besiege(http: &str, mut random: StdRng, requests: usize) -> usize {
    let (mut held, mut answered) = (vec![], 0);
    for _ in 0..requests {
        // Guessing locks an address out, so that the others come from their own.
        let from = random.random_range(2..250);
        let Some(mut stream) = connect(http, from) else {
            continue;
        };
        let (bytes, is_whole) = request(&mut random);
        let _ = stream.write_all(&bytes);
        if !is_whole {
            // Half of them hang up, the others wait without a word.
            if random.random() {
                held.push(stream);
            }
            if held.len() > HELD_MAX {
                held.remove(0);
            }
            continue;
        }
        let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
        let mut answer = vec![];
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        // One that is refused early may lose its answer to the bytes that it still sends.
        let status = text.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
        if let Some(status) = status {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
            // It may not be ready: every pipeline waits for something at times.
            let says_not_ready = status == 503 && start.contains(" /readyz ");
            let is_legal = (200..500).contains(&status) || says_not_ready;
            assert!(is_legal, "{start:?}: {text}");
            answered += 1;
        }
    }
    answered
}

/// A connection from 127.0.0.`from`.
fn connect(http: &str, from: u8) -> Option<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let to: SocketAddr = http.parse().expect("an address");
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, from], 0)))?;
        socket.connect(to).await?.into_std()
    });
    let stream = stream.ok()?;
    stream.set_nonblocking(false).ok()?;
    Some(stream)
}

/// The bytes of a hostile request, and whether it is sent whole.
fn request(random: &mut StdRng) -> (Vec<u8>, bool) {
    let target = TARGETS[random.random_range(0..TARGETS.len())];
    let method = METHODS[random.random_range(0..METHODS.len())];
    let line = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    let token = |token: &str| format!("authorization: Bearer {token}\r\n");
    let with = |head: String, body: &[u8]| {
        let head = format!("{head}content-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let length = random.random_range(0..300);
    let noise: Vec<u8> = (0..length).map(|_| random.random()).collect();
    match random.random_range(0..10) {
        0 => (with(line + &token("guess"), b"{}"), true),
        1 => (with(line + &token(TOKEN), &noise), true),
        2 => (with(line + &token(TOKEN), body(random).as_bytes()), true),
        3 => (noise, true),
        4 => {
            let path = "a".repeat(random.random_range(1_000..100_000));
            let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            (request.into_bytes(), true)
        }
        5 => {
            let header = "b".repeat(random.random_range(10_000..100_000));
            (format!("{line}x: {header}\r\n\r\n").into_bytes(), true)
        }
        6 => {
            let large = vec![b'x'; random.random_range(1 << 20..3 << 20)];
            (with(line + &token(TOKEN), &large), true)
        }
        7 => {
            let chunk = format!("10000\r\n{}\r\n", "y".repeat(0x1_0000));
            let head = format!("{line}{}transfer-encoding: chunked\r\n\r\n", token(TOKEN));
            let chunks = chunk.repeat(random.random_range(1..20));
            (format!("{head}{chunks}0\r\n\r\n").into_bytes(), true)
        }
        8 => {
            let whole = with(line + &token(TOKEN), b"{\"pipeline\":{}}");
            let end = random.random_range(0..whole.len());
            (whole[..end].to_vec(), false)
        }
        // Asks a hundred times and takes no answer.
        _ => {
            let page = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
            (page.repeat(100).into_bytes(), false)
        }
    }
}

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"];
// None of them does something to the one pipeline that is there.
const TARGETS: [&str; 12] = [
    "/",
    "/metrics",
    "/readyz",
    "/api/v1/streaming",
    "/api/v1/streaming/create",
    "/api/v1/streaming/validate",
    "/api/v1/streaming/nobody",
    "/api/v1/streaming/nobody/start",
    "/api/v1/streaming/..%2f..%2fetc%2fpasswd",
    "/api/v1/streaming/%ff/stop",
    "/api/v1/streaming/clickstream/explode",
    "/%00",
];

/// JSON that is no pipeline, or one that must not be.
fn body(random: &mut StdRng) -> String {
    let pipeline = |name: &str| {
        let clickhouse = json!({ "table": "a" });
        json!({ "pipeline": { "name": name, "kind": "enrichment", "topics": ["t"],
                              "group_id": "g", "clickhouse": clickhouse } })
    };
    let bodies = [
        "[".repeat(50_000),
        "{\"pipeline\":".repeat(200),
        "1e400".to_owned(),
        "\"\\ud800\"".to_owned(),
        json!({ "pipeline_name": "x", "type": 1, "config": [], "output": null }).to_string(),
        json!({ "pipeline": { "name": "a", "kind": "enrichment", "topics": vec![1; 5_000] } })
            .to_string(),
        pipeline("../../etc/passwd").to_string(),
        pipeline("clickstream\u{0}").to_string(),
        pipeline(&"n".repeat(100_000)).to_string(),
        pipeline("create").to_string(),
        pipeline("clickstream").to_string(),
    ];
    bodies[random.random_range(0..bodies.len())].clone()
}

/// The files of created pipelines, by name.
fn kept(job: &Job) -> BTreeMap<String, Value> {
    let directory = job.directory.path().join("state/pipelines");
    let Ok(entries) = std::fs::read_dir(directory) else {
        return BTreeMap::new();
    };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = paths.filter(|path| path.extension().is_some_and(|e| e == "json"));
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read(&path).expect("a file");
        let order = serde_json::from_slice(&text);
        let order = order.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.file_stem().and_then(|stem| stem.to_str());
        (name.expect("a name").to_owned(), order)
    };
    files.map(read).collect()
}

/// What may be there of one pipeline: its order, or none. Two while an answer is awaited.
type Possible = Vec<Option<Value>>;

fn kills(run: &mut Run) {
    let mut job = run.job(PARTITIONS);
    job.set("service.admin_token", TOKEN);
    let made = format!("{}made", job.prefix);
    topic::create(job.bootstrap(), &made, 1, &[("retention.ms", "-1")]).expect("a topic");
    for number in 0..MADE {
        let table = format!("CREATE TABLE {{db}}.made_{number} AS {{db}}.clickstream_events");
        job.query(&table);
    }
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let mut possible = vec![vec![None]; MADE];
    let mut answered = 0;
    for life in 0..run.times {
        let events = life * EVENTS_PER_LIFE..(life + 1) * EVENTS_PER_LIFE;
        let events = events.map(|number| topic::Record::new(event(number, "")));
        topic::produce(job.bootstrap(), &made, events).expect("records");
        let daemon = job.start(&format!("life-{life}"), &[], "");
        assert_whole(&job, &daemon, &mut possible);
        let changes = run.random.random_range(CHANGES_MIN + 1..CHANGES_MIN + 12);
        let moment = Duration::from_millis(run.random.random_range(0..50));
        std::thread::scope(|scope| {
            let (done, counted) = mpsc::channel();
            let process = &daemon.process;
            // After so many changes, somewhere within the next one.
            scope.spawn(move || {
                let _ = counted.iter().take(changes).count();
                std::thread::sleep(moment);
                process.kill();
            });
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until && change(run, &job, &daemon, &mut possible, &made) {
                answered += 1;
                let _ = done.send(());
            }
        });
    }
    let wanted = CHANGES_MIN * run.times as usize;
    assert!(answered >= wanted, "{answered} changes were answered");
    let daemon = job.start("last", &[], "");
    assert_whole(&job, &daemon, &mut possible);
    job.wait_for_more_rows(1);
    assert_reads_all(&job, &daemon, &made, run.times * EVENTS_PER_LIFE);
    for name in kept(&job).into_keys() {
        let target = format!("/api/v1/streaming/{name}");
        // One that is on its way somewhere is refused, and one whose answer was lost is gone.
        let removed = || {
            let (status, _) = daemon.request("DELETE", &target, Some(TOKEN), "")?;
            [202, 404].contains(&status).then_some(())
        };
        wait::until("its removal is taken", PATIENCE, removed)
            .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
        let gone = || (daemon.get(&target)?.0 == 404).then_some(());
        wait::until("it is removed", PATIENCE, gone).expect("it is");
    }
    assert!(kept(&job).is_empty());
    let produced = traffic.finish();
    job.wait_for_commits_to_end();
    daemon.stop();
    run.prove(&job, produced);
    for number in 0..MADE {
        let sql = format!(
            "SELECT count() = uniqExact(_topic, _partition, _offset) FROM {{db}}.made_{number}"
        );
        assert_eq!(job.query(&sql), "1", "made_{number}");
    }
}

/// Whatever became of it, a created pipeline that runs in the end has every event once.
fn assert_reads_all(job: &Job, daemon: &Daemon, topic: &str, events: u32) {
    // No change has asked for as many rows, so it is another order in any case.
    let order = order(job, 0, topic, 1_000, true).to_string();
    let taken = || {
        let mut answers = [("PUT", "made-0"), ("POST", "create")].into_iter();
        let takes = |(method, target): (&str, &str)| {
            let target = format!("/api/v1/streaming/{target}");
            let answer = daemon.request(method, &target, Some(TOKEN), &order);
            answer.is_some_and(|(status, _)| (200..300).contains(&status))
        };
        answers.any(takes).then_some(())
    };
    wait::until("made-0 is taken", PATIENCE, taken)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    let sql = "SELECT (count(), uniqExact(_topic, _partition, _offset)) FROM {db}.made_0";
    let wanted = format!("({events},{events})");
    wait::until("made-0 has all", PATIENCE, || {
        (job.query(sql) == wanted).then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {wanted}, not {}: {}", job.query(sql), daemon.log()));
}

/// Each created pipeline is there whole, as the last answer said, and none besides.
fn assert_whole(job: &Job, daemon: &Daemon, possible: &mut [Possible]) {
    let answers = || (daemon.get("/livez")?.0 == 200).then_some(());
    wait::until("it answers", PATIENCE, answers)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    let mut kept = kept(job);
    for (number, possible) in possible.iter_mut().enumerate() {
        let name = format!("made-{number}");
        let order = kept.remove(&name);
        assert!(possible.contains(&order), "{name}: {order:?}: {possible:?}");
        let target = format!("/api/v1/streaming/{name}");
        let is_so = || {
            let (status, body) = daemon.get(&target)?;
            let shown: Value = serde_json::from_str(&body).ok()?;
            let is_so = match &order {
                None => status == 404,
                Some(_) => shown["source"] == "api" && shown["kind"] == "enrichment",
            };
            is_so.then_some(())
        };
        wait::until("it is as it was kept", PATIENCE, is_so)
            .unwrap_or_else(|e| panic!("{e}: {order:?}: {:?}", daemon.get(&target)));
        *possible = vec![order];
    }
    assert!(kept.is_empty(), "{kept:?}");
}

fn order(job: &Job, number: usize, topic: &str, rows_max: u32, starts: bool) -> Value {
    let name = format!("made-{number}");
    json!({
        "pipeline": {
            "name": name,
            "kind": "enrichment",
            "topics": [topic],
            "group_id": format!("{}{name}", job.prefix),
            "clickhouse": { "table": format!("made_{number}") },
            "batch": { "rows_max": rows_max },
            "columns": { "event_id": { "required": true } },
        },
        "start": starts,
    })
}

/// Creates, replaces or removes one pipeline. False once nobody answers.
fn change(
    run: &mut Run,
    job: &Job,
    daemon: &Daemon,
    possible: &mut [Possible],
    topic: &str,
) -> bool {
    let number = run.random.random_range(0..MADE);
    let name = format!("made-{number}");
    let starts: bool = run.random.random();
    let rows_max = run.random.random_range(1..1_000);
    let order = order(job, number, topic, rows_max, starts);
    let (method, target, wanted) = match run.random.random_range(0..3) {
        0 => ("POST", "create", Some(order)),
        1 => ("PUT", &*name, Some(order)),
        _ => ("DELETE", &*name, None),
    };
    let body = wanted.as_ref().map(Value::to_string).unwrap_or_default();
    let before = possible[number].clone();
    possible[number].push(wanted.clone());
    let target = format!("/api/v1/streaming/{target}");
    let Some((status, answer)) = daemon.request(method, &target, Some(TOKEN), &body) else {
        return false;
    };
    possible[number] = match status {
        200..300 => vec![wanted],
        404 | 409 => before,
        _ => panic!("{method} {target}: {status} {answer}"),
    };
    true
}
