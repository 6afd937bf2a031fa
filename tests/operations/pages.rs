//! The pages of `docs/operations`: their commands do what the page says, as they are written.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sandbox::process::Process;
use sandbox::topic::{self, Record};
use sandbox::wait;

use super::{ready, wait_for_page};
use crate::support::{Daemon, EVENT_TIME_MS, Job, PATIENCE, event, project_root};

/// One who follows the pages: a shell whose service manager is this test.
struct Operator {
    job: Job,
    http: String,
    /// What stands in the pages, and what it is here.
    names: Vec<(String, String)>,
    daemon: RefCell<Option<Daemon>>,
}

/// A page, and which of its commands have been run.
struct Page {
    name: &'static str,
    blocks: std::vec::IntoIter<String>,
}

/// The blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = project_root().join(format!("docs/operations/{page}.md"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let fence = format!("```{language}\n");
    let parts = text.split(&fence).skip(1);
    let block = |part: &str| part.split("```").next().unwrap_or_default().to_owned();
    parts.map(block).collect()
}

impl Operator {
    fn new(job: Job) -> Self {
        let port = sandbox::workdir::free_port().expect("a free port");
        let http = format!("127.0.0.1:{port}");
        let tools = job.directory.path().join("tools");
        fs::create_dir_all(&tools).expect("a directory");
        let built = std::env::var_os("STREAMWEIR_BIN").map(PathBuf::from);
        let built = built.unwrap_or_else(|| env!("CARGO_BIN_EXE_streamweir").into());
        symlink(built, tools.join("streamweir")).expect("a link");
        // The sandbox has ClickHouse's engine and no client.
        let client = format!(
            "#!/bin/sh\nquery=$2\n[ \"$1\" = --query ] || query=@$2\n\
             exec curl -sSf --data-binary \"$query\" {}\n",
            job.clickhouse_url
        );
        let path = tools.join("clickhouse-client");
        fs::write(&path, client).expect("it is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .expect("it is made a command");
        let name = |page: &str, here: &str| (page.to_owned(), here.to_owned());
        let state = job.directory.path().join("state").display().to_string();
        Operator {
            names: vec![
                name("localhost:9187", &http),
                name("localhost:9092", job.bootstrap()),
                name("http://localhost:8123", &job.clickhouse_url),
                name("analytics", &job.database),
                name("/var/lib/streamweir", &state),
            ],
            http,
            job,
            daemon: RefCell::default(),
        }
    }

    fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (page, here) in &self.names {
            text = text.replace(page, here);
        }
        text
    }

    /// Writes `config.toml` where the commands look for it.
    fn configure(&self) {
        self.job.write_config_as("config", &self.http);
    }

    /// Runs one line; what it prints.
    fn line(&self, line: &str) -> String {
        if let Some(action) = line.strip_prefix("systemctl ") {
            self.systemctl(action);
            return String::new();
        }
        let line = self.here(line);
        let directory = self.job.directory.path();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &line])
            .current_dir(directory)
            .env(
                "PATH",
                format!("{}:{path}", directory.join("tools").display()),
            )
            .stdin(Stdio::null())
            .output()
            .expect("bash starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "{line}: {}: {out}{err}",
            output.status
        );
        out
    }

    fn systemctl(&self, action: &str) {
        match action {
            "start streamweir" => self.start(),
            "stop streamweir" => self.stop(),
            "restart streamweir" => {
                self.stop();
                self.start();
            }
            "reload streamweir" => {
                let daemon = self.daemon.borrow();
                let daemon = daemon.as_ref().expect("it runs");
                daemon.process.hang_up();
                daemon.wait_for_log("SIGHUP: secrets and certificates were read again");
            }
            other => panic!("systemctl {other}"),
        }
    }

    fn start(&self) {
        let directory = self.job.directory.path();
        let log = directory.join("daemon.log");
        let file = fs::File::options().create(true).append(true).open(&log);
        let mut command = Command::new(directory.join("tools/streamweir"));
        command
            .arg("run")
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(file.expect("a log"));
        let daemon = Daemon {
            process: Process::spawn(command).expect("the daemon starts"),
            log,
            http: self.http.clone(),
        };
        wait_for_page(&daemon, "/readyz", "it is ready", |status, _| status == 200);
        *self.daemon.borrow_mut() = Some(daemon);
    }

    fn log(&self) -> String {
        let daemon = self.daemon.borrow();
        daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    fn wait_until_running(&self) {
        let daemon = self.daemon.borrow();
        let daemon = daemon.as_ref().expect("it runs");
        let path = "/api/v1/streaming/clickstream";
        wait_for_page(daemon, path, "it runs again", |_, body| {
            body.contains("\"state\":\"running\"")
        });
        wait_for_page(daemon, "/readyz", "it is ready", |status, _| status == 200);
    }

    fn wait_until_begun(&self) {
        let daemon = self.daemon.borrow();
        let daemon = daemon.as_ref().expect("it runs");
        daemon.wait_for_log("partition begins");
    }

    fn stop(&self) {
        self.daemon.borrow_mut().take().expect("it runs").stop();
    }
}

impl Page {
    fn open(name: &'static str) -> Page {
        let blocks = blocks(name, "sh").into_iter();
        Page { name, blocks }
    }

    /// Runs the next block of the page; what its lines print.
    fn run(&mut self, operator: &Operator) -> String {
        let block = self.blocks.next();
        let block = block.unwrap_or_else(|| panic!("{} has no further commands", self.name));
        let lines = block.lines().filter(|line| !line.is_empty());
        lines.map(|line| operator.line(line)).collect()
    }

    /// Every command of the page was run.
    fn ends(self) {
        assert_eq!(self.blocks.len(), 0, "{}: commands are left", self.name);
    }
}

#[test]
fn the_first_topic_is_copied_with_ten_lines() {
    let mut operator = Operator::new(Job::new("first-topic"));
    let lines = blocks("first-topic", "toml").concat();
    let count = lines.lines().filter(|line| !line.is_empty()).count();
    assert_eq!(count, 10, "{lines}");
    let prefix = operator.job.prefix.clone();
    let topic = format!("{prefix}orders");
    for (page, here) in [
        ("[\"orders\"]", format!("[\"{topic}\"]")),
        ("orders-to-clickhouse", format!("{prefix}group")),
    ] {
        operator.names.push((page.to_owned(), here));
    }
    let job = &operator.job;
    topic::create(job.bootstrap(), &topic, 1, &[("retention.ms", "-1")]).expect("a topic");
    let order = |id: u32| {
        let order = format!(r#"{{"id":{id},"customer":"c{id}","amount":"{id}.50","note":null}}"#);
        Record::new(order)
    };
    topic::produce(job.bootstrap(), &topic, (0..100).map(order)).expect("records");
    let path = job.directory.path().join("config.toml");
    fs::write(path, operator.here(&lines)).expect("it is written");
    let mut page = Page::open("first-topic");
    page.run(&operator);
    page.run(&operator);
    let sum = "SELECT count(), sum(amount), uniqExact(_offset) FROM {db}.orders";
    assert_eq!(job.query(sum), "100\t5000\t100");
    page.run(&operator);
    page.ends();
}

fn wait_for_lag_0(job: &Job) {
    let caught_up = || {
        let ends = topic::end_offsets(job.bootstrap(), &job.topic).ok()?;
        let committed = job.committed();
        let mut ends = ends.iter();
        let is_there = |(p, end): (&i32, &i64)| committed.get(p).map(|c| c.offset) == Some(*end);
        ends.all(is_there).then_some(())
    };
    wait::until("everything is committed", PATIENCE, caught_up).expect("it is");
}

#[test]
fn every_task_is_done_by_the_commands_of_its_page() {
    let mut operator = Operator::new(ready("pages", 2));
    let token = operator.job.directory.path().join("admin-token");
    fs::write(token, "open-sesame").expect("a token");
    let job = &mut operator.job;
    job.set("service.admin_token_file", "admin-token");
    job.set("kafka.properties.topic.metadata.refresh.interval.ms", 500);
    job.set("pipeline.columns.page_url.required", true);
    job.config.remove("topics");
    let page_url = r#","page_url":"/""#;
    produce(job, 0, 0..50, page_url);
    produce(job, 1, 50..100, page_url);
    operator.configure();
    operator.start();
    operator.job.wait_for_rows(100);
    wait_for_lag_0(&operator.job);
    upgrade_and_back(&mut operator);
    reset(&operator);
    rebuild(&operator);
    migrate(&mut operator);
    add_partitions(&mut operator);
    replay(&mut operator);
    rotate_and_size(&operator);
    two_clusters(&mut operator);
    another_table(&mut operator);
    rename(&mut operator);
    operator.stop();
}

fn produce(job: &Job, partition: i32, numbers: std::ops::Range<u32>, rest: &str) {
    let record = |number| {
        let time_ms = EVENT_TIME_MS + i64::from(number) * 1000;
        let record = Record::new(event(number, rest)).partition(partition);
        record.timestamp_ms(time_ms)
    };
    topic::produce(job.bootstrap(), &job.topic, numbers.map(record)).expect("records");
}

fn upgrade_and_back(operator: &mut Operator) {
    let mut page = Page::open("upgrade");
    page.run(operator);
    assert!(page.run(operator).contains("streamweir 0."));
    assert!(page.run(operator).contains("clickstream"));
    page.ends();
    produce(&operator.job, 0, 100..110, r#","page_url":"/""#);
    operator.job.wait_for_rows(110);
    let mut page = Page::open("roll-back");
    page.run(operator);
    page.run(operator);
    page.run(operator);
    drop_strange_metadata(operator, &mut page);
    page.ends();
}

/// Its next block has a commit of a later version understood again.
fn drop_strange_metadata(operator: &mut Operator, page: &mut Page) {
    operator.stop();
    let job = &operator.job;
    let offset = job.committed()[&0].offset;
    let strange = topic::Committed {
        offset,
        metadata: "sw9 x".to_owned(),
    };
    topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &strange).expect("committed");
    let place = format!("--topic {} --partition 0 --to {offset}", job.topic);
    let name = "--topic T --partition P --to N".to_owned();
    operator.names.push((name, place));
    let said = page.run(operator);
    assert!(said.contains("metadata dropped"), "{said}");
    operator.start();
    operator.wait_until_running();
}

fn reset(operator: &Operator) {
    let job = &operator.job;
    let mut page = Page::open("reset-offsets");
    page.run(operator);
    page.run(operator);
    assert!(
        job.committed()
            .values()
            .all(|committed| committed.offset == 0)
    );
    page.run(operator);
    wait_for_lag_0(job);
    assert_eq!(job.rows_and_offsets(), (110, 110));
    page.ends();
}

fn rebuild(operator: &Operator) {
    let job = &operator.job;
    let mut page = Page::open("rebuild");
    page.run(operator);
    assert!(page.run(operator).contains("equal"));
    assert!(page.run(operator).contains("is the rebuilt table now"));
    operator.wait_until_running();
    let shadow = "EXISTS {db}.clickstream_events_rebuild";
    assert_eq!(job.query(shadow), "1");
    page.run(operator);
    page.run(operator);
    page.ends();
    assert_eq!(job.query(shadow), "0");
    operator.wait_until_running();
    assert_eq!(job.rows_and_offsets(), (110, 110));
}

fn migrate(operator: &mut Operator) {
    let old = operator.job.config["pipeline"].clone();
    let changed: toml::Table = blocks("migrate", "toml").concat().parse().expect("TOML");
    let mut copy = old[0].clone();
    for (key, value) in changed {
        let table = copy.as_table_mut().expect("a table");
        match (value, table.entry(key).or_insert(false.into())) {
            (toml::Value::Table(inner), toml::Value::Table(own)) => own.extend(inner),
            (value, own) => *own = value,
        }
    }
    copy["group_id"] = format!("{}next", operator.job.prefix).into();
    let both = vec![old[0].clone(), copy.clone()];
    operator.job.config.insert("pipeline".into(), both.into());
    operator.configure();
    let mut page = Page::open("migrate");
    page.run(operator);
    let rows = "SELECT count() FROM {db}.clickstream_events_next";
    let there = || (operator.job.query(rows) == "110").then_some(());
    wait::until("the new table has every row", PATIENCE, there).expect("it has");
    assert!(page.run(operator).contains("equal"));
    operator
        .job
        .config
        .insert("pipeline".into(), vec![copy].into());
    operator.configure();
    assert!(page.run(operator).contains("clickstream-next"));
    page.ends();
    operator.job.config.insert("pipeline".into(), old);
    operator.configure();
    operator.stop();
    operator.start();
}

fn add_partitions(operator: &mut Operator) {
    let declared = blocks("add-partitions", "toml").concat();
    let declared = declared.replace("user-events", &operator.job.topic);
    let declared: toml::Table = declared.parse().expect("TOML");
    let topics = declared["topics"].clone();
    operator.job.config.insert("topics".into(), topics);
    operator.configure();
    let mut page = Page::open("add-partitions");
    page.run(operator);
    page.ends();
    let ends = topic::end_offsets(operator.job.bootstrap(), &operator.job.topic);
    assert_eq!(ends.expect("it answers").len(), 4);
    produce(&operator.job, 3, 110..120, r#","page_url":"/""#);
    operator.job.wait_for_rows(120);
}

fn replay(operator: &mut Operator) {
    let address = format!("{}:2:0", operator.job.topic);
    let name = "user-events:0:1234".to_owned();
    operator.names.push((name, address));
    produce(&operator.job, 2, 120..125, "");
    wait_for_lag_0(&operator.job);
    assert_eq!(operator.job.rows_and_offsets(), (120, 120));
    let mut page = Page::open("replay-dead-letters");
    assert!(page.run(operator).contains("missing_field"));
    operator.job.unset("pipeline.columns.page_url");
    operator.configure();
    page.run(operator);
    assert!(page.run(operator).contains("written"));
    assert_eq!(operator.job.rows_and_offsets(), (125, 125));
    page.ends();
}

fn rotate_and_size(operator: &Operator) {
    let mut page = Page::open("rotate-secrets");
    page.run(operator);
    assert!(page.run(operator).contains("clickstream"));
    page.ends();
    operator.wait_until_running();
    let mut page = Page::open("size-memory");
    let seen = page.run(operator);
    assert!(
        seen.contains("part=\"state\"") && seen.contains("reason=\"memory\""),
        "{seen}"
    );
    page.run(operator);
    page.run(operator);
    page.ends();
}

fn two_clusters(operator: &mut Operator) {
    let west = blocks("two-clusters", "toml").concat();
    let (prefix, bootstrap) = (&operator.job.prefix, operator.job.bootstrap());
    let west = west
        .replace("kafka-west:9092", bootstrap)
        .replace("\"user-events-west\"", &format!("\"{prefix}west\""))
        .replace("group_id = \"", &format!("group_id = \"{prefix}"));
    let west: toml::Table = west.parse().expect("TOML");
    let topic = format!("{prefix}west");
    topic::create(bootstrap, &topic, 1, &[("retention.ms", "-1")]).expect("a topic");
    let records = (0..5).map(|number| Record::new(event(number, "")));
    topic::produce(bootstrap, &topic, records).expect("records");
    let own = west["pipeline"].as_array().expect("a pipeline").clone();
    let pipelines = operator.job.config["pipeline"].as_array_mut();
    pipelines.expect("pipelines").extend(own);
    operator.configure();
    let mut page = Page::open("two-clusters");
    page.run(operator);
    assert!(page.run(operator).contains("clickstream-west"));
    page.ends();
    let rows = "SELECT count() FROM {db}.clickstream_events_west";
    let there = || (operator.job.query(rows) == "5").then_some(());
    wait::until("the other cluster's rows are there", PATIENCE, there).expect("they are");
}

fn another_table(operator: &mut Operator) {
    let mut page = Page::open("another-table");
    page.run(operator);
    page.run(operator);
    assert!(page.run(operator).contains("clickstream_metrics_1min"));
    let view = "SHOW CREATE TABLE {db}.clickstream_metrics_1min";
    let view = operator.job.query(view);
    assert!(view.contains(".clickstream_events_v2"), "{view}");
    let table = blocks("another-table", "toml").concat();
    assert!(
        table.contains("table = \"clickstream_events_v2\""),
        "{table}"
    );
    operator
        .job
        .set("pipeline.clickhouse.table", "clickstream_events_v2");
    operator.configure();
    page.run(operator);
    page.ends();
    produce(&operator.job, 0, 125..130, "");
    let rows = "SELECT count(), uniqExact(_partition, _offset) FROM {db}.clickstream_events_v2";
    let there = || (operator.job.query(rows) == "130\t130").then_some(());
    wait::until("all rows are in the new table", PATIENCE, there).expect("they are");
}

fn rename(operator: &mut Operator) {
    let mut page = Page::open("rename-pipeline");
    page.run(operator);
    let directory = operator.job.directory.path().to_owned();
    let moved = directory.join("state/clicks/snapshots");
    assert!(moved.is_dir(), "{}", moved.display());
    let before = fs::read_to_string(directory.join("daemon.log"));
    let before = before.expect("a log").len();
    operator.job.set("pipeline.name", "clicks");
    operator.configure();
    let seen = page.run(operator);
    page.ends();
    let own = |line: &&str| line.starts_with("clicks ") && !line.contains("halted");
    assert!(seen.lines().any(|line| own(&line)), "{seen}");
    // The snapshots came along: nothing was rebuilt.
    operator.wait_until_begun();
    let log = operator.log().split_off(before);
    for rebuilt in ["no snapshot", "snapshot not used", "missing_state"] {
        assert!(!log.contains(rebuilt), "{rebuilt}: {log}");
    }
}

/// Sales of one minute of event time, ten a second.
fn sales(job: &Job, numbers: std::ops::Range<i64>) {
    let sale = |number: i64| {
        let time_ms = EVENT_TIME_MS + number * 100;
        let sale = format!(
            r#"{{"timestamp":{time_ms},"category":"books","customer_id":{number},"product_id":1,"amount":2.5}}"#
        );
        Record::new(sale).partition(0).timestamp_ms(time_ms)
    };
    topic::produce(job.bootstrap(), &job.topic, numbers.map(sale)).expect("records");
}

#[test]
fn an_upgrade_builds_the_windows_again_that_were_open() {
    let mut job = Job::aggregation("upgrade", "sales");
    job.set("service.admin_token", "open-sesame");
    job.apply_schema();
    job.create_topic(1);
    let output = job.text("pipeline.output.topic").to_owned();
    let compacted = [("cleanup.policy", "compact")];
    topic::create(job.bootstrap(), &output, 1, &compacted).expect("a topic");
    sales(&job, 0..200);
    let mut operator = Operator::new(job);
    let name = operator.job.text("pipeline.name").to_owned();
    operator.names.push(("clickstream".to_owned(), name));
    operator.configure();
    operator.start();
    operator.wait_until_begun();
    let mut page = Page::open("upgrade");
    // Windows have no snapshots to keep: their records are the log's.
    page.blocks.next();
    page.run(&operator);
    page.run(&operator);
    page.ends();
    sales(&operator.job, 200..400);
    operator.stop();
    let (code, log) = operator
        .job
        .run_to_code("close", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    let windows = "SELECT sum(total_sales), count() FROM {db}.sales_aggregates_1min FINAL";
    assert_eq!(operator.job.query(windows), "400\t1");
}
