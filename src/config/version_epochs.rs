//! `version_epochs`: when topics were made anew, so that what comes later wins although offsets began
//! again.

use super::quantity::grouped;
use super::tree::{Node, Table, Value};
use super::value::{Kind, text_of};

/// From a time on, the versions of all records lie above those of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionEpoch {
    /// The first Kafka timestamp that belongs to it, epoch milliseconds.
    pub since_ms: i64,
    /// 1 to 65,535; before the first one it is 0.
    pub epoch: u16,
}

/// The list, in the order of time.
pub(super) struct Epochs;

impl Kind for Epochs {
    type Out = Vec<VersionEpoch>;

    fn allowed(&self) -> String {
        let max = grouped(u16::MAX.into());
        format!(
            "a list of {{ since = \"2026-11-21T02:00:00Z\", epoch = 1 }}: times in RFC 3339, to the \
             millisecond, each later than the one before it, and epochs from 1 to {max}, each higher"
        )
    }

    fn read(&self, value: &Value) -> Option<Vec<VersionEpoch>> {
        let Value::List(list) = value else {
            return None;
        };
        let epochs: Vec<VersionEpoch> = list
            .iter()
            .map(|node| epoch_of(&node.value))
            .collect::<Option<_>>()?;
        let rises = |pair: &[VersionEpoch]| {
            pair[0].since_ms < pair[1].since_ms && pair[0].epoch < pair[1].epoch
        };
        epochs.windows(2).all(rises).then_some(epochs)
    }

    fn canonical(&self, out: &Vec<VersionEpoch>) -> String {
        let epochs = out
            .iter()
            .map(|epoch| format!("{} from {} ms", epoch.epoch, epoch.since_ms));
        format!("[{}]", epochs.collect::<Vec<_>>().join(", "))
    }

    fn found(&self, value: &Value) -> String {
        let Value::List(list) = value else {
            return value.to_string();
        };
        match list.iter().find(|node| epoch_of(&node.value).is_none()) {
            Some(Node {
                value: Value::Table(table),
                ..
            }) => written(table),
            Some(node) => node.value.to_string(),
            None => "times or epochs that do not rise".to_owned(),
        }
    }
}

fn written(table: &Table) -> String {
    let entries = table.entries.iter();
    let entries = entries.map(|(key, node)| format!("{key} = {}", node.value));
    format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
}

fn epoch_of(value: &Value) -> Option<VersionEpoch> {
    let Value::Table(table) = value else {
        return None;
    };
    let entry = |key: &str| table.entries.get(key).map(|node| &node.value);
    let since = match entry("since")? {
        Value::Datetime(text) => text,
        value => text_of(value)?,
    };
    let since: jiff::Timestamp = since.parse().ok()?;
    let is_whole = since.as_nanosecond() % 1_000_000 == 0;
    let Value::Integer(epoch) = entry("epoch")? else {
        return None;
    };
    let epoch = u16::try_from(*epoch).ok().filter(|epoch| *epoch > 0)?;
    (table.entries.len() == 2 && is_whole).then(|| VersionEpoch {
        since_ms: since.as_millisecond(),
        epoch,
    })
}
