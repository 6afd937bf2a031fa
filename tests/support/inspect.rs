//! Commands that look at what a job has written.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Job, command};

fn ended(mut command: Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("it ends by itself");
    (code, text(output.stdout), text(output.stderr))
}

impl Job {
    /// What a command came to: exit code, stdout, stderr.
    pub fn inspect(&self, arguments: &[&str]) -> (i32, String, String) {
        let (path, _) = self.write_config("inspect");
        ended(command(&path, arguments))
    }

    /// The configuration, without the proxy through which the daemon may have been sent, and which is gone by now.
    fn direct(&self) -> toml::Table {
        let mut config = self.config.clone();
        let clickhouse = config["clickhouse"].as_table_mut();
        let url = clickhouse.and_then(|section| section.get_mut("url"));
        if let Some(url) = url {
            *url = self.clickhouse_url.clone().into();
        }
        config
    }

    /// `streamweir audit` of every pipeline finds nothing, where it can compute again what was written.
    #[track_caller]
    pub fn assert_audit_finds_nothing(&self) {
        let pipelines = self.config["pipeline"].as_array().expect("pipelines");
        for pipeline in pipelines {
            let eager = pipeline.get("join").and_then(|join| join.get("emit"));
            if eager.and_then(toml::Value::as_str) == Some("eager") {
                continue;
            }
            let name = pipeline["name"].as_str().expect("a name");
            let path = self.directory.path().join("audit.toml");
            std::fs::write(&path, self.direct().to_string()).expect("the configuration is written");
            let audit = command(&path, &["audit", "--pipeline", name, "--json"]);
            let (code, out, err) = ended(audit);
            assert_eq!(code, 0, "audit of {name}: {out}{err}");
        }
    }

    /// What `streamweir explain` says of records, in their order.
    #[track_caller]
    pub fn explained(&self, addresses: &[String]) -> Vec<Value> {
        let mut all = vec![];
        for addresses in addresses.chunks(1_000) {
            let addresses = addresses.iter().map(String::as_str);
            let arguments: Vec<&str> = ["explain", "--json"].into_iter().chain(addresses).collect();
            let (code, out, err) = self.inspect(&arguments);
            assert_eq!(code, 0, "{err}");
            let line = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
            all.extend(out.lines().map(line));
        }
        assert_eq!(all.len(), addresses.len());
        all
    }

    /// Explains every record of these topics: each is a dead letter exactly if there is one, for its reason.
    #[track_caller]
    pub fn assert_explained(&self, topics: &[&str]) -> Vec<Value> {
        let records = topics.iter().flat_map(|name| {
            let all = sandbox::topic::read_all(self.bootstrap(), name).expect("records");
            all.into_iter()
                .map(move |record| format!("{name}:{}:{}", record.partition, record.offset))
        });
        let addresses: Vec<String> = records.collect();
        let letters = self.dead_letters().expect("dead letters");
        let letters: std::collections::BTreeMap<String, String> = letters
            .iter()
            .map(|letter| {
                let header =
                    |name: &str| letter.header(&format!("streamweir-{name}")).expect("named");
                let place = ["topic", "partition", "offset"].map(header).join(":");
                (place, header("reason"))
            })
            .collect();
        let explained = self.explained(&addresses);
        for one in &explained {
            let own = &one["pipelines"][0];
            let place = one["address"].as_str().expect("an address");
            let letter = letters.get(place).map(String::as_str);
            let is_letter = own["outcome"] == "dead_letter";
            assert_eq!(is_letter, letter.is_some(), "{one:#}");
            assert_eq!(own["now"] == "dead_letter", letter.is_some(), "{one:#}");
            if let Some(reason) = letter {
                assert_eq!(own["reason"], reason, "{one:#}");
            }
        }
        explained
    }
}
