//! The same on a fixed corpus, and on messages that are made by their descriptor.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::protobuf::{SOURCE, compare, json_of, read};
use crate::format::{ProtobufSchema, protobuf_pool};

/// The second reading takes more of the stack for a level than the thread of a test has.
const STACK_BYTES: usize = 64 << 20;

fn replay(entry_point: fn(&[u8]), directory: &'static str, files_min: usize) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let replayed = thread.spawn(move || replay_here(entry_point, directory, files_min));
    replayed
        .expect("a thread")
        .join()
        .expect("the properties hold");
}

fn replay_here(entry_point: fn(&[u8]), directory: &str, files_min: usize) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/material/hostile")
        .join(directory);
    let (mut files, mut failed) = (0, vec![]);
    for entry in fs::read_dir(&directory).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let data = fs::read(&path).expect("a file");
        files += 1;
        if panic::catch_unwind(AssertUnwindSafe(|| entry_point(&data))).is_err() {
            failed.push(path.file_name().map(ToOwned::to_owned));
        }
    }
    assert!(failed.is_empty(), "{failed:?} of {}", directory.display());
    assert!(files >= files_min, "{files} files");
}

#[test]
fn avro_that_was_hostile_before_does_no_harm() {
    replay(super::avro, "avro", 20);
}

#[test]
fn protobuf_that_was_hostile_before_does_no_harm() {
    replay(super::protobuf, "protobuf", 20);
}

static ALL: LazyLock<(Arc<ProtobufSchema>, MessageDescriptor)> = LazyLock::new(|| {
    let schema = ProtobufSchema::from_source(SOURCE, &[]).expect("a source");
    let pool = protobuf_pool(SOURCE, &[]).expect("a source");
    let message = pool.get_message_by_name("fuzz.All").expect("a message");
    (Arc::new(schema), message)
});

/// Bytes that decide what a message has.
struct Choices<'b>(&'b [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> i64 {
        let byte = self.next();
        match byte % 6 {
            0 => 0,
            1 => -1,
            2 => i64::MAX,
            3 => i64::MIN,
            4 => i64::from(self.next()),
            _ => i64::from_be_bytes(std::array::from_fn(|_| self.next())),
        }
    }
}

fn message_of(
    descriptor: &MessageDescriptor,
    choices: &mut Choices<'_>,
    depth: u32,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if !choices.next().is_multiple_of(3) && depth > 0 || depth > 4 {
            continue;
        }
        message.set_field(&field, value_of(&field, choices, depth));
    }
    message
}

fn value_of(field: &FieldDescriptor, choices: &mut Choices<'_>, depth: u32) -> Value {
    let count = usize::from(choices.next() % 3);
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let (of_key, of_value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        let mut member = || {
            let key = match single(&of_key.kind(), choices, depth) {
                Value::Bool(key) => MapKey::Bool(key),
                Value::I64(key) => MapKey::I64(key),
                Value::String(key) => MapKey::String(key),
                _ => MapKey::I32(0),
            };
            (key, single(&of_value.kind(), choices, depth))
        };
        return Value::Map((0..count).map(|_| member()).collect());
    }
    match field.is_list() {
        true => Value::List(
            (0..count)
                .map(|_| single(&field.kind(), choices, depth))
                .collect(),
        ),
        false => single(&field.kind(), choices, depth),
    }
}

fn single(kind: &Kind, choices: &mut Choices<'_>, depth: u32) -> Value {
    let number = choices.number();
    match kind {
        Kind::Double => Value::F64(f64::from_bits(number as u64)),
        Kind::Float => Value::F32(f32::from_bits(number as u32)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number as u64),
        Kind::Bool => Value::Bool(number & 1 == 1),
        Kind::String => Value::String(format!("é\"{number}\\")),
        Kind::Bytes => Value::Bytes(number.to_be_bytes().to_vec().into()),
        Kind::Enum(_) => Value::EnumNumber(number as i32 % 3),
        Kind::Message(of) => Value::Message(message_of(of, choices, depth + 1)),
    }
}

proptest! {
    #[test]
    fn a_generated_message_reads_as_prost_reflect_reads_it(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let (schema, descriptor) = &*ALL;
        let message = message_of(descriptor, &mut Choices(&bytes), 0);
        compare(schema, descriptor, &message.encode_to_vec());
        // Two messages one after the other are one message.
        let other = message_of(descriptor, &mut Choices(&bytes[bytes.len() / 2..]), 0);
        let both = [message.encode_to_vec(), other.encode_to_vec()].concat();
        compare(schema, descriptor, &both);
    }

    #[test]
    fn bytes_are_refused_or_read_as_prost_reflect_reads_them(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let (schema, descriptor) = &*ALL;
        compare(schema, descriptor, &bytes);
        let mut record = message_of(descriptor, &mut Choices(&bytes), 1).encode_to_vec();
        for (at, byte) in flips {
            if !record.is_empty() {
                let at = at.index(record.len());
                record[at] = byte;
            }
        }
        compare(schema, descriptor, &record);
    }
}

#[test]
fn of_the_members_of_a_oneof_the_last_one_counts() {
    let (schema, descriptor) = &*ALL;
    for record in [
        &b"\x80\x02\x05\x8a\x02\x01x"[..],
        b"\x8a\x02\x01x\x80\x02\x05",
        b"\x92\x02\x02\x18\x01\x80\x02\x05\x92\x02\x02\x20\x01",
        b"\xca\x02\x05\x1a\x01a\x20\x01\xca\x02\x02\x20\x01",
    ] {
        compare(schema, descriptor, record);
        let message = DynamicMessage::decode(descriptor.clone(), record).expect("a message");
        let shown = json_of(&message);
        let ours: serde_json::Value =
            serde_json::from_str(&read(schema, record).expect("read")).expect("JSON");
        assert_eq!(ours, shown);
    }
}
