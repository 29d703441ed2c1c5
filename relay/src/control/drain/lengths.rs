//! How long sessions last: a life table of those that ended here, and what it says about those that
//! have not.
//!
//! Sessions that ended alone would make every node look as if it were empty soon: the long ones are
//! those that still run. So whoever is alive counts too, as somebody who reached his age (the
//! actuarial estimate of Kaplan and Meier). Beyond the longest session that ended nothing is known, and
//! nothing is said.

use std::time::Duration;

/// Buckets of each doubling: a length is known to 9 %.
const PER_DOUBLING: usize = 8;
/// Doublings of a second: 12 days; what lasted longer counts as that long.
const DOUBLINGS: usize = 20;
/// Buckets in all; the first is for what lasted less than a second.
pub(super) const BUCKETS: usize = PER_DOUBLING * DOUBLINGS + 1;
/// Ended sessions below which nothing is said.
pub(super) const ENOUGH: u64 = 50;
/// An expected number of sessions that counts as none.
const NONE_LEFT: f64 = 0.5;

/// Lengths, or ages, by bucket. Takes the same little memory however many there are.
#[derive(Clone, Debug)]
pub(in crate::control) struct Lengths {
    counts: Box<[u64; BUCKETS]>,
}

impl Default for Lengths {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
        }
    }
}

impl Lengths {
    /// Counts one.
    pub(in crate::control) fn add(&mut self, length: Duration) {
        let bucket = &mut self.counts[bucket(length.as_secs_f64())];
        *bucket = bucket.saturating_add(1);
    }

    /// How many there are.
    #[must_use]
    pub(in crate::control) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The sessions of a node since its start.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Observed {
    /// Lengths of those that ended by themselves.
    pub ended: Lengths,
    /// Lengths of those that an operator ended: they would have lasted longer.
    pub cut: Lengths,
}

/// When the sessions of a node will have ended, in seconds from now; `None`: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Forecast {
    /// Half of them.
    pub half: Option<f64>,
    /// Nine of ten.
    pub most: Option<f64>,
    /// All.
    pub empty: Option<f64>,
}

/// Says when sessions of these ages will have ended.
#[must_use]
pub(super) fn forecast(observed: &Observed, ages: &Lengths) -> Forecast {
    let live = ages.total();
    if live == 0 {
        return Forecast {
            half: Some(0.0),
            most: Some(0.0),
            empty: Some(0.0),
        };
    }
    if observed.ended.total() < ENOUGH {
        return Forecast::default();
    }
    let survival = Survival::of(observed, ages);
    let count = live as f64;
    let when = |left| survival.until(ages, left);
    Forecast {
        half: when(count / 2.0),
        most: when((count / 10.0).max(NONE_LEFT)),
        empty: when(NONE_LEFT),
    }
}

/// Which share of sessions reaches an age, at the upper edge of each bucket.
struct Survival([f64; BUCKETS]);

impl Survival {
    fn of(observed: &Observed, ages: &Lengths) -> Self {
        let mut shares = [0.0; BUCKETS];
        let out = |bucket: usize| observed.cut.counts[bucket] + ages.counts[bucket];
        let all = (0..BUCKETS).map(|bucket| observed.ended.counts[bucket] + out(bucket));
        let mut reached: u64 = all.sum();
        let mut share = 1.0;
        for (bucket, edge) in shares.iter_mut().enumerate() {
            let (ended, out) = (observed.ended.counts[bucket], out(bucket));
            // Who leaves the table inside a bucket was at risk for half of it.
            let at_risk = reached as f64 - out as f64 / 2.0;
            if ended > 0 {
                share *= (1.0 - ended as f64 / at_risk).max(0.0);
            }
            *edge = share;
            reached -= ended + out;
        }
        Self(shares)
    }

    /// The share that reaches an age.
    fn at(&self, age: f64) -> f64 {
        let bucket = bucket(age);
        let (low, high) = edges(bucket);
        let before = bucket.checked_sub(1).map_or(1.0, |before| self.0[before]);
        let within = ((age - low) / (high - low)).clamp(0.0, 1.0);
        before + (self.0[bucket] - before) * within
    }

    /// How many sessions of these ages are expected to be left after so many seconds.
    fn left(&self, ages: &Lengths, secs: f64) -> f64 {
        let counts = ages.counts.iter().enumerate();
        let left = counts
            .filter(|(_, count)| **count > 0)
            .map(|(bucket, count)| {
                let (low, high) = edges(bucket);
                let age = f64::midpoint(low, high);
                let now = self.at(age);
                let then = if now > 0.0 {
                    self.at(age + secs) / now
                } else {
                    0.0
                };
                *count as f64 * then
            });
        left.sum()
    }

    /// The seconds after which no more than `few` are expected to be left.
    fn until(&self, ages: &Lengths, few: f64) -> Option<f64> {
        let (_, longest) = edges(BUCKETS - 1);
        if self.left(ages, longest) > few {
            return None;
        }
        let (mut early, mut late) = (0.0, longest);
        // To a second.
        while late - early > 0.5 {
            let middle = f64::midpoint(early, late);
            if self.left(ages, middle) > few {
                early = middle;
            } else {
                late = middle;
            }
        }
        Some(late)
    }
}

fn bucket(secs: f64) -> usize {
    if secs < 1.0 {
        return 0;
    }
    let at = 1 + (secs.log2() * PER_DOUBLING as f64).floor() as usize;
    at.min(BUCKETS - 1)
}

/// From when to when a bucket goes, in seconds.
fn edges(bucket: usize) -> (f64, f64) {
    let edge = |n: usize| (n as f64 / PER_DOUBLING as f64).exp2();
    match bucket.checked_sub(1) {
        None => (0.0, 1.0),
        Some(before) => (edge(before), edge(before + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of a distribution, as even as they come: no test depends on luck.
    fn draw(count: u32, length: impl Fn(f64) -> f64) -> Lengths {
        let mut lengths = Lengths::default();
        for n in 0..count {
            let share = (f64::from(n) + 0.5) / f64::from(count);
            lengths.add(Duration::from_secs_f64(length(share)));
        }
        lengths
    }

    fn exponential(mean: f64) -> impl Fn(f64) -> f64 {
        move |share| -mean * (1.0 - share).ln()
    }

    fn of(ended: Lengths) -> Observed {
        Observed {
            ended,
            ..Observed::default()
        }
    }

    fn near(found: Option<f64>, wanted: f64, tolerance: f64) {
        let found = found.expect("known");
        let off = (found - wanted).abs() / wanted;
        assert!(off < tolerance, "{found} is not {wanted}");
    }

    #[test]
    fn buckets_cover_every_length_once() {
        for (n, next) in (0..BUCKETS - 1).zip(1..) {
            assert!((edges(n).1 - edges(next).0).abs() < 1e-9);
            let (low, high) = edges(n);
            assert_eq!(bucket(f64::midpoint(low, high)), n);
        }
        assert_eq!(bucket(0.0), 0);
        assert_eq!(bucket(1e12), BUCKETS - 1);
    }

    #[test]
    fn calls_without_memory_halve_in_their_half_life() {
        // Steady state: ages are distributed as lengths are.
        let ages = draw(1000, exponential(600.0));
        let found = forecast(&of(draw(100_000, exponential(600.0))), &ages);
        near(found.half, 600.0 * 2f64.ln(), 0.1);
        near(found.most, 600.0 * 10f64.ln(), 0.1);
        near(found.empty, 600.0 * 2000f64.ln(), 0.25);
    }

    #[test]
    fn calls_of_one_length_end_in_the_order_of_their_ages() {
        let ages = draw(1000, |share| share * 3600.0);
        let found = forecast(&of(draw(10_000, |_| 3600.0)), &ages);
        near(found.half, 1800.0, 0.15);
        near(found.most, 3240.0, 0.15);
    }

    #[test]
    fn short_calls_say_nothing_about_long_ones() {
        let probes = of(draw(10_000, |_| 2.0));
        let long = draw(100, |_| 7200.0);
        assert_eq!(forecast(&probes, &long), Forecast::default());
        // Three quarters are probes: half of what is there will be gone, but not all.
        let mut mixed = draw(300, |_| 1.0);
        for _ in 0..100 {
            mixed.add(Duration::from_secs(7200));
        }
        let found = forecast(&probes, &mixed);
        assert!(found.half.is_some_and(|secs| secs < 5.0), "{found:?}");
        assert_eq!((found.most, found.empty), (None, None));
    }

    #[test]
    fn who_still_talks_is_no_short_call() {
        // A node that just began: its hour-long calls still run, only short ones have ended.
        let ended = of(draw(100, |share| 1.0 + share * 59.0));
        let ages = draw(900, |share| 30.0 + share * 30.0);
        let found = forecast(&ended, &ages);
        assert_eq!(found.empty, None, "nobody knows how long those take");
    }

    #[test]
    fn calls_that_operators_cut_are_no_short_calls_either() {
        let cut = |cut| Observed {
            ended: draw(1000, exponential(600.0)),
            cut,
        };
        let ages = draw(500, exponential(600.0));
        let without = forecast(&cut(Lengths::default()), &ages).half.unwrap();
        let with = forecast(&cut(draw(1000, |_| 5.0)), &ages).half.unwrap();
        assert!((with - without).abs() / without < 0.1, "{with} {without}");
    }

    #[test]
    fn few_observations_say_nothing_and_an_empty_node_is_empty() {
        let ages = draw(10, |_| 5.0);
        let few = of(draw(ENOUGH as u32 - 1, |_| 60.0));
        assert_eq!(forecast(&few, &ages), Forecast::default());
        let enough = of(draw(ENOUGH as u32, |_| 60.0));
        assert!(forecast(&enough, &ages).empty.is_some());
        let none = forecast(&Observed::default(), &Lengths::default());
        assert_eq!(none.empty, Some(0.0));
    }
}
