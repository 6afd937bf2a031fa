//! Commands that look at live systems beside a running daemon: they join no group, and stream in
//! bounded memory.
//!
//! | module | what it does |
//! |---|---|
//! | [`doctor`] | `streamweir doctor` |

pub mod doctor;
