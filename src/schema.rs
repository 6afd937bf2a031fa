//! The tables a configuration needs, and their making.

use std::time::{Duration, Instant};

use crate::config::{Cdc, Config, Kind, Pipeline, TopicSelector};
use crate::replica::{NotCreatable, ReplicaTable, create_moved_rows};
use crate::sink::{Backoff, ClickHouseClient, InsertError, Remedy, quote_name};
use crate::target::quote_text;

/// A DDL file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DdlError {
    /// It is not there or not readable.
    #[error("pipeline.{pipeline}.clickhouse.ddl: {path}: {error}")]
    Unreadable {
        /// The pipeline that names it.
        pipeline: String,
        /// Where it should lie.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// It does more than create.
    #[error(
        "pipeline.{pipeline}.clickhouse.ddl: {path}: only CREATE statements are applied, found \
         {statement:?}"
    )]
    NotACreate {
        /// The pipeline that names it.
        pipeline: String,
        /// The file.
        path: String,
        /// Where the statement begins.
        statement: String,
    },
    /// What the configuration says of a replica makes no table.
    #[error("pipeline.{pipeline}.tables.{topic}: {error}")]
    NotCreatable {
        /// The pipeline that reads the topic.
        pipeline: String,
        /// Whose table it would be.
        topic: String,
        /// What is wrong with it.
        error: NotCreatable,
    },
}

/// The tables could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The file is wrong.
    #[error(transparent)]
    Ddl(#[from] DdlError),
    /// Not within `service.start_timeout`.
    #[error("clickhouse could not be reached: {0}")]
    Unreachable(String),
    /// The server refuses a statement.
    #[error("pipeline {pipeline}: clickhouse refuses {statement:?}: {error}")]
    Refused {
        /// Whose table it is.
        pipeline: String,
        /// Where the statement begins.
        statement: String,
        /// What the server said.
        error: String,
    },
    /// The client cannot be made.
    #[error("{0}")]
    Other(String),
}

/// The statements of the file that `pipeline.clickhouse.ddl` names; without one, those of the replicas
/// whose columns are declared. Each creates something and does nothing when that exists. Behind them the
/// comments of columns.
///
/// # Errors
/// A file that cannot be read or that does more than create; a replica that cannot be made.
pub fn statements(pipeline: &Pipeline) -> Result<Vec<String>, DdlError> {
    let mut statements = creating(pipeline)?;
    statements.extend(comments(pipeline));
    Ok(statements)
}

/// What columns hold and how they are hidden, as their comments. Each does nothing where the comment is there.
fn comments(pipeline: &Pipeline) -> Vec<String> {
    let (columns, tables): (_, Vec<&str>) = match &pipeline.kind {
        Kind::Enrichment(enrichment) => (&enrichment.columns, vec![&pipeline.table]),
        Kind::Cdc(cdc) => {
            let declared = cdc.tables.iter();
            let declared = declared.filter(|(_, m)| !m.columns.is_empty() && !m.key.is_empty());
            (
                &cdc.columns,
                declared.map(|(topic, _)| cdc.table_for(topic)).collect(),
            )
        }
        Kind::Raw(raw) => (&raw.columns, vec![&pipeline.table]),
        Kind::Aggregation(_) | Kind::StreamJoin(_) => return vec![],
    };
    let database = quote_name(&pipeline.clickhouse.database);
    let commented = columns
        .iter()
        .filter_map(|(column, mapping)| Some((column, mapping.comment()?)));
    let of_tables = commented.flat_map(|(column, comment)| {
        let (column, comment) = (quote_name(column), quote_text(&comment));
        let database = &database;
        tables.iter().map(move |table| {
            let table = quote_name(table);
            format!("ALTER TABLE {database}.{table} COMMENT COLUMN IF EXISTS {column} {comment}")
        })
    });
    of_tables.collect()
}

/// The statements that create.
fn creating(pipeline: &Pipeline) -> Result<Vec<String>, DdlError> {
    let Some(path) = &pipeline.ddl else {
        return match &pipeline.kind {
            Kind::Cdc(cdc) => replicas(pipeline, cdc),
            Kind::Enrichment(_) | Kind::Aggregation(_) | Kind::StreamJoin(_) | Kind::Raw(_) => {
                Ok(vec![])
            }
        };
    };
    let place = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| DdlError::Unreadable {
        pipeline: pipeline.name.clone(),
        path: place.clone(),
        error,
    })?;
    let create = |statement: &str| {
        idempotent(statement).ok_or_else(|| DdlError::NotACreate {
            pipeline: pipeline.name.clone(),
            path: place.clone(),
            statement: beginning(statement),
        })
    };
    split(&text)
        .iter()
        .map(|statement| create(statement))
        .collect()
}

/// The same as a replicated cluster makes them, where its servers say that it is one. Nobody is waited for: a
/// server that does not answer says nothing.
///
/// # Errors
/// As above.
pub fn printed(pipeline: &Pipeline) -> Result<Vec<String>, DdlError> {
    Ok(as_replicated(pipeline, statements(pipeline)?))
}

/// What creates the tables of named watermarks, as a replicated cluster makes them.
#[must_use]
pub fn printed_watermark_tables(config: &Config) -> Vec<(&Pipeline, String)> {
    let all = watermark_tables(config).into_iter();
    let printed = all.flat_map(|(pipeline, statement)| {
        let statements = as_replicated(pipeline, vec![statement]);
        statements.into_iter().map(move |made| (pipeline, made))
    });
    printed.collect()
}

fn as_replicated(pipeline: &Pipeline, statements: Vec<String>) -> Vec<String> {
    if statements.is_empty() {
        return statements;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let asked = async {
        let client = ClickHouseClient::new(&pipeline.clickhouse).ok()?;
        let asked = tokio::time::timeout(PRINT_PATIENCE, client.replication()).await;
        asked.ok()?.ok().flatten()
    };
    let replication = runtime.ok().and_then(|runtime| runtime.block_on(asked));
    match replication {
        Some(replication) => statements.iter().map(|s| replication.applied(s)).collect(),
        None => statements,
    }
}

/// How long `schema print` waits for a server.
const PRINT_PATIENCE: Duration = Duration::from_secs(5);

/// Table and view of every topic whose columns and key are declared, and the table beside all of them.
fn replicas(pipeline: &Pipeline, cdc: &Cdc) -> Result<Vec<String>, DdlError> {
    let mut statements = vec![];
    for (topic, mapping) in &cdc.tables {
        if mapping.columns.is_empty() || mapping.key.is_empty() {
            continue;
        }
        let (database, table) = (&pipeline.clickhouse.database, cdc.table_for(topic));
        let replica = ReplicaTable::new(
            database,
            table,
            mapping.columns.clone(),
            &mapping.key,
            &mapping.own,
        );
        let replica = replica.map_err(|error| DdlError::NotCreatable {
            pipeline: pipeline.name.clone(),
            topic: topic.clone(),
            error,
        })?;
        statements.extend([replica.create(), replica.create_view()]);
    }
    statements.push(create_moved_rows(&pipeline.clickhouse.database));
    Ok(statements)
}

/// What no statement of [`statements`] makes, a line each: the replicas that are made from the first
/// record.
#[must_use]
pub fn made_later(pipeline: &Pipeline) -> Vec<String> {
    let Kind::Cdc(cdc) = &pipeline.kind else {
        return vec![];
    };
    if pipeline.ddl.is_some() {
        return vec![];
    }
    let without_statements = |topic: &str| {
        let declared = cdc.tables.get(topic);
        declared.is_none_or(|mapping| mapping.columns.is_empty() || mapping.key.is_empty())
    };
    let mut lines = vec![];
    for selector in &pipeline.topics {
        match selector {
            TopicSelector::Pattern(pattern) => {
                lines.push(format!("topics {pattern}: {}", how_made(cdc)));
            }
            TopicSelector::Name(topic) if without_statements(topic) => {
                let table = cdc.table_for(topic);
                lines.push(format!("topic {topic}, table {table}: {}", how_made(cdc)));
            }
            TopicSelector::Name(_) => {}
        }
    }
    lines
}

fn how_made(cdc: &Cdc) -> &'static str {
    if cdc.create_tables {
        "made from the first record (declare columns and key in [pipeline.tables.\"topic\"] to see it here)"
    } else {
        "not made, create_tables is false"
    }
}

/// Creates the database, tables and views of every pipeline. `report` gets a line for each.
///
/// # Errors
/// The first statement that fails; what was made before it stays.
pub fn apply(config: &Config, mut report: impl FnMut(&str)) -> Result<(), ApplyError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|e| ApplyError::Other(e.to_string()))?;
    let _entered = runtime.enter();
    let deadline = config
        .service
        .start_timeout
        .map(|timeout| Instant::now() + timeout);
    for pipeline in &config.pipelines {
        let statements = statements(pipeline)?;
        runtime.block_on(make(pipeline, &statements, deadline, &mut report))?;
    }
    for (pipeline, statement) in watermark_tables(config) {
        let statements = [statement];
        runtime.block_on(make(pipeline, &statements, deadline, &mut report))?;
    }
    Ok(())
}

/// What creates the tables of named watermarks, with the pipeline in whose database each is.
#[must_use]
pub fn watermark_tables(config: &Config) -> Vec<(&Pipeline, String)> {
    let mut all: Vec<(&Pipeline, String)> = vec![];
    for watermark in &config.watermarks {
        let first = watermark.pipelines.first();
        let first = first.and_then(|name| config.pipelines.iter().find(|p| p.name == *name));
        let (Some(pipeline), Some(table)) = (first, &watermark.table) else {
            continue;
        };
        let statement = crate::watermark_table::statement(table);
        let place = |p: &Pipeline| (p.clickhouse.urls.clone(), p.clickhouse.database.clone());
        let is_same = |(other, known): &(&Pipeline, String)| {
            *known == statement && place(other) == place(pipeline)
        };
        if !all.iter().any(is_same) {
            all.push((pipeline, statement));
        }
    }
    all
}

/// Creates the database of a pipeline, then what these statements create.
///
/// # Errors
/// The first statement that fails; what was made before it stays.
pub(crate) async fn make(
    pipeline: &Pipeline,
    statements: &[String],
    deadline: Option<Instant>,
    mut report: impl FnMut(&str),
) -> Result<(), ApplyError> {
    let client = ClickHouseClient::new(&pipeline.clickhouse)
        .map_err(|e| ApplyError::Other(e.to_string()))?;
    let database = &pipeline.clickhouse.database;
    let create = format!("CREATE DATABASE IF NOT EXISTS {}", quote_name(database));
    let made = patiently(deadline, || client.execute_anywhere(&create)).await;
    made.map_err(|error| refused(pipeline, &create, error))?;
    for statement in statements {
        let made = patiently(deadline, || client.create(statement, database)).await;
        made.map_err(|error| refused(pipeline, statement, error))?;
        report(&format!("{database}: {}", beginning(statement)));
    }
    Ok(())
}

/// The statements of a text that only creates.
pub(crate) fn statements_of(text: &str) -> Vec<String> {
    split(text).iter().filter_map(|s| idempotent(s)).collect()
}

fn refused(pipeline: &Pipeline, statement: &str, error: InsertError) -> ApplyError {
    match error.remedy {
        Remedy::Retry(_) | Remedy::Unclassified if error.code.is_none() => {
            ApplyError::Unreachable(error.message)
        }
        _ => ApplyError::Refused {
            pipeline: pipeline.name.clone(),
            statement: beginning(statement),
            error: error.message,
        },
    }
}

/// Repeats what does not answer until the deadline; a server that answers has the last word.
async fn patiently<F: Future<Output = Result<(), InsertError>>>(
    deadline: Option<Instant>,
    mut attempt: impl FnMut() -> F,
) -> Result<(), InsertError> {
    let mut backoff = Backoff::new();
    loop {
        let error = match attempt().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let wait = backoff
            .next_wait()
            .max(std::time::Duration::from_millis(200));
        let is_late = deadline.is_some_and(|deadline| Instant::now() + wait >= deadline);
        let is_refused = error.code.is_some() || matches!(error.remedy, Remedy::Halt(_));
        if is_refused || is_late {
            return Err(error);
        }
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "clickhouse is not ready, waiting");
        tokio::time::sleep(wait).await;
    }
}

fn beginning(statement: &str) -> String {
    let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    line.split('(')
        .next()
        .unwrap_or_default()
        .trim()
        .chars()
        .take(80)
        .collect()
}

/// `CREATE … IF NOT EXISTS …`; `None` for anything that does not create.
fn idempotent(statement: &str) -> Option<String> {
    let kind = regex::Regex::new(
        r"(?is)^(\s*CREATE\s+(?:MATERIALIZED\s+VIEW|VIEW|TABLE|DATABASE|DICTIONARY|FUNCTION))\s+(IF\s+NOT\s+EXISTS\s+)?(.*)$",
    )
    .expect("a constant pattern");
    let parts = kind.captures(statement)?;
    Some(format!(
        "{} IF NOT EXISTS {}",
        parts[1].trim_start(),
        &parts[3]
    ))
}

/// Statements between semicolons that stand in no text, name or comment; comments before a
/// statement are dropped.
fn split(text: &str) -> Vec<String> {
    let mut statements = vec![];
    let mut current = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("--") || rest.starts_with("#!") {
            rest.find('\n').map_or(rest.len(), |end| end + 1)
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if matches!(first, '\'' | '"' | '`') {
            quoted_length(rest, first)
        } else {
            first.len_utf8()
        };
        let (part, after) = rest.split_at(length);
        rest = after;
        let is_comment = part.starts_with("--") || part.starts_with("#!") || part.starts_with("/*");
        if part == ";" {
            statements.push(std::mem::take(&mut current));
        } else if is_comment {
            current.push(if part.ends_with('\n') { '\n' } else { ' ' });
        } else {
            current.push_str(part);
        }
    }
    statements.push(current);
    statements
        .iter()
        .map(|s| s.trim().to_owned())
        .filter(|s| !s.is_empty())
        .collect()
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_of_texts_and_comments() {
        let text = "-- a; b\nCREATE TABLE a (s String DEFAULT ';', `x;y` String);\n/* ; */ CREATE VIEW v AS SELECT 'it\\'s;' ;\n";
        let found = split(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("CREATE TABLE a"));
        assert!(found[1].ends_with("'it\\'s;'"));
    }

    #[test]
    fn every_create_becomes_one_that_may_be_repeated() {
        let create = |text| idempotent(text).unwrap();
        assert_eq!(
            create("create table t (a Int8)"),
            "create table IF NOT EXISTS t (a Int8)"
        );
        assert_eq!(
            create("CREATE VIEW IF NOT EXISTS v AS SELECT 1"),
            "CREATE VIEW IF NOT EXISTS v AS SELECT 1"
        );
        for other in [
            "DROP TABLE t",
            "ALTER TABLE t ADD COLUMN a Int8",
            "CREATE OR REPLACE TABLE t (a Int8)",
        ] {
            assert_eq!(idempotent(other), None, "{other}");
        }
    }

    #[test]
    fn a_table_of_watermarks_is_made_once_on_each_server() {
        let pipeline = |name: &str, own: &str| {
            format!(
                "[[pipeline]]\nname = \"{name}\"\nkind = \"enrichment\"\ntopics = [\"{name}\"]\ngroup_id = \"{name}\"\n\
                 time_field = \"at\"\n[pipeline.clickhouse]\ntable = \"{name}\"\n{own}\
                 [watermark.{name}]\npipelines = [\"{name}\"]\ntable = \"w\"\n"
            )
        };
        let text = ["a", "b"].map(|name| pipeline(name, "")).concat()
            + &pipeline("c", "url = \"http://other:8123\"\n");
        let loaded = Config::parse(&text, "c", std::path::Path::new("/"), []);
        let config = loaded.unwrap_or_else(|why| panic!("{why}")).config;
        let made = watermark_tables(&config);
        let names: Vec<&str> = made.iter().map(|(pipeline, _)| &*pipeline.name).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
