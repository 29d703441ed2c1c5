//! Figures over time as the nodes keep them, brought to the console's clock.

use std::collections::{HashMap, VecDeque};

use shared::api::{HistorySample, HistoryView};

use super::model::Sample;
use crate::client::HistoryOf;

/// Histories held: what is on a screen, and some that were a moment ago.
const HELD: usize = 64;
/// Samples held of each: an hour in steps of ten seconds, and some.
const SAMPLES: usize = 400;
/// Steps that may lie between the last sample and now without a gap: one is being taken, one is on
/// its way.
const SLACK_STEPS: u64 = 3;

/// Which figure of a sample.
pub(crate) type Figure = fn(&HistorySample) -> u64;

/// What was answered to questions for histories.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    held: HashMap<HistoryOf, Held>,
}

#[derive(Debug)]
struct Held {
    step_ms: u64,
    /// When the last sample was taken, by the console's clock.
    end_ms: u64,
    /// When the answer came.
    came_ms: u64,
    samples: Vec<Option<HistorySample>>,
}

impl Histories {
    /// Takes in an answer that came at `now_ms`. The oldest answer goes when there are too many.
    pub(crate) fn take(&mut self, of: HistoryOf, view: HistoryView, now_ms: u64) {
        if self.held.len() >= HELD && !self.held.contains_key(&of) {
            let oldest = self.held.iter().min_by_key(|(_, held)| held.came_ms);
            if let Some(oldest) = oldest.map(|(of, _)| of.clone()) {
                self.held.remove(&oldest);
            }
        }
        // Clocks differ: how old the last sample is counts, not when the node says it was taken.
        let age_ms = view.as_of_ms.saturating_sub(view.end_at_ms);
        let mut samples = view.samples;
        samples.drain(..samples.len().saturating_sub(SAMPLES));
        let held = Held {
            step_ms: u64::from(view.step_secs.max(1)) * 1000,
            end_ms: now_ms.saturating_sub(age_ms),
            came_ms: now_ms,
            samples,
        };
        self.held.insert(of, held);
    }

    /// The last `span_secs` of a figure, oldest first, one value per step; `None` where nothing is
    /// known, and for the time since the last sample once that is older than it should be.
    pub(crate) fn series(
        &self,
        of: &HistoryOf,
        span_secs: u64,
        now_ms: u64,
        figure: Figure,
    ) -> Option<Vec<Option<u64>>> {
        let held = self.held.get(of)?;
        let mut values: Vec<Option<u64>> = held
            .samples
            .iter()
            .map(|sample| sample.as_ref().map(figure))
            .collect();
        let lag = now_ms.saturating_sub(held.end_ms) / held.step_ms;
        if lag > SLACK_STEPS {
            let unknown = lag.min(SAMPLES as u64) as usize;
            values.resize(values.len() + unknown, None);
        }
        Some(last(values, span_secs, held.step_ms))
    }

    /// The same for the whole cluster, with what the console has seen itself since the last sample.
    pub(crate) fn cluster(
        &self,
        span_secs: u64,
        now_ms: u64,
        live: &VecDeque<Sample>,
        figure: Figure,
        seen: fn(&Sample) -> u64,
    ) -> Option<Vec<Option<u64>>> {
        let held = self.held.get(&HistoryOf::Cluster)?;
        let mut values: Vec<Option<u64>> = held
            .samples
            .iter()
            .map(|sample| sample.as_ref().map(figure))
            .collect();
        let steps = now_ms.saturating_sub(held.end_ms) / held.step_ms;
        for step in 0..steps.min(SAMPLES as u64) {
            let from = held.end_ms + step * held.step_ms;
            let within = live
                .iter()
                .filter(|s| s.at_ms > from && s.at_ms <= from + held.step_ms)
                .map(|s| u128::from(seen(s)));
            let (sum, count) = within.fold((0, 0), |(sum, count), v| (sum + v, count + 1));
            values.push((count > 0).then(|| (sum / count) as u64));
        }
        Some(last(values, span_secs, held.step_ms))
    }

    /// The shortest span of a chart that shows all that is known of `of`, but not beyond
    /// `most_secs`: what is young would only fill a corner of an hour.
    pub(crate) fn span_secs(&self, of: &HistoryOf, most_secs: u64, now_ms: u64) -> u64 {
        let Some(held) = self.held.get(of) else {
            return most_secs;
        };
        let known_secs = held.samples.iter().position(Option::is_some).map(|first| {
            let steps = (held.samples.len() - first) as u64;
            let begin_ms = held.end_ms.saturating_sub(steps * held.step_ms);
            now_ms.saturating_sub(begin_ms) / 1000
        });
        let known_secs = known_secs.unwrap_or(0);
        let fits = SPANS_SECS.into_iter().find(|span| *span >= known_secs);
        fits.unwrap_or(most_secs).min(most_secs)
    }

    /// The change of sessions over the last minutes, in percent per minute.
    pub(crate) fn growth(&self) -> Option<f64> {
        let held = self.held.get(&HistoryOf::Cluster)?;
        let window = (GROWTH_MS / held.step_ms) as usize;
        let first = held.samples.len().saturating_sub(window);
        let mut known = (held.samples[first..].iter().enumerate())
            .filter_map(|(at, sample)| sample.map(|s| (at as u64, s.sessions)));
        let (from, was) = known.next()?;
        let (to, is) = known.next_back()?;
        let minutes = ((to - from) * held.step_ms) as f64 / 60_000.0;
        // Over a shorter time a few sessions would look like a flood.
        (minutes >= 1.0 && was > 0).then(|| (is as f64 / was as f64 - 1.0) * 100.0 / minutes)
    }
}

/// Spans that the time axis of a chart reads well with, below the one it stretches over at most.
const SPANS_SECS: [u64; 2] = [300, 900];

/// The time over which growth is measured.
const GROWTH_MS: u64 = 300_000;

/// Exactly the last `span_secs` of `values`.
fn last(mut values: Vec<Option<u64>>, span_secs: u64, step_ms: u64) -> Vec<Option<u64>> {
    let count = ((span_secs * 1000).div_ceil(step_ms) as usize).min(SAMPLES);
    values.drain(..values.len().saturating_sub(count));
    let mut all = vec![None; count - values.len()];
    all.append(&mut values);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(samples: &[Option<u64>], step_secs: u32) -> HistoryView {
        let sample = |n: &Option<u64>| {
            n.map(|sessions| HistorySample {
                sessions,
                ..HistorySample::default()
            })
        };
        HistoryView {
            schema: "history/1".into(),
            as_of_ms: 5_000,
            subject: "cluster".into(),
            step_secs,
            end_at_ms: 5_000,
            samples: samples.iter().map(sample).collect(),
            missing: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_known_stays_a_gap_at_both_ends() {
        let mut histories = Histories::default();
        histories.take(
            HistoryOf::Cluster,
            view(&[Some(3), None, Some(4)], 10),
            100_000,
        );
        let at = |now| histories.series(&HistoryOf::Cluster, 50, now, |s| s.sessions);
        let fresh = [None, None, Some(3), None, Some(4)];
        assert_eq!(at(100_000).unwrap(), fresh);
        assert_eq!(at(125_000).unwrap(), fresh);
        let old = [Some(4), None, None, None, None];
        assert_eq!(at(140_000).unwrap(), old);
        assert_eq!(at(u64::MAX).unwrap(), [None; 5]);
    }

    #[test]
    fn live_samples_follow_on_the_last_step() {
        let mut histories = Histories::default();
        histories.take(HistoryOf::Cluster, view(&[Some(1)], 10), 100_000);
        let sample = |at_ms, sessions| Sample {
            at_ms,
            sessions,
            ..Sample::default()
        };
        let live = VecDeque::from([sample(101_000, 10), sample(109_000, 20), sample(125_000, 7)]);
        let seen = histories.cluster(40, 131_000, &live, |s| s.sessions, |s| s.sessions);
        assert_eq!(seen.unwrap(), [Some(1), Some(15), None, Some(7)]);
    }

    #[test]
    fn growth_needs_a_minute_and_something_to_grow_from() {
        let mut histories = Histories::default();
        assert_eq!(histories.growth(), None);
        let mut of = |samples: &[Option<u64>]| {
            histories.take(HistoryOf::Cluster, view(samples, 10), 0);
            histories.growth()
        };
        assert_eq!(of(&[Some(100), Some(200)]), None);
        assert_eq!(of(&[Some(100), None, None, None, None, Some(500)]), None);
        let from_nothing = [Some(0), None, None, None, None, None, Some(5)];
        assert_eq!(of(&from_nothing), None);
        let grown = of(&[Some(100), None, None, None, None, None, Some(110)]).unwrap();
        assert!((grown - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_chart_stretches_over_what_is_known() {
        let mut histories = Histories::default();
        let mut of = |samples: &[Option<u64>], age_ms: u64| {
            histories.take(HistoryOf::Cluster, view(samples, 10), 10_000_000);
            histories.span_secs(&HistoryOf::Cluster, 3600, 10_000_000 + age_ms)
        };
        let young = [vec![None; 330], vec![Some(1); 30]].concat();
        assert_eq!(of(&young, 0), 300);
        assert_eq!(of(&young, 10_000), 900);
        assert_eq!(of(&[Some(1); 91], 0), 3600);
        assert_eq!(of(&[None; 360], 0), 300);
        let short = histories.span_secs(&HistoryOf::Cluster, 120, 10_000_000);
        assert_eq!(short, 120);
    }

    #[test]
    fn only_so_many_are_held() {
        let mut histories = Histories::default();
        for i in 0..HELD as u64 + 10 {
            let realm = format!("r{i}").parse().unwrap();
            histories.take(HistoryOf::Realm(realm), view(&[Some(1)], 0), i);
        }
        assert_eq!(histories.held.len(), HELD);
        let first = HistoryOf::Realm("r0".parse().unwrap());
        assert!(!histories.held.contains_key(&first));
    }
}
