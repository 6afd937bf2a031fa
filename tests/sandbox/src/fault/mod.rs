//! A reverse proxy in front of ClickHouse that fails on demand, for tests.
//!
//! A request is taken in whole before anything is decided, so a fault acts on a known statement:
//! [`Proxy::inject`] says which requests ([`Matcher`]) meet which [`Fault`]; all others pass.

mod matcher;
mod proxy;

pub use matcher::{Matcher, SeenRequest};
pub use proxy::{Injection, Proxy};

use std::time::Duration;

/// What happens to a request that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status and body; the server never sees the request. A body that begins
    /// with `Code: N`, and status 200, also get the header a real server would send.
    Reject {
        /// HTTP status.
        status: u16,
        /// Body of the answer.
        body: String,
    },
    /// Answered with 200 and this body, and no header of a real server, which never sees the request.
    Lie {
        /// Body of the answer.
        body: String,
    },
    /// The connection is cut; the server never sees the request.
    Disconnect,
    /// The server does it, then the connection is cut: a lost reply.
    FailAfterWrite,
    /// The server does it; the reply is held until [`Injection::release`].
    HoldResponse,
    /// The request is held until [`Injection::release`] and only then sent to the server, even
    /// if the client has gone by then: a zombie's late insert.
    HoldRequest,
    /// The server does it; the reply comes this much later.
    RespondSlowly {
        /// How much later.
        delay: Duration,
    },
    /// The server gets it twice, one after the other; the second reply is the answer, or the
    /// first where that one is an error.
    Duplicate,
    /// The server gets the head and this many bytes of the body, then its connection is cut, and
    /// so is the client's.
    CutMidBody {
        /// Bytes of the body that arrive.
        bytes: usize,
    },
}

impl Fault {
    /// A rejection as ClickHouse words it.
    pub fn exception(status: u16, code: u32, message: &str) -> Self {
        Self::Reject {
            status,
            body: format!("Code: {code}. DB::Exception: {message}"),
        }
    }
}
