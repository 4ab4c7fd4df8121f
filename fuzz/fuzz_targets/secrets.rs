//! See `mailfleet::fuzzing`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mailfleet::fuzzing::secrets(data));
