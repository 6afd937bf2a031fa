//! `[pipeline.state]` of kinds that store nothing: where what does not fit into memory goes.

use std::path::PathBuf;

use super::quantity::Size;
use super::section::Section;
use super::value::{Choice, Text};

/// Where state is written that does not fit into memory. It is read by the same process alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDisk {
    /// The most that it may take, 1 MiB to 64 TiB.
    pub bytes_max: u64,
    /// What the windows of one lane may take of the memory before they are written, 1 KiB to 1 TiB; none: a
    /// third of what `service.memory_max` leaves, divided by all lanes.
    pub memory_bytes_max: Option<usize>,
    /// None: under `service.state_dir`.
    pub directory: Option<PathBuf>,
}

/// Beyond this a group's key is too long for the store.
pub(super) const KEY_BYTES_MAX: usize = 60_000;

const DISK_MAX: Size = Size {
    min: 1 << 20,
    max: 64 << 40,
};
const MEMORY_MAX: Size = Size {
    min: 1 << 10,
    max: 1 << 40,
};
const DIRECTORY: Text = Text {
    allowed: "\"\" (under service.state_dir) or the absolute path of a directory",
    check: |text| text.is_empty() || text.starts_with('/') && !text.contains('\0'),
};

impl OnDisk {
    /// None: everything stays in memory.
    pub(super) fn read(mut section: Section<'_>) -> Option<OnDisk> {
        let backends = Choice(&[("memory", false), ("disk", true)]);
        let is_on_disk = section.take_or("backend", backends, false);
        if !is_on_disk {
            for key in ["disk_max", "memory_max", "directory"] {
                if section.has(key) {
                    section.take_node(key);
                    section.problem(key, "needs backend = \"disk\"");
                }
            }
            section.finish();
            return None;
        }
        let directory = section.take_or("directory", DIRECTORY, String::new());
        let memory_max = section.take("memory_max", MEMORY_MAX);
        let on_disk = OnDisk {
            bytes_max: section.take_or("disk_max", DISK_MAX, 10 << 30),
            memory_bytes_max: memory_max.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            directory: (!directory.is_empty()).then(|| directory.into()),
        };
        section.finish();
        Some(on_disk)
    }

    /// Of a kind whose state stays in memory, whatever it is.
    pub(super) fn refuse(mut section: Section<'_>, why: &str) {
        let memory = Choice(&[("memory", false), ("disk", true)]);
        if section.take("backend", memory) == Some(true) {
            section.problem("backend", format!("must be \"memory\": {why}"));
        }
        section.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Kind};

    /// What is wrong with it, or where its windows go.
    fn read(window: &str, keys: &str) -> Result<Option<OnDisk>, String> {
        let text = format!(
            "[[pipeline]]\nname = \"p\"\nkind = \"aggregation\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
             [pipeline.clickhouse]\ntable = \"t\"\n[pipeline.window]\n{window}\n[pipeline.group]\n\
             a = \"$.a\"\nb = \"$.b\"\n[pipeline.metrics]\nn = {{ function = \"count\" }}\n{keys}"
        );
        let loaded = Config::parse(&text, "config.toml", std::path::Path::new("."), []);
        let loaded = loaded.map_err(|problems| problems.to_string())?;
        match &loaded.config.pipelines[0].kind {
            Kind::Aggregation(own) => Ok(own.on_disk.clone()),
            other => panic!("{other:?}"),
        }
    }

    const MINUTES: &str = "kind = \"tumbling\"\nsize = \"1m\"";

    fn refusal(window: &str, keys: &str) -> String {
        read(window, keys).expect_err("it is refused")
    }

    #[test]
    fn windows_stay_in_memory_unless_told_otherwise() {
        assert_eq!(read(MINUTES, ""), Ok(None));
        let memory = "[pipeline.state]\nbackend = \"memory\"";
        assert_eq!(read(MINUTES, memory), Ok(None));
        let disk = OnDisk {
            bytes_max: 10 << 30,
            memory_bytes_max: None,
            directory: None,
        };
        let on_disk = "[pipeline.state]\nbackend = \"disk\"";
        assert_eq!(read(MINUTES, on_disk), Ok(Some(disk)));
        let all = format!(
            "{on_disk}\ndisk_max = \"1GiB\"\nmemory_max = \"1MiB\"\ndirectory = \"/scratch\""
        );
        let disk = OnDisk {
            bytes_max: 1 << 30,
            memory_bytes_max: Some(1 << 20),
            directory: Some("/scratch".into()),
        };
        assert_eq!(read(MINUTES, &all), Ok(Some(disk)));
    }

    #[test]
    fn what_cannot_be_on_disk_is_refused() {
        let on_disk = "[pipeline.state]\nbackend = \"disk\"";
        let sessions = refusal("kind = \"session\"\ngap = \"1m\"", on_disk);
        assert!(sessions.contains("state.backend"), "{sessions}");
        assert!(sessions.contains("sessions stay in memory"), "{sessions}");
        let relative = refusal(MINUTES, &format!("{on_disk}\ndirectory = \"scratch\""));
        assert!(relative.contains("state.directory"), "{relative}");
        for key in ["disk_max = \"1GiB\"", "memory_max = \"1MiB\""] {
            let alone = refusal(MINUTES, &format!("[pipeline.state]\n{key}"));
            assert!(alone.contains("needs backend = \"disk\""), "{alone}");
        }
    }

    #[test]
    fn a_join_stays_in_memory() {
        let text = |backend: &str| {
            format!(
                "[[pipeline]]\nname = \"p\"\nkind = \"stream_join\"\n[pipeline.state]\nbackend = \"{backend}\""
            )
        };
        let refusal = |backend: &str| {
            let text = text(backend);
            let loaded = Config::parse(&text, "config.toml", std::path::Path::new("."), []);
            loaded.expect_err("it has no topics").to_string()
        };
        let refused = refusal("disk");
        assert!(refused.contains("pipeline.p.state.backend"), "{refused}");
        assert!(
            refused.contains("what waits to be joined stays in memory"),
            "{refused}"
        );
        assert!(!refusal("memory").contains("state"), "it is no mistake");
    }

    #[test]
    fn keys_that_the_store_cannot_take_are_refused() {
        let keys = "group_bytes_max = \"40KiB\"\n[pipeline.clickhouse]";
        let text = |backend: &str| {
            format!(
                "[[pipeline]]\nname = \"p\"\nkind = \"aggregation\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
                 {keys}\ntable = \"t\"\n[pipeline.window]\n{MINUTES}\n[pipeline.group]\n\
                 a = \"$.a\"\nb = \"$.b\"\n[pipeline.metrics]\nn = {{ function = \"count\" }}\n\
                 [pipeline.state]\nbackend = \"{backend}\""
            )
        };
        let parsed = |text: &str| {
            Config::parse(text, "config.toml", std::path::Path::new("."), [])
                .map(|_| ())
                .map_err(|problems| problems.to_string())
        };
        assert_eq!(parsed(&text("memory")), Ok(()));
        let refused = parsed(&text("disk")).expect_err("two of 40 KiB");
        assert!(refused.contains("group_bytes_max"), "{refused}");
        assert!(refused.contains("at most 30000"), "{refused}");
    }
}
