//! See `turn_sim::targets::codec`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| turn_sim::targets::codec(bytes));
