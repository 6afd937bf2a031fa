//! `[[pipeline.rule]]` and `[pipeline.quality]`: what is asked of records, and what becomes of those that
//! fail.

mod condition;

use std::collections::BTreeSet;
use std::time::Duration;

use super::columns::COLUMN;
use super::quantity::{Number, Span};
use super::section::Section;
use super::tree::Value;
use super::value::{Boolean, Choice, Text};
use crate::decode::Path;
use crate::rules::{Check, Condition};

/// Rules of one pipeline, at most: each is a label of metrics.
const RULES_MAX: usize = 200;
/// How far back the share of records that pass is counted where no threshold says otherwise.
pub(crate) const OVER: Duration = Duration::from_secs(600);

/// What is asked of the records of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// The column that has 1 where no rule of severity error failed.
    pub passed_column: Option<String>,
    /// The column with the names of the rules that failed.
    pub failed_column: Option<String>,
    /// In the order of the file.
    pub thresholds: Vec<Threshold>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// 1 to 64 of a-z, A-Z, 0-9, '_' and '-'; unique in its pipeline.
    pub name: String,
    /// What a record must be.
    pub check: Condition,
    /// Only records that are so are checked.
    pub when: Option<Condition>,
    /// What becomes of a record that fails.
    pub on_fail: OnFail,
    /// Counted and flagged, never refused.
    pub is_warning: bool,
}

/// What becomes of a record that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFail {
    /// It is written, and the columns of `[pipeline.quality]` say so.
    Flag,
    /// It is a dead letter, `rule_failed`.
    DeadLetter,
    /// It is dropped and counted.
    Drop,
}

/// The share of records that a rule must pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// The rule's name.
    pub rule: String,
    /// In millionths.
    pub ratio_min_ppm: u32,
    /// How far back records count, by the time of processing.
    pub over: Duration,
    /// Whether the pipeline halts below it.
    pub halts: bool,
}

const NAME: Text = Text {
    allowed: "1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'",
    check: |text| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(legal)
    },
};

const ON_FAIL: Choice<OnFail> = Choice(&[
    ("flag", OnFail::Flag),
    ("dead_letter", OnFail::DeadLetter),
    ("drop", OnFail::Drop),
]);

const SEVERITY: Choice<bool> = Choice(&[("error", false), ("warning", true)]);

impl Rules {
    /// Reads both; none where neither is written.
    pub(super) fn read(section: &mut Section<'_>) -> Rules {
        let mut rules = Rules::default();
        let rule = entries(section, "rule", "pipeline.rule").into_iter();
        for (number, entry) in rule.enumerate() {
            rules.rules.extend(read_rule(entry, number));
        }
        rules.check_names(section);
        if let Some(mut quality) = section.section_if_present("quality") {
            rules.passed_column = quality.take("passed_column", COLUMN);
            rules.failed_column = quality.take("failed_column", COLUMN);
            for entry in entries(&mut quality, "threshold", "pipeline.quality.threshold") {
                rules.thresholds.extend(rules.read_threshold(entry));
            }
            if rules.rules.is_empty() {
                let message = "is of no use without [[pipeline.rule]]: add a rule, or leave it out";
                quality.reader.problem(quality.key_path(), message);
            }
            let both = rules.passed_column.is_some() && rules.passed_column == rules.failed_column;
            if both {
                quality.problem("failed_column", "must not be passed_column too");
            }
            quality.finish();
        }
        rules
    }

    fn check_names(&self, section: &Section<'_>) {
        let mut known = BTreeSet::new();
        if let Some(twice) = self.rules.iter().find(|rule| !known.insert(&rule.name)) {
            let message = format!("must have names of their own, has {:?} twice", twice.name);
            section.problem("rule", message);
        }
        if self.rules.len() > RULES_MAX {
            let message = format!("must be at most {RULES_MAX}: each is a label of metrics");
            section.problem("rule", message);
        }
    }

    fn read_threshold(&self, mut entry: Section<'_>) -> Option<Threshold> {
        let ratio = Number {
            min: 0.0,
            max: 1.0,
            unit: "share of the records that pass",
        };
        let rule = entry.take_required("rule", NAME);
        if !rule.is_empty() && self.rules.iter().all(|known| known.name != rule) {
            entry.problem("rule", format!("names no rule of the pipeline: {rule:?}"));
        }
        if !entry.has("ratio_min") {
            entry.problem("ratio_min", "is required: a number from 0 to 1");
        }
        let ratio_min = entry.take("ratio_min", ratio);
        let threshold = Threshold {
            rule,
            ratio_min_ppm: (ratio_min.unwrap_or_default() * 1e6).round() as u32,
            over: entry.take_or("over", Span::secs(1, 7 * 86_400), OVER),
            halts: entry.take_or("halt", Boolean, false),
        };
        entry.finish();
        ratio_min.map(|_| threshold)
    }

    /// The columns that rules fill, each with the key that names it.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let passed = self.passed_column.as_deref();
        let failed = self.failed_column.as_deref();
        let passed = passed.map(|column| ("quality.passed_column", column));
        let failed = failed.map(|column| ("quality.failed_column", column));
        passed.into_iter().chain(failed)
    }

    /// The rules that decide which records count, as a text that is the same as long as they are; empty
    /// without such.
    #[must_use]
    pub fn decisive(&self) -> String {
        let refuses = |rule: &&Rule| !rule.is_warning && rule.on_fail != OnFail::Flag;
        let refusing = self.rules.iter().filter(refuses);
        let texts = refusing.map(|rule| format!("{:?} when {:?};", rule.check, rule.when));
        texts.collect()
    }

    /// How far back the records of a rule count.
    #[must_use]
    pub fn over(&self, rule: &str) -> Duration {
        let threshold = self.thresholds.iter().find(|t| t.rule == rule);
        threshold.map_or(OVER, |threshold| threshold.over)
    }
}

fn read_rule(mut entry: Section<'_>, number: usize) -> Option<Rule> {
    // Where the effective configuration has it.
    let place = |key: &str| format!("pipeline.rule.{number}.{key}");
    let name = entry.take_required("name", NAME);
    let check = match entry.section_if_present("check") {
        Some(check) => read_condition(check, &place("check")),
        None => {
            let message = "is required: a condition, such as { field = \"$.quantity\", gt = 0 }";
            entry.problem("check", message);
            None
        }
    };
    let when = entry.section_if_present("when");
    let when = when.map(|when| read_condition(when, &place("when")));
    let rule = Rule {
        name,
        check: check?,
        when: when.flatten(),
        on_fail: entry.take_or("on_fail", ON_FAIL, OnFail::Flag),
        is_warning: entry.take_or("severity", SEVERITY, false),
    };
    entry.finish();
    Some(rule)
}

/// A condition that can be held against records.
fn read_condition(section: Section<'_>, place: &str) -> Option<Condition> {
    let (reader, key_path) = (section.reader, section.key_path().to_owned());
    let condition = condition::read(section, place, 0)?;
    let is_path = |path: &str| {
        Path::parse(path)
            .map(|_| 0)
            .map_err(|error| error.to_string())
    };
    if let Err(error) = Check::new(&condition, None, &mut |path| is_path(path)) {
        reader.problem(&key_path, format!("cannot be checked: {error}"));
        return None;
    }
    Some(condition)
}

/// The tables of a list, each as a section.
fn entries<'r>(section: &mut Section<'r>, key: &str, schema_path: &str) -> Vec<Section<'r>> {
    let Some(node) = section.take_node(key) else {
        return vec![];
    };
    let mut entries = vec![];
    let Value::List(list) = node.value else {
        let message = format!("must be a list of tables: write [[{schema_path}]]");
        section.problem(key, message);
        return vec![];
    };
    for (number, node) in list.into_iter().enumerate() {
        match node.value {
            Value::Table(table) => {
                let schema_path = format!("{schema_path}.{number}");
                entries.push(Section::new(section.reader, table, schema_path));
            }
            other => {
                let message = format!("must be a table, found {}", other.type_name());
                section.reader.problem(&node.key_path, message);
            }
        }
    }
    entries
}
