//! The short form of a pipeline: events completed by profiles and session metrics, in a few keys.
//!
//! It becomes an enrichment pipeline as the shipped configuration has one. What it cannot honour is
//! either named (`ignored`), or refused where the meaning would change.

use serde_json::{Map, Value, json};

use super::order::{Fault, Ignored, Order};
use crate::schema;
use crate::sink::quote_name;

/// Table and view, as `schema apply` makes them.
const DDL: &str = include_str!("../../sql/clickstream_events.sql");
const DDL_TABLE: &str = "clickstream_events";
const DDL_VIEW: &str = "clickstream_metrics_1min";
const METRICS: [&str; 3] = ["event_count", "unique_users", "session_duration"];

/// Reads one object of the short form key by key.
struct Reading {
    faults: Vec<Fault>,
    ignored: Vec<Ignored>,
}

/// What a key holds that is not of the type that is wanted.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl Reading {
    fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.faults.push(Fault {
            path: path.to_owned(),
            message: message.into(),
        });
    }

    fn ignore(&mut self, path: &str, reason: &str) {
        self.ignored.push(Ignored {
            path: path.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// The object under this key; an absent one is empty.
    fn object(&mut self, of: &mut Map<String, Value>, path: &str) -> Option<Map<String, Value>> {
        match of.remove(last(path)) {
            None => None,
            Some(Value::Object(object)) => Some(object),
            Some(other) => {
                self.fault(
                    path,
                    format!("must be an object, found {}", kind_of(&other)),
                );
                None
            }
        }
    }

    fn text(&mut self, of: &mut Map<String, Value>, path: &str) -> Option<String> {
        match of.remove(last(path)) {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                self.fault(path, format!("must be a text, found {}", kind_of(&other)));
                None
            }
        }
    }

    fn required_text(&mut self, of: &mut Map<String, Value>, path: &str) -> String {
        if !of.contains_key(last(path)) {
            self.fault(path, "is required");
        }
        self.text(of, path).unwrap_or_default()
    }

    fn integer(&mut self, of: &mut Map<String, Value>, path: &str) -> Option<u64> {
        let value = of.remove(last(path))?;
        let integer = value.as_u64();
        if integer.is_none() {
            self.fault(path, "must be a whole number, not negative");
        }
        integer
    }

    /// The only value that a key may have.
    fn constant(&mut self, of: &mut Map<String, Value>, path: &str, allowed: &str) {
        match of.remove(last(path)) {
            None => self.fault(path, format!("is required: must be {allowed:?}")),
            Some(Value::String(text)) if text == allowed => {}
            Some(other) => self.fault(path, format!("must be {allowed:?}, found {other}")),
        }
    }

    fn rest(&mut self, of: Map<String, Value>, path: &str) {
        for key in of.into_iter().map(|(key, _)| key) {
            let path = if path.is_empty() {
                key
            } else {
                format!("{path}.{key}")
            };
            self.ignore(&path, "this key has no meaning here");
        }
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Reads the short form.
///
/// # Errors
/// Everything that is wrong, by its own key paths.
pub(super) fn read(mut body: Map<String, Value>) -> Result<Order, Vec<Fault>> {
    let mut reading = Reading {
        faults: vec![],
        ignored: vec![],
    };
    let name = reading.required_text(&mut body, "pipeline_name");
    reading.constant(&mut body, "type", "kafka_consumer");
    let starts = match body.remove("start") {
        None => true,
        Some(Value::Bool(starts)) => starts,
        Some(_) => {
            reading.fault("start", "must be true or false");
            true
        }
    };
    let mut pipeline = source(&mut reading, &mut body);
    pipeline.insert("name".to_owned(), name.into());
    pipeline.insert("kind".to_owned(), "enrichment".into());
    let window_seconds = processing(&mut reading, &mut body, &mut pipeline);
    let table = output(&mut reading, &mut body, &mut pipeline);
    reading.rest(body, "");
    if !reading.faults.is_empty() {
        return Err(reading.faults);
    }
    Ok(Order {
        pipeline: Value::Object(pipeline),
        starts,
        ignored: reading.ignored,
        is_short: true,
        tables: tables(&table, window_seconds),
    })
}

/// `config`: where records come from.
fn source(reading: &mut Reading, body: &mut Map<String, Value>) -> Map<String, Value> {
    let mut pipeline = Map::new();
    let Some(mut config) = reading.object(body, "config") else {
        reading.fault("config", "is required");
        return pipeline;
    };
    let servers = reading.required_text(&mut config, "config.bootstrap_servers");
    let servers: Vec<&str> = servers.split(',').map(str::trim).collect();
    pipeline.insert("kafka".to_owned(), json!({ "bootstrap_servers": servers }));
    match config.remove("topics") {
        Some(topics @ Value::Array(_)) => {
            pipeline.insert("topics".to_owned(), topics);
        }
        _ => reading.fault("config.topics", "must be a list of topics"),
    }
    let group = reading.required_text(&mut config, "config.group_id");
    pipeline.insert("group_id".to_owned(), group.into());
    // Kafka's own default.
    let offset = reading.text(&mut config, "config.auto_offset_reset");
    let offset = match offset.as_deref().unwrap_or("latest") {
        "none" => "fail",
        other => other,
    };
    if !["earliest", "latest", "fail"].contains(&offset) {
        let message = "must be \"earliest\", \"latest\" or \"none\"";
        reading.fault("config.auto_offset_reset", message);
    }
    pipeline.insert("start_offset".to_owned(), offset.into());
    match config.remove("enable_auto_commit") {
        None | Some(Value::Bool(false)) => {}
        Some(_) => reading.fault(
            "config.enable_auto_commit",
            "must be false: an offset is committed only after its rows are written, and a commit by time \
             would lose the rows that are not",
        ),
    }
    if config.remove("max_poll_records").is_some() {
        let reason = "how many records a poll takes follows from service.memory_max";
        reading.ignore("config.max_poll_records", reason);
    }
    reading.rest(config, "config");
    pipeline
}

/// `processing`: what is added to events. How long a window of the metrics view is, where one is wanted.
fn processing(
    reading: &mut Reading,
    body: &mut Map<String, Value>,
    pipeline: &mut Map<String, Value>,
) -> Option<u64> {
    let columns = json!({
        "event_id": { "required": true },
        "event_type": { "required": true },
        "session_id": { "required": true },
        "timestamp": { "required": true },
        "properties": { "raw": "object", "default": "{}" },
    });
    pipeline.insert("columns".to_owned(), columns);
    let session = json!({
        "key_field": "session_id",
        "count_column": "session_event_count",
        "duration_column": "session_duration_seconds",
        "distinct_column": "session_pages_viewed",
        "distinct_field": "page_url",
        "distinct_where": { "event_type": "page_view" },
    });
    pipeline.insert("session".to_owned(), session);
    let mut processing = reading.object(body, "processing").unwrap_or_default();
    if let Some(mut enrichment) = reading.object(&mut processing, "processing.enrichment") {
        let prefix = "processing.enrichment";
        reading.constant(
            &mut enrichment,
            "processing.enrichment.type",
            "redis_lookup",
        );
        let mut lookup = json!({
            "columns": {
                "user_email": { "path": "$.email", "default": "" },
                "user_segment": { "path": "$.segment", "default": "unknown" },
                "user_signup_date": { "path": "$.signup_date", "default": "1970-01-01" },
            },
        });
        for (theirs, ours) in [("key_field", "key_field"), ("cache_prefix", "key_prefix")] {
            if let Some(text) = reading.text(&mut enrichment, &format!("{prefix}.{theirs}")) {
                lookup[ours] = text.into();
            }
        }
        pipeline.insert("lookup".to_owned(), lookup);
        reading.rest(enrichment, prefix);
    }
    let aggregation = reading.object(&mut processing, "processing.aggregation");
    let window_seconds = aggregation.map(|aggregation| window(reading, aggregation));
    reading.rest(processing, "processing");
    window_seconds
}

/// `processing.aggregation`: the view over the table.
fn window(reading: &mut Reading, mut aggregation: Map<String, Value>) -> u64 {
    let path = "processing.aggregation.window_size_seconds";
    let seconds = reading.integer(&mut aggregation, path).unwrap_or(60);
    if !(1..=86_400).contains(&seconds) {
        reading.fault(path, "must be 1 to 86400 seconds");
    }
    let path = "processing.aggregation.metrics";
    match aggregation.remove("metrics") {
        None => {}
        Some(Value::Array(metrics)) => {
            for metric in metrics {
                let is_known = metric.as_str().is_some_and(|name| METRICS.contains(&name));
                if !is_known {
                    let allowed = METRICS.join(", ");
                    reading.fault(path, format!("unknown metric {metric}; allowed: {allowed}"));
                }
            }
        }
        Some(_) => reading.fault(path, "must be a list of metrics"),
    }
    reading.rest(aggregation, "processing.aggregation");
    seconds
}

/// `output`: where rows go. The name of the table.
fn output(
    reading: &mut Reading,
    body: &mut Map<String, Value>,
    pipeline: &mut Map<String, Value>,
) -> String {
    let Some(mut output) = reading.object(body, "output") else {
        reading.fault("output", "is required");
        return String::new();
    };
    reading.constant(&mut output, "output.type", "clickhouse");
    let table = reading.required_text(&mut output, "output.table");
    pipeline.insert("clickhouse".to_owned(), json!({ "table": table }));
    let mut batch = Map::new();
    if let Some(rows) = reading.integer(&mut output, "output.batch_size") {
        batch.insert("rows_max".to_owned(), rows.into());
    }
    if let Some(interval_ms) = reading.integer(&mut output, "output.flush_interval_ms") {
        batch.insert(
            "flush_interval".to_owned(),
            format!("{interval_ms}ms").into(),
        );
    }
    pipeline.insert("batch".to_owned(), Value::Object(batch));
    reading.rest(output, "output");
    table
}

/// The statements that make the table, and the view where one is wanted.
fn tables(table: &str, window_seconds: Option<u64>) -> Vec<String> {
    let view = match window_seconds {
        Some(60) if table == DDL_TABLE => DDL_VIEW.to_owned(),
        Some(60) => format!("{table}_metrics_1min"),
        Some(seconds) => format!("{table}_metrics_{seconds}s"),
        None => String::new(),
    };
    let statements = schema::statements_of(DDL);
    let named = statements.into_iter().map(|statement| {
        let mut statement = statement
            .replace(DDL_TABLE, &quote_name(table))
            .replace(DDL_VIEW, &quote_name(&view));
        if let Some(seconds) = window_seconds.filter(|seconds| *seconds != 60) {
            let start = format!("toStartOfInterval(timestamp, INTERVAL {seconds} SECOND)");
            statement = statement.replace("toStartOfMinute(timestamp)", &start);
            statement = statement.replace("minute", "window_start");
        }
        statement
    });
    let is_wanted = |statement: &String| window_seconds.is_some() || statement.contains("TABLE");
    named.filter(is_wanted).collect()
}

#[cfg(test)]
mod tests;
