//! `[topics."name"]`: what a topic of the cluster is to be like, for `streamweir topics`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::quantity::{Integer, Size, Span};
use super::section::Section;
use super::topics::{TOPIC, is_topic};
use super::tree::Value;
use super::value::{Choice, Kind, Scalar, text_of};

/// One `[topics."name"]`. Only what is declared is compared with the cluster, and changed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTopic {
    /// Its name.
    pub name: String,
    /// 1 to 10,000.
    pub partitions: i32,
    /// Copies of each partition, 1 to 15; none: the broker's own for a topic that is made, any for one
    /// that is there.
    pub replication: Option<i32>,
    /// Topic properties as Kafka names them.
    pub properties: BTreeMap<String, String>,
}

/// Properties that have a key of their own, and that key.
const OWN_KEYS: [(&str, &str); 4] = [
    ("retention.ms", "retention"),
    ("retention.bytes", "retention_bytes"),
    ("cleanup.policy", "cleanup"),
    ("min.insync.replicas", "min_insync_replicas"),
];

/// How long records are kept: a duration, or none for ever.
struct Retention;

impl Retention {
    /// 100 years of 365 days: more milliseconds than that are a mistake.
    const SPAN: Span = Span::secs(1, 36_500 * 86_400);
}

impl Kind for Retention {
    type Out = Option<Duration>;

    fn allowed(&self) -> String {
        format!("{}, or \"forever\"", Retention::SPAN.allowed())
    }

    fn read(&self, value: &Value) -> Option<Option<Duration>> {
        match text_of(value)?.trim() {
            "forever" => Some(None),
            _ => Retention::SPAN.read(value).map(Some),
        }
    }

    fn canonical(&self, out: &Option<Duration>) -> String {
        let span = |duration| Retention::SPAN.canonical(duration);
        out.as_ref().map_or("forever".to_owned(), span)
    }
}

/// Reads `[topics]`, sorted by name.
pub(super) fn read(mut section: Section<'_>) -> Vec<DeclaredTopic> {
    let mut topics = vec![];
    for name in section.keys() {
        let Some(entry) = section.section_if_present(&name) else {
            continue;
        };
        if !is_topic(&name) {
            let message = format!("must be {}: names with dots stand in quotes", TOPIC.allowed);
            section.problem(&name, message);
        }
        topics.push(DeclaredTopic::read(name, entry));
    }
    section.finish();
    topics
}

impl DeclaredTopic {
    fn read(name: String, mut section: Section<'_>) -> DeclaredTopic {
        let partitions = Integer {
            min: 1,
            max: 10_000,
            unit: "partitions",
        };
        let copies = || Integer {
            min: 1,
            max: 15,
            unit: "replicas",
        };
        // librdkafka and Kafka take these numbers as 32-bit integers.
        let narrow = |number| i32::try_from(number).expect("at most 10,000");
        let topic = DeclaredTopic {
            name,
            partitions: narrow(section.take_required("partitions", partitions)),
            replication: section.take("replication", copies()).map(narrow),
            properties: read_properties(&mut section, copies()),
        };
        topic.check(&section);
        section.finish();
        topic
    }

    fn check(&self, section: &Section<'_>) {
        let insync = self.properties.get("min.insync.replicas");
        let insync = insync.and_then(|value| value.parse::<i32>().ok());
        if let (Some(insync), Some(replication)) = (insync, self.replication)
            && insync > replication
        {
            let message = format!(
                "must be at most replication ({replication}), is {insync}: no write would ever be \
                 acknowledged"
            );
            section.problem("min_insync_replicas", message);
        }
    }
}

fn read_properties(section: &mut Section<'_>, copies: Integer) -> BTreeMap<String, String> {
    let size = Size {
        min: 1,
        max: 1 << 50,
    };
    let policies = Choice(&[
        ("delete", "delete"),
        ("compact", "compact"),
        ("compact,delete", "compact,delete"),
    ]);
    let retention_ms = |retention: Option<Duration>| match retention {
        Some(retention) => retention.as_millis().to_string(),
        None => "-1".to_owned(),
    };
    let own = [
        section.take("retention", Retention).map(retention_ms),
        section.take("retention_bytes", size).map(|n| n.to_string()),
        section.take("cleanup", policies).map(str::to_owned),
        section
            .take("min_insync_replicas", copies)
            .map(|n| n.to_string()),
    ];
    let mut properties = read_others(section.section("config"));
    for ((property, _), value) in OWN_KEYS.iter().zip(own) {
        properties.extend(value.map(|value| ((*property).to_owned(), value)));
    }
    properties
}

/// `config`: any other property of a topic.
fn read_others(mut section: Section<'_>) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for name in section.keys() {
        let value = section.take(&name, Scalar);
        if let Some((_, own)) = OWN_KEYS.iter().find(|(property, _)| *property == name) {
            section.problem(&name, format!("must not be set here: {own} sets it"));
        }
        let legal = |byte: u8| byte.is_ascii_lowercase() || b"._-".contains(&byte);
        if !name.bytes().all(legal) {
            let message = "must be a property of a topic, such as \"segment.ms\"";
            section.problem(&name, message);
        }
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            section.problem(&name, "must be a value without NUL");
        }
        properties.extend(value.map(|value| (name, value)));
    }
    section.finish();
    properties
}
