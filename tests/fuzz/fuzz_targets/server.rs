//! See `turn_sim::script::run`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| turn_sim::script::run(bytes));
