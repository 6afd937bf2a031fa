//! Redis as many run it: users and certificates, a cluster, and sentinels.

use std::fs;

use sandbox::certificates::Authority;
use sandbox::redis::{Cluster, Redis, Refusing, Tls, Watched};
use sandbox::workdir::free_port;
use sandbox::{topic, wait};
use toml::{Table, Value};

use crate::security::doors::{all_tables, own_table};
use crate::support::{Daemon, Job, PATIENCE, event};

/// Every profile says so.
const SEGMENT: &str = "gold";
/// Events of one step.
const STEP: u32 = 20;

/// A pipeline for each form of Redis, all of which write to one table.
struct Forms {
    job: Job,
    names: Vec<String>,
    produced: u32,
}

impl Forms {
    fn new(name: &str) -> Forms {
        let mut job = Job::new(name);
        job.set("pipeline.lookup.cache_ttl", "1s");
        job.set("pipeline.session.timeout", "1s");
        job.apply_schema();
        job.unset("redis.url");
        Forms {
            job,
            names: vec![],
            produced: 0,
        }
    }

    /// Adds a pipeline with this `[pipeline.redis]`.
    fn add(&mut self, name: &str, encoding: &str, redis: Table) {
        let topic = self.topic(name);
        topic::create(self.job.bootstrap(), &topic, 1, &[("retention.ms", "-1")]).expect("a topic");
        let mut pipeline = self.job.config["pipeline"][0].clone();
        let keys = pipeline.as_table_mut().expect("a pipeline");
        let group = format!("{}-{name}", self.job.group);
        keys.insert("name".to_owned(), name.into());
        keys.insert("topics".to_owned(), vec![topic].into());
        keys.insert("group_id".to_owned(), group.into());
        keys.insert("redis".to_owned(), redis.into());
        own_table(&self.job, keys, name);
        let lookup = keys["lookup"].as_table_mut().expect("a lookup");
        lookup.insert("encoding".to_owned(), encoding.into());
        lookup.insert("key_prefix".to_owned(), prefix(encoding).into());
        let pipelines = self.job.config["pipeline"].as_array_mut().expect("a list");
        if self.names.is_empty() {
            pipelines.clear();
        }
        pipelines.push(pipeline);
        self.names.push(name.to_owned());
    }

    fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.job.prefix)
    }

    /// More events in every topic; none of their users was asked for lately.
    fn produce(&mut self) {
        let numbers = self.produced..self.produced + STEP;
        self.produced += STEP;
        for name in &self.names {
            let values = numbers.clone().map(|number| event(number, ""));
            let records = values.map(|value| topic::Record::new(value).partition(0));
            topic::produce(self.job.bootstrap(), &self.topic(name), records).expect("records");
        }
    }

    /// Waits until all that was produced is written, each row with its profile.
    fn wait_for_profiles(&self, what: &str, daemon: &Daemon) {
        let sql = format!(
            "SELECT _topic, count() FROM {} WHERE user_segment = '{SEGMENT}' GROUP BY _topic",
            all_tables(&self.job)
        );
        let mut seen = String::new();
        wait::until(what, PATIENCE, || {
            seen = self.job.query(&sql);
            let is_complete = |line: &str| line.ends_with(&format!("\t{}", self.produced));
            let complete = seen.lines().filter(|line| is_complete(line)).count();
            (complete == self.names.len()).then_some(())
        })
        .unwrap_or_else(|e| panic!("{e}: {seen}\n{}", daemon.log()));
    }
}

fn prefix(encoding: &str) -> String {
    format!("{encoding}:")
}

/// Stores the profiles of all users in both encodings.
fn load(connection: &mut impl redis::ConnectionLike) {
    for user in 0..20 * STEP {
        let json = format!("{}{user}", prefix("json"));
        let profile = format!(r#"{{"segment":"{SEGMENT}"}}"#);
        redis::cmd("SET")
            .arg(json)
            .arg(profile)
            .exec(connection)
            .expect("a profile");
        let hash = format!("{}{user}", prefix("hash"));
        let mut set = redis::cmd("HSET");
        set.arg(hash).arg("segment").arg(SEGMENT);
        set.exec(connection).expect("a profile");
    }
}

/// Waits until a pipeline shows these words of its Redis.
fn wait_until_said(daemon: &Daemon, words: &str) {
    let is_said = || {
        let (_, body) = daemon.get("/api/v1/streaming")?;
        body.contains(words).then_some(())
    };
    wait::until(words, PATIENCE, is_said).unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
}

fn table(entries: &[(&str, Value)]) -> Table {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

/// What keys of a certificate are set to.
struct Shown {
    ca_file: Value,
    cert_file: Value,
    key_file: Value,
}

impl Shown {
    fn with(&self, entries: &[(&str, Value)]) -> Table {
        let own = [
            ("ca_file", self.ca_file.clone()),
            ("cert_file", self.cert_file.clone()),
            ("key_file", self.key_file.clone()),
        ];
        table(&[entries, &own].concat())
    }
}

/// States that pass by themselves: the code of the answer, and what the pipeline says of it.
const PASSING: [(&str, &str); 3] = [
    (
        "LOADING Redis is loading the dataset in memory",
        "it reads its data",
    ),
    (
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "a replica without its master",
    ),
    (
        "READONLY You can't write against a read only replica.",
        "a replica answers in place of the master",
    ),
];

#[test]
fn users_and_certificates_clusters_and_sentinels_serve_profiles_whatever_fails() {
    let mut forms = Forms::new("redis");
    let directory = forms.job.directory.path().to_owned();

    // A server that wants a certificate and a user, who may do nothing else.
    let authority = Authority::new("redis").expect("an authority");
    let [server, client] = ["server", "client"].map(|name| authority.issue(name).expect("issued"));
    let text = |path: &std::path::Path| Value::from(path.display().to_string());
    let shown = Shown {
        ca_file: text(&authority.ca_file()),
        cert_file: text(&client.cert_file),
        key_file: text(&client.key_file),
    };
    let with_tls = Tls {
        server,
        ca_file: authority.ca_file(),
    };
    let port = free_port().expect("a port");
    let user = [
        "--user",
        "app",
        "on",
        ">app-password",
        "~json:*",
        "+ping",
        "+mget",
    ];
    let arguments = with_tls.arguments(port);
    let arguments = arguments.iter().map(String::as_str).chain(user);
    let tls = Redis::start_with(&arguments.collect::<Vec<_>>()).expect("redis with TLS");
    let mut connection = tls.connection().expect("a connection");
    load(&mut connection);
    tls.save().expect("saved");
    fs::write(directory.join("redis-password"), "app-password").expect("a file");
    let entries = [
        ("url", format!("rediss://127.0.0.1:{port}").into()),
        ("user", "app".into()),
        ("password_file", text(&directory.join("redis-password"))),
    ];
    forms.add("tls", "json", shown.with(&entries));
    // A cluster, known as one, and one of its nodes, which tells; and the same by TLS.
    let cluster = Cluster::start(Some(&with_tls)).expect("a cluster");
    load(&mut cluster.connection().expect("a connection"));
    let urls: Vec<String> = cluster.nodes[1..].iter().map(Redis::url).collect();
    let entries = [("urls", Value::from(urls)), ("cluster", true.into())];
    forms.add("cluster-json", "json", table(&entries));
    forms.add("cluster-hash", "hash", table(&entries));
    let one = [("url", Value::from(cluster.nodes[1].url()))];
    forms.add("one-node-json", "json", table(&one));
    forms.add("one-node-hash", "hash", table(&one));
    let urls = cluster.tls_urls()[1..].to_vec();
    let entries = [("urls", Value::from(urls)), ("cluster", true.into())];
    forms.add("cluster-tls", "json", shown.with(&entries));
    // A master that a sentinel names, without TLS and with it.
    let watched = [None, Some(&with_tls)].map(|tls| Watched::start(tls).expect("a sentinel"));
    for (watched, name) in watched.iter().zip(["sentinel", "sentinel-tls"]) {
        load(&mut watched.master.connection().expect("a connection"));
        let named = [
            ("url", watched.url().into()),
            ("sentinel", "profiles".into()),
        ];
        let form = match name {
            "sentinel" => table(&named),
            _ => shown.with(&named),
        };
        forms.add(name, "hash", form);
    }
    // A server whose state passes.
    let plain = Redis::start().expect("redis");
    load(&mut plain.connection().expect("a connection"));
    let front = Refusing::before(&plain).expect("a front");
    forms.add("passing", "json", table(&[("url", front.url().into())]));

    forms.produce();
    let service = forms.job.config["service"]
        .as_table_mut()
        .expect("[service]");
    service.insert("memory_max".to_owned(), "1GiB".into());
    let daemon = forms.job.start("a", &[], "");
    forms.wait_for_profiles("every form serves profiles", &daemon);
    daemon.wait_for_log("redis is a node of a cluster");

    for (error, meaning) in PASSING {
        front.answer_with(Some(error));
        forms.produce();
        wait_until_said(&daemon, meaning);
        front.answer_with(None);
        forms.wait_for_profiles(error, &daemon);
    }

    // A slot is moved: those who ask are told to ask elsewhere, then that it has moved.
    let moved = cluster
        .begin_to_move(&format!("json:{}", forms.produced))
        .expect("it begins");
    forms.produce();
    forms.wait_for_profiles("a slot is being moved", &daemon);
    cluster.moved(&moved).expect("it is moved");
    forms.produce();
    forms.wait_for_profiles("a slot was moved", &daemon);

    // A master dies, of the cluster and of the sentinels; a replica takes its place.
    cluster.nodes[0].kill();
    watched.iter().for_each(|watched| watched.master.kill());
    forms.produce();
    forms.wait_for_profiles("masters have failed over", &daemon);

    // The cluster loses a part of its keys: that is waited for and said.
    for node in [&cluster.nodes[2], &cluster.nodes[5]] {
        node.save().expect("saved");
        node.kill();
    }
    cluster.wait_for_state("fail").expect("the cluster is down");
    forms.produce();
    wait_until_said(&daemon, "CLUSTERDOWN");
    cluster.nodes[2].restart().expect("it starts");
    forms.wait_for_profiles("the cluster is whole again", &daemon);

    // A server dies and reads its data: the same.
    drop(connection);
    tls.kill();
    forms.produce();
    wait_until_said(&daemon, "Connection refused");
    tls.restart().expect("it starts");
    forms.wait_for_profiles("redis has read its data", &daemon);
    daemon.stop();
    let log = daemon.log();
    assert!(!log.contains("app-password"), "{log}");
}
