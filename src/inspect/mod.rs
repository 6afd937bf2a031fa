//! Commands that look at live systems beside a running daemon: they join no group, and stream in
//! bounded memory.
//!
//! | module | what it does |
//! |---|---|
//! | [`doctor`] | `streamweir doctor` |
//! | [`explain`] | `streamweir explain` |
//! | `row_query` | rows that were made here, as a query |

pub mod doctor;
pub mod explain;
mod row_query;
