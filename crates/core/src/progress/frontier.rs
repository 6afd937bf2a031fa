//! What must be known to go on where a partition was committed, when its records are needed together.

/// What a commit says of records that were needed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frontier {
    Windows(WindowFrontier),
    Join(JoinFrontier),
}

/// What is over, and how far a partition had been read by then.
///
/// A record below `read_to` whose windows were closed by `closed_through_ms` was counted and its rows are
/// durable; it is read again only because a younger window needs what lies beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowFrontier {
    /// Of the rules that the windows follow.
    pub rules: u32,
    /// The largest event time of the records before the committed offset.
    pub largest_ms: Option<i64>,
    /// Every window whose end plus lateness is at or below this is closed, its rows durable.
    pub closed_through_ms: Option<i64>,
    /// How far the partition had been read when they closed.
    pub read_to: i64,
    /// Records before this that count nowhere are dead letters, or were counted, already.
    pub settled_to: i64,
    /// How many partitions the topic had, where each has windows of its own.
    pub partitions: Option<usize>,
    /// Of a partition whose log was not read from its beginning.
    pub first_read: Option<FirstRead>,
}

/// Where reading began in the middle of a log. Windows that had begun before then lack records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstRead {
    /// No record has come yet.
    Awaited,
    /// The event time of the first record.
    At(i64),
}

/// What a join has decided, and how far it had read one side's partition by then.
///
/// An event below `read_to` that lies before `decided` was handed out and what came of it is durable; it
/// is read again only because others beside it still wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinFrontier {
    /// Of the rules that the join follows.
    pub rules: u32,
    /// The largest event time of the records before the committed offset.
    pub largest_ms: Option<i64>,
    /// Every left event below `read_to` whose time and offset come before these is decided.
    pub decided: Option<(i64, i64)>,
    /// How far the partition had been read.
    pub read_to: i64,
    /// Records before this that take no part are dead letters, or were counted, already.
    pub settled_to: i64,
}

/// Where a partition may be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitPoint {
    /// Every record before it is settled, and none of them is needed any more.
    pub position: i64,
    pub frontier: Frontier,
    /// What was made of records before this event time is durable, and final as far as the watermark tells.
    pub complete_ms: Option<i64>,
}

impl Frontier {
    /// How far the partition had been read.
    pub fn read_to(&self) -> i64 {
        match self {
            Frontier::Windows(windows) => windows.read_to,
            Frontier::Join(join) => join.read_to,
        }
    }

    /// Records before this that take no part have been told of already.
    pub fn settled_to(&self) -> i64 {
        match self {
            Frontier::Windows(windows) => windows.settled_to,
            Frontier::Join(join) => join.settled_to,
        }
    }

    /// Of windows, unless it is of something else.
    pub fn windows(self) -> Option<WindowFrontier> {
        match self {
            Frontier::Windows(windows) => Some(windows),
            Frontier::Join(_) => None,
        }
    }

    /// Of a join, unless it is of something else.
    #[cfg(test)]
    pub fn join(self) -> Option<JoinFrontier> {
        match self {
            Frontier::Join(join) => Some(join),
            Frontier::Windows(_) => None,
        }
    }

    /// Whether a word of a commit's metadata is one.
    pub(super) fn is_meant(word: &str) -> bool {
        word.starts_with(['w', 'j'])
    }

    /// One word of a commit's metadata.
    pub(super) fn encode(&self) -> String {
        match self {
            Frontier::Windows(windows) => windows.encode(),
            Frontier::Join(join) => join.encode(),
        }
    }

    pub(super) fn parse(word: &str) -> Option<Frontier> {
        match word.split_at_checked(1)? {
            ("w", rest) => WindowFrontier::parse(rest).map(Frontier::Windows),
            ("j", rest) => JoinFrontier::parse(rest).map(Frontier::Join),
            _ => None,
        }
    }
}

impl WindowFrontier {
    fn encode(&self) -> String {
        let WindowFrontier {
            rules,
            largest_ms,
            closed_through_ms,
            read_to,
            settled_to,
            partitions,
            first_read,
        } = self;
        let word = format!(
            "w{rules:08x},{},{},{read_to},{settled_to}",
            or_dash(*largest_ms),
            or_dash(*closed_through_ms)
        );
        if partitions.is_none() && first_read.is_none() {
            return word;
        }
        let partitions = partitions.map_or("-".to_owned(), |n| n.to_string());
        let first_read = match first_read {
            None => "-".to_owned(),
            Some(FirstRead::Awaited) => "?".to_owned(),
            Some(FirstRead::At(time_ms)) => time_ms.to_string(),
        };
        format!("{word},{partitions},{first_read}")
    }

    fn parse(text: &str) -> Option<WindowFrontier> {
        let fields: Vec<&str> = text.split(',').collect();
        let (head, more) = fields.split_first_chunk()?;
        let [rules, largest_ms, closed_through_ms, read_to, settled_to] = *head;
        let [partitions, first_read] = match *more {
            [] => ["-", "-"],
            [partitions, first_read] => [partitions, first_read],
            _ => return None,
        };
        Some(WindowFrontier {
            rules: u32::from_str_radix(rules, 16).ok()?,
            largest_ms: number(largest_ms)?,
            closed_through_ms: number(closed_through_ms)?,
            read_to: read_to.parse().ok()?,
            settled_to: settled_to.parse().ok()?,
            partitions: match partitions {
                "-" => None,
                count => Some(count.parse().ok()?),
            },
            first_read: match first_read {
                "?" => Some(FirstRead::Awaited),
                time_ms => number(time_ms)?.map(FirstRead::At),
            },
        })
    }
}

impl JoinFrontier {
    fn encode(&self) -> String {
        let JoinFrontier {
            rules,
            largest_ms,
            decided,
            read_to,
            settled_to,
        } = self;
        format!(
            "j{rules:08x},{},{},{},{read_to},{settled_to}",
            or_dash(*largest_ms),
            or_dash(decided.map(|(time_ms, _)| time_ms)),
            or_dash(decided.map(|(_, offset)| offset)),
        )
    }

    fn parse(text: &str) -> Option<JoinFrontier> {
        let fields: Vec<&str> = text.split(',').collect();
        let [rules, largest_ms, time_ms, offset, read_to, settled_to] = fields[..] else {
            return None;
        };
        let decided = match (number(time_ms)?, number(offset)?) {
            (Some(time_ms), Some(offset)) => Some((time_ms, offset)),
            (None, None) => None,
            _ => return None,
        };
        Some(JoinFrontier {
            rules: u32::from_str_radix(rules, 16).ok()?,
            largest_ms: number(largest_ms)?,
            decided,
            read_to: read_to.parse().ok()?,
            settled_to: settled_to.parse().ok()?,
        })
    }
}

fn or_dash(number: Option<i64>) -> String {
    number.map_or("-".to_owned(), |n| n.to_string())
}

fn number(text: &str) -> Option<Option<i64>> {
    match text {
        "-" => Some(None),
        text => text.parse().ok().map(Some),
    }
}
