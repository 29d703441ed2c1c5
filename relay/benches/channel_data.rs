//! How long the core takes for data of either direction, among few sessions and among many, and for
//! answers to requests.
//!
//! `cargo bench --bench channel_data`; `tests/speed` counts the instructions of the same steps.

use divan::Bencher;
use divan::counter::ItemsCount;
use turn_steps::{Step, sessions};

fn main() {
    divan::main();
}

#[divan::bench(args = sessions::STEPS)]
fn core(bencher: Bencher<'_, '_>, step: &Step) {
    let mut repeat = (step.prepare)();
    bencher
        .counter(ItemsCount::new(step.datagrams))
        .bench_local(|| repeat.run());
}
