//! See `turn_sim::targets::channel_data`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| turn_sim::targets::channel_data(bytes));
