//! coturn's sessions as the books want them: with ids of ours, with what changed, and with rates.
//!
//! coturn's numbers are unique in one process only, and begin anew with each; a session is the same one
//! while number, name and relayed address agree and it has not become younger.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::{Realm, RelayTransport, SessionId, Username, WorkerId};
use turn_proto::FiveTuple;
use turn_proto::auth::rest::split_username;
use turn_proto::server::{
    EndCause, Event, PermissionSnapshot, SecondRelay, ServerCounters, SessionCounters,
    SessionSnapshot,
};

use super::records::{Record, Usage};

/// All of coturn's sessions stand under one worker.
pub(super) const WORKER: WorkerId = WorkerId(0);
/// coturn counts whole seconds, and a list takes its time: what differs by less has not changed.
const CLOCK_SLACK: Duration = Duration::from_secs(3);
/// By how much a session may seem younger than it is.
const AGE_SLACK: Duration = Duration::from_secs(10);
/// The longest time for which a rate is believed without new figures.
const MAX_HOLD: Duration = Duration::from_secs(120);
/// The shortest.
const MIN_HOLD: Duration = Duration::from_secs(5);
/// Who stands for clients of a coturn that asks for no credentials.
const ANONYMOUS: &str = "anonymous";

/// Two clocks, read together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Monotonic.
    pub mono: Instant,
    /// Seconds since the Unix epoch.
    pub unix: u64,
}

/// What a list was about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    /// All sessions: who is not in it has ended.
    All,
    /// Those of this name.
    User(&'a str),
    /// Some: coturn cut it.
    Part,
}

/// Whom usernames without realm belong to, and how time-limited ones are written.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    /// The realm of sessions that tell none.
    pub default_realm: Realm,
    /// Between expiry and user; `None`: coturn takes no time-limited names.
    pub rest_separator: Option<char>,
}

/// Totals and rates of a session.
pub(super) type Measured = (SessionId, SessionCounters, (u64, u64));

/// All sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    /// The upper half of the ids.
    base: u32,
    next: u32,
    known: HashMap<u64, Known>,
    numbers: HashMap<SessionId, u64>,
    server: ServerCounters,
}

#[derive(Debug)]
struct Known {
    record: Record,
    snapshot: SessionSnapshot,
    usage: Usage,
    meter: Meter,
    /// Why it is going to end, where that is known.
    cause: Option<EndCause>,
    /// What is said to have been all its traffic. Numbers are not unique: another process, or another
    /// coturn, may have said so of its own, and it counts when the session is over.
    farewell: Option<Usage>,
}

/// Rates between the last two figures: coturn tells new ones every 4096 packets of a session.
#[derive(Clone, Copy, Debug)]
struct Meter {
    bps: (u64, u64),
    grown: Instant,
    until: Instant,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self {
            bps: (0, 0),
            grown: now,
            until: now,
        }
    }

    fn note(&mut self, before: Usage, after: Usage, now: Instant) {
        let over = now.saturating_duration_since(self.grown);
        let secs = over.as_secs_f64().max(0.5);
        let bps =
            |after: u64, before: u64| (after.saturating_sub(before) as f64 * 8.0 / secs) as u64;
        self.bps = (
            bps(after.in_bytes, before.in_bytes),
            bps(after.out_bytes, before.out_bytes),
        );
        self.grown = now;
        self.until = now + (over * 2).clamp(MIN_HOLD, MAX_HOLD);
    }
}

impl Sessions {
    /// None yet.
    pub(super) fn new(base: u32) -> Self {
        Self {
            base,
            next: 0,
            known: HashMap::new(),
            numbers: HashMap::new(),
            server: ServerCounters::default(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// coturn's number of a session, and its USERNAME.
    pub(super) fn find(&self, id: SessionId) -> Option<(u64, &str)> {
        let number = *self.numbers.get(&id)?;
        let known = self.known.get(&number)?;
        Some((number, known.record.username.as_str()))
    }

    /// Whether a number stands for a session of this name.
    pub(super) fn is_known(&self, number: u64, realm: &str, username: &str) -> bool {
        let known = self.known.get(&number);
        known.is_some_and(|known| known.record.realm == realm && known.record.username == username)
    }

    /// Whether any of these is a session that is known: two processes of coturn have none in common.
    pub(super) fn knows_any(&self, records: &[Record], now: Instant) -> bool {
        let is_known = |record: &Record| {
            let known = self.known.get(&record.id);
            known.is_some_and(|known| known.is_same(record, now))
        };
        records.iter().any(is_known)
    }

    /// As the books want it.
    pub(super) fn snapshot(&self, id: SessionId) -> Option<SessionSnapshot> {
        let known = self.known.get(self.numbers.get(&id)?)?;
        Some(known.snapshot.clone())
    }

    /// All of them.
    pub(super) fn snapshots(&self) -> Vec<SessionSnapshot> {
        let all = self.known.values();
        all.map(|known| known.snapshot.clone()).collect()
    }

    /// Forgets all: coturn is gone.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.numbers.clear();
    }

    /// Notes why a session is going to end.
    pub(super) fn doom(&mut self, id: SessionId, cause: EndCause) {
        let known = self
            .numbers
            .get(&id)
            .and_then(|number| self.known.get_mut(number));
        if let Some(known) = known {
            known.cause = Some(cause);
        }
    }

    /// Takes a list over; answers what changed.
    pub(super) fn take(
        &mut self,
        records: Vec<Record>,
        scope: Scope<'_>,
        naming: &Naming,
        now: Now,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let listed: HashSet<u64> = records.iter().map(|record| record.id).collect();
        for record in records {
            let is_other = |known: &Known| !known.is_same(&record, now.mono);
            if self.known.get(&record.id).is_some_and(is_other) {
                events.extend(self.end(record.id, now.mono));
            }
            events.extend(self.take_one(record, naming, now));
        }
        let is_over = |(number, known): (&u64, &Known)| {
            let concerned = match scope {
                Scope::All => true,
                Scope::User(name) => known.record.username == name,
                Scope::Part => known.snapshot.expires + MAX_HOLD < now.mono,
            };
            (concerned && !listed.contains(number)).then_some(*number)
        };
        let over: Vec<u64> = self.known.iter().filter_map(is_over).collect();
        events.extend(
            over.into_iter()
                .filter_map(|number| self.end(number, now.mono)),
        );
        events
    }

    fn take_one(&mut self, record: Record, naming: &Naming, now: Now) -> Option<Event> {
        if let Some(known) = self.known.get_mut(&record.id) {
            let before = known.usage;
            // It goes on: that was another's.
            known.farewell = None;
            known.count(record.usage, &mut self.server, now.mono);
            let changed = known.update(record, naming, now);
            let is_news = changed || (before == Usage::default() && known.usage != before);
            let snapshot = is_news.then(|| Box::new(known.snapshot.clone()));
            return snapshot.map(Event::SessionChanged);
        }
        let id = SessionId::new(self.base, self.next);
        self.next = self.next.wrapping_add(1);
        let started = Duration::from_secs(record.age_secs);
        let created = (
            now.mono.checked_sub(started).unwrap_or(now.mono),
            now.unix.saturating_sub(record.age_secs),
        );
        let snapshot = snapshot(id, created, &record, naming, now.mono);
        self.server.allocations += 1;
        self.numbers.insert(id, record.id);
        let known = Known {
            usage: record.usage,
            meter: Meter::new(now.mono),
            cause: None,
            farewell: None,
            snapshot: snapshot.clone(),
            record,
        };
        self.known.insert(known.record.id, known);
        Some(Event::SessionCreated(Box::new(snapshot)))
    }

    /// A session is over.
    pub(super) fn end(&mut self, number: u64, now: Instant) -> Option<Event> {
        let mut known = self.known.remove(&number)?;
        if let Some(total) = known.farewell.take().filter(|total| total.has(known.usage)) {
            known.count(total, &mut self.server, now);
        }
        let session = known.snapshot.id;
        self.numbers.remove(&session);
        let is_late = known.snapshot.expires <= now + CLOCK_SLACK;
        // coturn does not say why; a client over UDP that is gone early has released it.
        let by_itself = match known.snapshot.tuple.transport {
            _ if is_late => EndCause::Expired,
            shared::Transport::Udp => EndCause::Released,
            _ => EndCause::Disconnected,
        };
        let cause = known.cause.unwrap_or(by_itself);
        self.server.ended.add(cause, 1);
        Some(Event::SessionEnded {
            session,
            cause,
            counters: counters(known.usage),
        })
    }

    /// A session goes on for so many seconds.
    pub(super) fn refreshed(&mut self, number: u64, secs: u64, now: Instant) -> Option<Event> {
        let known = self.known.get_mut(&number)?;
        if secs == 0 {
            known.cause.get_or_insert(EndCause::Released);
            return None;
        }
        known.snapshot.lifetime = Duration::from_secs(secs);
        known.snapshot.expires = now + known.snapshot.lifetime;
        Some(Event::SessionChanged(Box::new(known.snapshot.clone())))
    }

    /// A session is said to be over, with this traffic in all.
    pub(super) fn farewell(&mut self, number: u64, total: Usage) {
        if let Some(known) = self.known.get_mut(&number) {
            known.farewell = Some(total);
        }
    }

    /// Totals and rates of all sessions that relay, and of coturn.
    pub(super) fn measure(&self, now: Instant) -> (Vec<Measured>, ServerCounters) {
        let all = self.known.values();
        let relaying = all.filter(|known| known.usage != Usage::default());
        let measured = relaying.map(|known| {
            let bps = if now < known.meter.until {
                known.meter.bps
            } else {
                (0, 0)
            };
            (known.snapshot.id, counters(known.usage), bps)
        });
        (measured.collect(), self.server)
    }
}

impl Known {
    fn is_same(&self, record: &Record, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.snapshot.created);
        self.record.username == record.username
            && self.record.realm == record.realm
            && self.record.relays == record.relays
            && Duration::from_secs(record.age_secs) + AGE_SLACK >= age
    }

    /// Takes totals over that are newer, as long as they are greater.
    fn count(&mut self, usage: Usage, server: &mut ServerCounters, now: Instant) {
        let (before, after) = (self.usage, self.usage.max(usage));
        if after == before {
            return;
        }
        let packets = |usage: Usage| usage.in_packets.saturating_add(usage.out_packets);
        let bytes = |usage: Usage| usage.in_bytes.saturating_add(usage.out_bytes);
        let more = |sum: u64, after: u64, before: u64| sum.saturating_add(after - before);
        server.relayed_packets = more(server.relayed_packets, packets(after), packets(before));
        server.relayed_bytes = more(server.relayed_bytes, bytes(after), bytes(before));
        self.meter.note(before, after, now);
        self.usage = after;
        self.snapshot.counters = counters(after);
    }

    /// Takes a record over; whether anything changed that the books keep.
    fn update(&mut self, record: Record, naming: &Naming, now: Now) -> bool {
        let created = (self.snapshot.created, self.snapshot.created_unix);
        let mut next = snapshot(self.snapshot.id, created, &record, naming, now.mono);
        next.counters = self.snapshot.counters;
        let (old, new) = (self.snapshot.expires, next.expires);
        let moved = old.max(new) - old.min(new);
        next.lifetime = next.lifetime.max(self.snapshot.lifetime);
        if moved <= CLOCK_SLACK {
            next.expires = old;
            next.permissions
                .iter_mut()
                .for_each(|permission| permission.expires = old);
        }
        let changed = next != self.snapshot;
        self.snapshot = next;
        self.record = record;
        changed
    }
}

fn counters(usage: Usage) -> SessionCounters {
    SessionCounters {
        in_packets: usage.in_packets,
        in_bytes: usage.in_bytes,
        out_packets: usage.out_packets,
        out_bytes: usage.out_bytes,
        ..SessionCounters::default()
    }
}

/// A record as the books want it.
fn snapshot(
    id: SessionId,
    created: (Instant, u64),
    record: &Record,
    naming: &Naming,
    now: Instant,
) -> SessionSnapshot {
    let name = match record.username.as_str() {
        "" => ANONYMOUS,
        name => name,
    };
    let username: Username = name.parse().unwrap_or_else(|_| {
        let anonymous = ANONYMOUS.parse();
        anonymous.expect("a short word is a username")
    });
    let rest = naming
        .rest_separator
        .and_then(|separator| split_username(name, separator));
    let user: Arc<str> = match &rest {
        Some(rest) => rest.user.into(),
        None => username.share(),
    };
    let lifetime = Duration::from_secs(record.ttl_secs);
    let expires = now + lifetime;
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let relay = record.relays.first().copied().unwrap_or(nowhere);
    let second = record.relays.get(1).map(|relay| SecondRelay {
        local: *relay,
        external: *relay,
        expires,
    });
    SessionSnapshot {
        id,
        worker: WORKER,
        tuple: FiveTuple {
            client: record.client,
            server: record.server,
            transport: record.transport,
        },
        security: None,
        realm: record
            .realm
            .parse()
            .unwrap_or_else(|_| naming.default_realm.clone()),
        username,
        user,
        credential_expiry: rest.map(|rest| rest.expiry),
        secret_id: None,
        key_id: 0,
        relay_transport: match record.relays_tcp {
            true => RelayTransport::Tcp,
            false => RelayTransport::Udp,
        },
        is_mobile: record.is_mobile,
        relay_local: relay,
        relay_external: relay,
        second_relay: second.map(Box::new),
        created: created.0,
        created_unix: created.1,
        expires,
        lifetime,
        max_rate_bps: (record.max_bytes_per_sec > 0)
            .then(|| record.max_bytes_per_sec.saturating_mul(8)),
        max_user_rate_bps: None,
        permissions: permissions(record, expires),
        channels: Vec::new(),
        links: Vec::new(),
        counters: counters(record.usage),
        details: None,
    }
}

/// One permission for each address. coturn tells neither when they end nor what went to whom: they are
/// shown as long as the session.
fn permissions(record: &Record, expires: Instant) -> Vec<PermissionSnapshot> {
    let mut permissions: Vec<PermissionSnapshot> = Vec::new();
    let mut places = HashMap::new();
    for (peer, port) in &record.peers {
        let port = Some(*port).filter(|port| *port > 0);
        let place = *places.entry(*peer).or_insert(permissions.len());
        match permissions.get_mut(place) {
            Some(known) => known.last_port = port.or(known.last_port),
            None => permissions.push(PermissionSnapshot {
                peer: *peer,
                last_port: port,
                expires,
                in_bytes: 0,
                out_bytes: 0,
            }),
        }
    }
    permissions
}

#[cfg(test)]
mod tests;
