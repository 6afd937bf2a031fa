//! streamweir: Kafka streams into ClickHouse, exactly once, from one small binary.
//!
//! The map, in the order in which data flows; `docs/ARCHITECTURE.md` follows one record through it.
//! [`decode`], [`mod@format`], [`table`], [`debezium`] and [`replica`] are modules of the crate
//! `streamweir-codec`; `operator`, `progress`, `halt` and `life` are modules of `streamweir-core`; librdkafka is called by
//! `streamweir-kafka`.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | parses the command line and prints |
//! | [`config`] | reads and checks the file |
//! | [`daemon`] | starts the supervisor and HTTP, owns signals and the shutdown |
//! | `supervisor` | starts, pauses, drains and stops pipelines while the process runs |
//! | `pipeline` | one kind a file: brings source, operators and sink together |
//! | `source` | Kafka: records in chunks, rebalances and commits as events |
//! | `lane` | the loop: poll → judge → look up → batch → cut → name → write → settle → commit |
//! | [`decode`] | bytes → values: strict JSON, times, decimals |
//! | [`mod@format`] | readers of records: JSON, text |
//! | `operator` | decisions about records: sessions, watermarks |
//! | `lookup` | profiles from Redis, cached |
//! | `registry` | schemas from a schema registry, cached |
//! | [`table`] | columns, types and their RowBinary encoding |
//! | [`debezium`], [`replica`] | change records of databases, and their tables |
//! | `target` | a table as batches and statements need it; compressed frames |
//! | `batch` | rows on their way to one insert |
//! | `sink` | ClickHouse and the dead-letter topic; the table of errors |
//! | `state` | snapshots of what operators remember |
//! | `progress` | ranges, claims, receipts, ledger: what may be committed |
//! | `limits` | how fast the lanes of a pipeline read |
//! | `watermark_table` | named watermarks, written to a table |
//! | `lag` | ends of partitions, asked beside the lanes |
//! | [`observe`] | metrics, status board, logs |
//! | [`http`] | metrics, health, status page, state as JSON |
//! | [`inspect`] | commands that look at live systems beside a running daemon |

mod batch;
mod causes;
pub mod cli;
mod clock;
pub mod config;
mod crash;
pub mod daemon;
#[doc(hidden)]
pub mod drive;
pub mod exit;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod inspect;
mod lag;
mod lane;
mod limits;
mod lookup;
mod memory;
mod message;
pub mod observe;
mod pipeline;
mod registry;
pub mod schema;
mod service_manager;
mod sink;
mod source;
mod state;
mod supervisor;
mod target;
pub mod topics;
mod watermark_table;

use streamweir_codec::rules;
pub use streamweir_codec::{debezium, decode, format, native, replica, steps, table};
use streamweir_core::{halt, life, operator, progress};

pub use crash::{CRASH_POINTS, JOIN_CRASH_POINTS, REPLICA_CRASH_POINTS, WINDOW_CRASH_POINTS};
pub use pipeline::Until;
#[doc(hidden)]
pub use source::joined_keys_advice;
