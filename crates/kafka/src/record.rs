//! Messages of librdkafka, borrowed for as long as the chunk that holds them.

use std::ffi::CStr;
use std::fmt;
use std::marker::PhantomData;

use rdkafka::error::{IsError as _, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka_sys as sys;

/// The messages one poll returned, in the order they arrived; destroyed when dropped.
pub struct Chunk<'q> {
    messages: &'q mut Vec<*mut sys::rd_kafka_message_t>,
}

/// One message: a record, or a note about its partition.
#[derive(Clone, Copy)]
pub struct Record<'c> {
    message: &'c sys::rd_kafka_message_t,
    timestamp_ms: i64,
    timestamp_type: TimestampType,
    /// What is read in place of the bytes that arrived.
    opened: Option<&'c Opened<'c>>,
}

/// Key and value of a record as they are read, where that is not as they arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'c> {
    pub key: Option<&'c [u8]>,
    pub value: Option<&'c [u8]>,
}

/// Who set a record's timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The record has no timestamp, or nobody says whose it is.
    Unknown,
    /// The producer.
    CreateTime,
    /// The broker, when it appended the record.
    LogAppendTime,
}

impl From<sys::rd_kafka_timestamp_type_t> for TimestampType {
    fn from(kind: sys::rd_kafka_timestamp_type_t) -> Self {
        use sys::rd_kafka_timestamp_type_t as kinds;
        match kind {
            kinds::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampType::CreateTime,
            kinds::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampType::LogAppendTime,
            kinds::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => TimestampType::Unknown,
        }
    }
}

impl<'q> Chunk<'q> {
    /// Takes over the messages; each pointer must come from one consume call.
    pub(crate) fn new(messages: &'q mut Vec<*mut sys::rd_kafka_message_t>) -> Self {
        Chunk { messages }
    }

    pub fn count(&self) -> usize {
        self.messages.len()
    }

    pub fn get(&self, index: usize) -> Record<'_> {
        let message = self.message(index);
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive; `kind` is written by the call.
        let timestamp_ms = unsafe { sys::rd_kafka_message_timestamp(message, &mut kind) };
        Record {
            message,
            timestamp_ms,
            timestamp_type: kind.into(),
            opened: None,
        }
    }

    /// Where the run of messages of one partition that begins at `start` ends.
    pub fn run_end(&self, start: usize) -> usize {
        let first = self.message(start);
        let same =
            |m: &sys::rd_kafka_message_t| m.partition == first.partition && m.rkt == first.rkt;
        (start + 1..self.count())
            .find(|&i| !same(self.message(i)))
            .unwrap_or(self.count())
    }

    fn message(&self, index: usize) -> &sys::rd_kafka_message_t {
        // SAFETY: every pointer came from rd_kafka_consume_batch_queue, is not null, and is
        // destroyed only by our Drop, which the borrow of `self` outlasts.
        unsafe { &*self.messages[index] }
    }
}

impl Drop for Chunk<'_> {
    fn drop(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: taken over in `new`, destroyed once, no borrow is left.
            unsafe { sys::rd_kafka_message_destroy(message) }
        }
    }
}

impl fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("messages", &self.messages.len())
            .finish()
    }
}

impl<'c> Record<'c> {
    /// The error this message stands for; `None` for a record. `PartitionEOF` says that the
    /// partition was read to [`Record::offset`].
    pub fn error(self) -> Option<RDKafkaErrorCode> {
        let code = self.message.err;
        code.is_error().then(|| code.into())
    }

    pub fn offset(self) -> i64 {
        self.message.offset
    }

    pub fn partition(self) -> i32 {
        self.message.partition
    }

    pub fn topic(self) -> &'c str {
        if self.message.rkt.is_null() {
            return "";
        }
        if let Some(origin) = self.origin() {
            return origin.topic;
        }
        // SAFETY: the topic handle lives as long as the message; its name is a C string that
        // Kafka restricts to ASCII.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.message.rkt)) };
        name.to_str().unwrap_or_default()
    }

    pub fn value(self) -> Option<&'c [u8]> {
        match self.opened {
            None => self.value_as_received(),
            Some(opened) => opened.value,
        }
    }

    /// The value's bytes, whatever is read of it.
    pub fn value_as_received(self) -> Option<&'c [u8]> {
        slice(self.message.payload.cast(), self.message.len)
    }

    pub fn key(self) -> Option<&'c [u8]> {
        match self.opened {
            None => self.key_as_received(),
            Some(opened) => opened.key,
        }
    }

    /// The key's bytes, by which its producer chose the partition.
    pub fn key_as_received(self) -> Option<&'c [u8]> {
        slice(self.message.key.cast(), self.message.key_len)
    }

    /// The same record with another key and value to be read.
    #[must_use]
    pub fn opened<'o>(self, opened: &'o Opened<'o>) -> Record<'o>
    where
        'c: 'o,
    {
        Record {
            opened: Some(opened),
            ..self
        }
    }

    /// Milliseconds since the epoch; −1 where the broker has none.
    pub fn timestamp_ms(self) -> i64 {
        self.timestamp_ms
    }

    /// Who set the timestamp.
    pub fn timestamp_type(self) -> TimestampType {
        self.timestamp_type
    }

    /// The epoch of the partition's leader when it was fetched; −1 where unknown.
    pub fn leader_epoch(self) -> i32 {
        // SAFETY: the message is alive.
        unsafe { sys::rd_kafka_message_leader_epoch(self.message) }
    }

    /// Of a record that no broker sent: where it is said to come from.
    fn origin(self) -> Option<&'c Origin<'c>> {
        let is_made = self.message._private.is_null() && !self.message.rkt.is_null();
        // SAFETY: a client sets `_private` of every message that it hands out. Without it the message is
        // a `MadeRecord`'s, whose `rkt` is null or points to the origin that lives as long as itself.
        is_made.then(|| unsafe { &*self.message.rkt.cast::<Origin<'c>>() })
    }

    /// The value of the last header of this name.
    pub fn header(self, name: &CStr) -> Option<&'c [u8]> {
        // What a client received says where it came from; what we made is only what is seen of it.
        if self.message._private.is_null() {
            let headers = self.origin()?.headers;
            let mut named = headers
                .iter()
                .rev()
                .filter(|(own, _)| own.as_bytes() == name.to_bytes());
            return named.next()?.1.as_deref();
        }
        let mut headers = std::ptr::null_mut();
        let (mut value, mut size) = (std::ptr::null(), 0usize);
        // SAFETY: headers and their values stay owned by the message, which is alive; the name is a C
        // string, the out-parameters are ours.
        let found = unsafe {
            !sys::rd_kafka_message_headers(self.message, &mut headers).is_error()
                && !sys::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut size)
                    .is_error()
        };
        if found {
            slice(value.cast(), size)
        } else {
            None
        }
    }

    /// The headers in order, names and values.
    pub fn headers(self) -> Vec<(String, Option<Vec<u8>>)> {
        if self.message._private.is_null() {
            return self
                .origin()
                .map_or(vec![], |origin| origin.headers.to_vec());
        }
        headers_of(self.message)
    }
}

/// The headers of a message in order, names and values; bytes of names that are not UTF-8 are replaced.
pub fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Option<Vec<u8>>)> {
    // SAFETY: the message is borrowed, so it is alive, and nobody alters it.
    headers_of(unsafe { &*message.ptr() })
}

fn headers_of(message: &sys::rd_kafka_message_t) -> Vec<(String, Option<Vec<u8>>)> {
    let mut headers = std::ptr::null_mut();
    // SAFETY: the headers stay owned by the message, which is alive.
    if unsafe { sys::rd_kafka_message_headers(message, &mut headers) }.is_error() {
        return vec![];
    }
    let mut out = vec![];
    loop {
        let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0usize);
        // SAFETY: `headers` came from the message; the out-parameters are ours.
        let end = unsafe {
            sys::rd_kafka_header_get_all(headers, out.len(), &mut name, &mut value, &mut size)
        };
        if end.is_error() {
            return out;
        }
        // SAFETY: on success `name` is a C string owned by the message.
        let name = unsafe { CStr::from_ptr(name) }
            .to_string_lossy()
            .into_owned();
        out.push((name, slice(value.cast(), size).map(<[u8]>::to_vec)));
    }
}

/// A record that no broker sent. It has neither headers nor a topic's name, unless it was given them.
pub struct MadeRecord<'b> {
    message: sys::rd_kafka_message_t,
    timestamp_ms: i64,
    bytes: PhantomData<&'b [u8]>,
    /// What the message points to where a received one points to its topic.
    _origin: Option<Box<Origin<'b>>>,
}

/// Where a record that no broker sent is said to come from.
struct Origin<'b> {
    topic: &'b str,
    headers: &'b [(String, Option<Vec<u8>>)],
}

impl<'b> MadeRecord<'b> {
    pub fn new(
        key: Option<&'b [u8]>,
        value: Option<&'b [u8]>,
        timestamp_ms: i64,
        offset: i64,
    ) -> Self {
        let start = |bytes: Option<&[u8]>| {
            bytes.map_or(std::ptr::null_mut(), |b| b.as_ptr().cast_mut().cast())
        };
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let message = sys::rd_kafka_message_t {
            err: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: std::ptr::null_mut(),
            partition: 0,
            payload: start(value),
            len: len(value),
            key: start(key),
            key_len: len(key),
            offset,
            _private: std::ptr::null_mut(),
        };
        MadeRecord {
            message,
            timestamp_ms,
            bytes: PhantomData,
            _origin: None,
        }
    }

    /// The same in another partition than 0.
    pub fn in_partition(mut self, partition: i32) -> Self {
        self.message.partition = partition;
        self
    }

    /// The same record as one of this partition, with these headers.
    #[must_use]
    pub fn of(
        mut self,
        topic: &'b str,
        partition: i32,
        headers: &'b [(String, Option<Vec<u8>>)],
    ) -> Self {
        let origin = Box::new(Origin { topic, headers });
        self.message.rkt = std::ptr::from_ref(&*origin).cast_mut().cast();
        self.message.partition = partition;
        self._origin = Some(origin);
        self
    }

    /// What [`Chunk::get`] would return for it. Not for [`Record::leader_epoch`], which reads what
    /// librdkafka keeps behind a message of its own.
    pub fn record(&self) -> Record<'_> {
        Record {
            message: &self.message,
            timestamp_ms: self.timestamp_ms,
            timestamp_type: TimestampType::Unknown,
            opened: None,
        }
    }
}

impl fmt::Debug for MadeRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record().fmt(f)
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.topic(), self.partition(), self.offset())
    }
}

fn slice<'c>(data: *const u8, length: usize) -> Option<&'c [u8]> {
    if data.is_null() {
        return None;
    }
    // SAFETY: librdkafka hands out pointer and length of one buffer that the message owns; the
    // callers tie the lifetime to the message.
    Some(unsafe { std::slice::from_raw_parts(data, length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_record_says_where_it_is_said_to_come_from() {
        let headers = [
            ("a".to_owned(), Some(b"1".to_vec())),
            ("b".to_owned(), None),
            ("a".to_owned(), Some(b"2".to_vec())),
        ];
        let made = MadeRecord::new(Some(b"k"), Some(b"v"), 5, 7).of("clicks", 3, &headers);
        let record = made.record();
        assert_eq!(
            (record.topic(), record.partition(), record.offset()),
            ("clicks", 3, 7)
        );
        assert_eq!(record.header(c"a"), Some(&b"2"[..]));
        assert_eq!((record.header(c"b"), record.header(c"c")), (None, None));
        assert_eq!(record.headers(), headers);
        let opened = Opened {
            key: None,
            value: Some(b"{}"),
        };
        let record = record.opened(&opened);
        assert_eq!((record.key(), record.value()), (None, Some(&b"{}"[..])));
        assert_eq!(record.key_as_received(), Some(&b"k"[..]));
        assert_eq!(record.value_as_received(), Some(&b"v"[..]));
        assert_eq!((record.topic(), record.offset()), ("clicks", 7));
        let bare = MadeRecord::new(None, None, 5, 7);
        assert_eq!(
            (bare.record().topic(), bare.record().headers()),
            ("", vec![])
        );
    }
}
