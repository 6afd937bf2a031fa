//! `[watermark."name"]`: the least watermark of several pipelines, under a name.

use super::clickhouse::TABLE;
use super::pipeline::{NAME, Pipeline};
use super::section::{Reader, Section};
use super::value::List;

/// One `[watermark."name"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedWatermark {
    /// 1 to 64 of a-z, A-Z, 0-9, '_' and '-'.
    pub name: String,
    /// The pipelines that are to be complete, at least one.
    pub pipelines: Vec<String>,
    /// The table that each move is written to, in the database of the first pipeline; none: nowhere.
    pub table: Option<String>,
}

/// Reads `[watermark]`, sorted by name, each with its key path.
pub(super) fn read(mut section: Section<'_>) -> Vec<(String, NamedWatermark)> {
    let mut all = vec![];
    for name in section.keys() {
        let Some(mut entry) = section.section_if_present(&name) else {
            continue;
        };
        if !(NAME.check)(&name) {
            let message = format!("must be named by {}", NAME.allowed);
            section.problem(&name, message);
        }
        let pipelines = List {
            of: NAME,
            may_be_empty: false,
        };
        let watermark = NamedWatermark {
            pipelines: entry.take_required("pipelines", pipelines),
            table: entry.take("table", TABLE),
            name: name.clone(),
        };
        entry.finish();
        all.push((section.path_of(&name), watermark));
    }
    section.finish();
    all
}

/// Each pipeline that is named must be there, and have an event time.
pub(super) fn check(
    watermarks: &[(String, NamedWatermark)],
    pipelines: &[(String, Pipeline)],
    reader: &Reader,
) {
    for (key_path, watermark) in watermarks {
        for name in &watermark.pipelines {
            let pipeline = pipelines
                .iter()
                .find(|(_, pipeline)| pipeline.name == *name);
            let message = match pipeline {
                None => format!("names {name:?}, and there is no such pipeline"),
                Some((_, pipeline)) if !pipeline.has_event_time() => format!(
                    "names {name:?}, a pipeline of kind {} without event time, so without watermark",
                    pipeline.kind.name()
                ),
                Some(_) => continue,
            };
            reader.problem(&format!("{key_path}.pipelines"), message);
        }
    }
}
