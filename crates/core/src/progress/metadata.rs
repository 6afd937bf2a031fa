//! What a commit says beside its offset: the ranges that are named but perhaps not yet written.
//!
//! Text, one line, at most [`METADATA_BYTES_MAX`] bytes, so that the usual consumer-group tools show it:
//! `sw1 <topic id> <epoch> <counter> <table> <length>+<length>…`, where the lengths are those of the
//! contiguous ranges that follow the committed offset (`-` when there is none). A `+` before the epoch:
//! rows of these ranges may be in the table under tokens of other epochs or ranges. Where versions decide
//! which row counts, `<partitions>@<version epoch>` follows, with `-` behind it as long as no row was
//! made; where records are needed together, one word
//! more (`-` for none). Of windows: `w<rules>,<largest event time>,<closed through>,<read to>,<settled to>`.
//! Of joins: `j<rules>,<largest event time>,<decided time>,<decided offset>,<read to>,<settled to>`. Last, where
//! records have an event time: `t<watermark>`. Where ranges are named: `i<milliseconds>`, by when after a commit
//! that names them no insert of theirs runs any more. A word that begins with another small letter is of a later
//! version and is passed over: what must not be passed over needs another format than `sw1`.

use std::fmt;

use super::Frontier;

/// The most a commit carries; brokers allow 4,096 bytes by default (`offset.metadata.max.bytes`).
pub(super) const METADATA_BYTES_MAX: usize = 1024;

const FORMAT: &str = "sw1";
const TABLE_BYTES_MAX: usize = 256;

/// Drawn at random when a partition starts without metadata of ours and carried from then on, so
/// that a reset group or a re-created topic never meets an old deduplication token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What versions rest on: the order of offsets, as long as a topic keeps its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Partitions of the topic.
    pub partitions: usize,
    /// The highest of `pipeline.version_epochs`.
    pub epoch: u16,
}

/// Bits of a version that hold the offset; the epoch is above them.
const OFFSET_BITS: u32 = 48;

/// The version of a row whose record has this offset.
pub fn version(epoch: u16, offset: i64) -> u64 {
    u64::from(epoch) << OFFSET_BITS | offset.unsigned_abs() & ((1 << OFFSET_BITS) - 1)
}

impl Layout {
    /// The version that a record at this offset would have now.
    pub fn version(self, offset: i64) -> u64 {
        version(self.epoch, offset)
    }

    /// What a version says.
    pub fn epoch_and_offset(version: u64) -> (u16, u64) {
        let epoch = u16::try_from(version >> OFFSET_BITS).unwrap_or(u16::MAX);
        (epoch, version & ((1 << OFFSET_BITS) - 1))
    }

    fn parse(text: &str) -> Option<Layout> {
        let (partitions, epoch) = text.split_once('@')?;
        Some(Layout {
            partitions: partitions.parse().ok()?,
            epoch: epoch.parse().ok()?,
        })
    }
}

/// The content of one partition's commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Kafka's id of the topic, base64; `-` where the broker tells none.
    pub topic_id: String,
    /// See [`Epoch`].
    pub epoch: Epoch,
    /// Rows of the ranges may be in the table under tokens of other epochs or ranges: the group was set back, or a
    /// range was refused after some of its rows were stored.
    pub is_set_back: bool,
    /// Rises with every commit of the partition, whoever owns it.
    pub counter: u64,
    /// The table the ranges go to, `database.table`; longer names are cut and hashed.
    pub table: String,
    /// End offsets of the contiguous ranges after the committed offset.
    pub range_ends: Vec<i64>,
    /// Where versions decide.
    pub layout: Option<Layout>,
    /// Where versions decide: the table had no row when the partition began, and got none since.
    pub made_no_rows: bool,
    /// Where records are needed together.
    pub frontier: Option<Frontier>,
    /// What was made of records before this event time, in milliseconds, is durable and complete, as far as
    /// the partition's watermark tells. Never falls.
    pub watermark_ms: Option<i64>,
    /// So long after a commit that names the ranges an insert of one of them may be running: `insert_lease` and
    /// `insert_timeout` of whoever wrote it, or of those before, which may have been larger than a successor's.
    pub insert_span_ms: Option<u64>,
}

/// Metadata that is not ours to read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MetadataError {
    /// Written by a later version, or damaged.
    #[error("the commit carries metadata of an unknown form: {0:?}")]
    Unknown(String),
    /// More ranges than one commit can name.
    #[error("{0} bytes of metadata exceed the {METADATA_BYTES_MAX} a commit carries")]
    TooLong(usize),
}

impl Metadata {
    /// The text for a commit at `position`.
    ///
    /// # Errors
    /// [`MetadataError::TooLong`] when there are more ranges than fit.
    pub fn encode(&self, position: i64) -> Result<String, MetadataError> {
        use fmt::Write as _;
        let Metadata {
            topic_id,
            epoch,
            is_set_back,
            counter,
            table,
            range_ends,
            layout,
            made_no_rows,
            frontier,
            watermark_ms,
            insert_span_ms,
        } = self;
        let mut text = format!(
            "{FORMAT} {topic_id} {}{epoch} {counter} {} ",
            if *is_set_back { "+" } else { "" },
            table_label(table)
        );
        let mut from = position;
        for (index, &to) in range_ends.iter().enumerate() {
            assert!(to > from, "ranges are contiguous and not empty");
            let separator = if index == 0 { "" } else { "+" };
            write!(text, "{separator}{}", to - from).expect("writing to a string succeeds");
            from = to;
        }
        if range_ends.is_empty() {
            text.push('-');
        }
        if let Some(Layout { partitions, epoch }) = layout {
            let mark = if *made_no_rows { "-" } else { "" };
            write!(text, " {partitions}@{epoch}{mark}").expect("writing to a string succeeds");
        }
        if let Some(frontier) = frontier {
            write!(text, " {}", frontier.encode()).expect("writing to a string succeeds");
        }
        if let Some(watermark_ms) = watermark_ms {
            write!(text, " t{watermark_ms}").expect("writing to a string succeeds");
        }
        if let Some(span_ms) = insert_span_ms.filter(|_| !range_ends.is_empty()) {
            write!(text, " i{span_ms}").expect("writing to a string succeeds");
        }
        if text.len() > METADATA_BYTES_MAX {
            return Err(MetadataError::TooLong(text.len()));
        }
        Ok(text)
    }

    /// Reads what [`Metadata::encode`] wrote beside the offset `position`. Text of another program
    /// (or none) gives `Ok(None)`.
    ///
    /// # Errors
    /// [`MetadataError::Unknown`] for text of ours that this version cannot read.
    pub fn decode(text: &str, position: i64) -> Result<Option<Metadata>, MetadataError> {
        if !text.starts_with("sw") {
            return Ok(None);
        }
        let unknown = || MetadataError::Unknown(text.chars().take(80).collect());
        let fields: Vec<&str> = text.split(' ').collect();
        let (&[FORMAT, topic_id, epoch, counter, table, lengths], more) =
            fields.split_first_chunk().ok_or_else(unknown)?
        else {
            return Err(unknown());
        };
        let (mut layout, mut frontier) = (None, None);
        let mut made_no_rows = false;
        let (mut watermark_ms, mut insert_span_ms) = (None, None);
        for word in more {
            if let Some(span_ms) = word.strip_prefix('i') {
                insert_span_ms = Some(span_ms.parse().map_err(|_| unknown())?);
                continue;
            }
            if word.starts_with(|c: char| c.is_ascii_lowercase() && !"jtw".contains(c)) {
                continue;
            }
            if watermark_ms.is_some() {
                return Err(unknown());
            }
            if let Some(time_ms) = word.strip_prefix('t') {
                watermark_ms = Some(time_ms.parse().map_err(|_| unknown())?);
            } else if Frontier::is_meant(word) && frontier.is_none() {
                frontier = Some(Frontier::parse(word).ok_or_else(unknown)?);
            } else if layout.is_none() && frontier.is_none() {
                let counts = word.strip_suffix('-');
                made_no_rows = counts.is_some();
                layout = Some(Layout::parse(counts.unwrap_or(word)).ok_or_else(unknown)?);
            } else {
                return Err(unknown());
            }
        }
        let mut range_ends = vec![];
        let mut to = position;
        for length in lengths.split('+').filter(|_| lengths != "-") {
            let length: i64 = length.parse().ok().filter(|l| *l > 0).ok_or_else(unknown)?;
            to = to.checked_add(length).ok_or_else(unknown)?;
            range_ends.push(to);
        }
        Ok(Some(Metadata {
            topic_id: topic_id.to_owned(),
            // `from_str_radix` takes the sign, in earlier versions of this too.
            epoch: Epoch(u64::from_str_radix(epoch, 16).map_err(|_| unknown())?),
            is_set_back: epoch.starts_with('+'),
            counter: counter.parse().map_err(|_| unknown())?,
            table: table.to_owned(),
            range_ends,
            layout,
            made_no_rows,
            frontier,
            watermark_ms,
            insert_span_ms,
        }))
    }

    /// Whether the ranges were named for `table`.
    #[must_use]
    pub fn is_for_table(&self, table: &str) -> bool {
        self.table == table_label(table)
    }
}

/// A table's name as metadata holds it: one word of bounded length that differs for different tables.
fn table_label(table: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let is_plain = |c: char| c.is_ascii_graphic();
    if table.len() <= TABLE_BYTES_MAX && !table.is_empty() && table.chars().all(is_plain) {
        return table.to_owned();
    }
    let head: String = table.chars().filter(|c| is_plain(*c)).take(40).collect();
    let digest = Sha256::digest(table.as_bytes());
    let hex: String = digest.iter().take(12).map(|b| format!("{b:02x}")).collect();
    format!("{head}#{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::{FirstRead, JoinFrontier, WindowFrontier};
    use proptest::prelude::*;

    fn sample(range_ends: Vec<i64>) -> Metadata {
        Metadata {
            topic_id: "Zm9vYmFyYmF6cXV4MTIzNA".into(),
            epoch: Epoch(7),
            is_set_back: false,
            counter: 3,
            table: "analytics.clickstream_events".into(),
            range_ends,
            layout: None,
            made_no_rows: false,
            frontier: None,
            watermark_ms: None,
            insert_span_ms: None,
        }
    }

    fn frontier() -> impl Strategy<Value = Frontier> {
        let fields = any::<(u32, Option<i64>, Option<(i64, i64)>, i64, i64, bool)>();
        fields.prop_map(
            |(rules, largest_ms, decided, read_to, settled_to, is_join)| {
                if is_join {
                    return Frontier::Join(JoinFrontier {
                        rules,
                        largest_ms,
                        decided,
                        read_to,
                        settled_to,
                    });
                }
                Frontier::Windows(WindowFrontier {
                    rules,
                    largest_ms,
                    closed_through_ms: decided.map(|(time_ms, _)| time_ms),
                    read_to,
                    settled_to,
                    partitions: usize::try_from(read_to)
                        .ok()
                        .filter(|_| settled_to % 2 == 0),
                    first_read: match settled_to % 3 {
                        0 => None,
                        1 => Some(FirstRead::Awaited),
                        _ => Some(FirstRead::At(settled_to)),
                    },
                })
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            position in 0i64..1 << 50,
            lengths in prop::collection::vec(1i64..1_000_000, 0..40),
            counter: u64, epoch: u64, is_set_back: bool, layout: Option<(usize, u16)>, no_rows: bool,
            frontier in prop::option::of(frontier()), watermark_ms: Option<i64>, span_ms: Option<u64>,
        ) {
            let layout = layout.map(|(partitions, epoch)| Layout { partitions, epoch });
            let range_ends = lengths.iter().scan(position, |to, l| { *to += l; Some(*to) }).collect();
            let made_no_rows = no_rows && layout.is_some();
            let insert_span_ms = span_ms.filter(|_| !lengths.is_empty());
            let metadata = Metadata {
                counter, epoch: Epoch(epoch), is_set_back, layout, made_no_rows, frontier, watermark_ms,
                insert_span_ms, ..sample(range_ends)
            };
            let text = metadata.encode(position).unwrap();
            prop_assert!(text.len() <= METADATA_BYTES_MAX);
            prop_assert_eq!(Metadata::decode(&text, position).unwrap(), Some(metadata));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}", position: i64) {
            let _ = Metadata::decode(&text, position);
            let _ = Metadata::decode(&format!("sw1 {text}"), position);
        }
    }

    #[test]
    fn the_text_is_stable() {
        let text = sample(vec![150, 170]).encode(100).unwrap();
        assert_eq!(
            text,
            "sw1 Zm9vYmFyYmF6cXV4MTIzNA 0000000000000007 3 analytics.clickstream_events 50+20"
        );
        let set_back = Metadata {
            is_set_back: true,
            ..sample(vec![150])
        };
        let timed = Metadata {
            watermark_ms: Some(-7),
            ..sample(vec![])
        };
        assert_eq!(
            timed.encode(100).unwrap(),
            "sw1 Zm9vYmFyYmF6cXV4MTIzNA 0000000000000007 3 analytics.clickstream_events - t-7"
        );
        let spanned = Metadata {
            insert_span_ms: Some(60_000),
            ..sample(vec![150])
        };
        assert_eq!(
            spanned.encode(100).unwrap(),
            "sw1 Zm9vYmFyYmF6cXV4MTIzNA 0000000000000007 3 analytics.clickstream_events 50 i60000"
        );
        assert_eq!(
            set_back.encode(100).unwrap(),
            "sw1 Zm9vYmFyYmF6cXV4MTIzNA +0000000000000007 3 analytics.clickstream_events 50"
        );
    }

    #[test]
    fn metadata_of_others_is_none_and_of_a_later_version_an_error() {
        assert_eq!(Metadata::decode("", 0), Ok(None));
        assert_eq!(Metadata::decode("checkpoint=7", 0), Ok(None));
        assert!(Metadata::decode("sw2 a b c", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t 5+0", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - 4", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - 4@1 4@1 4", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - 4@1 X", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - j1,-,4,-,5,6", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - j1,-,-,-,5,6 w1,-,-,5,6", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - w1,-,-,5,6", 0).is_ok());
        assert!(Metadata::decode("sw1 - 1 1 t - w1,-,-,5,6,4", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - w1,-,-,5,6,x,?", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - t5", 0).is_ok());
        assert!(Metadata::decode("sw1 - 1 1 t - t", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - t5 t6", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t - t5 w1,-,-,5,6", 0).is_err());
        assert!(Metadata::decode("sw1 - 1 1 t 5 i-1", 0).is_err());
    }

    #[test]
    fn a_word_that_a_later_version_adds_is_passed_over() {
        let known = "sw1 - 1 1 t 5 4@1 w1,-,-,5,6 t7";
        let read = Metadata::decode(known, 0).unwrap();
        assert!(read.is_some());
        for later in [" x", " u1,2 v=3"] {
            assert_eq!(
                Metadata::decode(&format!("{known}{later}"), 0).as_ref(),
                Ok(&read)
            );
        }
    }

    #[test]
    fn long_or_strange_table_names_stay_short_and_distinct() {
        let long = |tail: &str| format!("analytics.{}{tail}", "x".repeat(300));
        let metadata = |table: String| Metadata {
            table,
            ..sample(vec![])
        };
        let text = metadata(long("a")).encode(0).unwrap();
        let read = Metadata::decode(&text, 0).unwrap().unwrap();
        assert!(read.is_for_table(&long("a")));
        assert!(!read.is_for_table(&long("b")));
        let spaced = metadata("analytics.my table".into()).encode(0).unwrap();
        assert!(
            Metadata::decode(&spaced, 0)
                .unwrap()
                .unwrap()
                .is_for_table("analytics.my table")
        );
    }
}
