//! What must be known to go on where a partition was committed, when its records are needed together.

/// What is over, and how far a partition had been read by then.
///
/// A record below `read_to` whose windows were closed by `closed_through_ms` was counted and its rows are
/// durable; it is read again only because a younger window needs what lies beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frontier {
    /// Of the rules that the windows follow.
    pub(crate) rules: u32,
    /// The largest event time of the records before the committed offset.
    pub(crate) largest_ms: Option<i64>,
    /// Every window whose end plus lateness is at or below this is closed, its rows durable.
    pub(crate) closed_through_ms: Option<i64>,
    /// How far the partition had been read when they closed.
    pub(crate) read_to: i64,
    /// Records before this that count nowhere are dead letters, or were counted, already.
    pub(crate) settled_to: i64,
}

/// Where a partition may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommitPoint {
    /// Every record before it is settled, and no open window needs one.
    pub(crate) position: i64,
    pub(crate) frontier: Frontier,
}

impl Frontier {
    /// One word of a commit's metadata.
    pub(super) fn encode(&self) -> String {
        let number = |number: Option<i64>| number.map_or("-".to_owned(), |n| n.to_string());
        let Frontier {
            rules,
            largest_ms,
            closed_through_ms,
            read_to,
            settled_to,
        } = self;
        format!(
            "w{rules:08x},{},{},{read_to},{settled_to}",
            number(*largest_ms),
            number(*closed_through_ms)
        )
    }

    pub(super) fn parse(word: &str) -> Option<Frontier> {
        let fields: Vec<&str> = word.strip_prefix('w')?.split(',').collect();
        let [rules, largest_ms, closed_through_ms, read_to, settled_to] = fields[..] else {
            return None;
        };
        let number = |text: &str| match text {
            "-" => Some(None),
            text => text.parse().ok().map(Some),
        };
        Some(Frontier {
            rules: u32::from_str_radix(rules, 16).ok()?,
            largest_ms: number(largest_ms)?,
            closed_through_ms: number(closed_through_ms)?,
            read_to: read_to.parse().ok()?,
            settled_to: settled_to.parse().ok()?,
        })
    }
}
