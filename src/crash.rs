//! Named crash points: with the feature `failpoints` a test can have the process kill itself there.
//!
//! `FAILPOINTS="after_poll=3*off->return"` dies the fourth time the lane passes `after_poll`. In a
//! release build the points are nothing at all.

/// Dies by SIGKILL when the environment asks for it, as a machine that loses power would.
macro_rules! crash_point {
    ($name:literal) => {
        fail::fail_point!($name, |_| $crate::crash::die($name));
    };
}
pub(crate) use crash_point;

/// Every crash point that the kind `enrichment` meets, in the order a record meets them.
pub const CRASH_POINTS: [&str; 17] = [
    "before_restore",
    "after_assign",
    "during_replay",
    "after_poll",
    "after_seal",
    "after_naming_commit",
    "before_insert",
    "during_insert",
    "after_insert_acknowledged",
    "before_commit",
    "after_commit",
    "before_snapshot",
    "during_snapshot",
    "after_snapshot",
    "before_revoke",
    "after_revoke",
    "before_leave",
];

/// Crash points that only the kind `cdc` meets, in the same order.
pub const REPLICA_CRASH_POINTS: [&str; 9] = [
    "before_create_table",
    "after_create_table",
    "before_alter",
    "after_alter",
    "before_gapped_rows",
    "after_moved_rows",
    "after_gapped_rows",
    "before_truncation",
    "after_truncation",
];

/// Crash points that the kind `aggregation` meets, in the same order: `before_emission` and
/// `after_emission` are its alone.
pub const WINDOW_CRASH_POINTS: [&str; 13] = [
    "after_assign",
    "after_poll",
    "after_seal",
    "before_emission",
    "before_insert",
    "during_insert",
    "after_insert_acknowledged",
    "after_emission",
    "before_commit",
    "after_commit",
    "before_revoke",
    "after_revoke",
    "before_leave",
];

/// Crash points that the kind `stream_join` meets, in the same order; those with `transaction` in their
/// name are its alone.
pub const JOIN_CRASH_POINTS: [&str; 10] = [
    "after_assign",
    "after_poll",
    "after_seal",
    "before_transaction",
    "in_transaction",
    "before_transaction_commit",
    "after_transaction_commit",
    "before_revoke",
    "after_revoke",
    "before_leave",
];

/// Reads `FAILPOINTS`; without this call no point is armed.
pub(crate) fn arm() {
    // Its drop would disarm the points, and they are meant for the whole life of the process.
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
}

/// Guarantees that `make soak` breaks on purpose, to see that its proof notices.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Guarantee {
    /// An insert carries the token of its range.
    Token,
    /// A range is settled by the acknowledgement of its rows, not before.
    Acknowledgement,
    /// A range that a predecessor named is cut where it was cut.
    Cut,
    /// The version of a row is the place of its record.
    Version,
    /// Rows that need values of earlier ones wait until these are written.
    Order,
    /// A commit stays before the records of open windows.
    CommitPoint,
    /// What goes to a topic is sent by a member of the group alone.
    Membership,
    /// Messages become visible together with the offsets behind them.
    Transaction,
}

/// Whether the environment asks to do without; in a release build never.
pub(crate) fn is_broken(guarantee: Guarantee) -> bool {
    #[cfg(feature = "failpoints")]
    {
        let point = match guarantee {
            Guarantee::Token => "break_token",
            Guarantee::Acknowledgement => "break_acknowledgement",
            Guarantee::Cut => "break_cut",
            Guarantee::Version => "break_version",
            Guarantee::Order => "break_order",
            Guarantee::CommitPoint => "break_commit_point",
            Guarantee::Membership => "break_membership",
            Guarantee::Transaction => "break_transaction",
        };
        fail::fail_point!(point, |_| true);
    }
    let _ = guarantee;
    false
}

#[cfg(feature = "failpoints")]
pub(crate) fn die(name: &str) -> ! {
    eprintln!("crash point {name}");
    // SAFETY: kills this very process; nothing runs after it.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}
