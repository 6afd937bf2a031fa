//! Where rows and dead letters become durable. Receipts are minted here and nowhere else.
//!
//! [`write`](mod@write) takes one range through dead letters, rows and messages; [`destination`] is what a
//! table and a topic have in common, with the contract that exactly-once needs; [`errors`] is
//! the one table that says which answer is retried, which refuses a record and which halts;
//! [`refusals`] judges answers that the table does not know.

mod altered;
mod answer;
mod clickhouse;
mod column_comments;
mod connect;
mod dead_letter;
mod deduplication;
mod destination;
mod doubts;
mod errors;
mod gaps;
mod insert;
mod inspection;
mod job;
mod looks;
mod membership;
mod moved;
mod off_io;
mod output;
mod permits;
mod post;
mod questions;
mod refusals;
mod refused;
mod replication;
mod server_settings;
mod servers;
mod several_tables;
mod shared;
mod table;
mod tables;
mod topic;
mod transaction;
mod turns;
mod write;

pub(crate) use altered::differences;
pub(crate) use clickhouse::ClickHouseClient;
pub(crate) use dead_letter::{DeadLetterProducer, create_output_topic, create_topic};
pub(crate) use deduplication::{remembers_tokens, settings as table_settings};
pub(crate) use errors::{InsertError, Remedy};
pub(crate) use insert::token;
pub(crate) use inspection::{NewestRow, RowCounts};
pub(crate) use membership::Membership;
pub(crate) use output::{OutputProducer, membership_lasts};
pub(crate) use questions::{PlainClient, TextRow};
pub(crate) use refused::refused;
pub(crate) use several_tables::{identity, query_of_identity, several_tables};
pub(crate) use streamweir_core::backoff::Backoff;
pub(crate) use streamweir_kafka::{Transaction, TransactionSettings};
pub(crate) use transaction::{TransactionEnd, TransactionNews, Transactions};

pub(crate) use crate::message::{DeadLetter, OutputMessage, Stage};
pub(crate) use crate::target::{
    ColumnInfo, RowFormat, TableColumns, TableInfo, Target, quote_name, quote_text,
};
pub(crate) use job::{Delivery, Outcome, Trouble, WriteJob};
pub(crate) use shared::{RowMaker, Sink, SinkParts};
pub(crate) use write::write;
