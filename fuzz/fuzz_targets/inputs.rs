//! Any bytes as what comes from elsewhere than Kafka's records.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| streamweir::fuzzing::inputs(data));
