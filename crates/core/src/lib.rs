//! What may be committed, and decisions about records: pure values, which know neither Kafka nor
//! ClickHouse and ask no clock. Times come in as arguments.
//!
//! | module | what it does |
//! |---|---|
//! | [`progress`] | ranges, claims, receipts, the ledger, commit metadata, the order of attempts, and the model that explores them |
//! | [`operator`] | sessions, watermarks, windows and joins |
//! | [`backoff`] | how long to wait between two attempts |
//! | [`halt`] | why a pipeline stops to protect data |
//! | [`rate`] | how much may be read a second |
//! | [`life`] | the states of a pipeline and the moves between them |

#![forbid(unsafe_code)]

pub mod backoff;
pub mod halt;
pub mod life;
pub mod operator;
pub mod progress;
pub mod rate;
