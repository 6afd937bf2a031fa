//! `streamweir compare`: whether two tables hold the same rows. The server hashes: first the sums of both
//! tables by buckets of the key, then only buckets whose sums differ, key by key. Nothing is written.

mod columns;
mod query;
mod report;
mod tables;

use std::time::Duration;

use self::columns::Plan;
use self::query::{Bucket, Side};
pub use self::report::{Comparison, Sample};
pub(super) use self::tables::connect;
use self::tables::{Table, table};
use super::progress::Progress;
use super::{Failure, pipeline_named, runtime, writes_table};
use crate::config::{ClickHouse, Config, Pipeline};
use crate::sink::PlainClient;

/// Rows of both tables whose keys are held at once, on the server.
const ROWS_AT_ONCE: u64 = 2_000_000;
/// How long one pass over the tables may take.
const PASS_MAX: Duration = Duration::from_hours(24);

/// What is compared.
#[derive(Debug)]
pub struct CompareOptions {
    /// `table` or `database.table`.
    pub a: String,
    /// The same.
    pub b: String,
    /// The columns that say which rows belong together.
    pub key: Vec<String>,
    /// Only rows of this time or later.
    pub since: Option<jiff::Timestamp>,
    /// Only rows of an earlier time.
    pub until: Option<jiff::Timestamp>,
    /// The column that `since` and `until` mean.
    pub time_column: Option<String>,
    /// Columns that may differ.
    pub ignore: Vec<String>,
    /// The pipeline whose server and database it is.
    pub pipeline: Option<String>,
}

/// Compares two tables of one server.
///
/// # Errors
/// The server does not answer or refuses, a table or a column is not there.
pub fn compare(config: &Config, options: &CompareOptions) -> Result<Comparison, Failure> {
    let pipeline = owner(config, options)?;
    let clickhouse = pipeline.map_or(&config.clickhouse, |p| &p.clickhouse);
    let time_field = pipeline.and_then(time_field);
    compare_on(clickhouse, time_field, options)
}

/// The same, on this server.
pub(crate) fn compare_on(
    clickhouse: &ClickHouse,
    time_field: Option<&str>,
    options: &CompareOptions,
) -> Result<Comparison, Failure> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let client = connect(clickhouse, PASS_MAX).await?;
        let a = table(clickhouse, &client, &options.a).await?;
        let b = table(clickhouse, &client, &options.b).await?;
        let plan = Plan::new(&a, &b, options, time_field).map_err(Failure::Usage)?;
        let asked = Asked {
            clickhouse,
            client: &client,
            a: Side::new(&a, &plan, 'a'),
            b: Side::new(&b, &plan, 'b'),
        };
        asked.compare(&a, &b, plan).await
    })
}

/// The pipeline that is named, or that writes one of the tables.
fn owner<'c>(
    config: &'c Config,
    options: &CompareOptions,
) -> Result<Option<&'c Pipeline>, Failure> {
    if let Some(name) = &options.pipeline {
        return pipeline_named(config, name).map(Some);
    }
    let writes = |pipeline: &&Pipeline| {
        let database = format!("{}.", pipeline.clickhouse.database);
        let mut named = [&options.a, &options.b].into_iter();
        named.any(|name| writes_table(pipeline, name.strip_prefix(&database).unwrap_or(name)))
    };
    Ok(config.pipelines.iter().find(writes))
}

/// The column of the event time, where the pipeline names it after its field.
fn time_field(pipeline: &Pipeline) -> Option<&str> {
    match &pipeline.kind {
        crate::config::Kind::Enrichment(enrichment) => enrichment.time_field.field(),
        _ => None,
    }
}

struct Asked<'a> {
    clickhouse: &'a ClickHouse,
    client: &'a PlainClient,
    a: Side,
    b: Side,
}

impl Asked<'_> {
    async fn compare(&self, a: &Table, b: &Table, plan: Plan) -> Result<Comparison, Failure> {
        let count = query::bucket_count(a.rows_about.max(b.rows_about));
        let buckets = self.rows(&query::sums(&self.a, &self.b, count)).await?;
        let buckets = buckets.iter().map(Bucket::parse);
        let buckets = buckets.collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
        let mut report = Comparison::new(a, b, &plan, &buckets);
        let different: Vec<Bucket> = buckets.into_iter().filter(Bucket::differs).collect();
        let total = different.iter().map(Bucket::rows).sum();
        let mut progress = Progress::new("rows in buckets that differ", total);
        for group in query::groups(&different, ROWS_AT_ONCE) {
            let parts = query::split(group, ROWS_AT_ONCE);
            for part in 0..parts {
                let sql = query::keys(&self.a, &self.b, count, group, (part, parts));
                for line in self.rows(&sql).await? {
                    report.add(&line).ok_or_else(unreadable)?;
                }
            }
            progress.add(group.iter().map(Bucket::rows).sum());
        }
        report.note_changes(!different.is_empty());
        let hashes = report.wanted_rows();
        if !hashes.is_empty() {
            let of_a = self.rows(&query::samples(&self.a, &plan, &hashes)).await?;
            let of_b = self.rows(&query::samples(&self.b, &plan, &hashes)).await?;
            report
                .describe(&plan, &of_a, &of_b)
                .ok_or_else(unreadable)?;
        }
        Ok(report)
    }

    async fn rows(&self, sql: &str) -> Result<Vec<serde_json::Value>, Failure> {
        let asked = self.client.objects(sql).await;
        asked.map_err(|error| {
            Failure::clickhouse(&self.clickhouse.urls, "the rows of both tables", &error)
        })
    }
}

fn unreadable() -> Failure {
    Failure::Refused("clickhouse answered in a form that was not asked for".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_on_the_server_of_the_pipeline_that_writes_it() {
        let text = "[[pipeline]]\nname = \"events\"\nkind = \"enrichment\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
                    [pipeline.clickhouse]\ntable = \"events\"\n\
                    [[pipeline]]\nname = \"shop\"\nkind = \"cdc\"\ntopics = [\"shop.orders\", \"shop.items\"]\n\
                    group_id = \"h\"\n[pipeline.clickhouse]\ndatabase = \"shop\"\n\
                    [pipeline.debezium]\ndecimal_mode = \"precise\"\n\
                    [pipeline.tables.\"shop.items\"]\ntable = \"lines\"\n";
        let loaded = Config::parse(text, "c", std::path::Path::new("/"), []);
        let config = loaded.unwrap_or_else(|why| panic!("{why}")).config;
        let owner_of = |a: &str| {
            let options = CompareOptions {
                a: a.to_owned(),
                b: "copy".to_owned(),
                key: vec![],
                since: None,
                until: None,
                time_column: None,
                ignore: vec![],
                pipeline: None,
            };
            let owner = owner(&config, &options).expect("no pipeline is named");
            owner.map(|pipeline| pipeline.name.clone())
        };
        for (table, expected) in [
            ("events", Some("events")),
            ("analytics.events", Some("events")),
            ("orders", Some("shop")),
            ("shop.orders", Some("shop")),
            ("lines", Some("shop")),
            ("analytics.orders", None),
            ("items", None),
            ("", None),
        ] {
            assert_eq!(owner_of(table).as_deref(), expected, "{table}");
        }
    }
}
