//! Rates of counters over the last few seconds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Samples kept: with one each second, rates are over the last three seconds.
const SAMPLES: usize = 4;

/// Counters at one moment, by name.
pub(super) type Sample = BTreeMap<String, u64>;

/// The last samples.
#[derive(Debug, Default)]
pub(super) struct Sampler(VecDeque<(Instant, Sample)>);

impl Sampler {
    /// Adds a sample.
    pub(super) fn add(&mut self, at: Instant, sample: Sample) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((at, sample));
    }

    /// Per second, for every counter that moved.
    #[must_use]
    pub(super) fn rates(&self) -> BTreeMap<String, f64> {
        let (Some((from, before)), Some((to, after))) = (self.0.front(), self.0.back()) else {
            return BTreeMap::new();
        };
        let elapsed = to.saturating_duration_since(*from).as_secs_f64();
        if elapsed <= 0.0 {
            return BTreeMap::new();
        }
        let moved = after.iter().filter_map(|(name, now)| {
            let delta = now.saturating_sub(before.get(name).copied().unwrap_or(0));
            let rate = (delta as f64 / elapsed * 100.0).round() / 100.0;
            (delta > 0).then(|| (name.clone(), rate))
        });
        moved.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_over_the_last_three_seconds() {
        let start = Instant::now();
        let mut sampler = Sampler::default();
        for second in 0..10 {
            let sample = Sample::from([("401".to_owned(), second * 5), ("486".to_owned(), 3)]);
            sampler.add(start + Duration::from_secs(second), sample);
        }
        assert_eq!(sampler.rates(), BTreeMap::from([("401".to_owned(), 5.0)]));
    }
}
