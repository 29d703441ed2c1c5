//! How long a turn of a worker takes over real sockets, system calls included.
//!
//! `cargo bench --bench worker`; sending to the worker and receiving from it are not timed. `tests/speed`
//! counts the instructions of the same steps.

use std::cell::RefCell;

use divan::Bencher;
use divan::counter::ItemsCount;
use turn_steps::{Step, turn};

fn main() {
    divan::main();
}

// One turn per sample: each needs what it receives to be sent before, and to be taken away after.
#[divan::bench(args = turn::STEPS, sample_size = 1, sample_count = 1000)]
fn turn_of_a_worker(bencher: Bencher<'_, '_>, step: &Step) {
    let repeat = RefCell::new((step.prepare)());
    bencher
        .counter(ItemsCount::new(step.datagrams))
        .with_inputs(|| repeat.borrow_mut().ready())
        .bench_local_values(|()| {
            repeat.borrow_mut().run();
            Check(&repeat)
        });
}

/// Dropped when the clock has stopped.
struct Check<'a>(&'a RefCell<Box<dyn turn_steps::Repeat>>);

impl Drop for Check<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().check();
    }
}
