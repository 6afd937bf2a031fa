//! Where profiles are asked for: one server, the nodes of a cluster, or the master that sentinels name.

use std::sync::{Arc, Mutex, MutexGuard};

use ::redis::aio::{
    ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection,
};
use ::redis::cluster::{ClusterClientBuilder, ClusterConfig};
use ::redis::cluster_async::ClusterConnection;
use ::redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionInfo, IntoConnectionInfo,
    Pipeline, RedisError, RedisFuture, RedisResult, TlsCertificates, Value, cmd,
};
use secrecy::ExposeSecret as _;

use crate::config::{Redis, RedisForm};

/// How often a cluster's client tries by itself, and how long it waits: whoever asked knows better what to do.
const CLUSTER_RETRIES: u32 = 2;
const CLUSTER_RETRY_WAIT_MS: u64 = 50;

/// What only a node of a cluster answers.
const CLUSTER_CODES: [&str; 5] = ["MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN", "TRYAGAIN"];

/// Connections, which are made, and made again, when they are needed. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

struct Inner {
    config: Redis,
    certificates: Option<TlsCertificates>,
    way: Mutex<Way>,
}

enum Way {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
    /// The connection to the master, once sentinels have named one.
    Sentinel(Option<MultiplexedConnection>),
}

impl Connections {
    /// Connects with the first request. To be called within a runtime.
    ///
    /// # Errors
    /// Addresses or certificates that the client does not understand. The text holds no secret.
    pub(crate) fn new(config: &Redis) -> Result<Self, String> {
        let certificates = certificates(config)?;
        let way = match &config.form {
            RedisForm::Server => Way::Server(server(config, certificates.as_ref())?),
            RedisForm::Cluster => Way::Cluster(cluster(config, certificates.clone())?),
            RedisForm::Sentinel { .. } => Way::Sentinel(None),
        };
        Ok(Connections(Arc::new(Inner {
            config: config.clone(),
            certificates,
            way: Mutex::new(way),
        })))
    }

    /// The connection for one request.
    ///
    /// # Errors
    /// No sentinel names a master that answers.
    pub(crate) async fn get(&self) -> RedisResult<Connection> {
        let master = match &*self.way() {
            Way::Server(connection) => return Ok(Connection::Server(connection.clone())),
            Way::Cluster(connection) => return Ok(Connection::Cluster(connection.clone())),
            Way::Sentinel(master) => master.clone(),
        };
        if let Some(master) = master {
            return Ok(Connection::Master(master));
        }
        let found = self.master().await?;
        *self.way() = Way::Sentinel(Some(found.clone()));
        Ok(Connection::Master(found))
    }

    /// Takes note of a failed request. True: the same request may succeed at once, another way.
    pub(crate) fn failed(&self, error: &RedisError) -> bool {
        let mut way = self.way();
        match &mut *way {
            Way::Server(_) => {
                let is_cluster = error
                    .code()
                    .is_some_and(|code| CLUSTER_CODES.contains(&code));
                if !is_cluster {
                    return false;
                }
                let Ok(connection) = cluster(&self.0.config, self.0.certificates.clone()) else {
                    return false;
                };
                tracing::info!(
                    url = self.0.config.label(),
                    "redis is a node of a cluster: all its nodes are asked from now on (redis.cluster = true \
                     says so from the start)"
                );
                *way = Way::Cluster(connection);
                true
            }
            Way::Cluster(_) => false,
            // Another server may be the master by now.
            Way::Sentinel(master) => {
                *master = None;
                false
            }
        }
    }

    /// Nothing was answered in time: whoever was the master may be frozen.
    pub(crate) fn timed_out(&self) {
        if let Way::Sentinel(master) = &mut *self.way() {
            *master = None;
        }
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        self.0.way.lock().expect("no holder of this lock panics")
    }

    /// A connection to the master that the first sentinel names that knows one.
    async fn master(&self) -> RedisResult<MultiplexedConnection> {
        let config = &self.0.config;
        let RedisForm::Sentinel { master } = &config.form else {
            return Err(failure("there are no sentinels".to_owned()));
        };
        let mut last = failure("there is no sentinel".to_owned());
        for url in urls(config) {
            match self.named(&url, master).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn named(&self, sentinel: &str, master: &str) -> RedisResult<MultiplexedConnection> {
        let config = &self.0.config;
        let has_tls = sentinel.starts_with("rediss://");
        // Sentinels have users of their own: those in the address, if any.
        let mut connection = self.open(sentinel.into_connection_info()?).await?;
        let named: Option<(String, u16)> = cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(master)
            .query_async(&mut connection)
            .await?;
        let Some((host, port)) = named else {
            return Err(failure(format!("no sentinel knows a master {master:?}")));
        };
        let scheme = if has_tls { "rediss" } else { "redis" };
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host,
        };
        // What stands in the first address holds for both, unless user and password are set.
        let first = config.url.expose_secret().into_connection_info()?;
        let info = format!("{scheme}://{host}:{port}").into_connection_info()?;
        let info = info.set_redis_settings(first.redis_settings().clone());
        let info = with_credentials(info, config);
        let mut connection = self.open(info).await?;
        // One that was the master before a failover may answer still. Not everybody may ask.
        let role = cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await;
        let is_replica = role.is_ok_and(
            |role| matches!(role.first(), Some(Value::BulkString(role)) if role == b"slave"),
        );
        match is_replica {
            true => Err(failure(format!(
                "{host}:{port} is named as the master {master:?} and is a replica (READONLY)"
            ))),
            false => Ok(connection),
        }
    }

    async fn open(&self, info: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
        let timeout = Some(self.0.config.timeout);
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(timeout)
            .set_response_timeout(timeout);
        client(info, self.0.certificates.as_ref())?
            .get_multiplexed_async_connection_with_config(&settings)
            .await
    }
}

/// A connection of any kind.
#[derive(Clone)]
pub(crate) enum Connection {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
    Master(MultiplexedConnection),
}

impl Connection {
    /// Whether keys lie on several nodes.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Connection::Cluster(_))
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::Server(connection) => connection.req_packed_command(command),
            Connection::Cluster(connection) => connection.req_packed_command(command),
            Connection::Master(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::Server(connection) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
            Connection::Cluster(connection) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
            Connection::Master(connection) => {
                connection.req_packed_commands(pipeline, offset, count)
            }
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::Server(connection) => connection.get_db(),
            Connection::Cluster(connection) => connection.get_db(),
            Connection::Master(connection) => connection.get_db(),
        }
    }
}

fn failure(text: String) -> RedisError {
    RedisError::from((::redis::ErrorKind::Client, "redis", text))
}

fn urls(config: &Redis) -> Vec<String> {
    let first = config.url.expose_secret().to_owned();
    let others = config.other_urls.iter().cloned();
    std::iter::once(first).chain(others).collect()
}

/// The client's own errors could repeat the URL, and with it a password.
fn unreadable<E>(_: E) -> String {
    "redis.url is not understood by the client".to_owned()
}

fn with_credentials(info: ConnectionInfo, config: &Redis) -> ConnectionInfo {
    let mut settings = info.redis_settings().clone();
    if !config.user.is_empty() {
        settings = settings.set_username(&config.user);
    }
    if let Some(password) = &config.password {
        settings = settings.set_password(password.expose_secret());
    }
    info.set_redis_settings(settings)
}

fn client(info: ConnectionInfo, certificates: Option<&TlsCertificates>) -> RedisResult<Client> {
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates.clone()),
        None => Client::open(info),
    }
}

fn server(
    config: &Redis,
    certificates: Option<&TlsCertificates>,
) -> Result<ConnectionManager, String> {
    let info = config.url.expose_secret().into_connection_info();
    let info = with_credentials(info.map_err(unreadable)?, config);
    let client = client(info, certificates).map_err(unreadable)?;
    // Trying again is the caller's business: it knows whether to wait or to use defaults.
    let settings = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(config.timeout))
        .set_response_timeout(Some(config.timeout));
    ConnectionManager::new_lazy_with_config(client, settings).map_err(unreadable)
}

fn cluster(
    config: &Redis,
    certificates: Option<TlsCertificates>,
) -> Result<ClusterConnection, String> {
    let mut nodes = vec![];
    for url in urls(config) {
        let info = url.into_connection_info().map_err(unreadable)?;
        nodes.push(with_credentials(info, config));
    }
    let mut builder = ClusterClientBuilder::new(nodes)
        .retries(CLUSTER_RETRIES)
        .min_retry_wait(CLUSTER_RETRY_WAIT_MS)
        .max_retry_wait(CLUSTER_RETRY_WAIT_MS)
        .connection_timeout(config.timeout)
        .response_timeout(config.timeout);
    if let Some(certificates) = certificates {
        builder = builder.certs(certificates);
    }
    let client = builder.build().map_err(unreadable)?;
    Ok(client.get_pending_async_connection_with_config(ClusterConfig::default()))
}

fn certificates(config: &Redis) -> Result<Option<TlsCertificates>, String> {
    if config.tls.is_empty() {
        return Ok(None);
    }
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| format!("redis: {}: {error}", path.display()))
    };
    let client_tls = match &config.tls.identity {
        Some(identity) => Some(ClientTlsConfig {
            client_cert: read(&identity.cert_file)?,
            client_key: read(&identity.key_file)?,
        }),
        None => None,
    };
    let root_cert = config.tls.ca_file.as_deref().map(read).transpose()?;
    Ok(Some(TlsCertificates {
        client_tls,
        root_cert,
    }))
}
