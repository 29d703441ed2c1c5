//! The realms or users whose figures are kept, where there are more of them than there is room for.

use std::collections::HashMap;

use shared::api::HistorySample;

use super::series::Series;
use crate::control::directory::aggregate::Load;

/// What is left of a score after one step: it halves in eleven.
const FADE: f64 = 15.0 / 16.0;

/// Series by the hash of a name.
///
/// Who is kept: as long as there is room, everybody with a session. Then, at each step, whoever has
/// more traffic than the kept one with the lowest *score* takes its place. A score is the traffic of
/// this step, or 15/16 of the score before where that is more: one that falls silent keeps its place
/// for minutes, the longer the more traffic it had, so that neither a pause nor a flood of short-lived
/// names pushes out an hour of somebody who matters. One without a session for as long as its series
/// reaches back is dropped.
#[derive(Debug)]
pub(super) struct Kept {
    room: usize,
    steps: usize,
    series: HashMap<u64, Scored>,
}

#[derive(Debug)]
struct Scored {
    score: f64,
    /// The last step at which there was a session.
    lived: u64,
    series: Series,
}

impl Kept {
    /// Keeps nobody yet: at most `room`, of `steps` samples each.
    #[must_use]
    pub(super) fn new(room: usize, steps: usize) -> Self {
        Self {
            room,
            steps,
            series: HashMap::new(),
        }
    }

    /// Takes in what everybody with a session has at this step.
    pub(super) fn record(&mut self, step: u64, loads: &HashMap<u64, Load>) {
        for (name, kept) in &mut self.series {
            let load = loads.get(name).copied().unwrap_or_default();
            kept.take(step, load);
        }
        let reach = self.steps as u64;
        self.series
            .retain(|_, kept| step.saturating_sub(kept.lived) < reach);
        let kept = &self.series;
        let mut comers: Vec<(f64, u64)> = loads
            .iter()
            .filter(|(name, _)| !kept.contains_key(name))
            .map(|(name, load)| (traffic(*load), *name))
            .collect();
        let most_first = |a: &(f64, u64), b: &(f64, u64)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if comers.len() > self.room {
            comers.select_nth_unstable_by(self.room, most_first);
            comers.truncate(self.room);
        }
        comers.sort_unstable_by(most_first);
        let mut comers = comers.into_iter().peekable();
        while self.series.len() < self.room
            && let Some((_, name)) = comers.next()
        {
            self.admit(step, name, loads);
        }
        if comers.peek().is_none() {
            return;
        }
        let scores = self.series.iter();
        let mut scores: Vec<(f64, u64)> = scores.map(|(name, kept)| (kept.score, *name)).collect();
        scores.sort_unstable_by(|a, b| most_first(b, a));
        for ((traffic, comer), (score, least)) in comers.zip(scores) {
            if traffic <= score {
                break;
            }
            self.series.remove(&least);
            self.admit(step, comer, loads);
        }
    }

    /// The samples of one up to a step; `None`: it is not kept.
    pub(super) fn up_to(
        &self,
        name: u64,
        end: u64,
    ) -> Option<impl Iterator<Item = Option<HistorySample>>> {
        self.series.get(&name).map(|kept| kept.series.up_to(end))
    }

    fn admit(&mut self, step: u64, name: u64, loads: &HashMap<u64, Load>) {
        let mut comer = Scored {
            score: 0.0,
            lived: step,
            series: Series::new(self.steps),
        };
        comer.take(step, loads.get(&name).copied().unwrap_or_default());
        self.series.insert(name, comer);
    }
}

impl Scored {
    fn take(&mut self, step: u64, load: Load) {
        self.series.put(step, load);
        self.score = traffic(load).max(self.score * FADE);
        // A clock that was set back must not keep it for ever.
        if load.sessions > 0 || self.lived > step {
            self.lived = step;
        }
    }
}

fn traffic(load: Load) -> f64 {
    load.rate_in_bps as f64 + load.rate_out_bps as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(rates: &[(u64, u64)]) -> HashMap<u64, Load> {
        let load = |rate| Load {
            sessions: 1,
            rate_in_bps: rate,
            rate_out_bps: 0,
        };
        rates
            .iter()
            .map(|(name, rate)| (*name, load(*rate)))
            .collect()
    }

    fn names(kept: &Kept) -> Vec<u64> {
        let mut names: Vec<_> = kept.series.keys().copied().collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn with_room_everybody_is_kept_and_then_those_with_most_traffic() {
        let mut kept = Kept::new(3, 10);
        kept.record(101, &loads(&[(1, 0), (2, 0)]));
        assert_eq!(names(&kept), [1, 2]);
        kept.record(102, &loads(&[(1, 0), (2, 70), (3, 80), (4, 90), (5, 10)]));
        assert_eq!(names(&kept), [2, 3, 4]);
        let samples = kept.up_to(2, 102).unwrap();
        let rates: Vec<_> = samples.map(|s| s.map(|s| s.rate_in_bps)).collect();
        assert_eq!(rates[7..], [None, Some(0), Some(70)]);
        assert_eq!(rates[..7], [None; 7]);
        assert!(kept.up_to(5, 102).is_none());
    }

    #[test]
    fn a_pause_costs_no_place_until_others_have_more_than_is_left_of_the_score() {
        let mut kept = Kept::new(1, 100);
        kept.record(1, &loads(&[(1, 1000)]));
        for step in 2..=11 {
            kept.record(step, &loads(&[(2, 500)]));
            assert_eq!(names(&kept), [1], "at {step}");
        }
        // 1000 * (15/16)^11 is 492.
        kept.record(12, &loads(&[(2, 500)]));
        assert_eq!(names(&kept), [2]);
    }

    #[test]
    fn a_flood_of_idle_names_pushes_nobody_out() {
        let mut kept = Kept::new(10, 100);
        let busy: Vec<_> = (0..10).map(|name| (name, 1)).collect();
        kept.record(1, &loads(&busy));
        let flood: Vec<_> = (100..10_000).map(|name| (name, 0)).collect();
        kept.record(2, &loads(&flood));
        assert_eq!(names(&kept), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn one_without_sessions_goes_when_its_series_is_over() {
        let mut kept = Kept::new(10, 5);
        kept.record(1, &loads(&[(1, 9)]));
        for step in 2..=5 {
            kept.record(step, &loads(&[]));
            assert_eq!(names(&kept), [1]);
        }
        kept.record(6, &loads(&[]));
        assert_eq!(names(&kept), [0; 0]);
    }
}
