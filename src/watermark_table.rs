//! Writes named watermarks to their tables, each time that they have moved.
//!
//! A row may be written more than once, by this process or by others: the table keeps the largest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{NamedWatermark, Pipeline, Service};
use crate::inspect::completeness::{Watermarks, least_of};
use crate::observe::board::status::Moment;
use crate::sink::{ClickHouseClient, quote_name};
use crate::target::quote_text;

/// How often the pipelines are asked.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long the last moves may take before the process ends.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often at most the log says why nothing is written.
const SAID_INTERVAL: Duration = Duration::from_secs(60);

/// What creates the table.
pub(crate) fn statement(table: &str) -> String {
    let file = include_str!("../sql/streamweir_watermarks.sql");
    let created = file.find("CREATE TABLE").map_or(file, |at| &file[at..]);
    let created = created.trim_end().trim_end_matches(';');
    created.replacen("streamweir_watermarks", &quote_name(table), 1)
}

/// One named watermark with a table.
#[derive(Debug)]
struct Named {
    name: String,
    pipelines: Vec<String>,
    /// Quoted.
    table: String,
    client: ClickHouseClient,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct WatermarkTables {
    named: Vec<Named>,
    pipelines: Vec<Arc<Pipeline>>,
    watermarks: Arc<Watermarks>,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    /// By name.
    told_ms: HashMap<String, i64>,
    said_at: Option<Instant>,
}

impl WatermarkTables {
    /// Those of the configuration that are about a pipeline that runs here; none where there are none.
    pub(crate) fn new(
        service: &Arc<Service>,
        watermarks: &[NamedWatermark],
        all: &[Arc<Pipeline>],
        runs: impl Fn(&str) -> bool,
    ) -> std::io::Result<Option<Arc<Self>>> {
        let mut named = vec![];
        let mut pipelines: Vec<Arc<Pipeline>> = vec![];
        for watermark in watermarks {
            let Some(table) = &watermark.table else {
                continue;
            };
            let of = watermark.pipelines.iter();
            let of = of.filter_map(|name| all.iter().find(|p| p.name == *name));
            let of: Vec<_> = of.cloned().collect();
            let Some(first) = of.first() else { continue };
            if !of.iter().any(|pipeline| runs(&pipeline.name)) {
                continue;
            }
            let database = &first.clickhouse.database;
            named.push(Named {
                name: watermark.name.clone(),
                pipelines: watermark.pipelines.clone(),
                table: format!("{}.{}", quote_name(database), quote_name(table)),
                client: ClickHouseClient::new(&first.clickhouse)?,
            });
            for pipeline in of {
                if !pipelines.iter().any(|known| known.name == pipeline.name) {
                    pipelines.push(pipeline);
                }
            }
        }
        let tables = WatermarkTables {
            named,
            pipelines,
            watermarks: Arc::new(Watermarks::new(service, vec![])),
            written: Mutex::default(),
        };
        Ok((!tables.named.is_empty()).then(|| Arc::new(tables)))
    }

    /// Writes what has moved, again and again.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.write().await;
        }
    }

    /// Writes what has moved since, before the process ends.
    pub(crate) async fn write_last(self: Arc<Self>) {
        if tokio::time::timeout(LAST_TIMEOUT, self.write())
            .await
            .is_err()
        {
            tracing::warn!(
                "the last move of the named watermarks is not written: the next start does it"
            );
        }
    }

    async fn write(self: &Arc<Self>) {
        let own = self.clone();
        let read = tokio::task::spawn_blocking(move || own.watermarks.read(&own.pipelines)).await;
        let Ok(read) = read else { return };
        for named in &self.named {
            let Some(Moment(watermark_ms)) = least_of(&named.pipelines, &read) else {
                continue;
            };
            let told_ms = self.written().told_ms.get(&named.name).copied();
            if told_ms >= Some(watermark_ms) {
                continue;
            }
            let sql = format!(
                "INSERT INTO {} (name, watermark) SELECT {}, fromUnixTimestamp64Milli({watermark_ms}, 'UTC')",
                named.table,
                quote_text(&named.name)
            );
            match named.client.execute_anywhere(&sql).await {
                Ok(()) => {
                    self.written()
                        .told_ms
                        .insert(named.name.clone(), watermark_ms);
                }
                Err(error) => self.say(named, &error.to_string()),
            }
        }
    }

    fn say(&self, named: &Named, error: &str) {
        let now = Instant::now();
        let mut written = self.written();
        if written.said_at.is_some_and(|at| now < at + SAID_INTERVAL) {
            return;
        }
        written.said_at = Some(now);
        let (name, table) = (&named.name, &named.table);
        tracing::warn!(
            watermark = name,
            table,
            "the watermark is not written, and is tried again: {error}; `streamweir schema apply` creates its \
             table"
        );
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_statement_creates_any_table() {
        let shipped = statement("streamweir_watermarks");
        assert!(
            shipped.starts_with("CREATE TABLE IF NOT EXISTS `streamweir_watermarks`\n("),
            "{shipped}"
        );
        assert!(statement("own").contains("EXISTS `own`\n"));
        assert!(shipped.ends_with("ORDER BY name"), "{shipped}");
    }
}
