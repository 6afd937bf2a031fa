//! Which topics a pipeline reads.

use super::section::Section;
use super::topic_pattern;
use super::tree::Value;
use super::value::{Kind, List, Text, text_of};

/// One entry of `topics`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicSelector {
    /// A topic.
    Name(String),
    /// Every topic that matches, with the `^` that marks it as a pattern.
    Pattern(String),
}

impl TopicSelector {
    /// As it is written in the configuration.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            TopicSelector::Name(text) | TopicSelector::Pattern(text) => text,
        }
    }

    /// Whether this selector stands for `topic`.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            TopicSelector::Name(name) => name == topic,
            TopicSelector::Pattern(pattern) => {
                regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(topic))
            }
        }
    }

    /// Whether both may stand for one topic. Two different patterns count as overlapping: nothing
    /// short of listing the topics tells.
    pub(super) fn may_overlap(&self, other: &TopicSelector) -> bool {
        match (self, other) {
            (TopicSelector::Name(name), other) | (other, TopicSelector::Name(name)) => {
                other.matches(name)
            }
            (TopicSelector::Pattern(_), TopicSelector::Pattern(_)) => true,
        }
    }

    /// The selector as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            TopicSelector::Name(text) | TopicSelector::Pattern(text) => text,
        }
    }
}

/// Whether Kafka accepts the name: 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', not "." or "..".
pub(super) fn is_topic(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&text.len()) && text.bytes().all(legal) && text != "." && text != ".."
}

pub(super) const TOPIC: Text = Text {
    allowed: "the name of a topic: 1 to 249 characters of a-z, A-Z, 0-9, '.', '_' and '-'",
    check: is_topic,
};

struct Selector;

impl Kind for Selector {
    type Out = TopicSelector;

    fn allowed(&self) -> String {
        "the name of a topic (1 to 249 characters of a-z, A-Z, 0-9, '.', '_' and '-') or a regular \
         expression that begins with '^'"
            .to_owned()
    }

    fn read(&self, value: &Value) -> Option<TopicSelector> {
        let text = text_of(value)?;
        if text.starts_with('^') {
            let compiles = text.len() > 1 && regex::Regex::new(text).is_ok();
            return compiles.then(|| TopicSelector::Pattern(text.to_owned()));
        }
        is_topic(text).then(|| TopicSelector::Name(text.to_owned()))
    }

    fn canonical(&self, out: &TopicSelector) -> String {
        out.as_str().to_owned()
    }
}

/// Reads `topics`, which must be there, each once.
pub(super) fn read(section: &mut Section<'_>) -> Vec<TopicSelector> {
    let mut topics = section.take_required(
        "topics",
        List {
            of: Selector,
            may_be_empty: false,
        },
    );
    for topic in &topics {
        if let TopicSelector::Pattern(pattern) = topic
            && let Some(why) = topic_pattern::difference(pattern)
        {
            let message = format!(
                "{pattern:?} is read otherwise by Kafka's client, which takes POSIX regular expressions, so \
                 that topics would be missing: {why}; both read `.`, `[…]`, `(…|…)`, `*`, `+`, `?`, `{{n,m}}`, \
                 `$` and `\\.` alike"
            );
            section.problem("topics", message);
        }
    }
    let count = topics.len();
    topics.sort();
    topics.dedup();
    if topics.len() < count {
        section.problem("topics", "must name each topic once");
    }
    topics
}
