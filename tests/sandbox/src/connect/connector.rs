//! What a connector is told.

use crate::mariadb::MariaDb;
use crate::postgres::Postgres;

/// A connector to run: its name and properties.
#[derive(Debug, Clone)]
pub struct Connector {
    pub(super) name: String,
    properties: Vec<(String, String)>,
}

impl Connector {
    /// Reads all tables of a PostgreSQL server, in topics `<prefix>.<schema>.<table>`, through a
    /// slot and a publication named after the prefix.
    pub fn postgres(name: &str, database: &Postgres, prefix: &str) -> Self {
        let slot = prefix.replace(['.', '-'], "_").to_lowercase();
        Self::new(name, prefix)
            .set(
                "connector.class",
                "io.debezium.connector.postgresql.PostgresConnector",
            )
            .set("plugin.name", "pgoutput")
            .set("publication.autocreate.mode", "filtered")
            .set("slot.name", &slot)
            .set("publication.name", &slot)
            .set("database.hostname", "127.0.0.1")
            .set("database.port", database.port())
            .set("database.user", database.user())
            .set("database.dbname", database.database())
            .set("skipped.operations", "none")
    }

    /// Reads the tables of a MariaDB server's database, in topics `<prefix>.<database>.<table>`.
    /// `bootstrap` is where the history of its tables is kept, in a topic `<prefix>.history`.
    pub fn mariadb(name: &str, database: &MariaDb, bootstrap: &str, prefix: &str) -> Self {
        Self::new(name, prefix)
            .set(
                "connector.class",
                "io.debezium.connector.mariadb.MariaDbConnector",
            )
            .set("database.hostname", "127.0.0.1")
            .set("database.port", database.port())
            .set("database.user", database.user())
            .set("database.password", database.password())
            .set("database.server.id", 4_711)
            .set("database.ssl.mode", "disable")
            .set("database.include.list", database.database())
            .set("schema.history.internal.kafka.bootstrap.servers", bootstrap)
            .set(
                "schema.history.internal.kafka.topic",
                format!("{prefix}.history"),
            )
            .set("skipped.operations", "none")
    }

    fn new(name: &str, prefix: &str) -> Self {
        let connector = Self {
            name: name.to_owned(),
            properties: Vec::new(),
        };
        connector
            .set("tasks.max", 1)
            .set("topic.prefix", prefix)
            .set("topic.creation.default.partitions", 4)
            .set("topic.creation.default.replication.factor", 1)
            // The worker looks for changes so often when there are none.
            .set("poll.interval.ms", 20)
    }

    /// The same with this property, instead of what it had.
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.properties.retain(|(name, _)| name != key);
        self.properties.push((key.to_owned(), value.to_string()));
        self
    }

    /// The same for these tables alone: `schema.table`, at MariaDB `database.table`.
    pub fn tables(self, tables: &[&str]) -> Self {
        self.set("table.include.list", tables.join(","))
    }

    /// The same with so many partitions of every topic that it creates, instead of 4.
    pub fn partitions(self, count: i32) -> Self {
        self.set("topic.creation.default.partitions", count)
    }

    /// The same with records in topic `__debezium-heartbeat.<prefix>` every so many milliseconds.
    pub fn heartbeat_ms(self, interval_ms: u32) -> Self {
        self.set("heartbeat.interval.ms", interval_ms)
    }

    /// The same with this replication slot (PostgreSQL).
    pub fn slot(self, name: &str) -> Self {
        self.set("slot.name", name)
    }

    /// As the worker reads it.
    pub(super) fn file(&self) -> String {
        let lines = self.properties.iter().map(|(k, v)| format!("{k}={v}\n"));
        format!("name={}\n", self.name) + &lines.collect::<String>()
    }
}
