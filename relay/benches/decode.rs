//! How long messages take to be read, checked and answered, and a batch to be sorted into runs.
//!
//! `cargo bench --bench decode`; nothing judges these times, for they are those of one machine. What is
//! judged is how many instructions the same steps take (`tests/speed`).

use divan::Bencher;
use divan::counter::ItemsCount;
use turn_steps::{Step, grouping, messages};

fn main() {
    divan::main();
}

#[divan::bench(args = messages::STEPS)]
fn message(bencher: Bencher<'_, '_>, step: &Step) {
    repeat(bencher, step);
}

#[divan::bench(args = grouping::STEPS)]
fn batch(bencher: Bencher<'_, '_>, step: &Step) {
    repeat(bencher, step);
}

fn repeat(bencher: Bencher<'_, '_>, step: &Step) {
    let mut repeat = (step.prepare)();
    bencher
        .counter(ItemsCount::new(step.datagrams))
        .bench_local(|| repeat.run());
}
