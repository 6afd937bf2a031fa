//! What rows were when their keys changed, for those who make the rows under the new keys.
//!
//! A change of a key is told by two records, on partitions that may be read at different times and by
//! different members: the delete under the old key and the create under the new one, which leaves out the
//! large values that stay. Whoever writes the delete writes down the values of the row that it ends, under
//! both keys and the change's position in the source's log, before anything that follows in the partition
//! is written. So whatever comes to the old key later, the create finds what it has been: in the memory of
//! this process ([`MovedRows`]) or in a table beside the replicas ([`MovedTable`]).

mod memory;
mod table;
mod told;

pub(super) use memory::{MovedRow, MovedRows};
pub(super) use table::MovedTable;
pub(super) use told::{LookedUp, ToldRow};
