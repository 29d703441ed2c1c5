//! Rankings: the order of a changing value, frozen for as long as somebody pages through it.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use shared::SessionId;
use shared::filter::Direction;

/// How long a ranking is kept.
const LIFETIME: Duration = Duration::from_secs(30);
/// Positions kept over all rankings (16 bytes each); the oldest ranking goes first. The newest is
/// always kept.
const MAX_POSITIONS: usize = 4_000_000;
/// Rankings kept.
const MAX_RANKINGS: usize = 256;
/// Positions that are put in order at once.
const STEP: usize = 1024;

/// One position: [`rank_of`] the value as it was, and whose it was.
pub(super) type Position = (u64, SessionId);

/// A number that orders as `value` does in this direction.
#[must_use]
pub(super) fn rank_of(value: f64, direction: Direction) -> u64 {
    let bits = value.to_bits();
    // The order of all floats: negative ones turned round, below positive ones.
    let ascending = if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    };
    match direction {
        Direction::Ascending => ascending,
        Direction::Descending => !ascending,
    }
}

/// The value that a rank was made of.
#[must_use]
pub(super) fn value_of(rank: u64, direction: Direction) -> f64 {
    let ascending = match direction {
        Direction::Ascending => rank,
        Direction::Descending => !rank,
    };
    f64::from_bits(if ascending >> 63 == 1 {
        ascending & !(1 << 63)
    } else {
        !ascending
    })
}

/// A frozen order, worked out as far as somebody looked.
#[derive(Debug)]
pub(super) struct Ranking {
    id: u64,
    made: Instant,
    positions: Vec<Position>,
    /// So many are in their final place; all others come after them.
    sorted: usize,
}

impl Ranking {
    fn sort_more(&mut self, wanted: usize) {
        let rest = &mut self.positions[self.sorted..];
        let wanted = wanted.max(STEP);
        if rest.len() > wanted {
            rest.select_nth_unstable(wanted);
            rest[..wanted].sort_unstable();
            self.sorted += wanted;
        } else {
            rest.sort_unstable();
            self.sorted = self.positions.len();
        }
    }

    /// How many positions are not after this one.
    pub(super) fn start_after(&mut self, after: Position) -> usize {
        while self.sorted < self.positions.len()
            && self.positions[..self.sorted]
                .last()
                .is_none_or(|last| *last <= after)
        {
            // As much again: a far jump takes few steps.
            self.sort_more(self.sorted);
        }
        self.positions[..self.sorted].partition_point(|position| *position <= after)
    }

    /// The positions of a range, in order; fewer at the end.
    pub(super) fn get(&mut self, range: Range<usize>) -> &[Position] {
        let end = range.end.min(self.positions.len());
        if end > self.sorted {
            self.sort_more(end - self.sorted);
        }
        self.positions.get(range.start..end).unwrap_or_default()
    }
}

/// The rankings of this node.
#[derive(Debug, Default)]
pub(super) struct Rankings {
    kept: VecDeque<Ranking>,
    positions: usize,
}

impl Rankings {
    /// Keeps a ranking, given in any order, under the id that the asking node drew.
    pub(super) fn keep(&mut self, id: u64, positions: Vec<Position>, now: Instant) {
        self.positions += positions.len();
        self.kept.push_back(Ranking {
            id,
            made: now,
            positions,
            sorted: 0,
        });
        while self.kept.len() > MAX_RANKINGS
            || (self.positions > MAX_POSITIONS && self.kept.len() > 1)
        {
            self.drop_oldest();
        }
        self.expire(now);
    }

    /// The ranking, unless it has expired.
    pub(super) fn get(&mut self, id: u64, now: Instant) -> Option<&mut Ranking> {
        self.expire(now);
        self.kept.iter_mut().rev().find(|ranking| ranking.id == id)
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
        rankings.keep(7, vec![(1, SessionId(1))], start);
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
        let many = vec![(1, SessionId(1)); MAX_POSITIONS];
        rankings.keep(1, many.clone(), start);
        rankings.keep(2, many, start);
        assert!(rankings.get(1, start).is_none());
        assert!(rankings.get(2, start).is_some());
    }

    #[test]
    fn ranks_order_as_their_values_and_lead_back_to_them() {
        let values = [f64::NEG_INFINITY, -2.5, -0.0, 0.0, 1e-300, 7.0, 1e300];
        for direction in [Direction::Ascending, Direction::Descending] {
            let ranks = values.map(|value| rank_of(value, direction));
            let sorted = match direction {
                Direction::Ascending => ranks.is_sorted(),
                Direction::Descending => ranks.iter().rev().is_sorted(),
            };
            assert!(sorted);
            let back = ranks.map(|rank| value_of(rank, direction).to_bits());
            assert_eq!(back, values.map(f64::to_bits));
        }
    }

    #[test]
    fn a_ranking_that_is_sorted_piece_by_piece_is_the_whole_order() {
        let start = Instant::now();
        let mut rankings = Rankings::default();
        let positions: Vec<Position> = (0..10 * STEP as u64)
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54, SessionId(n)))
            .collect();
        rankings.keep(1, positions.clone(), start);
        let ranking = rankings.get(1, start).unwrap();
        let mut sorted = positions;
        sorted.sort_unstable();
        for at in [0, 5, STEP - 1, 3 * STEP, sorted.len() - 4] {
            assert_eq!(
                ranking.get(at..at + 10),
                &sorted[at..(at + 10).min(sorted.len())]
            );
            assert_eq!(ranking.start_after(sorted[at]), at + 1);
        }
        assert_eq!(ranking.start_after((u64::MAX, SessionId(0))), sorted.len());
        assert_eq!(ranking.get(sorted.len() + 5..sorted.len() + 9), &[]);
    }
}
