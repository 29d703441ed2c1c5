//! The benchmark of the console: what is measured, what was promised, and how it is told.

pub mod console;
pub mod lists;
pub mod traffic;

use std::fmt;
use std::time::Duration;

/// How thorough a run is.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Whether figures have to meet their targets.
    pub judge: bool,
    /// Calls per figure.
    pub calls: usize,
    /// Keys per figure.
    pub keys: usize,
    /// How long the console is left alone.
    pub idle: Duration,
}

impl Effort {
    /// What a figure is worth something for.
    pub const FULL: Self = Self {
        judge: true,
        calls: 40,
        keys: 200,
        idle: Duration::from_secs(10),
    };
    /// Only whether everything works.
    pub const SMOKE: Self = Self {
        judge: false,
        calls: 2,
        keys: 10,
        idle: Duration::from_secs(1),
    };

    /// What is promised, where it is judged.
    #[must_use]
    pub fn target(&self, value: f64) -> Option<f64> {
        self.judge.then_some(value)
    }
}

/// Samples of one figure.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The value that so many percent of all samples do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// What came out, in the unit of the target.
    pub value: f64,
    /// What must not be exceeded; `None`: told for information.
    pub target: Option<f64>,
    /// The unit of both.
    pub unit: &'static str,
}

impl Figure {
    /// A figure in milliseconds.
    #[must_use]
    pub fn millis(what: impl Into<String>, value: Duration, target: Option<f64>) -> Self {
        Self {
            what: what.into(),
            value: value.as_secs_f64() * 1000.0,
            target,
            unit: "ms",
        }
    }

    /// Whether the target is met.
    #[must_use]
    pub fn met(&self) -> bool {
        self.target.is_none_or(|target| self.value < target)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.map_or_else(String::new, |target| {
            let verdict = if self.met() { "ok" } else { "MISSED" };
            format!("< {target} {}  {verdict}", self.unit)
        });
        write!(
            f,
            "{:<58} {:>9.2} {:<3} {target}",
            self.what, self.value, self.unit
        )
    }
}
