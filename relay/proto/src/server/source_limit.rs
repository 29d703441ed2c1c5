//! What sources that have not proved themselves may draw from us: a table of fixed size.
//!
//! A limit keeps the node from being used to flood a forged address. Sources with little traffic
//! make room for others first, so whoever draws much stays known; a flood from very many forged
//! sources finds no source that is known, is answered, and takes nobody else's share: nothing here
//! can be filled up to lock clients out.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use shared::Secret;

use crate::policy::source_of;

/// Sets of the table, and sources per set: 128 KiB.
const SETS: usize = 1024;
const WAYS: usize = 8;
/// What a bucket holds, as the time in which it fills: many clients behind one address may start
/// at once.
const BURST: Duration = Duration::from_secs(5);

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Errors: challenges above all.
    Error,
    /// Binding answers.
    Binding,
}

/// The buckets of the sources seen lately, per worker.
#[derive(Debug)]
pub(super) struct SourceLimiter {
    /// Made when the first source comes.
    sets: Vec<[Entry; WAYS]>,
    /// Nobody outside knows it.
    key: u64,
    workers: u32,
    origin: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// A hash of source and kind that nobody outside can compute.
    tag: u64,
    /// When its bucket will be full again, in nanoseconds since the origin.
    full_at: u64,
}

impl SourceLimiter {
    /// Knows no source. A limit is that of all workers together: the clients of one source are
    /// spread over them by their ports.
    pub(super) fn new(seed: &Secret<[u8; 32]>, workers: u32) -> Self {
        let mut hasher = DefaultHasher::new();
        seed.expose().hash(&mut hasher);
        Self {
            sets: Vec::new(),
            key: hasher.finish(),
            workers: workers.max(1),
            origin: None,
        }
    }

    /// Whether a source may draw one more.
    pub(super) fn admit(
        &mut self,
        source: IpAddr,
        kind: Kind,
        per_second: u32,
        now: Instant,
    ) -> bool {
        let origin = *self.origin.get_or_insert(now);
        if self.sets.is_empty() {
            self.sets = vec![[Entry::default(); WAYS]; SETS];
        }
        let now = now.saturating_duration_since(origin).as_nanos() as u64;
        let share = per_second.div_ceil(self.workers).max(1);
        let cost = 1_000_000_000 / u64::from(share);
        let tag = self.tag(source, kind);
        let set = &mut self.sets[tag as usize % SETS];
        let known = set.iter().position(|entry| entry.tag == tag);
        let place = known.unwrap_or_else(|| fullest(set));
        let entry = &mut set[place];
        if known.is_none() {
            *entry = Entry { tag, full_at: now };
        }
        let full_at = entry.full_at.max(now);
        let burst = BURST.as_nanos() as u64;
        let may = full_at + cost <= now + burst.max(cost);
        if may {
            entry.full_at = full_at + cost;
        }
        may
    }

    fn tag(&self, source: IpAddr, kind: Kind) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        source_of(source).hash(&mut hasher);
        kind.hash(&mut hasher);
        hasher.finish()
    }
}

/// The entry whose source drew least.
fn fullest(set: &[Entry; WAYS]) -> usize {
    let least = set
        .iter()
        .enumerate()
        .min_by_key(|(_, entry)| entry.full_at);
    least.map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn start() -> Instant {
        Instant::now()
    }

    fn limiter(workers: u32) -> SourceLimiter {
        SourceLimiter::new(&Secret::new([1; 32]), workers)
    }

    fn source(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn a_source_draws_five_seconds_worth_at_once_and_then_its_rate() {
        let mut limiter = limiter(1);
        let begin = start();
        let mut draw = |ms: u64, ip: &str| {
            let now = begin + Duration::from_millis(ms);
            limiter.admit(ip.parse().unwrap(), Kind::Error, 10, now)
        };
        let at_once = (0..1000).filter(|_| draw(0, "192.0.2.1")).count();
        assert_eq!(at_once, 50);
        assert!(draw(0, "192.0.2.2"), "another source has its own");
        let in_time = (1..=10_000).filter(|&ms| draw(ms, "192.0.2.1")).count();
        assert_eq!(in_time, 100);
        for port in 0..50 {
            let host = format!("2001:db8:0:1::{port}");
            assert!(draw(0, &host));
        }
        assert!(!draw(0, "2001:db8:0:1:ffff::1"), "a /64 is one source");
        assert!(draw(0, "2001:db8:0:2::1"));
    }

    #[test]
    fn kinds_are_limited_apart_and_workers_share_a_limit() {
        let now = start();
        let mut limiter = limiter(4);
        let mut drawn = |kind| {
            (0..1000)
                .filter(|_| limiter.admit(source(1), kind, 100, now))
                .count()
        };
        assert_eq!(drawn(Kind::Error), 125);
        assert_eq!(drawn(Kind::Binding), 125);
    }

    #[test]
    fn a_flood_of_forged_sources_takes_nobody_elses_share_and_hides_nobody_loud() {
        let begin = start();
        let mut limiter = limiter(1);
        let (mut loud, mut quiet) = (0, 0);
        for number in 0..1_000_000_u32 {
            let now = begin + Duration::from_micros(number.into());
            let forged = source(0x4000_0000 + number);
            assert!(limiter.admit(forged, Kind::Error, 100, now), "{number}");
            if number % 100 == 0 {
                loud += u32::from(limiter.admit(source(1), Kind::Error, 100, now));
            }
            if number % 100_000 == 0 {
                quiet += u32::from(limiter.admit(source(2), Kind::Error, 100, now));
            }
        }
        assert!(loud <= 600 + 10, "{loud} of 10000 in one second");
        assert_eq!(quiet, 10);
        assert_eq!(limiter.sets.len() * WAYS, 8192);
    }
}
