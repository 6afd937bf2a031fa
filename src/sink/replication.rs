//! Tables of a replicated cluster: what makes them replicated, and that they are made on every server.

use regex::Regex;

use super::clickhouse::ClickHouseClient;
use super::errors::{InsertError, Remedy};
use crate::target::quote_text;

/// How tables of a cluster become replicas of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replication {
    /// By a path and a name that the macros of each server make different where they must be.
    ByMacros { has_shard: bool },
    /// By the database, whose engine is Replicated.
    ByDatabase,
}

/// ClickHouse's error codes.
const UNKNOWN_TABLE: u32 = 60;
const TABLE_EXISTS: u32 = 57;
const DATABASE_EXISTS: u32 = 82;
const UNKNOWN_DATABASE: u32 = 81;
const NO_ZOOKEEPER: u32 = 225;

/// What stands before an answer about the database.
const ENGINE_OF_DATABASE: &str = "database engine ";

impl Replication {
    /// What a server knows: the names of its macros, and the engine of the database. `None` where nothing
    /// tells its replicas apart.
    fn of_names(names: &[String]) -> Option<Replication> {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        if has(&format!("{ENGINE_OF_DATABASE}Replicated")) {
            return Some(Replication::ByDatabase);
        }
        has("replica").then(|| Replication::ByMacros {
            has_shard: has("shard"),
        })
    }

    /// The statement that makes a table, so that it makes a replicated one. Others stay as they are.
    pub(crate) fn applied(&self, statement: &str) -> String {
        let engine = Regex::new(
            r"(?i)\bENGINE\s*=\s*((?:Replacing|Summing|Aggregating|Collapsing|VersionedCollapsing)?MergeTree)\b(\s*\(\s*\)|\s*\(\s*)?",
        );
        let engine = engine.expect("a constant pattern");
        let is_table = Regex::new(r"(?i)^\s*CREATE\s+TABLE\b").expect("a constant pattern");
        if !is_table.is_match(statement) {
            return statement.to_owned();
        }
        let Some(found) = engine.captures(statement) else {
            return statement.to_owned();
        };
        let own = found.get(2).map(|own| own.as_str().trim());
        let has_arguments = own == Some("(");
        let arguments = match (self.place(), has_arguments) {
            (None, true) => "(".to_owned(),
            (None, false) => String::new(),
            (Some(place), true) => format!("({place}, "),
            (Some(place), false) => format!("({place})"),
        };
        let whole = found.get(0).expect("the match itself").range();
        windows_of_replicas(&format!(
            "{}ENGINE = Replicated{}{arguments}{}",
            &statement[..whole.start],
            &found[1],
            &statement[whole.end..]
        ))
    }

    /// The arguments that tell replicas apart, where the database does not.
    fn place(&self) -> Option<String> {
        let Replication::ByMacros { has_shard } = self else {
            return None;
        };
        let shard = if *has_shard { "{shard}/" } else { "" };
        Some(format!(
            "'/clickhouse/tables/{shard}{{database}}/{{table}}', '{{replica}}'"
        ))
    }
}

/// The setting of a table alone means nothing to a replicated one. The default of seconds is an hour where
/// blocks are many.
fn windows_of_replicas(statement: &str) -> String {
    let own = Regex::new(r"\bnon_replicated_deduplication_window\s*=\s*(\d+)");
    let own = own.expect("a constant pattern");
    let windows =
        "replicated_deduplication_window = $1, replicated_deduplication_window_seconds = 604800";
    own.replace_all(statement, windows).into_owned()
}

impl ClickHouseClient {
    /// How tables are to be replicated, if they are: what the configuration says, else what the server's macros
    /// say.
    ///
    /// # Errors
    /// Whatever the server or the network answered.
    pub(crate) async fn replication(&self) -> Result<Option<Replication>, InsertError> {
        if self.replicated == Some(false) {
            return Ok(None);
        }
        let sql = format!(
            "SELECT macro AS name FROM system.macros UNION ALL SELECT concat({}, engine) AS name FROM \
             system.databases WHERE name = {}",
            quote_text(ENGINE_OF_DATABASE),
            quote_text(&self.database)
        );
        let rows = match self.select_json(&sql).await {
            Ok(rows) => rows,
            // A user who may not see them has never had tables made otherwise.
            Err(error) if matches!(error.remedy, Remedy::Halt(_)) => vec![],
            Err(error) => return Err(error),
        };
        let names: Vec<String> = rows
            .into_iter()
            .flat_map(std::collections::BTreeMap::into_values)
            .collect();
        let found = Replication::of_names(&names);
        match self.replicated {
            Some(true) if found.is_none() => Ok(Some(Replication::ByMacros { has_shard: true })),
            _ => Ok(found),
        }
    }

    /// Runs a statement that creates something: on every server, where tables are replicated, since none
    /// makes it on the others. One that is away, or cannot at this moment, lacks it, which is said. Where
    /// the macros are there and Keeper is not, it is run on one server as it stands.
    ///
    /// # Errors
    /// As above; where servers answer differently what one of them refuses, and tables of which rows on one
    /// server are not on another.
    pub(crate) async fn create(&self, sql: &str, database: &str) -> Result<(), InsertError> {
        let run = |server| self.execute_in(server, sql, database);
        let Some(replication) = self.replication().await? else {
            return self.servers.any(run).await;
        };
        let replicated = replication.applied(sql);
        let (mut done, mut failed, mut lacking) = (0, vec![], vec![]);
        for server in 0..self.servers() {
            match self.execute_in(server, &replicated, database).await {
                Ok(()) => done += 1,
                Err(error) => {
                    failed.push(error);
                    lacking.push(server);
                }
            }
        }
        if done == 0 && failed.iter().any(has_no_keeper) {
            if self.replicated != Some(true) {
                tracing::warn!(
                    statement = beginning(sql),
                    "the server has the macro replica and no Keeper, so a plain table is made; \
                     clickhouse.replicated = false says that this is meant"
                );
                return self.servers.any(run).await;
            }
            for error in &mut failed {
                error.message += " (clickhouse.replicated = false makes plain tables)";
            }
        }
        let away = outcome(done, failed)?;
        if let Some(error) = away {
            for server in lacking {
                self.servers.get(server).owe(&replicated, database);
            }
            tracing::warn!(
                %error, statement = beginning(&replicated),
                "a server of clickhouse.urls is away and lacks what was created on the others: it is created \
                 there when the server is back while this process runs; else run `streamweir schema apply`"
            );
        }
        match created_table(&replicated, database) {
            Some((database, table)) if self.has_several(&database, &table).await => {
                Err(InsertError {
                    code: None,
                    message: format!(
                        "servers of clickhouse.urls have different tables {database}.{table} (other engines, or \
                         other paths in Keeper), of which one was there before: rows written to one are not on \
                         the others; move its rows, drop it, and run `streamweir schema apply` again"
                    ),
                    remedy: Remedy::Halt("engine"),
                })
            }
            _ => Ok(()),
        }
    }
}

impl ClickHouseClient {
    /// Creates on a server that is back what the others have got meanwhile. Whether it has it all now.
    pub(super) async fn pay(&self, server: u32) -> bool {
        loop {
            let Some(owed) = self.servers.get(server).first_owed() else {
                return true;
            };
            let (sql, database) = &owed;
            // A table may have been altered since: it is made as it is on the others.
            let sql = match created_table(sql, database) {
                Some((database, table)) => {
                    match self.made_on_another(server, &database, &table).await {
                        Ok(Some(made)) => made,
                        // It was dropped meanwhile.
                        Ok(None) => {
                            self.servers.get(server).paid(&owed);
                            continue;
                        }
                        Err(_) => return false,
                    }
                }
                None => sql.clone(),
            };
            match self.execute_in(server, &sql, database).await {
                Ok(()) => {}
                Err(error) if matches!(error.code, Some(TABLE_EXISTS | DATABASE_EXISTS)) => {}
                Err(error) => {
                    tracing::warn!(
                        %error, statement = beginning(&sql),
                        "a server of clickhouse.urls that is back lacks what the others have got, and it cannot \
                         be created there yet"
                    );
                    return false;
                }
            }
            tracing::info!(
                statement = beginning(&sql),
                "created on a server that is back"
            );
            self.servers.get(server).paid(&owed);
        }
    }

    /// The statement that makes a table as another server has it; `None` where none has it.
    ///
    /// # Errors
    /// One that may have it does not answer.
    async fn made_on_another(
        &self,
        lacking: u32,
        database: &str,
        table: &str,
    ) -> Result<Option<String>, InsertError> {
        let sql = format!(
            "SELECT create_table_query FROM system.tables WHERE database = {} AND name = {}",
            quote_text(database),
            quote_text(table)
        );
        let mut failure = None;
        for server in (0..self.servers()).filter(|server| *server != lacking) {
            match self.select_json_on(server, &sql).await {
                Ok(rows) => {
                    let mut rows = rows.into_iter();
                    let made = rows
                        .next()
                        .and_then(|mut row| row.remove("create_table_query"));
                    if made.is_some() {
                        return Ok(made);
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

/// What servers came to of which some have run a statement: one that is away or ill, or lacks what the others
/// have, stops nothing once another has run it.
fn outcome(done: usize, failed: Vec<InsertError>) -> Result<Option<InsertError>, InsertError> {
    let is_away = |error: &InsertError| {
        error.code.is_none()
            || matches!(error.remedy, Remedy::Retry(_))
            || matches!(error.code, Some(UNKNOWN_TABLE | UNKNOWN_DATABASE))
    };
    let (away, refused): (Vec<_>, Vec<_>) = failed.into_iter().partition(is_away);
    if let Some(error) = refused.into_iter().next() {
        return Err(error);
    }
    // A server that may be back has the last word.
    let (passing, lacking): (Vec<_>, Vec<_>) = away
        .into_iter()
        .partition(|error| !matches!(error.code, Some(UNKNOWN_TABLE | UNKNOWN_DATABASE)));
    let first = passing.into_iter().chain(lacking).next();
    match (done, first) {
        (0, Some(error)) => Err(error),
        (_, away) => Ok(away),
    }
}

/// Nobody has told the server of a Keeper. One that cannot be reached is another error.
fn has_no_keeper(error: &InsertError) -> bool {
    error.code == Some(NO_ZOOKEEPER) && error.message.contains("without ZooKeeper")
}

/// The table that a statement creates.
fn created_table(statement: &str, database: &str) -> Option<(String, String)> {
    const NAME: &str = r"(?:`([^`]+)`|(\w+))";
    let pattern =
        format!(r"(?i)^\s*CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:{NAME}\s*\.\s*)?{NAME}");
    let found = Regex::new(&pattern).ok()?.captures(statement)?;
    let name = |quoted: usize| {
        let name = found.get(quoted).or_else(|| found.get(quoted + 1));
        name.map(|name| name.as_str().to_owned())
    };
    Some((name(1).unwrap_or_else(|| database.to_owned()), name(3)?))
}

fn beginning(statement: &str) -> &str {
    statement.split('(').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";

    #[test]
    fn macros_or_the_database_tell_replicas_apart() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Replication::of_names(&names)
        };
        let by_macros = |has_shard| Some(Replication::ByMacros { has_shard });
        assert_eq!(names(&["database engine Atomic"]), None);
        assert_eq!(names(&["shard", "cluster"]), None);
        assert_eq!(names(&["replica"]), by_macros(false));
        assert_eq!(names(&["shard", "replica"]), by_macros(true));
        let in_database = ["shard", "replica", "database engine Replicated"];
        assert_eq!(names(&in_database), Some(Replication::ByDatabase));
    }

    #[test]
    fn a_server_that_is_away_or_lacks_the_table_stops_nothing_once_another_has_done_it() {
        let error = |text: &str| -> InsertError {
            clickhouse::error::Error::BadResponse(text.to_owned()).into()
        };
        let lacks = || error("Code: 60. DB::Exception: Table d.t does not exist");
        let ill = || error("Code: 999. DB::Exception: Session expired");
        let refuses = || error("Code: 62. DB::Exception: Syntax error");
        let away = || clickhouse::error::Error::TimedOut.into();
        for all in [
            vec![lacks()],
            vec![ill()],
            vec![away()],
            vec![lacks(), away()],
        ] {
            let said = outcome(1, all).expect("the other one has it");
            assert!(said.is_some());
        }
        assert!(outcome(2, vec![]).expect("both have it").is_none());
        let code = |done, all| outcome(done, all).expect_err("an error").code;
        assert_eq!(code(1, vec![ill(), refuses()]), Some(62));
        assert_eq!(code(0, vec![lacks(), lacks()]), Some(60));
        assert_eq!(code(0, vec![lacks(), away()]), None, "it may have it");
        assert_eq!(code(0, vec![lacks(), ill()]), Some(999));
    }

    #[test]
    fn only_a_server_that_knows_no_keeper_gets_a_plain_table() {
        for (text, expected) in [
            (
                "Code: 225. DB::Exception: Can't create replicated table without ZooKeeper",
                true,
            ),
            ("Code: 225. DB::Exception: Cannot get ZooKeeper", false),
            (
                "Code: 999. DB::Exception: All connection tries failed",
                false,
            ),
        ] {
            let error = clickhouse::error::Error::BadResponse(text.to_owned());
            assert_eq!(has_no_keeper(&error.into()), expected, "{text}");
        }
    }

    #[test]
    fn a_statement_tells_the_table_that_it_creates() {
        let of = |statement: &str| {
            let table = created_table(statement, "d");
            table.map(|(database, table)| format!("{database}.{table}"))
        };
        for (statement, table) in [
            ("CREATE TABLE t (a Int8)", Some("d.t")),
            (
                "CREATE TABLE IF NOT EXISTS `o`.`a-b`\n(a Int8)",
                Some("o.a-b"),
            ),
            ("create table if not exists o.t(a Int8)", Some("o.t")),
            ("CREATE VIEW v AS SELECT 1", None),
            ("CREATE DATABASE d", None),
        ] {
            assert_eq!(of(statement).as_deref(), table, "{statement}");
        }
    }

    #[test]
    fn an_engine_becomes_the_replicated_one_of_its_name() {
        let by_macros = Replication::ByMacros { has_shard: true };
        let cases = [
            (
                "CREATE TABLE t (a Int8)\nENGINE = MergeTree\nORDER BY a",
                format!(
                    "CREATE TABLE t (a Int8)\nENGINE = ReplicatedMergeTree({PLACE})\nORDER BY a"
                ),
                "CREATE TABLE t (a Int8)\nENGINE = ReplicatedMergeTree\nORDER BY a",
            ),
            (
                "CREATE TABLE t (a Int8) engine=ReplacingMergeTree(v, d) ORDER BY a",
                format!(
                    "CREATE TABLE t (a Int8) ENGINE = ReplicatedReplacingMergeTree({PLACE}, v, d) ORDER BY a"
                ),
                "CREATE TABLE t (a Int8) ENGINE = ReplicatedReplacingMergeTree(v, d) ORDER BY a",
            ),
            (
                "CREATE TABLE t (a Int8) ENGINE = MergeTree() ORDER BY a",
                format!("CREATE TABLE t (a Int8) ENGINE = ReplicatedMergeTree({PLACE}) ORDER BY a"),
                "CREATE TABLE t (a Int8) ENGINE = ReplicatedMergeTree ORDER BY a",
            ),
        ];
        for (statement, macros, database) in cases {
            assert_eq!(by_macros.applied(statement), macros);
            assert_eq!(Replication::ByDatabase.applied(statement), database);
        }
        let without_shard = Replication::ByMacros { has_shard: false };
        let made = without_shard.applied("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a");
        assert!(made.contains("('/clickhouse/tables/{database}/{table}', '{replica}')"));
        for other in [
            "CREATE TABLE t (a Int8) ENGINE = ReplicatedMergeTree('/a', 'b') ORDER BY a",
            "CREATE TABLE t (a Int8) ENGINE = SharedMergeTree ORDER BY a",
            "CREATE TABLE t (a Int8) ENGINE = Memory",
            "CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a",
            "CREATE VIEW v AS SELECT 1",
            "CREATE DATABASE d",
        ] {
            assert_eq!(by_macros.applied(other), other);
        }
    }

    #[test]
    fn the_window_of_one_server_becomes_that_of_replicas() {
        let by_macros = Replication::ByMacros { has_shard: true };
        let made = by_macros.applied(
            "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS \
             non_replicated_deduplication_window = 500, index_granularity = 8192",
        );
        assert!(made.ends_with(
            "SETTINGS replicated_deduplication_window = 500, replicated_deduplication_window_seconds = \
             604800, index_granularity = 8192"
        ));
    }
}
