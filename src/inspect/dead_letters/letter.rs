//! A dead letter as it lies in its topic, and which ones are meant.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use crate::source::{Record, TopicPartition};

const PREFIX: &str = "streamweir-";

/// `topic:partition:offset` of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// No address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no record: write topic:partition:offset, such as user-events:0:1234")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let read = || {
            let (rest, offset) = text.rsplit_once(':')?;
            let (topic, partition) = rest.rsplit_once(':')?;
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            (!topic.is_empty() && digits(partition) && digits(offset)).then_some(())?;
            Some(Address {
                topic: topic.to_owned(),
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        };
        read().ok_or_else(|| AddressError(text.to_owned()))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

/// The original record and why it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) pipeline: String,
    pub(crate) stage: String,
    pub(crate) reason: String,
    pub(crate) detail: String,
    /// Of the record.
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// Of the record.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    /// Kafka's id of the topic, where the letter names it.
    pub(crate) topic_id: Option<String>,
    /// The topic of this name is another one now.
    pub(crate) is_of_before: bool,
    /// Of the configuration that refused it.
    pub(crate) config_id: String,
    /// `masked` or `omitted`: the value is not that of the record.
    pub(crate) payload: Option<String>,
}

impl Letter {
    /// `None`: another program wrote it.
    pub(crate) fn read(record: Record<'_>) -> Option<Self> {
        let mut letter = Letter::of_headers(record.headers(), record.timestamp_ms())?;
        letter.key = record.key().map(<[u8]>::to_vec);
        letter.value = record.value().map(<[u8]>::to_vec);
        Some(letter)
    }

    /// Ours stand behind those of the record, which may have some of the same names.
    fn of_headers(mut headers: Vec<(String, Option<Vec<u8>>)>, timestamp_ms: i64) -> Option<Self> {
        let mut take = |name: &str| {
            let is_it =
                |(own, _): &(String, Option<Vec<u8>>)| own.strip_prefix(PREFIX) == Some(name);
            headers
                .pop_if(|header| is_it(header))
                .map(|(_, value)| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned())
        };
        let payload = take("payload");
        let own_timestamp = take("timestamp");
        let topic_id = take("topic-id");
        let config_id = take("config")?;
        let detail = take("detail")?;
        let reason = take("reason")?;
        let stage = take("stage")?;
        let pipeline = take("pipeline")?;
        let offset = take("offset")?.parse().ok()?;
        let partition = take("partition")?.parse().ok()?;
        let topic: Arc<str> = take("topic")?.into();
        let own_timestamp = own_timestamp.and_then(|text| text.parse().ok());
        Some(Letter {
            partition: TopicPartition { topic, partition },
            offset,
            pipeline,
            stage,
            reason,
            detail,
            timestamp_ms: own_timestamp.unwrap_or(timestamp_ms),
            key: None,
            value: None,
            headers,
            topic_id,
            is_of_before: false,
            config_id,
            payload,
        })
    }

    /// What it takes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        let of = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + of(value)).sum();
        of(&self.key) + of(&self.value) + headers + self.detail.len()
    }

    pub(crate) fn address(&self) -> Address {
        Address {
            topic: self.partition.topic.to_string(),
            partition: self.partition.partition,
            offset: self.offset,
        }
    }
}

/// Which letters are meant; what is empty leaves nothing out.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Names of pipelines.
    pub pipelines: BTreeSet<String>,
    /// Words of the closed list.
    pub reasons: BTreeSet<String>,
    /// `decode`, `operate`, `encode` or `write`.
    pub stages: BTreeSet<String>,
    /// Topics of the records.
    pub topics: BTreeSet<String>,
    /// Records of this time or later, epoch milliseconds.
    pub since_ms: Option<i64>,
    /// Records before this time.
    pub until_ms: Option<i64>,
    /// These records.
    pub addresses: BTreeSet<Address>,
    /// The first so many.
    pub limit: Option<u64>,
}

impl Selection {
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        let among = |set: &BTreeSet<String>, text: &str| set.is_empty() || set.contains(text);
        among(&self.pipelines, &letter.pipeline)
            && among(&self.reasons, &letter.reason)
            && among(&self.stages, &letter.stage)
            && among(&self.topics, &letter.partition.topic)
            && self
                .since_ms
                .is_none_or(|since| letter.timestamp_ms >= since)
            && self
                .until_ms
                .is_none_or(|until| letter.timestamp_ms < until)
            && (self.addresses.is_empty() || self.addresses.contains(&letter.address()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(more: &[(&str, &str)]) -> Vec<(String, Option<Vec<u8>>)> {
        let own = [
            ("trace", "1"),
            ("streamweir-reason", "of an earlier letter"),
            ("streamweir-topic", "clicks"),
            ("streamweir-partition", "3"),
            ("streamweir-offset", "17"),
            ("streamweir-pipeline", "p"),
            ("streamweir-stage", "decode"),
            ("streamweir-reason", "invalid_json"),
            ("streamweir-detail", "at byte 5"),
            ("streamweir-config", "0123456789ab"),
        ];
        let all = own.iter().chain(more);
        all.map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())))
            .collect()
    }

    fn letter() -> Letter {
        Letter::of_headers(headers(&[]), 1_000).expect("a letter")
    }

    #[test]
    fn a_letter_is_the_record_and_what_was_added_behind_its_headers() {
        let read = letter();
        assert_eq!(read.address().to_string(), "clicks:3:17");
        assert_eq!(
            (&*read.reason, &*read.stage, read.timestamp_ms),
            ("invalid_json", "decode", 1_000)
        );
        let names: Vec<&str> = read.headers.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["trace", "streamweir-reason"]);
        assert_eq!((&*read.config_id, read.topic_id), ("0123456789ab", None));
        let dated = Letter::of_headers(headers(&[("streamweir-timestamp", "77")]), 1_000);
        assert_eq!(dated.expect("a letter").timestamp_ms, 77);
        let id = [
            ("streamweir-topic-id", "idA"),
            ("streamweir-timestamp", "77"),
        ];
        let masked = Letter::of_headers(headers(&[("streamweir-payload", "masked")]), 1_000);
        let masked = masked.expect("a letter");
        assert_eq!(masked.payload.as_deref(), Some("masked"));
        assert_eq!(masked.address(), letter().address());
        for more in [&id[..1], &id[..]] {
            let named = Letter::of_headers(headers(more), 1_000).expect("a letter");
            assert_eq!(named.topic_id.as_deref(), Some("idA"));
        }
    }

    #[test]
    fn a_letter_is_as_large_as_its_record() {
        let mut read = letter();
        let before = read.bytes();
        read.key = Some(vec![0; 10]);
        read.value = Some(vec![0; 1 << 20]);
        read.headers.push(("trace".to_owned(), Some(vec![0; 100])));
        assert_eq!(read.bytes() - before, 10 + (1 << 20) + 105);
    }

    #[test]
    fn what_another_program_wrote_is_no_letter() {
        assert_eq!(Letter::of_headers(vec![], 0), None);
        let mut without = headers(&[]);
        without.remove(4);
        assert_eq!(Letter::of_headers(without, 0), None);
        assert_eq!(Letter::of_headers(headers(&[("other", "x")]), 0), None);
    }

    #[test]
    fn an_address_is_topic_partition_and_offset() {
        let address: Address = "a.b:0:12".parse().unwrap();
        assert_eq!(
            (&*address.topic, address.partition, address.offset),
            ("a.b", 0, 12)
        );
        for text in [
            "",
            "a",
            "a:1",
            ":1:2",
            "a:x:1",
            "a:1:-1",
            "a:1:",
            "a:99999999999:1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_selection_takes_what_fits_all_of_it() {
        let set = |text: &str| BTreeSet::from([text.to_owned()]);
        let takes = |selection: Selection| selection.takes(&letter());
        assert!(takes(Selection::default()));
        assert!(takes(Selection {
            pipelines: set("p"),
            reasons: set("invalid_json"),
            stages: set("decode"),
            topics: set("clicks"),
            since_ms: Some(1_000),
            until_ms: Some(1_001),
            addresses: BTreeSet::from(["clicks:3:17".parse().unwrap()]),
            limit: None,
        }));
        let others = [
            Selection {
                pipelines: set("q"),
                ..Selection::default()
            },
            Selection {
                reasons: set("late"),
                ..Selection::default()
            },
            Selection {
                stages: set("write"),
                ..Selection::default()
            },
            Selection {
                topics: set("views"),
                ..Selection::default()
            },
            Selection {
                since_ms: Some(1_001),
                ..Selection::default()
            },
            Selection {
                until_ms: Some(1_000),
                ..Selection::default()
            },
            Selection {
                addresses: BTreeSet::from(["clicks:3:18".parse().unwrap()]),
                ..Selection::default()
            },
        ];
        for selection in others {
            assert!(!takes(selection.clone()), "{selection:?}");
        }
    }
}
