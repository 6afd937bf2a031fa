//! Any bytes as records of one partition.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamweir::fuzzing::record(data));
