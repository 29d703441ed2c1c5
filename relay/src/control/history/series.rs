//! A ring of samples at fixed steps of the wall clock.

use shared::api::HistorySample;

use crate::control::directory::aggregate::Load;

/// One sample and the step it was taken at. A step is the Unix time divided by the length of a step;
/// 32 bits last until 2106 even for seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    step: u32,
    sessions: u32,
    rate_in_bps: u64,
    rate_out_bps: u64,
}

/// Samples of the last steps. Steps that were not sampled are gaps: a cell counts only for the step
/// that it names, so that neither a pause nor a clock that is set leaves anything to clean up.
#[derive(Debug)]
pub(super) struct Series(Box<[Cell]>);

impl Series {
    /// No samples yet; room for so many steps, 24 bytes each.
    #[must_use]
    pub(super) fn new(steps: usize) -> Self {
        Self(vec![Cell::default(); steps].into())
    }

    /// Keeps a sample.
    pub(super) fn put(&mut self, step: u64, load: Load) {
        let at = self.at(step);
        self.0[at] = Cell {
            step: step as u32,
            sessions: u32::try_from(load.sessions).unwrap_or(u32::MAX),
            rate_in_bps: load.rate_in_bps,
            rate_out_bps: load.rate_out_bps,
        };
    }

    /// The samples of all steps up to `end`, oldest first.
    pub(super) fn up_to(&self, end: u64) -> impl Iterator<Item = Option<HistorySample>> {
        let first = (end + 1).saturating_sub(self.0.len() as u64);
        (first..=end).map(|step| {
            let cell = self.0[self.at(step)];
            let there = step > 0 && cell.step == step as u32;
            there.then_some(HistorySample {
                sessions: cell.sessions.into(),
                rate_in_bps: cell.rate_in_bps,
                rate_out_bps: cell.rate_out_bps,
            })
        })
    }

    fn at(&self, step: u64) -> usize {
        (step % self.0.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(sessions: u64) -> Load {
        Load {
            sessions,
            ..Load::default()
        }
    }

    fn sessions(series: &Series, end: u64) -> Vec<Option<u64>> {
        let samples = series.up_to(end);
        samples.map(|s| s.map(|sample| sample.sessions)).collect()
    }

    #[test]
    fn steps_that_were_missed_are_gaps_and_old_ones_are_overwritten() {
        let mut series = Series::new(4);
        assert_eq!(sessions(&series, 100), [None; 4]);
        series.put(100, load(1));
        series.put(101, load(0));
        series.put(103, load(3));
        assert_eq!(sessions(&series, 103), [Some(1), Some(0), None, Some(3)]);
        series.put(105, load(5));
        assert_eq!(sessions(&series, 105), [None, Some(3), None, Some(5)]);
        assert_eq!(sessions(&series, 1000), [None; 4]);
        // Asked a step late.
        assert_eq!(sessions(&series, 106), [Some(3), None, Some(5), None]);
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut series = Series::new(4);
        for step in 100..104 {
            series.put(step, load(1));
        }
        series.put(50, load(2));
        assert_eq!(sessions(&series, 50), [None, None, None, Some(2)]);
    }
}
