//! A pipeline as a request describes it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::short_form;

/// Where the statements of the short form stand in the file of a created pipeline.
const KEPT_TABLES: &str = "tables";

/// A pipeline that is to be created, replaced or validated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    /// In the shape of the TOML table.
    pub(crate) pipeline: Value,
    /// Whether it is started.
    pub(crate) starts: bool,
    /// Whether it came in the short form.
    pub(crate) is_short: bool,
    /// What of it has no effect.
    pub(crate) ignored: Vec<Ignored>,
    /// Statements that create its table and view.
    pub(crate) tables: Vec<String>,
}

/// A key that has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Ignored {
    /// Its path, as `config.max_poll_records`.
    pub(crate) path: String,
    /// Why.
    pub(crate) reason: String,
}

/// Something that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Fault {
    /// The key, as `pipeline.batch.rows_max`; empty for the request as a whole.
    pub(crate) path: String,
    /// What is wrong and what is allowed.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(path: &str, message: impl Into<String>) -> Self {
        Fault {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

impl Order {
    /// Reads the body of a request: `{"pipeline": …, "start": true}`, the pipeline alone, or the short form.
    ///
    /// # Errors
    /// It is none of these.
    pub(crate) fn read(body: Value) -> Result<Order, Vec<Fault>> {
        let Value::Object(mut body) = body else {
            return Err(vec![Fault::new("", "must be an object")]);
        };
        if body.contains_key("pipeline_name") {
            return short_form::read(body);
        }
        if let Some(pipeline) = body.remove("pipeline") {
            return Order::of_parts(pipeline, body);
        }
        if body.contains_key("name") && body.contains_key("kind") {
            return Ok(Order::plain(Value::Object(body), true));
        }
        let message = "must be {\"pipeline\": {…}, \"start\": true} with the keys of a [[pipeline]], or the \
                       short form, which begins with pipeline_name";
        Err(vec![Fault::new("", message)])
    }

    fn of_parts(pipeline: Value, mut rest: Map<String, Value>) -> Result<Order, Vec<Fault>> {
        let mut faults = vec![];
        let starts = match rest.remove("start") {
            None => true,
            Some(Value::Bool(starts)) => starts,
            Some(_) => {
                faults.push(Fault::new("start", "must be true or false"));
                true
            }
        };
        let unknown = rest.into_iter().map(|(key, _)| key);
        faults
            .extend(unknown.map(|key| Fault::new(&key, "unknown key (allowed: pipeline, start)")));
        if !pipeline.is_object() {
            let message = "must be an object with the keys of a [[pipeline]]";
            faults.push(Fault::new("pipeline", message));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Order::plain(pipeline, starts))
    }

    fn plain(pipeline: Value, starts: bool) -> Order {
        Order {
            pipeline,
            starts,
            is_short: false,
            ignored: vec![],
            tables: vec![],
        }
    }

    /// What is kept of it: the short form is spelt out, with the statements that made its table and view.
    pub(super) fn kept(&self) -> Value {
        let mut kept = json!({ "pipeline": self.pipeline, "start": self.starts });
        if !self.tables.is_empty() {
            kept[KEPT_TABLES] = json!(self.tables);
        }
        kept
    }

    /// Reads what [`Order::kept`] returned. No request brings statements.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn read_kept(mut kept: Value) -> Result<Order, Vec<Fault>> {
        let tables = kept
            .as_object_mut()
            .and_then(|kept| kept.remove(KEPT_TABLES));
        let tables = tables.map(serde_json::from_value).transpose();
        let Ok(tables) = tables else {
            return Err(vec![Fault::new(
                KEPT_TABLES,
                "must be a list of statements",
            )]);
        };
        let tables = tables.unwrap_or_default();
        Ok(Order {
            tables,
            ..Order::read(kept)?
        })
    }

    /// Whether `newer` describes the same pipeline. One that brings no table of its own has no wish about
    /// tables.
    pub(super) fn is_same(&self, newer: &Order) -> bool {
        let wants_tables = !newer.tables.is_empty() && newer.tables != self.tables;
        self.pipeline == newer.pipeline && self.starts == newer.starts && !wants_tables
    }

    /// The name; one that is missing takes that of the address.
    ///
    /// # Errors
    /// It has another.
    pub(crate) fn named(mut self, name: &str) -> Result<Order, Vec<Fault>> {
        match self.pipeline.get("name") {
            None => self.pipeline["name"] = name.into(),
            Some(own) if *own == *name => {}
            Some(own) => {
                let message = format!("must be {name:?}, the name in the address, found {own}");
                return Err(vec![Fault::new("pipeline.name", message)]);
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_read_and_nothing_else() {
        let table = json!({ "name": "a", "kind": "cdc" });
        let order = Order::read(json!({ "pipeline": table, "start": false })).unwrap();
        assert!(!order.starts && order.pipeline == table);
        let order = Order::read(json!({ "pipeline": table })).unwrap();
        assert!(order.starts);
        assert_eq!(Order::read(table.clone()).unwrap(), order);
        assert_eq!(Order::read(order.kept()).unwrap(), order);
        for (body, path) in [
            (json!([]), ""),
            (json!(null), ""),
            (json!({}), ""),
            (json!({ "name": "a" }), ""),
            (json!({ "pipeline": 7 }), "pipeline"),
            (json!({ "pipeline": table, "start": 1 }), "start"),
            (json!({ "pipeline": table, "begin": true }), "begin"),
            (
                json!({ "pipeline": table, "tables": ["DROP TABLE a"] }),
                "tables",
            ),
            (json!({ "pipeline_name": "a" }), "config"),
        ] {
            let faults = Order::read(body.clone()).unwrap_err();
            assert!(faults.iter().any(|f| f.path == path), "{body}: {faults:?}");
        }
    }

    #[test]
    fn a_view_of_another_window_is_a_change_also_after_a_restart() {
        let short = |seconds: u64| {
            let aggregation = json!({ "window_size_seconds": seconds });
            let order = Order::read(json!({
                "pipeline_name": "a",
                "type": "kafka_consumer",
                "config": { "bootstrap_servers": "b:1", "topics": ["t"], "group_id": "g" },
                "processing": { "aggregation": aggregation },
                "output": { "type": "clickhouse", "table": "events" },
            }));
            order.unwrap()
        };
        let kept = Order::read_kept(short(60).kept()).unwrap();
        assert_eq!(kept.pipeline, short(300).pipeline);
        assert!(kept.is_same(&short(60)) && !kept.is_same(&short(300)));
        let spelt_out = Order::read(json!({ "pipeline": kept.pipeline })).unwrap();
        assert!(kept.is_same(&spelt_out), "it has no wish about tables");
        for wrong in [json!("DROP"), json!([1]), json!(null)] {
            let file = json!({ "pipeline": kept.pipeline, "tables": wrong });
            assert!(Order::read_kept(file).is_err());
        }
    }

    #[test]
    fn the_name_is_that_of_the_address() {
        let order = |table| Order::read(json!({ "pipeline": table })).unwrap();
        let named = order(json!({ "kind": "cdc" })).named("a").unwrap();
        assert_eq!(named.pipeline["name"], "a");
        assert!(order(json!({ "name": "a" })).named("a").is_ok());
        for other in [json!("b"), json!(7), json!(null)] {
            assert!(order(json!({ "name": other })).named("a").is_err());
        }
    }
}
