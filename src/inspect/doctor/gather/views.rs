//! The SELECT of each materialized view, tried on the rows of the sample. Nothing is written.

use std::time::Duration;

use super::super::facts::{PipelineFacts, Reached};
use super::super::sample::SampleFacts;
use crate::config::Pipeline;
use crate::inspect::row_query::as_query;
use crate::sink::{PlainClient, quote_name};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Errors of the way it is tried, and not of the rows: unknown identifier, syntax, unknown function and
/// table, no right.
const OF_THE_TRIAL: [u32; 6] = [47, 62, 46, 60, 497, 164];

/// Notes why a view's SELECT fails for the rows of the sample.
pub(super) async fn dry_run(pipeline: &Pipeline, facts: &mut PipelineFacts, sample: &SampleFacts) {
    // Rows of changes are of one table of many.
    let has_one_table = pipeline.appends();
    let rows = sample.rows.as_ref().filter(|rows| !rows.rows.is_empty());
    let Some(rows) = rows.filter(|_| has_one_table) else {
        return;
    };
    for (url, server) in &mut facts.clickhouse {
        let Reached::Yes(server) = server else {
            continue;
        };
        let Ok(plain) = PlainClient::new(&pipeline.clickhouse, url, TIMEOUT) else {
            continue;
        };
        for table in &mut server.tables {
            let source = as_query(rows);
            let name = table.name.clone();
            for view in &mut table.views {
                let Some(sql) = replaced(&view.select, &name, &source) else {
                    continue;
                };
                let tried = plain.text(&format!("SELECT count() FROM ({sql})")).await;
                let tried = match tried {
                    // Counting alone may skip what a column costs.
                    Ok(_) => {
                        plain
                            .text(&format!("SELECT * FROM ({sql}) FORMAT Null"))
                            .await
                    }
                    failed => failed,
                };
                if let Err(error) = tried
                    && error.code.is_some_and(|code| !OF_THE_TRIAL.contains(&code))
                {
                    view.dry_run = Some(error.message);
                }
            }
        }
    }
}

/// The SELECT with `source` in place of `table`; `None` where it does not read from it by its full name.
fn replaced(select: &str, table: &str, source: &str) -> Option<String> {
    let from = format!("FROM {table}");
    let at = select.find(&from)?;
    let rest = &select[at + from.len()..];
    if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.') {
        return None;
    }
    let alias = match rest.starts_with(" AS ") {
        true => String::new(),
        false => {
            let (_, own) = table.split_once('.')?;
            format!(" AS {}", quote_name(own))
        }
    };
    Some(format!("{}FROM ({source}){alias}{rest}", &select[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_views_select_reads_the_sample_in_place_of_its_table() {
        let select = "SELECT s.a FROM d.src AS s GROUP BY a";
        let sql = replaced(select, "d.src", "SELECT 1 AS a");
        assert_eq!(
            sql.as_deref(),
            Some("SELECT s.a FROM (SELECT 1 AS a) AS s GROUP BY a")
        );
        let sql = replaced("SELECT a FROM d.src", "d.src", "X");
        assert_eq!(sql.as_deref(), Some("SELECT a FROM (X) AS `src`"));
        assert_eq!(replaced("SELECT a FROM d.src2", "d.src", "X"), None);
        assert_eq!(replaced("SELECT a FROM other", "d.src", "X"), None);
    }
}
