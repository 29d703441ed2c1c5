//! Single steps of the data plane, set up and ready to be repeated.
//!
//! The benchmarks of `relayd` time them, and the program `count-steps` does each a number of times, so
//! that the suite `speed` can count their instructions. Both do the same, because it is written here
//! once. Every step holds what came of it against what should have: a fast refusal is no result.

pub mod grouping;
pub mod messages;
pub mod sessions;
pub mod turn;

/// Something that the data plane does.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What it is called in benchmarks and where its instructions are recorded.
    pub name: &'static str,
    /// How many datagrams one repetition is about.
    pub datagrams: u64,
    /// How often it is done when instructions are counted: enough to even out how the seeds of hash
    /// tables fall.
    pub counted: u32,
    /// Sets everything up.
    pub prepare: fn() -> Box<dyn Repeat>,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A step that is set up.
pub trait Repeat {
    /// What has to happen before the step, and is no part of it.
    fn ready(&mut self) {}

    /// The step, once.
    fn run(&mut self);

    /// Holds what the step did against what it should have done.
    fn check(&mut self) {}
}

impl<F: FnMut()> Repeat for F {
    fn run(&mut self) {
        self();
    }
}

/// All steps, in the order in which their instructions are recorded.
pub fn all() -> impl Iterator<Item = Step> {
    let parts = [
        messages::STEPS,
        sessions::STEPS,
        grouping::STEPS,
        turn::STEPS,
    ];
    parts.into_iter().flatten().copied()
}
