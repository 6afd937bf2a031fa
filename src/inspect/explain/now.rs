//! Where a record is now: a look at the table, and at what the group has committed.

use serde_json::Value;

use super::Address;
use crate::config::{Kind, Pipeline};
use crate::inspect::doctor::facts::TableFacts;
use crate::inspect::row_query::as_query;
use crate::pipeline::judging::Rows;
use crate::sink::{InsertError, PlainClient, Remedy, quote_name};
use crate::target::Provenance;

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Now {
    InTable,
    NotInTable,
    DeadLetter,
    NotCommitted,
    /// A later change of its key is in the table.
    Superseded,
    /// Nobody knows: the table could not be asked.
    NotAsked,
}

impl Now {
    pub(super) fn name(self) -> &'static str {
        match self {
            Now::InTable => "in_table",
            Now::NotInTable => "not_in_table",
            Now::DeadLetter => "dead_letter",
            Now::NotCommitted => "not_committed",
            Now::Superseded => "superseded",
            Now::NotAsked => "not_asked",
        }
    }
}

/// The record's place, and whether the group is past it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) address: &'a Address,
    pub(super) is_committed: bool,
}

impl Place<'_> {
    /// Where it is if the table does not have it.
    pub(super) fn otherwise(&self) -> Now {
        match self.is_committed {
            true => Now::NotInTable,
            false => Now::NotCommitted,
        }
    }
}

/// The row that the table has, or else the one that would be made, and where the record is.
///
/// # Errors
/// Why the table does not answer.
pub(super) async fn look(
    pipeline: &Pipeline,
    plain: &PlainClient,
    table: &TableFacts,
    rows: Option<&Rows>,
    place: &Place<'_>,
) -> Result<(Option<Value>, Now), String> {
    let computed = match rows {
        Some(rows) => first(plain.objects(&as_query(rows)).await),
        None => Ok(None),
    };
    let found = match &pipeline.kind {
        Kind::Enrichment(_) | Kind::Raw(_) => by_address(pipeline, plain, table, place).await?,
        Kind::Cdc(_) => match rows {
            Some(rows) => return by_key(plain, table, rows, computed?, place).await,
            None => None,
        },
        Kind::Aggregation(_) | Kind::StreamJoin(_) => None,
    };
    Ok(match found {
        Some(row) => (Some(row), Now::InTable),
        None => (computed.unwrap_or_default(), place.otherwise()),
    })
}

/// The first row of an answer. A question that the server refuses finds none.
///
/// # Errors
/// Why there is no answer.
fn first(answer: Result<Vec<Value>, InsertError>) -> Result<Option<Value>, String> {
    match answer {
        Ok(rows) => Ok(rows.into_iter().next()),
        Err(error) if matches!(error.remedy, Remedy::Retry(_)) => {
            Err(format!("clickhouse: {error} (clickhouse.url)"))
        }
        Err(_) => Ok(None),
    }
}

/// `` `database`.`table` ``
fn sql_name(table: &TableFacts) -> String {
    let database = table.name.strip_suffix(&table.table).unwrap_or_default();
    let database = database.trim_end_matches('.');
    format!("{}.{}", quote_name(database), quote_name(&table.table))
}

async fn by_address(
    pipeline: &Pipeline,
    plain: &PlainClient,
    table: &TableFacts,
    place: &Place<'_>,
) -> Result<Option<Value>, String> {
    let Ok(provenance) = Provenance::of(pipeline, &table.info.columns) else {
        return Ok(None);
    };
    let Address {
        topic,
        partition,
        offset,
    } = place.address;
    let sql = format!(
        "SELECT * FROM {} WHERE {} AND {} = {offset} LIMIT 1",
        sql_name(table),
        provenance.is_of(topic, *partition),
        provenance.offset_sql(),
    );
    first(plain.objects(&sql).await)
}

/// The newest row of the record's key, if its version is that of the record or a later one.
async fn by_key(
    plain: &PlainClient,
    table: &TableFacts,
    rows: &Rows,
    computed: Option<Value>,
    place: &Place<'_>,
) -> Result<(Option<Value>, Now), String> {
    let key = rows.columns.iter().take(rows.key_len);
    let key: Vec<String> = key.map(|(name, _)| quote_name(name)).collect();
    let version = rows.columns.get(key.len()).map(|(name, _)| name.clone());
    let (Some(version), false) = (version, key.is_empty()) else {
        return Ok((computed, place.otherwise()));
    };
    let key = key.join(", ");
    let sql = format!(
        "SELECT * FROM {} WHERE ({key}) IN (SELECT {key} FROM ({})) ORDER BY {} DESC LIMIT 1",
        sql_name(table),
        as_query(rows),
        quote_name(&version)
    );
    let found = first(plain.objects(&sql).await)?;
    let number = |row: &Option<Value>| row.as_ref()?.get(&*version)?.as_u64();
    Ok(match (number(&found), number(&computed)) {
        (Some(there), Some(own)) if there == own => (found, Now::InTable),
        (Some(there), Some(own)) if there > own => (computed, Now::Superseded),
        _ => (computed, place.otherwise()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_outage_is_no_answer_and_a_refusal_finds_nothing() {
        let failed = |remedy| {
            Err(InsertError {
                code: None,
                message: "why".to_owned(),
                remedy,
            })
        };
        assert_eq!(first(Ok(vec![json!(1), json!(2)])), Ok(Some(json!(1))));
        assert_eq!(first(Ok(vec![])), Ok(None));
        assert_eq!(first(failed(Remedy::Halt("missing_table"))), Ok(None));
        let why = first(failed(Remedy::Retry("network"))).expect_err("nobody has answered");
        assert!(why.contains("why"), "{why}");
    }
}
