//! Times in buckets that grow with them: a count in memory of fixed size, good to three percent.

/// Buckets of each doubling.
const STEPS: u32 = 32;
/// Doublings of a 32-bit number behind the first [`STEPS`] values, which have a bucket each.
const DOUBLINGS: u32 = 32 - STEPS.trailing_zeros();
/// Buckets in all.
const BUCKETS: usize = ((DOUBLINGS + 1) * STEPS) as usize;

/// How often values were seen.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Histogram {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            total: 0,
        }
    }

    /// Adds one.
    pub(super) fn record(&mut self, value: u32) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
    }

    /// The least value that `share` (0 to 1) of all are not above, as the middle of its bucket.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut so_far = 0;
        for (index, count) in self.counts.iter().enumerate() {
            so_far += count;
            if so_far >= wanted {
                return Some(middle(index));
            }
        }
        None
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }
}

fn bucket(value: u32) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let doubling = value.ilog2() - STEPS.trailing_zeros();
    // The leading bit of what is left stands for the doubling itself.
    let step = (value >> doubling) - STEPS;
    ((doubling + 1) * STEPS + step) as usize
}

fn middle(bucket: usize) -> f64 {
    let (row, step) = (bucket as u32 / STEPS, bucket as u32 % STEPS);
    if row == 0 {
        return f64::from(step);
    }
    let width = 2_f64.powi(row as i32 - 1);
    (f64::from(STEPS + step) + 0.5) * width - 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_close_to_their_values() {
        let mut before = 0;
        for value in (0..5_000)
            .chain((13..32).map(|n| (1_u32 << n) - 1))
            .chain([u32::MAX])
        {
            let index = bucket(value);
            assert!(index >= before && index < BUCKETS, "{value}");
            before = index;
            let off = (middle(index) - f64::from(value)).abs();
            assert!(off <= f64::from(value) * 0.03, "{value}: {}", middle(index));
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        for value in 1..=1000 {
            histogram.record(value);
        }
        for (share, value) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            let found = histogram.quantile(share).unwrap();
            assert!((found - value).abs() <= value * 0.03, "{share}: {found}");
        }
        assert_eq!(histogram.quantile(0.0), Some(1.0));
        histogram.clear();
        assert_eq!(histogram.quantile(0.5), None);
    }
}
