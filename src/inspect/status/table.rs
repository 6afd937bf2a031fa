//! The pipelines of a daemon as a table, worst first.

use serde_json::Value;

/// What is printed.
#[derive(Debug, PartialEq, Eq)]
pub struct StatusTable {
    /// One text a column.
    pub rows: Vec<[String; 7]>,
    /// What is said below the table, a line each.
    pub notes: Vec<String>,
    /// Whether a pipeline has halted.
    pub has_halted: bool,
}

/// The names of the columns.
const HEAD: [&str; 7] = [
    "PIPELINE",
    "KIND",
    "STATE",
    "LAG",
    "PARTITIONS",
    "ROWS",
    "DEAD LETTERS",
];

/// What a daemon shows, the worst pipeline first: halted, then those that something holds up, then by state
/// and lag.
#[must_use]
pub fn rows(shown: &Value) -> StatusTable {
    let none = vec![];
    let mut pipelines: Vec<&Value> = shown["pipelines"]
        .as_array()
        .unwrap_or(&none)
        .iter()
        .collect();
    pipelines.sort_by_key(|p| (rank(p), -lag(p), text(&p["name"]).to_owned()));
    StatusTable {
        has_halted: pipelines.iter().any(|p| p["state"] == "halted"),
        notes: pipelines.iter().flat_map(|p| notes(p)).collect(),
        rows: pipelines.into_iter().map(row).collect(),
    }
}

impl std::fmt::Display for StatusTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let head = HEAD.map(str::to_owned);
        let all = || std::iter::once(&head).chain(&self.rows);
        let widths: Vec<usize> = (0..HEAD.len())
            .map(|column| {
                all()
                    .map(|row| row[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in all() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

fn row(pipeline: &Value) -> [String; 7] {
    let count = pipeline["partitions"].as_array().map_or(0, Vec::len);
    let number = |value: &Value| value.as_u64().map_or("?".to_owned(), |n| n.to_string());
    [
        text(&pipeline["name"]).to_owned(),
        text(&pipeline["kind"]).to_owned(),
        text(&pipeline["state"]).to_owned(),
        lag(pipeline).to_string(),
        count.to_string(),
        number(&pipeline["rows_written"]),
        number(&pipeline["dead_letters"]),
    ]
}

/// Why it is as it is, and what holds it up.
fn notes(pipeline: &Value) -> Vec<String> {
    let name = text(&pipeline["name"]);
    let mut lines = vec![];
    let halt = &pipeline["halt"];
    if halt.is_object() {
        let (reason, message, advice) = (&halt["reason"], &halt["message"], &halt["advice"]);
        let parts = [message, advice].map(text);
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        lines.push(format!("{name}: {}: {}", text(reason), parts.join(": ")));
    } else if let Some(reason) = pipeline["reason"].as_str() {
        lines.push(format!("{name}: {reason}"));
    }
    for target in pipeline["targets"].as_array().into_iter().flatten() {
        if target["up"] == false {
            let label = ["name", "target"]
                .iter()
                .find_map(|key| target[*key].as_str());
            let error = text(&target["last_error"]);
            lines.push(format!(
                "{name}: {} is down: {error}",
                label.unwrap_or("a target")
            ));
        }
    }
    for stuck in pipeline["stuck"].as_array().into_iter().flatten() {
        let place = match (stuck["topic"].as_str(), stuck["partition"].as_i64()) {
            (Some(topic), Some(partition)) => format!("{topic}:{partition}: "),
            _ => String::new(),
        };
        let why = ["why", "reason"]
            .iter()
            .find_map(|key| stuck[*key].as_str());
        lines.push(format!("{name}: {place}{}", why.unwrap_or("is stuck")));
    }
    lines
}

fn rank(pipeline: &Value) -> u8 {
    let is_stuck = pipeline["stuck"]
        .as_array()
        .is_some_and(|stuck| !stuck.is_empty());
    let targets = pipeline["targets"].as_array();
    let is_down = targets.is_some_and(|targets| targets.iter().any(|t| t["up"] == false));
    match text(&pipeline["state"]) {
        "halted" => 0,
        _ if is_down => 1,
        _ if is_stuck => 2,
        "starting" => 3,
        "paused" => 4,
        "draining" => 5,
        "stopped" => 6,
        _ => 7,
    }
}

fn lag(pipeline: &Value) -> i64 {
    let partitions = pipeline["partitions"].as_array();
    partitions.map_or(0, |all| all.iter().filter_map(|p| p["lag"].as_i64()).sum())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_worst_pipeline_comes_first_and_says_why() {
        let running = |name: &str, lag: i64| {
            json!({ "name": name, "kind": "cdc", "state": "running",
                    "partitions": [{ "topic": "t", "partition": 0, "lag": lag }],
                    "rows_written": 5, "dead_letters": 1 })
        };
        let mut held = running("held", 0);
        held["stuck"] = json!([{ "topic": "t", "partition": 2, "why": "not written" }]);
        let shown = json!({ "pipelines": [
            running("fine", 0),
            running("behind", 90),
            held,
            { "name": "broken", "kind": "enrichment", "state": "halted", "reason": "schema",
              "halt": { "reason": "schema", "message": "no column x", "advice": "add it" } },
        ]});
        let table = rows(&shown);
        let names: Vec<&str> = table.rows.iter().map(|row| &*row[0]).collect();
        assert_eq!(names, ["broken", "held", "behind", "fine"]);
        assert!(table.has_halted);
        let text = table.to_string();
        assert!(
            text.contains("broken: schema: no column x: add it"),
            "{text}"
        );
        assert!(text.contains("held: t:2: not written"), "{text}");
        assert!(text.starts_with("PIPELINE"), "{text}");
    }

    #[test]
    fn any_answer_is_shown_without_a_panic() {
        for shown in [
            json!({}),
            json!({ "pipelines": [1, null, {}] }),
            json!(null),
        ] {
            let _ = rows(&shown).to_string();
        }
    }
}
