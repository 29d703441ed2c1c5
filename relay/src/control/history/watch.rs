//! Sessions that somebody looks at: their rates by the second, and the rates of their permissions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use shared::SessionId;
use shared::api::{HistorySample, PermissionView};
use turn_proto::server::PermissionSnapshot;

use super::series::Series;
use crate::control::directory::aggregate::Load;

/// Sessions watched at the same time; the one asked for longest ago makes room.
const MAX_WATCHED: usize = 1000;
/// How long a session is watched after it was asked for.
pub(super) const WATCHED_FOR: Duration = Duration::from_secs(30);
/// Samples of a session: two minutes.
pub(in crate::control) const SECONDS: usize = 120;
/// Rates over less than this say more about the moment of measuring than about traffic.
const SHORTEST: Duration = Duration::from_millis(80);
/// Rates younger than this are told again instead of measured again.
const FRESH: Duration = Duration::from_millis(500);
/// Rates over more than this say nothing about now.
const LONGEST: Duration = Duration::from_secs(5);

/// The watched sessions.
#[derive(Debug, Default)]
pub(super) struct Watches(HashMap<SessionId, Watched>);

#[derive(Debug)]
struct Watched {
    asked: Instant,
    series: Series,
    permissions: PermissionRates,
}

impl Watches {
    /// Watches a session from now on, or longer.
    pub(super) fn ask(&mut self, id: SessionId, now: Instant) {
        if let Some(watched) = self.0.get_mut(&id) {
            watched.asked = now;
            return;
        }
        self.expire(now);
        if self.0.len() >= MAX_WATCHED {
            let oldest = self.0.iter().min_by_key(|(_, watched)| watched.asked);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.0.remove(&oldest);
            }
        }
        let watched = Watched {
            asked: now,
            series: Series::new(SECONDS),
            permissions: PermissionRates::default(),
        };
        self.0.insert(id, watched);
    }

    /// Forgets what nobody asked for lately.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0
            .retain(|_, watched| now.saturating_duration_since(watched.asked) <= WATCHED_FOR);
    }

    /// What is watched.
    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.0.keys().copied().collect()
    }

    /// Keeps a sample; `None`: the session is over.
    pub(super) fn put(&mut self, id: SessionId, step: u64, load: Option<Load>) {
        match load {
            None => {
                self.0.remove(&id);
            }
            Some(load) => {
                if let Some(watched) = self.0.get_mut(&id) {
                    watched.series.put(step, load);
                }
            }
        }
    }

    /// The samples of a watched session up to a step.
    pub(super) fn up_to(
        &self,
        id: SessionId,
        end: u64,
    ) -> Option<impl Iterator<Item = Option<HistorySample>>> {
        self.0.get(&id).map(|watched| watched.series.up_to(end))
    }

    /// Takes in what a worker just said about the permissions of a watched session.
    pub(super) fn measure(&mut self, id: SessionId, now: Instant, said: &[PermissionSnapshot]) {
        if let Some(watched) = self.0.get_mut(&id) {
            watched.permissions.measure(now, said);
        }
    }

    /// Writes the rates measured last into the rows, and answers how long they were measured over;
    /// `None`: they are not known.
    pub(super) fn rates(
        &self,
        id: SessionId,
        now: Instant,
        rows: &mut [PermissionView],
    ) -> Option<Duration> {
        self.0.get(&id)?.permissions.apply(now, rows)
    }
}

/// Bytes of each permission when they were looked at last, and what they had been the time before.
#[derive(Debug, Default)]
struct PermissionRates {
    /// When the bytes were told.
    told: Option<Instant>,
    /// How long the rates are over.
    over: Option<Duration>,
    rows: Vec<Measured>,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    peer: IpAddr,
    bytes: (u64, u64),
    rates: (u64, u64),
}

impl PermissionRates {
    fn measure(&mut self, now: Instant, said: &[PermissionSnapshot]) {
        let elapsed = self.told.map(|told| now.saturating_duration_since(told));
        if elapsed.is_some_and(|elapsed| elapsed < SHORTEST)
            || (self.over.is_some() && elapsed.is_some_and(|elapsed| elapsed < FRESH))
        {
            return;
        }
        self.over = elapsed.filter(|elapsed| *elapsed <= LONGEST);
        let secs = self.over.map(|over| over.as_secs_f64());
        let bps = |now: u64, before: u64| {
            secs.map_or(0, |secs| {
                (now.saturating_sub(before) as f64 * 8.0 / secs).round() as u64
            })
        };
        let rows = said.iter().map(|one| {
            // One that was not there the last time had relayed nothing.
            let known = self.rows.iter().find(|row| row.peer == one.peer);
            let (before_in, before_out) = known.map_or((0, 0), |row| row.bytes);
            Measured {
                peer: one.peer,
                bytes: (one.in_bytes, one.out_bytes),
                rates: (bps(one.in_bytes, before_in), bps(one.out_bytes, before_out)),
            }
        });
        self.rows = rows.collect();
        self.told = Some(now);
    }

    fn apply(&self, now: Instant, rows: &mut [PermissionView]) -> Option<Duration> {
        let over = self.over?;
        if now.saturating_duration_since(self.told?) > LONGEST {
            return None;
        }
        for row in rows {
            if let Some(known) = self.rows.iter().find(|known| known.peer == row.peer) {
                (row.rate_in_bps, row.rate_out_bps) = known.rates;
            }
        }
        Some(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_asked_for_longest_ago_makes_room() {
        let start = Instant::now();
        let mut watches = Watches::default();
        for id in 0..MAX_WATCHED as u64 {
            watches.ask(SessionId(id), start + Duration::from_millis(id));
        }
        let later = start + Duration::from_secs(2);
        watches.ask(SessionId(0), later);
        watches.ask(SessionId(5000), later);
        assert_eq!(watches.0.len(), MAX_WATCHED);
        let there = |id| watches.up_to(SessionId(id), 1).is_some();
        assert!(there(0) && !there(1) && there(2) && there(5000));
        watches.expire(later + WATCHED_FOR);
        assert_eq!(watches.0.len(), 2);
        watches.put(SessionId(0), 7, None);
        assert_eq!(watches.ids(), [SessionId(5000)]);
    }

    fn said(peer: &str, in_bytes: u64) -> PermissionSnapshot {
        PermissionSnapshot {
            peer: peer.parse().unwrap(),
            last_port: None,
            expires: Instant::now(),
            in_bytes,
            out_bytes: 0,
        }
    }

    fn row(peer: &str) -> PermissionView {
        PermissionView {
            peer: peer.parse().unwrap(),
            last_port: None,
            ttl_secs: 1,
            in_bytes: 0,
            out_bytes: 0,
            rate_in_bps: 0,
            rate_out_bps: 0,
        }
    }

    #[test]
    fn rates_of_permissions_are_between_two_descriptions_and_unknown_with_one() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut rates = PermissionRates::default();
        let mut rows = [row("192.0.2.1"), row("192.0.2.2")];
        rates.measure(start, &[said("192.0.2.1", 1000)]);
        assert_eq!(rates.apply(start, &mut rows), None);
        // Too soon to tell anything.
        rates.measure(after(10), &[said("192.0.2.1", 1100)]);
        assert_eq!(rates.apply(after(10), &mut rows), None);
        let both = [said("192.0.2.1", 2000), said("192.0.2.2", 500)];
        rates.measure(after(1000), &both);
        let over = rates.apply(after(1000), &mut rows);
        assert_eq!(over, Some(Duration::from_secs(1)));
        assert_eq!((rows[0].rate_in_bps, rows[1].rate_in_bps), (8000, 4000));
        // Asked again at once by somebody else: the same again.
        rates.measure(after(1100), &[said("192.0.2.1", 9000)]);
        rates.apply(after(1100), &mut rows);
        assert_eq!(rows[0].rate_in_bps, 8000);
        // A pause of minutes is no rate of now.
        assert_eq!(rates.apply(after(60_000), &mut rows), None);
        rates.measure(after(60_000), &both);
        assert_eq!(rates.apply(after(60_000), &mut rows), None);
        rates.measure(after(61_000), &both);
        rates.apply(after(61_000), &mut rows);
        assert_eq!(rows[0].rate_in_bps, 0);
    }
}
