//! A joined record: an event's own members and those that are added.

use std::io::Write as _;

use super::plan::JoinPlan;

/// Stands for "no key" where the length of a key would be; no record's key is as long.
const NO_KEY: u32 = u32::MAX >> 1;
/// Set in the length of a key before which the members of an event without match stand.
const HAS_UNMATCHED: u32 = 1 << 31;

/// Appends what is kept of an event until it is decided: its Kafka key, its own members, and those that
/// it has in place of added ones if nothing matches, where they are not all null.
pub(crate) fn left_payload(
    kafka_key: Option<&[u8]>,
    own: &[u8],
    unmatched: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    let key_length = kafka_key.map_or(NO_KEY, length);
    match unmatched {
        None => out.extend_from_slice(&key_length.to_le_bytes()),
        Some(unmatched) => {
            out.extend_from_slice(&(key_length | HAS_UNMATCHED).to_le_bytes());
            out.extend_from_slice(&length(unmatched).to_le_bytes());
            out.extend_from_slice(unmatched);
        }
    }
    out.extend_from_slice(kafka_key.unwrap_or_default());
    out.extend_from_slice(own);
}

fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).expect("librdkafka's messages have less than 2 GiB")
}

/// The Kafka key of an event, which is that of the joined record too.
pub(crate) fn kafka_key(payload: &[u8]) -> Option<&[u8]> {
    parts(payload).key
}

/// What [`left_payload`] put together.
#[derive(Debug, Default)]
struct Parts<'p> {
    key: Option<&'p [u8]>,
    own: &'p [u8],
    unmatched: Option<&'p [u8]>,
}

fn parts(payload: &[u8]) -> Parts<'_> {
    let Some((key_length, mut rest)) = split_length(payload) else {
        return Parts::default();
    };
    let mut unmatched = None;
    if key_length & HAS_UNMATCHED != 0
        && let Some((length, behind)) = split_length(rest)
    {
        let (members, behind) = behind.split_at(behind.len().min(length as usize));
        (unmatched, rest) = (Some(members), behind);
    }
    let key_length = key_length & !HAS_UNMATCHED;
    if key_length == NO_KEY {
        return Parts {
            key: None,
            own: rest,
            unmatched,
        };
    }
    let (key, own) = rest.split_at(rest.len().min(key_length as usize));
    Parts {
        key: Some(key),
        own,
        unmatched,
    }
}

fn split_length(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*length), rest))
}

impl JoinPlan {
    /// Appends the joined record of an event and what [`super::RightReader`] made of a right record;
    /// without one its members are the event's own of those names, or null. `ending` is that of [`JoinPlan::ending`].
    pub(crate) fn render(
        &self,
        left_payload: &[u8],
        right_members: Option<&[u8]>,
        ending: &[u8],
        out: &mut Vec<u8>,
    ) {
        let Parts { own, unmatched, .. } = parts(left_payload);
        out.push(b'{');
        out.extend_from_slice(own);
        if !own.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(right_members.or(unmatched).unwrap_or(&self.unmatched));
        out.extend_from_slice(ending);
    }

    /// How every record that is joined now ends.
    pub(crate) fn ending(&self, now_ms: i64) -> Vec<u8> {
        let mut ending = vec![b','];
        ending.extend_from_slice(&self.join_time.json);
        append_time(now_ms, &mut ending);
        ending.push(b'}');
        ending
    }
}

/// Appends a time as JSON text: `"2025-11-21T10:01:40.000Z"`.
pub(super) fn append_time(epoch_ms: i64, out: &mut Vec<u8>) {
    let time = jiff::Timestamp::from_millisecond(epoch_ms).unwrap_or(if epoch_ms < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    });
    write!(out, "\"{time:.3}\"").expect("a vector takes everything");
}
