//! What is asked of both tables, and done to them.

use std::time::Duration;

use super::losses::First;
use super::plan::Plan;
use super::shadow::Part;
use crate::config::{ClickHouse, Kind, Pipeline};
use crate::inspect::Failure;
use crate::inspect::compare::connect;
use crate::sink::{ClickHouseClient, InsertError, PlainClient, quote_name, quote_text};

const QUESTION_MAX: Duration = Duration::from_secs(30);
/// All rows are looked at.
const PASS_MAX: Duration = Duration::from_hours(6);

/// Rows of windows that a table has and another lacks, and where the first and the last of the windows begins.
#[derive(Debug)]
pub(super) struct Lacking {
    pub(super) rows: u64,
    pub(super) first: String,
    pub(super) last: String,
}

/// The server of a pipeline.
pub(super) struct Tables {
    clickhouse: ClickHouse,
    plain: PlainClient,
    client: ClickHouseClient,
}

impl Tables {
    pub(super) async fn connect(pipeline: &Pipeline) -> Result<Tables, Failure> {
        let clickhouse = pipeline.clickhouse.clone();
        let client = ClickHouseClient::new(&clickhouse);
        Ok(Tables {
            plain: connect(&clickhouse, QUESTION_MAX).await?,
            client: client.map_err(|error| Failure::Usage(format!("clickhouse: {error}")))?,
            clickhouse,
        })
    }

    fn failed(&self, table: &str, error: &InsertError) -> Failure {
        let what = format!("table {}.{table}", self.clickhouse.database);
        Failure::clickhouse(&self.clickhouse.urls, &what, error)
    }

    pub(super) fn sql_name(&self, table: &str) -> String {
        format!(
            "{}.{}",
            quote_name(&self.clickhouse.database),
            quote_name(table)
        )
    }

    /// The comment of a table, and whether it has rows; `None`: there is no such table.
    async fn found(&self, table: &str) -> Result<Option<(String, bool)>, Failure> {
        let sql = format!(
            "SELECT comment, toString(ifNull(total_rows, 1) > 0) AS has_rows FROM system.tables \
             WHERE database = {} AND name = {}",
            quote_text(&self.clickhouse.database),
            quote_text(table)
        );
        let rows = self.plain.rows(&sql).await;
        let rows = rows.map_err(|error| self.failed(table, &error))?;
        Ok(rows.into_iter().next().map(|mut row| {
            let comment = row.remove("comment").unwrap_or_default();
            (comment, row.get("has_rows").is_some_and(|text| text == "1"))
        }))
    }

    /// The comment of a table that must be there.
    pub(super) async fn comment_of(&self, table: &str) -> Result<String, Failure> {
        let found = self.found(table).await?;
        let missing = || {
            Failure::Refused(format!(
                "there is no table {}.{table}: a shadow is made like the live table; run `streamweir schema \
                 apply`, or the pipeline, first",
                self.clickhouse.database
            ))
        };
        found.map(|(comment, _)| comment).ok_or_else(missing)
    }

    pub(super) async fn has(&self, table: &str) -> Result<bool, Failure> {
        Ok(self.found(table).await?.is_some())
    }

    /// Whether each table has another beside it: the shadow, or the old one.
    pub(super) async fn have_others(&self, parts: &[Part]) -> Result<bool, Failure> {
        for part in parts {
            if !self.has(&part.shadow).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The plan that a table keeps; `None`: there is no table, or one without a plan.
    async fn plan_of(&self, table: &str) -> Result<Option<Plan>, Failure> {
        let found = self.found(table).await?;
        Ok(found.and_then(|(comment, _)| Plan::decode(table, &comment)))
    }

    /// The plan that the shadow keeps, or the live table that was the shadow.
    ///
    /// # Errors
    /// A shadow that has rows and is none.
    pub(super) async fn plan_of_part(&self, part: &Part) -> Result<Option<Plan>, Failure> {
        if let Some(plan) = self.plan_of(&part.live).await? {
            return Ok(Some(plan));
        }
        let Some((comment, has_rows)) = self.found(&part.shadow).await? else {
            return Ok(None);
        };
        match Plan::decode(&part.shadow, &comment) {
            Some(plan) => Ok(Some(plan)),
            None if has_rows => Err(self.not_ours(&part.shadow)),
            None => Ok(None),
        }
    }

    /// Whether the rebuilt tables are the live ones; `None`: none of them is.
    pub(super) async fn are_exchanged(&self, parts: &[Part]) -> Result<Option<Vec<bool>>, Failure> {
        let mut all = vec![];
        for part in parts {
            all.push(self.plan_of(&part.live).await?.is_some());
        }
        Ok(all.contains(&true).then_some(all))
    }

    /// The columns of a table that have values of their own.
    pub(super) async fn columns(&self, table: &str) -> Result<Vec<String>, Failure> {
        let sql = format!(
            "SELECT name FROM system.columns WHERE database = {} AND table = {} \
             AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') ORDER BY position",
            quote_text(&self.clickhouse.database),
            quote_text(table)
        );
        let rows = self.plain.rows(&sql).await;
        let rows = rows.map_err(|error| self.failed(table, &error))?;
        let name = |mut row: crate::sink::TextRow| row.remove("name");
        Ok(rows.into_iter().filter_map(name).collect())
    }

    /// The first offset of each partition whose rows a table has, by the columns that say so.
    pub(super) async fn firsts(&self, live: &Pipeline, table: &str) -> Result<Vec<First>, Failure> {
        let failed = |error| self.failed(table, &error);
        let columns = self.columns(table).await?;
        let names = columns.iter();
        let names = match &live.kind {
            Kind::Raw(raw) => raw.provenance(names.map(String::as_str)),
            _ => Ok(["_topic", "_partition", "_offset"]),
        };
        let [topic, partition, offset] = names
            .map_err(|column| Failure::Refused(format!("table {table} has no column {column}")))?
            .map(quote_name);
        let sql = format!(
            "SELECT toString(t) AS topic, toString(p) AS part, toString(o) AS first FROM \
             (SELECT {topic} AS t, {partition} AS p, min({offset}) AS o FROM {} GROUP BY t, p)",
            self.sql_name(table)
        );
        let patient = connect(&self.clickhouse, PASS_MAX).await?;
        let rows = patient.rows(&sql).await.map_err(failed)?;
        let first = |mut row: crate::sink::TextRow| {
            let mut text = |key: &str| row.remove(key).unwrap_or_default();
            First {
                topic: text("topic"),
                partition: text("part"),
                offset: text("first"),
            }
        };
        Ok(rows.into_iter().map(first).collect())
    }

    /// Rows that one table has and another lacks, by their keys, of those that this condition is true of.
    pub(super) async fn lacking(
        &self,
        old: &str,
        rebuilt: &str,
        keys: &[&str],
        which: &str,
    ) -> Result<Option<Lacking>, Failure> {
        let keys: Vec<String> = keys.iter().map(|key| quote_name(key)).collect();
        let keys = keys.join(", ");
        let time = |of: &str| {
            format!(
                "formatDateTime(toDateTime64({of}(window_start), 0, 'UTC'), '%Y-%m-%dT%H:%i:%SZ')"
            )
        };
        let sql = format!(
            "SELECT toString(count()) AS lacking, {} AS first, {} AS last FROM {} FINAL WHERE {which} AND ({keys}) NOT IN \
             (SELECT {keys} FROM {} FINAL)",
            time("min"),
            time("max"),
            self.sql_name(old),
            self.sql_name(rebuilt)
        );
        let patient = connect(&self.clickhouse, PASS_MAX).await?;
        let rows = patient.rows(&sql).await;
        let rows = rows.map_err(|error| self.failed(old, &error))?;
        Ok(rows.into_iter().next().and_then(|mut row| {
            let mut text = |key: &str| row.remove(key).unwrap_or_default();
            let lacking = Lacking {
                rows: text("lacking").parse().unwrap_or(0),
                first: text("first"),
                last: text("last"),
            };
            (lacking.rows > 0).then_some(lacking)
        }))
    }

    pub(super) fn not_ours(&self, shadow: &str) -> Failure {
        Failure::Refused(format!(
            "table {}.{shadow} has rows and is no shadow of a rebuild (its comment says nothing of one): name \
             another table with --into, or empty it",
            self.clickhouse.database
        ))
    }

    /// Makes the shadow after the live table, with its plan. One that is there and empty gets the plan.
    pub(super) async fn make_shadow(
        &self,
        live: &str,
        shadow: &str,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let comment = quote_text(&plan.encode());
        let (live, name) = (self.sql_name(live), self.sql_name(shadow));
        let sql = match self.found(shadow).await? {
            // Another process has made it a moment ago: its plan counts.
            Some((found, _)) if Plan::decode(shadow, &found).is_some() => return Ok(()),
            Some(_) => format!("ALTER TABLE {name} MODIFY COMMENT {comment}"),
            None => format!("CREATE TABLE {name} AS {live} COMMENT {comment}"),
        };
        match self.client.execute_anywhere(&sql).await {
            Ok(()) => Ok(()),
            // Another process was faster: its plan counts.
            Err(_) if matches!(self.plan_of(shadow).await, Ok(Some(_))) => Ok(()),
            Err(error) => Err(self.failed(shadow, &error)),
        }
    }

    /// Exchanges the names of both tables, in one step.
    pub(super) async fn exchange(&self, part: &Part) -> Result<(), Failure> {
        let (live, shadow) = (self.sql_name(&part.live), self.sql_name(&part.shadow));
        self.execute(&part.live, &format!("EXCHANGE TABLES {live} AND {shadow}"))
            .await
    }

    /// Drops the old table, and a view that the pipeline has made of it.
    pub(super) async fn drop_old(&self, part: &Part, is_replica: bool) -> Result<(), Failure> {
        if is_replica {
            let view = self.sql_name(&format!("{}_current", part.shadow));
            self.execute(&part.shadow, &format!("DROP VIEW IF EXISTS {view}"))
                .await?;
        }
        let old = self.sql_name(&part.shadow);
        self.execute(&part.shadow, &format!("DROP TABLE IF EXISTS {old} SYNC"))
            .await
    }

    /// Gives the live table the comment that it had before.
    pub(super) async fn forget_plan(&self, part: &Part) -> Result<(), Failure> {
        let Some(plan) = self.plan_of(&part.live).await? else {
            return Ok(());
        };
        let (live, comment) = (self.sql_name(&part.live), quote_text(&plan.comment));
        self.execute(
            &part.live,
            &format!("ALTER TABLE {live} MODIFY COMMENT {comment}"),
        )
        .await
    }

    /// # Errors
    /// Why both names cannot be exchanged on this server alone, or a shadow not be made there.
    pub(super) async fn check_engines(
        &self,
        parts: &[Part],
        exchanges: bool,
    ) -> Result<(), Failure> {
        for part in parts {
            self.check_engine(part, exchanges).await?;
        }
        Ok(())
    }

    async fn check_engine(&self, part: &Part, exchanges: bool) -> Result<(), Failure> {
        let sql = format!(
            "SELECT d.engine AS database_engine, toString(startsWith(t.engine, 'Replicated')) AS is_replicated \
             FROM system.tables t JOIN system.databases d ON d.name = t.database WHERE t.database = {} AND t.name = {}",
            quote_text(&self.clickhouse.database),
            quote_text(&part.live)
        );
        let rows = self
            .plain
            .rows(&sql)
            .await
            .map_err(|error| self.failed(&part.live, &error))?;
        let Some(row) = rows.first() else {
            return Ok(());
        };
        let is = |key: &str, value: &str| row.get(key).is_some_and(|text| text == value);
        match refusal(
            row.get("database_engine").map_or("", String::as_str),
            is("is_replicated", "1"),
            exchanges,
            self.clickhouse.urls.len(),
        ) {
            Some(why) => Err(Failure::Refused(format!("table {}: {why}", part.live))),
            None => Ok(()),
        }
    }

    async fn execute(&self, table: &str, sql: &str) -> Result<(), Failure> {
        let done = self.client.execute_anywhere(sql).await;
        done.map_err(|error| self.failed(table, &error))
    }
}

/// Why the names of two tables cannot be exchanged by one server, or a shadow not be made by one of several.
fn refusal(
    database_engine: &str,
    is_replicated: bool,
    exchanges: bool,
    servers: usize,
) -> Option<&'static str> {
    if !exchanges {
        let is_on_one =
            is_replicated && servers > 1 && !matches!(database_engine, "Replicated" | "Shared");
        return is_on_one.then_some(
            "clickhouse.url names several servers, and the shadow would be made on one of them: name one server, or \
             keep the tables in a database of the engine Replicated",
        );
    }
    match (database_engine, is_replicated) {
        ("Replicated" | "Shared", _) | ("Atomic", false) => None,
        ("Atomic", true) => Some(
            "its replicas have names of their own, and EXCHANGE TABLES would change those of one server: stop the \
             pipeline, run EXCHANGE TABLES … ON CLUSTER, and start it again, or keep the tables in a database of the \
             engine Replicated",
        ),
        _ => Some("EXCHANGE TABLES needs a database of the engine Atomic or Replicated"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exchanged_where_one_statement_does_it_on_every_replica() {
        for (engine, is_replicated) in [
            ("Atomic", false),
            ("Replicated", true),
            ("Replicated", false),
        ] {
            assert_eq!(refusal(engine, is_replicated, true, 2), None, "{engine}");
            assert_eq!(refusal(engine, is_replicated, false, 2), None, "{engine}");
        }
        assert!(refusal("Atomic", true, true, 1).is_some_and(|why| why.contains("ON CLUSTER")));
        assert!(refusal("Ordinary", false, true, 1).is_some());
        assert!(
            refusal("Atomic", true, false, 2).is_some_and(|why| why.contains("several servers"))
        );
        assert_eq!(refusal("Atomic", true, false, 1), None);
    }
}
