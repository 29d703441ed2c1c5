//! See `turn_sim::targets::token`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| turn_sim::targets::token(bytes));
