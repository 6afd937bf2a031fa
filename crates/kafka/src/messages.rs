//! Messages on their way to a topic, many in one piece of memory.

use std::ops::Range;

/// Memory grows to twice what it was, but by no more than this at once.
const GROWTH_BYTES_MAX: usize = 2 << 20;

/// Keys and values one behind the other.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    start: usize,
    /// `None`: the message has no key.
    key_len: Option<usize>,
    end: usize,
    source: MessageSource,
}

/// The record that a message was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageSource {
    pub partition: i32,
    pub offset: i64,
    /// When it was put into Kafka.
    pub timestamp_ms: i64,
}

/// One of them.
#[derive(Debug)]
pub struct Message<'m> {
    pub key: Option<&'m [u8]>,
    pub value: &'m [u8],
    pub source: MessageSource,
}

impl Messages {
    /// Adds a message whose value `write` appends.
    pub fn push(
        &mut self,
        source: MessageSource,
        key: Option<&[u8]>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.make_room();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        write(&mut self.bytes);
        self.entries.push(Entry {
            start,
            key_len: key.map(<[u8]>::len),
            end: self.bytes.len(),
            source,
        });
    }

    /// Doubled room is twice what is allowed to be in it, soon.
    fn make_room(&mut self) {
        const ROOM: usize = 16 << 10;
        let len = self.bytes.len();
        if self.bytes.capacity() - len < ROOM {
            self.bytes
                .reserve_exact(len.clamp(4 * ROOM, GROWTH_BYTES_MAX));
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What keys and values take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What it takes of the process's memory.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The messages of a range of numbers, in the order in which they were added.
    pub fn range(&self, numbers: Range<usize>) -> impl Iterator<Item = Message<'_>> {
        self.entries[numbers].iter().map(|entry| {
            let value_start = entry.start + entry.key_len.unwrap_or(0);
            Message {
                key: entry.key_len.map(|_| &self.bytes[entry.start..value_start]),
                value: &self.bytes[value_start..entry.end],
                source: entry.source,
            }
        })
    }

    /// The record that a message was made of.
    pub fn source(&self, number: usize) -> Option<MessageSource> {
        self.entries.get(number).map(|entry| entry.source)
    }

    /// Forgets the messages and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let mut messages = Messages::default();
        let source = |offset| MessageSource {
            partition: 3,
            offset,
            timestamp_ms: 5,
        };
        let expected = [
            (Some("a".as_bytes()), "one"),
            (None, "two"),
            (Some("".as_bytes()), ""),
        ];
        for (offset, (key, value)) in (7..).zip(expected) {
            messages.push(source(offset), key, |out| {
                out.extend_from_slice(value.as_bytes());
            });
        }
        let found: Vec<_> = messages.range(1..3).collect();
        assert_eq!((found[0].key, found[0].value), (None, "two".as_bytes()));
        assert_eq!((found[1].key, found[1].value), (Some(&b""[..]), &b""[..]));
        assert_eq!((messages.len(), messages.bytes()), (3, 7));
        assert_eq!(messages.source(0), Some(source(7)));
        messages.clear();
        assert!(messages.is_empty() && messages.source(0).is_none());
    }
}
