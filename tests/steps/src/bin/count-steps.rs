//! Does each step a number of times, for a tool that counts instructions.
//!
//! What counts is between beginning and end of [`counted`]; when [`step_is_over`] ends, one step is complete. Each
//! line of the output names a step and says how often it was counted.

#![allow(clippy::print_stdout, reason = "the suite reads it")]

use std::hint::black_box;

use turn_steps::{Repeat, Step};

/// Repetitions before it counts: tables have grown, and what is bound lazily is bound.
const WARM_UP: u32 = 100;

fn main() {
    for step in turn_steps::all() {
        let Step {
            name,
            counted: times,
            ..
        } = step;
        let mut repeat = (step.prepare)();
        for round in 0..WARM_UP + times {
            repeat.ready();
            if round < WARM_UP {
                repeat.run();
            } else {
                counted(&mut *repeat);
            }
            repeat.check();
        }
        step_is_over();
        println!("{times} {name}");
    }
}

/// What is counted.
#[inline(never)]
fn counted(repeat: &mut dyn Repeat) {
    repeat.run();
    // Not the last thing, so that this stays a call and no jump.
    black_box(());
}

/// Says that a step is complete.
#[inline(never)]
fn step_is_over() {
    black_box(());
}
