//! Redis as many run it: the nodes of a cluster, and a master that sentinels watch.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use redis::cluster::{ClusterClient, ClusterConnection};

use super::Redis;
use crate::certificates::Issued;
use crate::kafka::log_to;
use crate::process::Process;
use crate::wait;
use crate::workdir::{ScratchDir, free_port};

const PATIENCE: Duration = Duration::from_secs(180);
const SLOTS: u16 = 16_384;
const MASTERS: u16 = 3;

/// Three masters with a part of the keys each, and a replica of each.
#[derive(Debug)]
pub struct Cluster {
    /// The masters of the beginning, then their replicas in the same order.
    pub nodes: Vec<Redis>,
    tls_ports: Vec<u16>,
}

/// What servers that listen with TLS show, and what clients must show them.
#[derive(Debug, Clone)]
pub struct Tls {
    pub server: Issued,
    pub ca_file: PathBuf,
}

impl Tls {
    /// What a server is started with to listen at this port besides.
    pub fn arguments(&self, port: u16) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let pairs = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", text(&self.server.cert_file)),
            ("--tls-key-file", text(&self.server.key_file)),
            ("--tls-ca-cert-file", text(&self.ca_file)),
        ];
        let pairs = pairs.map(|(name, value)| [name.to_owned(), value]);
        pairs.into_iter().flatten().collect()
    }
}

impl Cluster {
    /// Addresses of its nodes by TLS.
    pub fn tls_urls(&self) -> Vec<String> {
        let url = |port: &u16| format!("rediss://127.0.0.1:{port}");
        self.tls_ports.iter().map(url).collect()
    }

    /// Starts six servers and makes them a cluster. Each listens with TLS besides, where it has this.
    ///
    /// # Errors
    /// A server does not start, or refuses.
    pub fn start(tls: Option<&Tls>) -> Result<Self> {
        let (mut nodes, mut tls_ports) = (vec![], vec![]);
        for _ in 0..2 * MASTERS {
            let bus = free_port()?.to_string();
            let mut arguments: Vec<String> = [
                ["--cluster-enabled", "yes"],
                ["--cluster-port", &bus],
                ["--cluster-node-timeout", "4000"],
                ["--cluster-replica-validity-factor", "0"],
            ]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
            if let Some(tls) = tls {
                let port = free_port()?;
                tls_ports.push(port);
                arguments.extend(among_themselves(tls, port));
                // Only so do nodes tell clients at which port they speak TLS.
                arguments.extend(["--tls-cluster", "yes"].map(str::to_owned));
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            nodes.push((Redis::start_with(&arguments)?, bus));
        }
        let (first, bus) = &nodes[0];
        let first_port = tls_ports.first().copied().unwrap_or(first.port);
        let (first_port, bus) = (first_port.to_string(), bus.clone());
        for (node, _) in &nodes[1..] {
            node.order(&["CLUSTER", "MEET", "127.0.0.1", &first_port, &bus])?;
        }
        let nodes: Vec<Redis> = nodes.into_iter().map(|(node, _)| node).collect();
        let cluster = Cluster { nodes, tls_ports };
        let share = SLOTS / MASTERS;
        for number in 0..MASTERS {
            let begin = (number * share).to_string();
            let end = match number + 1 == MASTERS {
                true => SLOTS - 1,
                false => (number + 1) * share - 1,
            };
            let node = &cluster.nodes[usize::from(number)];
            node.order(&["CLUSTER", "ADDSLOTSRANGE", &begin, &end.to_string()])?;
        }
        cluster.replicate()?;
        cluster.wait_for_state("ok")?;
        Ok(cluster)
    }

    fn replicate(&self) -> Result<()> {
        let (masters, replicas) = self.nodes.split_at(usize::from(MASTERS));
        for (master, replica) in masters.iter().zip(replicas) {
            let id = master.ask(&["CLUSTER", "MYID"])?;
            // It may not have heard of its master yet.
            wait::until("a replica follows its master", PATIENCE, || {
                replica.order(&["CLUSTER", "REPLICATE", &id]).ok()
            })?;
        }
        for replica in replicas {
            wait::until("a replica has its master's keys", PATIENCE, || {
                let info = replica.ask(&["INFO", "replication"]).ok()?;
                info.contains("master_link_status:up").then_some(())
            })?;
        }
        Ok(())
    }

    /// Waits until every node that runs says so of the cluster.
    ///
    /// # Errors
    /// They do not in time.
    pub fn wait_for_state(&self, state: &str) -> Result<()> {
        let expected = format!("cluster_state:{state}");
        wait::until(&expected, PATIENCE, || {
            let mut running = self.nodes.iter().filter(|node| node.pid() != 0);
            let is_so = |node: &Redis| {
                let info = node.ask(&["CLUSTER", "INFO"]);
                info.is_ok_and(|info| info.contains(&expected))
            };
            running.all(is_so).then_some(())
        })
    }

    /// A connection that finds each key's node.
    ///
    /// # Errors
    /// No node answers.
    pub fn connection(&self) -> Result<ClusterConnection> {
        let urls: Vec<String> = self.nodes.iter().map(Redis::url).collect();
        Ok(ClusterClient::new(urls)?.get_connection()?)
    }

    /// Begins to move the slot of a key to another master, the key with it: whoever asks for it is told to ask
    /// there (ASK), until [`Cluster::moved`].
    ///
    /// # Errors
    /// A node refuses.
    pub fn begin_to_move(&self, key: &str) -> Result<Move> {
        let slot = self.nodes[0].ask(&["CLUSTER", "KEYSLOT", key])?;
        let number: u16 = slot.parse()?;
        let from = usize::from((number / (SLOTS / MASTERS)).min(MASTERS - 1));
        let to = (from + 1) % usize::from(MASTERS);
        let id = |node: usize| self.nodes[node].ask(&["CLUSTER", "MYID"]);
        let (source, target) = (id(from)?, id(to)?);
        let set = |node: usize, state: &str, other: &str| {
            self.nodes[node].order(&["CLUSTER", "SETSLOT", &slot, state, other])
        };
        set(to, "IMPORTING", &source)?;
        set(from, "MIGRATING", &target)?;
        let tls = self.tls_ports.get(to).copied();
        let port = tls.unwrap_or(self.nodes[to].port).to_string();
        self.nodes[from].order(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])?;
        Ok(Move {
            slot,
            target,
            order: [to, from],
        })
    }

    /// The slot is the other master's now (MOVED).
    ///
    /// # Errors
    /// A node refuses.
    pub fn moved(&self, moved: &Move) -> Result<()> {
        for node in moved.order {
            let order = ["CLUSTER", "SETSLOT", &moved.slot, "NODE", &moved.target];
            self.nodes[node].order(&order)?;
        }
        Ok(())
    }
}

/// A slot on its way to another master.
#[derive(Debug)]
pub struct Move {
    slot: String,
    target: String,
    order: [usize; 2],
}

/// A master, its replica, and a sentinel that makes the replica the master when the master is away.
#[derive(Debug)]
pub struct Watched {
    pub master: Redis,
    pub replica: Redis,
    port: u16,
    has_tls: bool,
    _sentinel: Process,
    _dir: ScratchDir,
}

impl Watched {
    /// With `tls` the three speak TLS to each other and to clients.
    ///
    /// # Errors
    /// A server does not start.
    pub fn start(tls: Option<&Tls>) -> Result<Self> {
        let (master, at) = watched(tls, None)?;
        let (replica, _) = watched(tls, Some(at))?;
        wait::until("the replica has its master's keys", PATIENCE, || {
            let info = replica.ask(&["INFO", "replication"]).ok()?;
            info.contains("master_link_status:up").then_some(())
        })?;
        let dir = ScratchDir::create("sentinel")?;
        // Without TLS, for the sandbox.
        let own = free_port()?;
        let config = dir.path().join("sentinel.conf");
        let lines = [
            format!("port {own}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", dir.path().display()),
            format!("sentinel monitor profiles 127.0.0.1 {at} 1"),
            "sentinel down-after-milliseconds profiles 1000".to_owned(),
            "sentinel failover-timeout profiles 5000".to_owned(),
        ];
        fs::write(&config, lines.join("\n"))?;
        let mut command = Command::new("redis-server");
        command.arg(&config).arg("--sentinel").stdin(Stdio::null());
        let mut port = own;
        if let Some(tls) = tls {
            port = free_port()?;
            command.args(among_themselves(tls, port));
        }
        log_to(&mut command, &dir.path().join("sentinel.log"))?;
        let sentinel = Process::spawn(command)?;
        wait::until("the sentinel knows the replica", PATIENCE, || {
            let url = format!("redis://127.0.0.1:{own}");
            let mut connection = super::connect(&url).ok()?;
            let info: String = redis::cmd("INFO").query(&mut connection).ok()?;
            info.contains("slaves=1").then_some(())
        })?;
        Ok(Watched {
            master,
            replica,
            port,
            has_tls: tls.is_some(),
            _sentinel: sentinel,
            _dir: dir,
        })
    }

    /// The address of the sentinel; its master's name is `profiles`.
    pub fn url(&self) -> String {
        let scheme = if self.has_tls { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

/// A server that sentinels watch, and the port at which they and its replicas find it.
fn watched(tls: Option<&Tls>, master: Option<u16>) -> Result<(Redis, u16)> {
    let mut arguments = vec![];
    if let Some(master) = master {
        let master = master.to_string();
        arguments.extend(["--replicaof", "127.0.0.1", &master].map(str::to_owned));
    }
    let mut port = None;
    if let Some(tls) = tls {
        let own = free_port()?;
        port = Some(own);
        arguments.extend(among_themselves(tls, own));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Redis::start_with(&arguments)?;
    let port = port.unwrap_or(server.port);
    Ok((server, port))
}

/// The same as [`Tls::arguments`] for servers that speak TLS to each other.
fn among_themselves(tls: &Tls, port: u16) -> Vec<String> {
    let more = ["--tls-replication", "yes"].map(str::to_owned);
    tls.arguments(port).into_iter().chain(more).collect()
}

impl Redis {
    /// Sends an order that is answered with OK.
    fn order(&self, words: &[&str]) -> Result<()> {
        self.ask(words).map(drop)
    }

    /// Sends a command whose answer is text.
    fn ask(&self, words: &[&str]) -> Result<String> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer = command.query::<redis::Value>(&mut self.connection()?);
        match answer.with_context(|| words.join(" "))? {
            redis::Value::Okay => Ok("OK".to_owned()),
            redis::Value::Int(number) => Ok(number.to_string()),
            redis::Value::SimpleString(text) => Ok(text),
            redis::Value::BulkString(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            other => Err(anyhow!("{}: {other:?}", words.join(" "))),
        }
    }
}
