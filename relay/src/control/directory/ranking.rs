//! Rankings: the order of a changing value, frozen for as long as somebody pages through it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use shared::SessionId;

/// How long a ranking is kept.
const LIFETIME: Duration = Duration::from_secs(30);
/// Positions kept over all rankings; the oldest ranking goes first. The newest is always kept.
const MAX_POSITIONS: usize = 1_000_000;
/// Rankings kept.
const MAX_RANKINGS: usize = 256;

/// One position: the value as it was (`None`: none), and whose it was.
pub(super) type Position = (Option<f64>, SessionId);

#[derive(Debug)]
struct Ranking {
    id: u64,
    made: Instant,
    positions: Vec<Position>,
}

/// The rankings of this node.
#[derive(Debug, Default)]
pub(super) struct Rankings {
    kept: VecDeque<Ranking>,
    positions: usize,
}

impl Rankings {
    /// Keeps a ranking under the id that the asking node drew.
    pub(super) fn keep(&mut self, id: u64, positions: Vec<Position>, now: Instant) {
        self.positions += positions.len();
        self.kept.push_back(Ranking {
            id,
            made: now,
            positions,
        });
        while self.kept.len() > MAX_RANKINGS
            || (self.positions > MAX_POSITIONS && self.kept.len() > 1)
        {
            self.drop_oldest();
        }
        self.expire(now);
    }

    /// The ranking, unless it has expired.
    pub(super) fn get(&mut self, id: u64, now: Instant) -> Option<&[Position]> {
        self.expire(now);
        let ranking = self.kept.iter().find(|ranking| ranking.id == id)?;
        Some(&ranking.positions)
    }

    fn expire(&mut self, now: Instant) {
        let old = |ranking: &Ranking| now.saturating_duration_since(ranking.made) > LIFETIME;
        while self.kept.front().is_some_and(old) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.positions -= oldest.positions.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ranking_lives_thirty_seconds() {
        let start = Instant::now();
        let mut rankings = Rankings::default();
        rankings.keep(7, vec![(Some(1.0), SessionId(1))], start);
        assert!(rankings.get(7, start + LIFETIME).is_some());
        assert!(
            rankings
                .get(7, start + LIFETIME + Duration::from_millis(1))
                .is_none()
        );
        assert_eq!(rankings.positions, 0);
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many_positions() {
        let start = Instant::now();
        let mut rankings = Rankings::default();
        let many = vec![(Some(1.0), SessionId(1)); MAX_POSITIONS];
        rankings.keep(1, many.clone(), start);
        rankings.keep(2, many, start);
        assert!(rankings.get(1, start).is_none());
        assert!(rankings.get(2, start).is_some());
    }
}
