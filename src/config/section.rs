//! Reads one table key by key and collects everything that is wrong instead of stopping at the first.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::problem::Problem;
use super::tree::{Node, Place, Places, Table, Value, join};
use super::value::Kind;
use crate::steps::MaskKey;

/// What the sections of one configuration share: what was found, and what is wrong with it.
pub(super) struct Reader {
    /// The file as it was named.
    pub(super) file: String,
    /// Where relative paths start.
    pub(super) directory: PathBuf,
    pub(super) places: Places,
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) warnings: RefCell<Vec<Problem>>,
    /// Of `[service]`, which is read first.
    pub(super) mask_key: RefCell<Option<MaskKey>>,
    known: RefCell<BTreeSet<String>>,
    effective: RefCell<BTreeMap<String, String>>,
}

impl Reader {
    pub(super) fn new(file: &str, directory: PathBuf, places: Places) -> Self {
        Reader {
            file: file.to_owned(),
            directory,
            places,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            mask_key: RefCell::default(),
            known: RefCell::default(),
            effective: RefCell::default(),
        }
    }

    pub(super) fn problem(&self, key_path: &str, message: impl Into<String>) {
        self.problems
            .borrow_mut()
            .push(self.at(key_path, message.into()));
    }

    pub(super) fn warning(&self, key_path: &str, message: impl Into<String>) {
        self.warnings
            .borrow_mut()
            .push(self.at(key_path, message.into()));
    }

    /// A key that was not written takes the line of the table it is missing from.
    fn at(&self, key_path: &str, message: String) -> Problem {
        let key_path = key_path.to_owned();
        let mut path = key_path.as_str();
        loop {
            match self.places.get(path) {
                Some(Place::Variable(name)) => {
                    return Problem {
                        origin: name.clone(),
                        line: None,
                        key_path,
                        message,
                    };
                }
                Some(Place::Line(line)) => {
                    let line = Some(*line);
                    return Problem {
                        origin: self.file.clone(),
                        line,
                        key_path,
                        message,
                    };
                }
                None => match path.rfind(['.', '[']) {
                    Some(end) => path = &path[..end],
                    None => {
                        let origin = self.file.clone();
                        return Problem {
                            origin,
                            line: None,
                            key_path,
                            message,
                        };
                    }
                },
            }
        }
    }

    /// Every key that was asked for, set or not.
    pub(super) fn known_keys(self) -> BTreeSet<String> {
        self.known.into_inner()
    }

    /// What was read since the last call, defaults included, secrets excluded: key to value.
    pub(super) fn take_effective(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut *self.effective.borrow_mut())
    }
}

/// One table being read. [`Section::finish`] reports the keys that nobody asked for.
pub(super) struct Section<'r> {
    pub(super) reader: &'r Reader,
    table: Table,
    /// The path without the pipeline's name, as known keys and the effective configuration have it.
    schema_path: String,
    allowed: BTreeSet<String>,
    /// Key paths of what was taken: in overlaid tables they differ from the section's own.
    taken: BTreeMap<String, String>,
}

impl<'r> Section<'r> {
    pub(super) fn new(reader: &'r Reader, table: Table, schema_path: impl Into<String>) -> Self {
        Section {
            reader,
            table,
            schema_path: schema_path.into(),
            allowed: BTreeSet::new(),
            taken: BTreeMap::new(),
        }
    }

    /// The key path of the section itself, as problems name it.
    pub(super) fn key_path(&self) -> &str {
        &self.table.key_path
    }

    /// Whether the key is there and has not been taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.entries.contains_key(key)
    }

    /// The value that is there, untouched.
    pub(super) fn peek(&self, key: &str) -> Option<&Value> {
        self.table.entries.get(key).map(|node| &node.value)
    }

    /// Whether the key was there and has been taken.
    pub(super) fn was_written(&self, key: &str) -> bool {
        self.taken.contains_key(key)
    }

    /// The value as it was written, for what no [`Kind`] can read.
    pub(super) fn take_node(&mut self, key: &str) -> Option<Node> {
        self.allowed.insert(key.to_owned());
        self.reader
            .known
            .borrow_mut()
            .insert(join(&self.schema_path, key));
        let node = self.table.entries.remove(key)?;
        self.taken.insert(key.to_owned(), node.key_path.clone());
        Some(node)
    }

    /// The value of `key`, or none when it is absent or wrong (then there is a problem).
    pub(super) fn take<K: Kind>(&mut self, key: &str, kind: K) -> Option<K::Out> {
        let node = self.take_node(key)?;
        match kind.read(&node.value) {
            Some(out) => {
                self.record(key, kind.canonical(&out));
                Some(out)
            }
            None => {
                let (allowed, found) = (kind.allowed(), kind.found(&node.value));
                self.reader
                    .problem(&node.key_path, format!("must be {allowed}, found {found}"));
                None
            }
        }
    }

    pub(super) fn take_or<K: Kind>(&mut self, key: &str, kind: K, default: K::Out) -> K::Out {
        let canonical = kind.canonical(&default);
        match self.take(key, kind) {
            Some(out) => out,
            None => {
                self.record(key, canonical);
                default
            }
        }
    }

    /// A key without a default. The empty value that stands in for a missing one is never seen:
    /// the problem keeps the configuration from being used.
    pub(super) fn take_required<K: Kind>(&mut self, key: &str, kind: K) -> K::Out
    where
        K::Out: Default,
    {
        if !self.has(key) {
            let message = format!("is required: must be {}", kind.allowed());
            self.reader
                .problem(&join(&self.table.key_path, key), message);
        }
        self.take(key, kind).unwrap_or_default()
    }

    /// The table of that name; an absent one is empty.
    pub(super) fn section(&mut self, key: &str) -> Section<'r> {
        let key_path = join(&self.table.key_path, key);
        self.section_if_present(key).unwrap_or_else(|| {
            Section::new(
                self.reader,
                Table::absent(key_path),
                join(&self.schema_path, key),
            )
        })
    }

    /// The table of that name, when it was written.
    pub(super) fn section_if_present(&mut self, key: &str) -> Option<Section<'r>> {
        let node = self.take_node(key)?;
        match node.value {
            Value::Table(table) => Some(Section::new(
                self.reader,
                table,
                join(&self.schema_path, key),
            )),
            value => {
                let message = format!("must be a table, found {}", value.type_name());
                self.reader.problem(&node.key_path, message);
                None
            }
        }
    }

    /// The keys that are there, for tables whose keys the user chooses.
    pub(super) fn keys(&self) -> Vec<String> {
        self.table.entries.keys().cloned().collect()
    }

    /// The line of the file that a key stands on; none where it is not of the file.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        match self.reader.places.get(&join(&self.table.key_path, key)) {
            Some(Place::Line(line)) => Some(*line),
            _ => None,
        }
    }

    /// A table in a list, read under `key` with the list's place.
    pub(super) fn element(&self, key: &str, table: Table) -> Section<'r> {
        Section::new(self.reader, table, join(&self.schema_path, key))
    }

    /// The table of that name laid over `base` of the top level.
    pub(super) fn section_over(&mut self, key: &str, base: &Table) -> Section<'r> {
        let own = self.section(key);
        let mut base = base.clone();
        // One address in place of several, or the other way round: those of the base are replaced.
        for (written, replaced) in [("url", "urls"), ("urls", "url")] {
            if own.has(written) {
                base.entries.remove(replaced);
            }
        }
        let table = base.overlaid(own.table);
        Section::new(self.reader, table, own.schema_path)
    }

    /// Notes a value for the effective configuration. Secrets are not to be passed here.
    pub(super) fn record(&self, key: &str, canonical: String) {
        let path = join(&self.schema_path, key);
        self.reader.effective.borrow_mut().insert(path, canonical);
    }

    /// Leaves a key out of the effective configuration, where another key says the same.
    pub(super) fn forget(&self, key: &str) {
        self.reader
            .effective
            .borrow_mut()
            .remove(&join(&self.schema_path, key));
    }

    /// Where `key` was written, or would be.
    pub(super) fn path_of(&self, key: &str) -> String {
        self.taken
            .get(key)
            .cloned()
            .unwrap_or_else(|| join(&self.table.key_path, key))
    }

    /// A problem with a key beyond the form of its value.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.reader.problem(&self.path_of(key), message);
    }

    /// Reports the keys nobody asked for. Those of a table this one was laid over are that table's.
    pub(super) fn finish(self) {
        for (key, node) in &self.table.entries {
            if node.key_path == join(&self.table.key_path, key) {
                self.reader
                    .problem(&node.key_path, unknown_key(key, &self.allowed));
            }
        }
    }
}

fn unknown_key(key: &str, allowed: &BTreeSet<String>) -> String {
    let hint = did_you_mean(key, allowed.iter().map(String::as_str));
    let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
    format!("unknown key{hint} (allowed: {})", allowed.join(", "))
}

/// The nearest of the names there are, if one is near.
pub(super) fn did_you_mean<'c>(key: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    let nearest = candidates
        .map(|candidate| (distance(key, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4);
    nearest.map_or(String::new(), |(_, nearest)| {
        format!(", did you mean {nearest}?")
    })
}

/// Edits (insert, delete, replace) that turn one text into the other: Levenshtein's distance.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}
