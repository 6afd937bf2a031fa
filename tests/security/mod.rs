//! Servers that ask who is there: users, passwords, certificates and rights, and that no secret is ever shown.

mod clickhouse;
mod doors;
mod redis;
mod registry;
mod rights;
mod secrets;
