//! The bytes of a record, read from the front.

use std::borrow::Cow;

use crate::decode::{Reason, Reject};
use crate::format::json_text::{append_part, utf8};
use crate::table::append_length;

/// What is left of a record.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
    /// Values that may still be read. Those without bytes count too: a hostile count of them must end.
    values_left: usize,
}

/// A record that is not what its schema says. Boxed, for it travels in the `Err` of every step.
#[derive(Debug)]
pub(super) struct Fault {
    at: usize,
    what: Cow<'static, str>,
    reason: Reason,
    /// The fields around it, the innermost first.
    fields: Vec<String>,
}

pub(super) type Read<T> = Result<T, Box<Fault>>;

impl Fault {
    /// The same inside a field.
    #[cold]
    pub(super) fn within(mut self: Box<Self>, field: &str) -> Box<Self> {
        if self.fields.len() < 16 {
            self.fields.push(field.to_owned());
        }
        self
    }

    #[cold]
    pub(super) fn reject(&self) -> Reject {
        let place = match self.fields.is_empty() {
            true => String::new(),
            false => {
                let names: Vec<&str> = self.fields.iter().rev().map(String::as_str).collect();
                format!("field {}, ", names.join("."))
            }
        };
        Reject::new(
            self.reason,
            format!("{place}byte {}: {}", self.at, self.what),
        )
    }
}

impl<'a> Cursor<'a> {
    /// `nodes`: the types of the schema, each of which a record may have once for nothing.
    pub(super) fn new(input: &'a [u8], nodes: usize) -> Self {
        let values_left = input
            .len()
            .saturating_mul(8)
            .saturating_add(4 * nodes + 1024);
        Cursor {
            input,
            at: 0,
            values_left,
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes back to where it was before.
    pub(super) fn go_back(&mut self, at: usize) {
        self.at = at;
    }

    /// The same record, from another place on.
    pub(super) fn moved_to(&self, at: usize) -> Self {
        Cursor { at, ..self.clone() }
    }

    #[cold]
    pub(super) fn fault(&self, what: impl Into<Cow<'static, str>>) -> Box<Fault> {
        self.fault_for(Reason::InvalidAvro, what)
    }

    #[cold]
    pub(super) fn fault_for(
        &self,
        reason: Reason,
        what: impl Into<Cow<'static, str>>,
    ) -> Box<Fault> {
        Box::new(Fault {
            at: self.at,
            what: what.into(),
            reason,
            fields: vec![],
        })
    }

    /// Another value begins.
    #[inline(always)]
    pub(super) fn begin_value(&mut self) -> Read<()> {
        match self.values_left.checked_sub(1) {
            Some(left) => {
                self.values_left = left;
                Ok(())
            }
            None => Err(self.fault("more values than so many bytes can hold")),
        }
    }

    pub(super) fn finish(&self) -> Read<()> {
        match self.input.len() - self.at {
            0 => Ok(()),
            rest => Err(self.fault(format!("{rest} bytes are left behind the record"))),
        }
    }

    /// A `long`: a zigzag number of at most ten bytes.
    #[inline(always)]
    pub(super) fn long(&mut self) -> Read<i64> {
        if let Some(&byte) = self.input.get(self.at)
            && byte < 0x80
        {
            self.at += 1;
            return Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1));
        }
        if let Some(&[low, high @ ..0x80]) = self.input[self.at..].first_chunk() {
            self.at += 2;
            let number = i64::from(low & 0x7f) | i64::from(high) << 7;
            return Ok((number >> 1) ^ -(number & 1));
        }
        self.long_of_many_bytes()
    }

    fn long_of_many_bytes(&mut self) -> Read<i64> {
        let mut number = 0u64;
        for (index, &byte) in self.input[self.at..].iter().take(10).enumerate() {
            let part = u64::from(byte & 0x7f);
            if index == 9 && part > 1 {
                return Err(self.fault("a number of more than 64 bits"));
            }
            number |= part << (7 * index);
            if byte < 0x80 {
                self.at += index + 1;
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(match self.input.len() - self.at >= 10 {
            true => self.fault("a number of more than ten bytes"),
            false => self.fault("the record ends in a number"),
        })
    }

    #[inline(always)]
    pub(super) fn int(&mut self) -> Read<i32> {
        let start = self.at;
        let number = self.long()?;
        i32::try_from(number).map_err(|_| {
            self.moved_to(start)
                .fault(format!("{number} is outside of an int"))
        })
    }

    #[inline(always)]
    pub(super) fn boolean(&mut self) -> Read<bool> {
        match self.input.get(self.at) {
            Some(&byte @ (0 | 1)) => {
                self.at += 1;
                Ok(byte == 1)
            }
            Some(byte) => Err(self.fault(format!("{byte} is no boolean"))),
            None => Err(self.fault("the record ends before a boolean")),
        }
    }

    #[inline(always)]
    pub(super) fn fixed(&mut self, len: usize) -> Read<&'a [u8]> {
        let rest = &self.input[self.at..];
        let Some(bytes) = rest.get(..len) else {
            let left = rest.len();
            return Err(self.fault(format!("{len} bytes are announced, and {left} are left")));
        };
        self.at += len;
        Ok(bytes)
    }

    #[inline(always)]
    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.fixed(N)?;
        Ok(*bytes.first_chunk().expect("so many were asked for"))
    }

    #[inline(always)]
    pub(super) fn bytes(&mut self) -> Read<&'a [u8]> {
        let start = self.at;
        let len = self.long()?;
        let len = usize::try_from(len).map_err(|_| {
            self.moved_to(start)
                .fault(format!("{len} is no number of bytes"))
        })?;
        self.fixed(len)
    }

    /// Appends bytes to a String column.
    #[inline(always)]
    pub(super) fn append_bytes(&mut self, out: &mut Vec<u8>) -> Read<()> {
        let len = self.bytes()?.len();
        append_length(len, out);
        append_part(self.input, self.at - len, self.at, out);
        Ok(())
    }

    #[inline(always)]
    pub(super) fn string(&mut self) -> Read<&'a str> {
        let bytes = self.bytes()?;
        utf8(bytes).ok_or_else(|| self.fault("a string that is not UTF-8"))
    }

    /// An index into `count` things.
    #[inline(always)]
    pub(super) fn index(&mut self, count: usize, what: &'static str) -> Read<usize> {
        let start = self.at;
        let index = self.long()?;
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(self
                .moved_to(start)
                .fault(format!("{what} {index} of {count}"))),
        }
    }

    /// How many elements the next block has; none behind the last.
    pub(super) fn block(&mut self) -> Read<Option<u64>> {
        match self.long()? {
            0 => Ok(None),
            count if count > 0 => Ok(Some(count as u64)),
            count => {
                // The size in bytes, for who skips.
                if self.long()? < 0 {
                    return Err(self.fault("a block of negative size"));
                }
                Ok(Some(count.unsigned_abs()))
            }
        }
    }
}
