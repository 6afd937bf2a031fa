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
/// The version behind the name of the format: two digits.
const VERSION_AT: usize = 6;
const CHECKSUM_AT: usize = MAGIC.len();
const LENGTH_AT: usize = CHECKSUM_AT + 32;
const LABEL_AT: usize = LENGTH_AT + size_of::<u32>();

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    topic: String,
    partition: i32,
    topic_id: String,
    fingerprint: String,
    offset: i64,
}

/// A snapshot whose checksum is still to be computed, which takes a while for a large state.
#[derive(Debug)]
pub(crate) struct Unsealed(Vec<u8>);

/// Why a snapshot is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    #[error("a later version has written it")]
    Later,
    #[error("it belongs to another {0}")]
    Foreign(&'static str),
}

impl Label {
    /// The rules by which the state came about.
    pub(crate) fn rules(&self) -> &str {
        &self.fingerprint
    }

    /// `fingerprint`: the rules by which the state came about. `offset`: the first one that the
    /// state has not seen.
    pub(crate) fn new(
        partition: &TopicPartition,
        topic_id: &str,
        fingerprint: &str,
        offset: i64,
    ) -> Self {
        Label {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            topic_id: topic_id.to_owned(),
            fingerprint: fingerprint.to_owned(),
            offset,
        }
    }

    /// Labels the state that `save` appends.
    pub(crate) fn put_on(&self, save: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Unsealed {
        let label = postcard::to_stdvec(self).expect("plain values are encodable");
        let length = u32::try_from(label.len()).expect("names are short");
        let mut bytes = MAGIC.to_vec();
        bytes.resize(LENGTH_AT, 0);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&label);
        Unsealed(save(bytes))
    }

    /// Whether it tells of this partition of this very topic, under these rules, up to `offset`.
    ///
    /// # Errors
    /// What it belongs to instead.
    pub(crate) fn check(&self, wanted: &Label) -> Result<(), Refused> {
        let place = |label: &Label| (label.topic.clone(), label.partition, label.offset);
        if place(self) != place(wanted) {
            return Err(Refused::Foreign("partition or offset"));
        }
        // Brokers that do not tell a topic's id leave "-".
        let known = |id: &str| id != "-";
        let ids = (&self.topic_id, &wanted.topic_id);
        if known(ids.0) && known(ids.1) && ids.0 != ids.1 {
            return Err(Refused::Foreign("topic of the same name"));
        }
        if self.fingerprint != wanted.fingerprint {
            return Err(Refused::Foreign("configuration of the same pipeline"));
        }
        Ok(())
    }
}

impl Unsealed {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The snapshot as it is stored.
    pub(crate) fn seal(mut self) -> Vec<u8> {
        let checksum = Sha256::digest(&self.0[LENGTH_AT..]);
        self.0[CHECKSUM_AT..LENGTH_AT].copy_from_slice(&checksum);
        self.0
    }
}

/// Label and state of a snapshot that is whole.
///
/// # Errors
/// Torn, altered or of another format.
pub(crate) fn open(bytes: &[u8]) -> Result<(Label, &[u8]), Refused> {
    let damaged = Refused::Damaged;
    let head = bytes.get(..LABEL_AT).ok_or(damaged("it is cut short"))?;
    if is_later(&head[..CHECKSUM_AT]) {
        return Err(Refused::Later);
    }
    if head[..CHECKSUM_AT] != *MAGIC {
        return Err(damaged("its format is not known"));
    }
    if Sha256::digest(&bytes[LENGTH_AT..])[..] != head[CHECKSUM_AT..LENGTH_AT] {
        return Err(damaged("its checksum does not match"));
    }
    let length = head[LENGTH_AT..].try_into().expect("four bytes");
    let (label, state) = bytes[LABEL_AT..]
        .split_at_checked(u32::from_le_bytes(length) as usize)
        .ok_or(damaged("its label is cut short"))?;
    let label = postcard::from_bytes(label).map_err(|_| damaged("its label is not readable"))?;
    Ok((label, state))
}

/// Whether this is our format in a version that is not known yet.
fn is_later(magic: &[u8]) -> bool {
    let (name, version) = magic.split_at(VERSION_AT);
    let (own, known) = MAGIC.split_at(VERSION_AT);
    name == own && version.iter().all(u8::is_ascii_digit) && version > known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(number: i32, topic_id: &str, fingerprint: &str, offset: i64) -> Label {
        let partition = TopicPartition {
            topic: "clicks".into(),
            partition: number,
        };
        Label::new(&partition, topic_id, fingerprint, offset)
    }

    fn snapshot() -> Vec<u8> {
        let append = |mut bytes: Vec<u8>| {
            bytes.extend_from_slice(b"state");
            bytes
        };
        label(3, "idA", "rules", 1234).put_on(append).seal()
    }

    #[test]
    fn what_was_written_is_read() {
        let snapshot = snapshot();
        let (read, state) = open(&snapshot).unwrap();
        assert_eq!(
            (read, state),
            (label(3, "idA", "rules", 1234), &b"state"[..])
        );
    }

    #[test]
    fn torn_and_altered_snapshots_are_noticed_wherever_it_happened() {
        let whole = snapshot();
        for cut in 0..whole.len() {
            assert!(open(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            assert!(open(&altered).is_err(), "altered at {at}");
        }
    }

    #[test]
    fn a_snapshot_of_a_later_version_is_not_taken_for_a_damaged_one() {
        let refusal = |magic: &[u8; 8]| {
            let mut other = snapshot();
            other[..8].copy_from_slice(magic);
            open(&other).map(drop).unwrap_err()
        };
        assert_eq!(refusal(b"SWSNAP02"), Refused::Later);
        assert_eq!(refusal(b"SWSNAP10"), Refused::Later);
        for magic in [b"SWSNAP00", b"SWSNAP0x", b"SWSHOT02"] {
            assert!(matches!(refusal(magic), Refused::Damaged(_)), "{magic:?}");
        }
    }

    #[test]
    fn another_partition_offset_topic_or_configuration_is_refused() {
        let found = label(3, "idA", "rules", 1234);
        assert_eq!(found.check(&label(3, "idA", "rules", 1234)), Ok(()));
        assert_eq!(found.check(&label(3, "-", "rules", 1234)), Ok(()));
        for other in [
            label(4, "idA", "rules", 1234),
            label(3, "idB", "rules", 1234),
            label(3, "idA", "other rules", 1234),
            label(3, "idA", "rules", 1235),
        ] {
            assert!(found.check(&other).is_err(), "{other:?}");
        }
    }
}
