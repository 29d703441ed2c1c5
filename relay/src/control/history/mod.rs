//! Figures over time: of this node, its realms and its users in steps of ten seconds for an hour, and
//! of sessions that somebody looks at by the second for two minutes.
//!
//! Samples lie on multiples of the step on the wall clock, so that those of several nodes can be added
//! up. A rate is that of the second before its sample.
//!
//! Memory is bounded: 360 samples of 24 bytes for each of at most [`MAX_USERS`] users and
//! [`MAX_REALMS`] realms, 17 MB together (`kept` says who is kept where there are more), and at
//! most 17 MB for 1,000 watched sessions with 256 permissions each. While a sample is taken, each user
//! with a session costs about 40 bytes more.

mod kept;
mod sample;
mod series;
mod watch;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shared::api::{HistorySample, PermissionView};
use shared::{Realm, SessionId};
use turn_proto::server::PermissionSnapshot;

use super::clock::Moment;
use super::directory::aggregate::Load;
use super::directory::tally::{Names, Tally};
use kept::Kept;
use series::Series;
use watch::Watches;

pub(super) use sample::{sample, watch};
pub(super) use watch::SECONDS;

/// Length of a step of nodes, realms and users.
pub(super) const STEP_SECS: u32 = 10;
/// Steps kept of them: one hour.
pub(super) const STEPS: usize = 360;
/// Users whose figures are kept.
pub(super) const MAX_USERS: usize = 1000;
/// Realms whose figures are kept.
pub(super) const MAX_REALMS: usize = 1000;

/// The figures of this node.
#[derive(Debug)]
pub(super) struct History {
    names: Names,
    figures: Mutex<Figures>,
    watches: Mutex<Watches>,
}

/// What is sampled every ten seconds.
#[derive(Debug)]
struct Figures {
    /// The step sampled last.
    end: u64,
    node: Series,
    realms: Kept,
    users: Kept,
}

/// Whose figures a node is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HistoryOf {
    /// The node; for a caller confined to realms, the sum of these.
    Node,
    /// A realm.
    Realm(Realm),
    /// A user.
    User(Realm, String),
    /// A session, by the second; watches it.
    Session(SessionId),
}

/// What a node knows of somebody's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// The last step: Unix seconds divided by the length of a step.
    pub end: u64,
    /// Sessions, bits per second in and out, of each step up to it; absent: a gap.
    pub samples: Vec<Option<(u64, u64, u64)>>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            names: Names::default(),
            figures: Mutex::new(Figures {
                end: 0,
                node: Series::new(STEPS),
                realms: Kept::new(MAX_REALMS, STEPS),
                users: Kept::new(MAX_USERS, STEPS),
            }),
            watches: Mutex::default(),
        }
    }
}

impl History {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the sums of a step.
    fn record(&self, step: u64, sums: &Tally) {
        let mut figures = self.figures();
        figures.end = step;
        figures.node.put(step, sums.node);
        figures.realms.record(step, &sums.realms);
        figures.users.record(step, &sums.users);
    }

    /// The figures of the node, or of some of its realms together.
    #[must_use]
    pub(super) fn node(&self, realms: &[Realm], now: Moment) -> Share {
        if realms.is_empty() {
            let figures = self.figures();
            let end = figures.last(now);
            return share(end, figures.node.up_to(end));
        }
        let shares = realms.iter().map(|realm| self.realm(realm, now));
        add_up(shares.flatten().collect(), STEPS)
    }

    /// The figures of a realm; `None`: they are not kept.
    #[must_use]
    pub(super) fn realm(&self, realm: &Realm, now: Moment) -> Option<Share> {
        let figures = self.figures();
        let end = figures.last(now);
        let kept = figures.realms.up_to(self.names.realm(realm), end);
        kept.map(|samples| share(end, samples))
    }

    /// The figures of a user; `None`: they are not kept.
    #[must_use]
    pub(super) fn user(&self, realm: &Realm, user: &str, now: Moment) -> Option<Share> {
        let figures = self.figures();
        let end = figures.last(now);
        let kept = figures.users.up_to(self.names.user(realm, user), end);
        kept.map(|samples| share(end, samples))
    }

    /// Watches a session, beginning with what is known of it now, and answers what was seen so far.
    #[must_use]
    pub(super) fn session(&self, id: SessionId, load: Load, now: Moment) -> Share {
        let mut watches = self.watches();
        watches.ask(id, now.mono);
        let step = now.unix_secs();
        watches.put(id, step, Some(load));
        let samples = watches.up_to(id, step);
        samples.map_or_else(Share::default, |samples| share(step, samples))
    }

    /// Watches a session, and takes in what its worker just said about its permissions.
    pub(super) fn measure(&self, id: SessionId, said: &[PermissionSnapshot], now: Instant) {
        let mut watches = self.watches();
        watches.ask(id, now);
        watches.measure(id, now, said);
    }

    /// Writes the rates of permissions into the rows, and answers how long they were measured over;
    /// `None`: they are not known.
    pub(super) fn rates(
        &self,
        id: SessionId,
        rows: &mut [PermissionView],
        now: Instant,
    ) -> Option<Duration> {
        self.watches().rates(id, now, rows)
    }
}

impl Figures {
    /// The last step that was sampled, or would have been.
    fn last(&self, now: Moment) -> u64 {
        let current = step_of(now);
        if self.end.abs_diff(current) <= 1 {
            self.end
        } else {
            current
        }
    }
}

fn step_of(now: Moment) -> u64 {
    now.unix_secs() / u64::from(STEP_SECS)
}

fn share(end: u64, samples: impl Iterator<Item = Option<HistorySample>>) -> Share {
    let samples = samples.map(|sample| {
        sample.map(|sample| (sample.sessions, sample.rate_in_bps, sample.rate_out_bps))
    });
    Share {
        end,
        samples: samples.collect(),
    }
}

/// Adds shares up, step by step. A step that nobody knows is a gap; one that some do not know is the
/// sum of the others.
///
/// The end is the last step of whoever is a step behind: nodes sample within the same second, not at
/// the same moment, and a sum without the late ones would show a dip at the end.
#[must_use]
pub(super) fn add_up(shares: Vec<Share>, steps: usize) -> Share {
    let newest = shares.iter().map(|share| share.end).max().unwrap_or(0);
    let close = shares.iter().map(|share| share.end);
    let end = close.filter(|end| newest - end <= 1).min().unwrap_or(0);
    let mut sum = vec![None; steps];
    for share in &shares {
        let newest_first = share.samples.iter().rev().enumerate();
        for (back, sample) in newest_first {
            let Some((sessions, rate_in, rate_out)) = *sample else {
                continue;
            };
            let step = share.end.checked_sub(back as u64);
            let behind = step.and_then(|step| end.checked_sub(step));
            let behind = behind.and_then(|behind| usize::try_from(behind).ok());
            let at = behind.and_then(|behind| steps.checked_sub(behind)?.checked_sub(1));
            if let Some(slot) = at.and_then(|at| sum.get_mut(at)) {
                let (a, b, c) = slot.unwrap_or((0_u64, 0_u64, 0_u64));
                *slot = Some((
                    a.saturating_add(sessions),
                    b.saturating_add(rate_in),
                    c.saturating_add(rate_out),
                ));
            }
        }
    }
    Share { end, samples: sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_of(end: u64, sessions: &[Option<u64>]) -> Share {
        let samples = sessions.iter().map(|n| n.map(|n| (n, n * 10, n * 100)));
        Share {
            end,
            samples: samples.collect(),
        }
    }

    #[test]
    fn shares_are_added_step_by_step_and_gaps_stay_gaps() {
        let a = share_of(50, &[None, Some(1), None, Some(3)]);
        // A step ahead, and started later.
        let b = share_of(51, &[None, None, None, Some(7), Some(9)]);
        let sum = add_up(vec![a.clone(), b], 4);
        assert_eq!(sum, share_of(50, &[None, Some(1), None, Some(10)]));
        // One whose clock stands counts only where it says something.
        let late = share_of(48, &[Some(5), Some(5)]);
        let sum = add_up(vec![a, late], 4);
        assert_eq!(sum, share_of(50, &[Some(5), Some(6), None, Some(3)]));
        assert_eq!(add_up(Vec::new(), 2).samples, [None, None]);
    }

    #[test]
    fn a_share_of_nonsense_is_harmless() {
        let huge = Share {
            end: u64::MAX - 1,
            samples: vec![Some((u64::MAX, 1, 1)); 1000],
        };
        let sum = add_up(vec![huge.clone(), huge], 3);
        assert_eq!(sum.samples, [Some((u64::MAX, 2, 2)); 3]);
    }

    #[test]
    fn figures_are_kept_by_realm_and_user_and_a_confined_caller_sees_its_realms() {
        let history = History::default();
        let realm = |name: &str| name.parse::<Realm>().unwrap();
        let now = Moment {
            mono: Instant::now(),
            unix_ms: 1_000_000_000,
        };
        let mut sums = Tally::default();
        for (name, user, rate) in [("a", "x", 10), ("a", "y", 20), ("b", "x", 40)] {
            let load = Load {
                sessions: 1,
                rate_in_bps: rate,
                rate_out_bps: 0,
            };
            let (realm, names) = (realm(name), &history.names);
            sums.node.add(load);
            sums.realms
                .entry(names.realm(&realm))
                .or_default()
                .add(load);
            sums.users
                .entry(names.user(&realm, user))
                .or_default()
                .add(load);
        }
        history.record(step_of(now), &sums);
        let last = |share: Share| {
            assert_eq!((share.end, share.samples.len()), (100_000, STEPS));
            assert_eq!(share.samples[..STEPS - 1], vec![None; STEPS - 1]);
            share.samples[STEPS - 1]
        };
        assert_eq!(last(history.node(&[], now)), Some((3, 70, 0)));
        assert_eq!(last(history.node(&[realm("a")], now)), Some((2, 30, 0)));
        assert_eq!(
            last(history.realm(&realm("b"), now).unwrap()),
            Some((1, 40, 0))
        );
        assert_eq!(
            last(history.user(&realm("a"), "y", now).unwrap()),
            Some((1, 20, 0))
        );
        assert_eq!(history.user(&realm("b"), "y", now), None);
    }
}
