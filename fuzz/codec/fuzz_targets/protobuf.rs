//! Any bytes as sources, descriptors and messages of Protobuf.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamweir_codec::fuzzing::protobuf(data));
