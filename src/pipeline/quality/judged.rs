//! One record held against every rule.

use std::collections::HashMap;

use crate::config::{OnFail, Rule};
use crate::decode::json::Raw;
use crate::decode::time::TextRules;
use crate::operator::DedupKey;
use crate::rules::{Check, Moments};

/// The rules of a pipeline, made ready once. Shared by the lanes.
#[derive(Debug)]
pub(crate) struct ReadyRules {
    rules: Vec<ReadyRule>,
}

#[derive(Debug)]
struct ReadyRule {
    name: String,
    check: Check,
    when: Option<Check>,
    on_fail: OnFail,
    is_warning: bool,
}

/// What rules make of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is written.
    Kept,
    /// It makes no row, and is counted.
    Dropped,
    /// It is a dead letter.
    Refused,
}

/// What came of the rules: of the last record, and counted since the counts were last taken.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// The rules that the last record failed, by their numbers.
    pub(super) failed: Vec<usize>,
    /// Whether it failed none of severity error.
    pub(super) passes: bool,
    pub(super) counts: Vec<Counts>,
    /// The key and event time of the last record, where it has a key and was read so far.
    pub(crate) seen: Option<(DedupKey, i64)>,
    /// Whether an earlier record had it.
    pub(crate) is_duplicate: bool,
    /// The record was counted before.
    pub(crate) is_replayed: bool,
}

/// Records by what a rule said of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Those that the rule does not ask.
    pub(crate) skipped: u64,
}

impl ReadyRules {
    /// None where there are no rules.
    ///
    /// # Errors
    /// A rule that cannot be checked, with its name.
    pub(crate) fn new(
        rules: &[Rule],
        texts: Option<&TextRules>,
        mut slot_of: impl FnMut(&str) -> Result<usize, String>,
    ) -> Result<Option<ReadyRules>, String> {
        let mut slots: HashMap<String, usize> = HashMap::new();
        let mut slot_of = |path: &str| match slots.get(path) {
            Some(slot) => Ok(*slot),
            None => {
                let slot = slot_of(path)?;
                slots.insert(path.to_owned(), slot);
                Ok(slot)
            }
        };
        let mut ready = vec![];
        for rule in rules {
            let mut check = |condition| {
                Check::new(condition, texts, &mut slot_of)
                    .map_err(|error| format!("pipeline.rule {}: {error}", rule.name))
            };
            ready.push(ReadyRule {
                check: check(&rule.check)?,
                when: rule.when.as_ref().map(check).transpose()?,
                name: rule.name.clone(),
                on_fail: rule.on_fail,
                is_warning: rule.is_warning,
            });
        }
        Ok((!ready.is_empty()).then_some(ReadyRules { rules: ready }))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }

    /// All rules are asked and counted, whatever one decides.
    pub(crate) fn judge<'v>(
        &self,
        get: &dyn Fn(usize) -> Raw<'v>,
        moments: Moments<'_>,
        judged: &mut Judged,
    ) -> Fate {
        judged.failed.clear();
        judged.passes = true;
        judged.counts.resize(self.rules.len(), Counts::default());
        let counts_by = u64::from(!judged.is_replayed);
        let mut fate = Fate::Kept;
        for (number, rule) in self.rules.iter().enumerate() {
            let counts = &mut judged.counts[number];
            if let Some(when) = &rule.when
                && !when.passes(get, moments)
            {
                counts.skipped += counts_by;
                continue;
            }
            if rule.check.passes(get, moments) {
                counts.passed += counts_by;
                continue;
            }
            counts.failed += counts_by;
            judged.failed.push(number);
            if rule.is_warning {
                continue;
            }
            judged.passes = false;
            fate = match (rule.on_fail, fate) {
                (OnFail::DeadLetter, _) | (_, Fate::Refused) => Fate::Refused,
                (OnFail::Drop, _) => Fate::Dropped,
                (OnFail::Flag, fate) => fate,
            };
        }
        fate
    }

    /// The rules that decided about the last record: those that refuse, of severity error.
    pub(crate) fn deciding(&self, judged: &Judged) -> String {
        let failed = judged.failed.iter().map(|number| &self.rules[*number]);
        let deciding = failed.filter(|rule| !rule.is_warning && rule.on_fail != OnFail::Flag);
        let names: Vec<&str> = deciding.map(|rule| rule.name.as_str()).collect();
        names.join(", ")
    }
}

impl Judged {
    /// The counts of each rule; they begin anew.
    pub(super) fn take_counts(&mut self) -> std::vec::Drain<'_, Counts> {
        self.counts.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Path;
    use crate::decode::json::{Plan, Scanner};
    use crate::rules::{Condition, Operand, Test};

    fn above(path: &str, bound: &str) -> Condition {
        Condition::Field {
            path: path.to_owned(),
            test: Test::Above(Operand::Number(bound.to_owned())),
        }
    }

    fn rule(name: &str, check: Condition, on_fail: OnFail) -> Rule {
        Rule {
            name: name.to_owned(),
            check,
            when: None,
            on_fail,
            is_warning: false,
        }
    }

    fn judge(rules: &[Rule], json: &str, judged: &mut Judged) -> (Fate, String) {
        let mut paths = vec![];
        let ready = ReadyRules::new(rules, None, |path| {
            paths.push(Path::parse(path).map_err(|error| error.to_string())?);
            Ok(paths.len() - 1)
        });
        let ready = ready.unwrap().expect("there are rules");
        let mut scanner = Scanner::new(Plan::new(&paths));
        let fields = scanner.scan(Some(json.as_bytes())).unwrap();
        let moments = Moments {
            now_ms: 0,
            unit: None,
            texts: None,
        };
        let fate = ready.judge(&|slot| fields.get(slot), moments, judged);
        (fate, ready.deciding(judged))
    }

    #[test]
    fn a_dead_letter_wins_over_a_drop_and_all_rules_are_counted() {
        let rules = [
            rule("flagged", above("$.a", "0"), OnFail::Flag),
            rule("dropped", above("$.a", "1"), OnFail::Drop),
            rule("refused", above("$.a", "2"), OnFail::DeadLetter),
            rule("dropped_too", above("$.a", "1"), OnFail::Drop),
        ];
        let mut judged = Judged::default();
        for (json, fate, deciding, passes) in [
            (r#"{"a":3}"#, Fate::Kept, "", true),
            (r#"{"a":2}"#, Fate::Refused, "refused", false),
            (
                r#"{"a":0}"#,
                Fate::Refused,
                "dropped, refused, dropped_too",
                false,
            ),
        ] {
            let (found, names) = judge(&rules, json, &mut judged);
            assert_eq!(
                (found, names.as_str(), judged.passes),
                (fate, deciding, passes),
                "{json}"
            );
        }
        let (found, _) = judge(&rules[..2], r#"{"a":1}"#, &mut Judged::default());
        assert_eq!(found, Fate::Dropped);
        let counts: Vec<(u64, u64)> = judged.take_counts().map(|c| (c.passed, c.failed)).collect();
        assert_eq!(counts, [(2, 1), (2, 1), (1, 2), (2, 1)]);
        assert_eq!(judged.take_counts().count(), 0);
    }

    #[test]
    fn a_warning_is_flagged_and_leaves_the_record_and_its_passing() {
        let mut warning = rule("low", above("$.a", "0"), OnFail::DeadLetter);
        warning.is_warning = true;
        let mut judged = Judged::default();
        let (fate, deciding) = judge(&[warning], r#"{"a":-1}"#, &mut judged);
        assert_eq!((fate, deciding.as_str()), (Fate::Kept, ""));
        assert!(judged.passes);
        assert_eq!(judged.failed, [0]);
    }

    #[test]
    fn a_rule_asks_only_records_that_its_condition_holds_for_and_replayed_ones_count_nothing() {
        let mut asked = rule("asked", above("$.a", "0"), OnFail::Drop);
        asked.when = Some(above("$.b", "0"));
        let rules = [asked];
        let mut judged = Judged::default();
        assert_eq!(
            judge(&rules, r#"{"a":-1,"b":0}"#, &mut judged).0,
            Fate::Kept
        );
        assert_eq!(judge(&rules, r#"{"a":-1}"#, &mut judged).0, Fate::Kept);
        assert_eq!(
            judge(&rules, r#"{"a":-1,"b":1}"#, &mut judged).0,
            Fate::Dropped
        );
        judged.is_replayed = true;
        assert_eq!(
            judge(&rules, r#"{"a":-1,"b":1}"#, &mut judged).0,
            Fate::Dropped
        );
        let expected = Counts {
            passed: 0,
            failed: 1,
            skipped: 2,
        };
        assert_eq!(judged.take_counts().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn without_rules_nothing_is_made() {
        assert!(ReadyRules::new(&[], None, |_| Ok(0)).unwrap().is_none());
    }
}
