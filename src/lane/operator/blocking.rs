//! Work that a partition waits for.

use futures_util::future::BoxFuture;

use crate::halt::Halt;

/// Work that has to be done before the next record of a partition can be judged. A task of its own does it
/// and waits as long as it must. The partition is not read meanwhile; the others are.
pub(crate) struct BlockingTask {
    /// For people.
    pub(crate) what: String,
    /// What has to happen first.
    pub(crate) after: After,
    /// The operator finds what the task has found out where both keep it.
    pub(crate) task: BoxFuture<'static, Result<(), Halt>>,
}

/// What must be done with the records before the one that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    Writes,
    /// They are written and committed: nobody reads them again.
    Commit,
}

impl std::fmt::Debug for BlockingTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockingTask")
            .field("what", &self.what)
            .finish()
    }
}
