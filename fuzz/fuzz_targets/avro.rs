//! Any bytes as schemas and records of Avro.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamweir::fuzzing::avro(data));
