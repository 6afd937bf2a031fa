//! Rows of which the newest version counts.

use std::pin::Pin;
use std::sync::Arc;

use crate::halt::Halt;
use crate::sink::Target;

/// Rows have versions, made of an epoch and of the record's place in its partition. A record that is read
/// again makes the same version, and does no harm.
pub(crate) trait Versions {
    /// The highest of the epochs that versions are of.
    fn highest_epoch(&self) -> u16;

    /// Looks for the table of a topic.
    fn find_table(&self, topic: &str) -> Finding;

    /// What the configuration says of the table of a topic.
    fn table_rules(&self, topic: &str) -> TableRules;

    /// A topic has this many partitions. Called before one of them begins.
    fn note_partitions(&self, topic: &str, count: usize);
}

/// What the configuration says of the table of a topic.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TableRules {
    /// The table may be empty although the topic was read before.
    pub(crate) accepts_empty: bool,
    /// Rows of other topics are in it too.
    pub(crate) is_shared: bool,
}

/// A look for a table: the table if it exists, or why it is not known.
pub(crate) type Finding =
    Pin<Box<dyn Future<Output = Result<Option<Arc<Target>>, NotFound>> + Send>>;

/// Why a table was not found.
#[derive(Debug)]
pub(crate) enum NotFound {
    /// The server cannot be asked now.
    Later(String),
    Never(Halt),
}

impl From<Halt> for NotFound {
    fn from(halt: Halt) -> Self {
        NotFound::Never(halt)
    }
}
