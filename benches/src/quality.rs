//! The events with rules, duplicates and transforms, beside the same events without.

use anyhow::{Context, Result, ensure};
use sandbox::clickhouse::ClickHouse;
use toml::Table;

use crate::daemon::Work;
use crate::topic::EventTopic;

/// Five rules, one search for duplicates that keeps every key, and six columns that are made.
const ASKED: &str = r#"
    [[rule]]
    name = "id_present"
    check = { field = "$.event_id", length_min = 1 }
    [[rule]]
    name = "type_known"
    check = { field = "$.event_type", length_max = 40 }
    [[rule]]
    name = "user_valid"
    check = { field = "$.user_id", gte = 0 }
    [[rule]]
    name = "recent"
    check = { field = "$.timestamp", lte = "now+1h" }
    [[rule]]
    name = "address_valid"
    check = { any = [{ field = "$.ip_address", is_ip = true }, { field = "$.ip_address", absent = true }] }
    [dedup]
    key = ["$.event_id"]
    within = "24h"
    [columns]
    country = { path = "$.country", apply = ["trim", "upper"] }
    city = { path = "$.city", apply = ["normalize_space"] }
    referrer = { path = "$.referrer", apply = [{ replace = ["http://", "https://"] }] }
    event_type = { path = "$.event_type", apply = ["trim"] }
    user_agent = { path = "$.user_agent", apply = ["trim"] }
    ip_address = { path = "$.ip_address", apply = ["trim", "lower"] }
"#;

/// The topic of events, of which each is asked about.
pub(crate) struct AskedEvents<'t>(pub(crate) &'t EventTopic);

impl Work for AskedEvents<'_> {
    fn topic(&self) -> &str {
        self.0.topic()
    }

    fn records(&self) -> u64 {
        self.0.records()
    }

    fn config(&self) -> Result<Table> {
        let mut config = self.0.config()?;
        let pipeline = config["pipeline"][0].as_table_mut().context("a pipeline")?;
        let mut asked: Table = ASKED.parse()?;
        let columns = asked.remove("columns").context("columns")?;
        let own = pipeline.get_mut("columns").and_then(|c| c.as_table_mut());
        let columns = columns.as_table().cloned().unwrap_or_default();
        own.context("columns of the shipped pipeline")?
            .extend(columns);
        // What decides may not be made: pages are counted of events of every type, which is a little more to do.
        let session = pipeline.get_mut("session").and_then(|s| s.as_table_mut());
        session.context("sessions")?.remove("distinct_where");
        pipeline.extend(asked);
        Ok(config)
    }

    fn check(&self, clickhouse: &ClickHouse, database: &str) -> Result<()> {
        let found = clickhouse.try_query(&format!(
            "SELECT count(), uniqExact(event_id) FROM {database}.clickstream_events"
        ))?;
        let expected = format!("{0}\t{0}", self.0.events);
        ensure!(found.trim() == expected, "{found} of {expected} rows");
        Ok(())
    }
}
