//! Profiles from Redis: a bounded cache in the lane, one round trip for the misses of a chunk.

mod breaker;
mod cache;
mod connections;
mod redis;

pub(crate) use breaker::Breaker;
pub(crate) use cache::{ProfileCache, SlotId};
pub(crate) use connections::Connections;
pub(crate) use redis::{Found, LookupError, ProfileReader, Source, refuses_user, said};
