//! Any bytes as schemas and records of Avro.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamweir_codec::fuzzing::avro(data));
