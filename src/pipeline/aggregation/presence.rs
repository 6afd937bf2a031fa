//! Metrics of nothing: where no record of a window has anything for one, it is NULL.

use super::plan::{MetricPlan, PlanError};
use crate::config::{Aggregation, Condition, Function, Input, Metric, Test};

/// Refuses columns that cannot say NULL where a window may have nothing for their metric.
pub(super) fn check(config: &Aggregation, metrics: &[MetricPlan]) -> Result<(), PlanError> {
    for (metric, plan) in config.metrics.iter().zip(metrics) {
        let Some(column) = plan.column.as_ref().filter(|column| !column.is_nullable()) else {
            continue;
        };
        if let Some(why) = why_nothing(config, metric) {
            return Err(PlanError(format!(
                "column {name} {column}: {why}, and its {function} is NULL then: make the column \
                 Nullable (ALTER TABLE … MODIFY COLUMN), or have every record that counts carry a value",
                name = metric.name,
                function = name(metric.function),
            )));
        }
    }
    Ok(())
}

fn name(function: Function) -> &'static str {
    match function {
        Function::Count => "count",
        Function::Sum => "sum",
        Function::Min => "min",
        Function::Max => "max",
        Function::Avg { .. } => "avg",
        Function::CountDistinct => "count_distinct",
        Function::Last => "last",
    }
}

/// Why a row may have no value for the metric; none when each of its records has one.
fn why_nothing(config: &Aggregation, metric: &Metric) -> Option<String> {
    match metric.function {
        // Of nothing they are 0.
        Function::Count | Function::CountDistinct | Function::Sum => return None,
        Function::Min | Function::Max | Function::Avg { .. } | Function::Last => {}
    }
    if may_leave_out(config, metric) {
        let own_where = format!("pipeline.metrics.{}.where", metric.name);
        return Some(format!("no record of a window may pass {own_where}"));
    }
    match (&metric.input, metric.function) {
        // Without the field a record counts nowhere.
        (_, Function::Min | Function::Max | Function::Avg { .. }) => None,
        (Some(Input::Path(path)), _) if is_there(config, path) => None,
        (Some(Input::Path(path)), _) => {
            Some(format!("no record of a window may have a value at {path}"))
        }
        _ => None,
    }
}

/// Whether the metric's own `where` may leave out a record that counts.
fn may_leave_out(config: &Aggregation, metric: &Metric) -> bool {
    let is_met = |condition: &Condition| config.conditions.contains(condition);
    !metric.conditions.iter().all(is_met)
}

/// Whether every record that counts has a value at a path, by something else that needs it.
fn is_there(config: &Aggregation, path: &str) -> bool {
    let by_time = path.strip_prefix("$.") == config.time_field.field();
    let mut group = config.group.iter();
    let by_group =
        group.any(|field| field.default.is_none() && field.from.is_none() && field.path == path);
    // A field that is absent or null passes `ne` alone.
    let mut conditions = config.conditions.iter();
    let by_where = conditions.any(|c| c.path == path && !matches!(c.test, Test::NotEqual(_)));
    let needs = |metric: &Metric| {
        let is_number = matches!(
            metric.function,
            Function::Sum | Function::Min | Function::Max | Function::Avg { .. }
        );
        let reads = match &metric.input {
            Some(Input::Path(read)) => read == path,
            Some(Input::Product(read)) => read.iter().any(|read| read == path),
            None => false,
        };
        is_number && reads && !may_leave_out(config, metric)
    };
    by_time || by_group || by_where || config.metrics.iter().any(needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Kind};

    /// Why the metric `probe` may be nothing, in a pipeline with these lines.
    fn nothing(probe: &str, lines: &str) -> Option<String> {
        let text = format!(
            "[[pipeline]]\nname = \"w\"\nkind = \"aggregation\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
             clickhouse.table = \"t\"\n[pipeline.group]\nshop = \"$.shop\"\n\
             city = {{ path = \"$.city\", default = \"\" }}\n{lines}\n[pipeline.metrics]\n\
             probe = {{ {probe} }}\ntotal = {{ function = \"sum\", path = \"$.amount\" }}\n"
        );
        let loaded = Config::parse(&text, "c", std::path::Path::new("/"), []);
        let pipeline = loaded
            .unwrap_or_else(|p| panic!("{p}"))
            .config
            .pipelines
            .remove(0);
        let Kind::Aggregation(config) = pipeline.kind else {
            panic!("it is an aggregation")
        };
        why_nothing(&config, &config.metrics[0])
    }

    #[test]
    fn only_metrics_that_a_window_may_have_nothing_for_need_a_null() {
        let paid = "where = { kind = \"buy\" }";
        for function in ["min", "max", "avg"] {
            let metric = format!("function = \"{function}\", path = \"$.price\"");
            assert_eq!(
                nothing(&metric, ""),
                None,
                "{function}: the field is required"
            );
            let own_where = format!("{metric}, {paid}");
            let why = nothing(&own_where, "").unwrap();
            assert!(why.contains("pipeline.metrics.probe.where"), "{why}");
            let for_all = "[pipeline.where]\nkind = \"buy\"";
            assert_eq!(nothing(&own_where, for_all), None, "all records pass it");
        }
        for function in ["sum", "count_distinct"] {
            let metric = format!("function = \"{function}\", path = \"$.price\", {paid}");
            assert_eq!(nothing(&metric, ""), None, "{function} of nothing is 0");
        }
        for (path, is_there) in [
            ("$.status", false),
            ("$.city", false),
            ("$.shop", true),
            ("$.amount", true),
            ("$.timestamp", true),
            ("$.state", true),
            ("$.mood", false),
        ] {
            let lines = "[pipeline.where]\nstate = [\"a\", \"b\"]\nmood = { ne = \"bad\" }";
            let lines = lines.replace("[\"a\", \"b\"]", "{ in = [\"a\", \"b\"] }");
            let metric = format!("function = \"last\", path = \"{path}\"");
            assert_eq!(nothing(&metric, &lines).is_none(), is_there, "{path}");
        }
    }
}
