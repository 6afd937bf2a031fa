//! What the broker keeps of a commit.

use streamweir_kafka::RDKafkaErrorCode;

use super::Entry;
use crate::progress::Metadata;
use crate::source::Offsets;

/// What of a commit was read back.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Kept {
    AsCommitted,
    /// The same offset, without the text beside it, which is not needed.
    OffsetAlone,
    /// Another member has committed since.
    Later,
    /// The broker keeps no text beside offsets.
    NoMetadata,
    Another,
    /// The broker has refused it, and keeps what was committed before.
    Refused(RDKafkaErrorCode),
}

/// Compares what the broker keeps of a partition with what was committed.
pub(in super::super) fn kept(entry: &Entry, kept: &Offsets, needs_metadata: bool) -> Kept {
    if kept.metadata == entry.commit.metadata {
        return Kept::AsCommitted;
    }
    let theirs = kept
        .position
        .and_then(|p| Metadata::decode(&kept.metadata, p).ok()?);
    if theirs.is_some_and(|m| m.counter > entry.counter) {
        return Kept::Later;
    }
    let is_same_offset = kept.position == Some(entry.commit.position);
    match (kept.metadata.is_empty(), needs_metadata, entry.refusal) {
        (true, false, _) if is_same_offset => Kept::OffsetAlone,
        (_, _, Some(code)) => Kept::Refused(code),
        // Another offset is another program's commit, and none at all that of a topic that is gone.
        (true, true, None) if is_same_offset => Kept::NoMetadata,
        _ => Kept::Another,
    }
}
