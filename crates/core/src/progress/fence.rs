//! The mark that a group's commits carry while the table behind it is exchanged: no start gets past it.

/// What stands beside a committed offset while two tables are exchanged: `sw-swap <id> <what stood there>`. No
/// version of [`super::Metadata`] reads it, so a process that begins to read halts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwapFence<'a> {
    /// Which exchange it is: one word.
    pub id: &'a str,
    /// What stood there before.
    pub metadata: &'a str,
}

const BEGINNING: &str = "sw-swap ";

impl<'a> SwapFence<'a> {
    /// The text beside the offset.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{BEGINNING}{} {}", self.id, self.metadata)
    }

    /// The fence that a text is; `None`: it is none.
    #[must_use]
    pub fn decode(text: &'a str) -> Option<Self> {
        let (id, metadata) = text.strip_prefix(BEGINNING)?.split_once(' ')?;
        Some(SwapFence { id, metadata })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{Metadata, MetadataError};

    #[test]
    fn no_start_gets_past_a_fence_and_what_stood_there_comes_back() {
        for metadata in [
            "",
            "sw1 id 0000000000000007 3 db.t 5+6",
            "of another program",
        ] {
            let text = SwapFence { id: "1f", metadata }.encode();
            assert!(
                matches!(Metadata::decode(&text, 10), Err(MetadataError::Unknown(_))),
                "{text}"
            );
            assert_eq!(
                SwapFence::decode(&text),
                Some(SwapFence { id: "1f", metadata })
            );
            assert_eq!(SwapFence::decode(metadata), None);
        }
        assert_eq!(SwapFence::decode("sw-swap 1f"), None);
    }
}
