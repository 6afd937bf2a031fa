//! A joined record: an event's own members and those that are added.

use std::io::Write as _;

use super::plan::JoinPlan;

/// Stands for "no key" where the length of a key would be; no record's key is as long.
const NO_KEY: u32 = u32::MAX;

/// Appends what is kept of an event until it is decided: its Kafka key and its own members.
pub(crate) fn left_payload(kafka_key: Option<&[u8]>, own: &[u8], out: &mut Vec<u8>) {
    let length = kafka_key.map_or(NO_KEY, |key| {
        u32::try_from(key.len()).expect("librdkafka's messages have less than 2 GiB")
    });
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(kafka_key.unwrap_or_default());
    out.extend_from_slice(own);
}

/// The Kafka key of an event, which is that of the joined record too.
pub(crate) fn kafka_key(payload: &[u8]) -> Option<&[u8]> {
    parts(payload).0
}

/// What [`left_payload`] put together.
fn parts(payload: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some((length, rest)) = payload.split_first_chunk() else {
        return (None, &[]);
    };
    let length = u32::from_le_bytes(*length);
    if length == NO_KEY {
        return (None, rest);
    }
    let (key, own) = rest.split_at(rest.len().min(length as usize));
    (Some(key), own)
}

impl JoinPlan {
    /// Appends the joined record of an event and what [`super::RightReader`] made of a right record;
    /// without one its members are null. `ending` is that of [`JoinPlan::ending`].
    pub(crate) fn render(
        &self,
        left_payload: &[u8],
        right_members: Option<&[u8]>,
        ending: &[u8],
        out: &mut Vec<u8>,
    ) {
        let (_, own) = parts(left_payload);
        out.push(b'{');
        out.extend_from_slice(own);
        if !own.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(right_members.unwrap_or(&self.unmatched));
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
