//! One snapshot as bytes.
//!
//! ```text
//! "SWSNAP01"              8 bytes, format and version
//! SHA-256                 32 bytes, of everything behind it
//! length of the label     4 bytes, little endian
//! label                   postcard (a documented, stable encoding)
//! the operator's bytes    to the end
//! ```

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::source::TopicPartition;

const MAGIC: &[u8; 8] = b"SWSNAP01";
const CHECKSUM_AT: usize = MAGIC.len();
const LENGTH_AT: usize = CHECKSUM_AT + 32;
const LABEL_AT: usize = LENGTH_AT + size_of::<u32>();

/// What an operator remembered of one partition when it had seen every record below an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) partition: TopicPartition,
    pub(crate) topic_id: String,
    /// The rules by which the state came about.
    pub(crate) fingerprint: String,
    /// The first offset that the state has not seen.
    pub(crate) offset: i64,
    pub(crate) state: Vec<u8>,
}

/// Why a snapshot is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("it belongs to another {0}")]
    Foreign(&'static str),
}

#[derive(Debug, Serialize, Deserialize)]
struct Label {
    topic: String,
    partition: i32,
    topic_id: String,
    fingerprint: String,
    offset: i64,
}

impl Snapshot {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let label = Label {
            topic: self.partition.topic.to_string(),
            partition: self.partition.partition,
            topic_id: self.topic_id.clone(),
            fingerprint: self.fingerprint.clone(),
            offset: self.offset,
        };
        let label = postcard::to_stdvec(&label).expect("plain values are encodable");
        let length = u32::try_from(label.len()).expect("names are short");
        let mut bytes = Vec::with_capacity(LABEL_AT + label.len() + self.state.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; LENGTH_AT - CHECKSUM_AT]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&label);
        bytes.extend_from_slice(&self.state);
        let checksum = Sha256::digest(&bytes[LENGTH_AT..]);
        bytes[CHECKSUM_AT..LENGTH_AT].copy_from_slice(&checksum);
        bytes
    }

    /// Reads a snapshot that is whole.
    ///
    /// # Errors
    /// Torn, altered or of another format.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Snapshot, Refused> {
        let damaged = Refused::Damaged;
        let head = bytes.get(..LABEL_AT).ok_or(damaged("it is cut short"))?;
        if head[..CHECKSUM_AT] != *MAGIC {
            return Err(damaged("its format is not known"));
        }
        if Sha256::digest(&bytes[LENGTH_AT..])[..] != head[CHECKSUM_AT..LENGTH_AT] {
            return Err(damaged("its checksum does not match"));
        }
        let length = head[LENGTH_AT..].try_into().expect("four bytes");
        let length = u32::from_le_bytes(length) as usize;
        let (label, state) = bytes[LABEL_AT..]
            .split_at_checked(length)
            .ok_or(damaged("its label is cut short"))?;
        let label: Label =
            postcard::from_bytes(label).map_err(|_| damaged("its label is not readable"))?;
        Ok(Snapshot {
            partition: TopicPartition {
                topic: label.topic.into(),
                partition: label.partition,
            },
            topic_id: label.topic_id,
            fingerprint: label.fingerprint,
            offset: label.offset,
            state: state.to_vec(),
        })
    }

    /// Whether it tells of this partition of this very topic, under these rules.
    ///
    /// # Errors
    /// What it belongs to instead.
    pub(crate) fn check(
        &self,
        partition: &TopicPartition,
        topic_id: &str,
        fingerprint: &str,
    ) -> Result<(), Refused> {
        if self.partition != *partition {
            return Err(Refused::Foreign("partition"));
        }
        // Brokers that do not tell a topic's id leave "-".
        let known = |id: &str| id != "-";
        if known(&self.topic_id) && known(topic_id) && self.topic_id != topic_id {
            return Err(Refused::Foreign("topic of the same name"));
        }
        if self.fingerprint != fingerprint {
            return Err(Refused::Foreign("configuration of the same pipeline"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            partition: TopicPartition {
                topic: "clicks".into(),
                partition: 3,
            },
            topic_id: "idA".into(),
            fingerprint: "rules".into(),
            offset: 1234,
            state: vec![1, 2, 3],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Snapshot::decode(&snapshot().encode()).unwrap(), snapshot());
    }

    #[test]
    fn torn_and_altered_snapshots_are_noticed_wherever_it_happened() {
        let whole = snapshot().encode();
        for cut in 0..whole.len() {
            assert!(Snapshot::decode(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            assert!(Snapshot::decode(&altered).is_err(), "altered at {at}");
        }
    }

    #[test]
    fn another_partition_topic_or_configuration_is_refused() {
        let snapshot = snapshot();
        let here = snapshot.partition.clone();
        let check = |partition, id, rules| snapshot.check(partition, id, rules);
        assert_eq!(check(&here, "idA", "rules"), Ok(()));
        assert_eq!(check(&here, "-", "rules"), Ok(()));
        let elsewhere = TopicPartition {
            partition: 4,
            ..here.clone()
        };
        assert!(check(&elsewhere, "idA", "rules").is_err());
        assert!(check(&here, "idB", "rules").is_err());
        assert!(check(&here, "idA", "other rules").is_err());
    }
}
