//! A number that differs where windows follow other rules.

use sha2::{Digest as _, Sha256};

use super::plan::MetricPlan;
use crate::config::{Aggregation, GROUP_BYTES_MAX, GroupField};

/// Windows of other rules hold other things, so records of open ones are of no use to them. A column that
/// has become wider holds the same ones: its precision is left out.
pub(super) fn of(config: &Aggregation, metrics: &[MetricPlan]) -> u32 {
    let scales: Vec<_> = metrics.iter().map(|m| m.digits.scale).collect();
    digest(&format!("{} scales {scales:?}", rules(config)))
}

/// As commits of earlier versions have it.
pub(super) fn of_digits(config: &Aggregation, metrics: &[MetricPlan]) -> u32 {
    let digits: Vec<_> = metrics
        .iter()
        .map(|m| (m.digits.precision, m.digits.scale))
        .collect();
    digest(&format!("{} {digits:?}", rules(config)))
}

fn digest(decisive: &str) -> u32 {
    let digest = Sha256::digest(decisive);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// What each record is judged by, the columns aside.
fn rules(config: &Aggregation) -> String {
    let Aggregation {
        time_field,
        time_unit,
        text_times,
        watermark_delay,
        timestamp_ahead_max,
        allowed_lateness,
        partitioned_by,
        window,
        group,
        group_bytes_max,
        metrics,
        conditions,
        rules,
        dedup,
        ..
    } = config;
    let time_field = time_field.rule();
    let group: Vec<String> = group.iter().map(field).collect();
    let group = group.join(", ");
    let decisive = format!(
        "{time_field} {watermark_delay:?} {timestamp_ahead_max:?} {allowed_lateness:?} \
         {partitioned_by:?} {window:?} [{group}] {metrics:?} {conditions:?}"
    );
    // What older versions did not know is left out where it is not declared.
    let time_unit = time_unit.map_or(String::new(), |unit| format!(" {unit:?}"));
    let text_times = text_times
        .as_ref()
        .map_or(String::new(), |texts| format!(" {texts}"));
    let group_bytes_max = match *group_bytes_max as u64 {
        GROUP_BYTES_MAX => String::new(),
        bytes => format!(" {bytes}"),
    };
    let asked = rules.decisive();
    // What becomes of a duplicate changes no window.
    let dedup = dedup.as_ref().map_or(String::new(), |dedup| {
        format!(" dedup {:?} {:?}", dedup.key, dedup.within)
    });
    format!("{decisive}{time_unit}{text_times}{group_bytes_max}{asked}{dedup}")
}

/// A field of the group as commits have known it since before it could be anything but a path.
fn field(field: &GroupField) -> String {
    let GroupField {
        name,
        path,
        from,
        default,
    } = field;
    let from = from
        .as_ref()
        .map_or(String::new(), |from| format!(", from: {from:?}"));
    format!("GroupField {{ name: {name:?}, path: {path:?}, default: {default:?}{from} }}")
}
