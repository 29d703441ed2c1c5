//! DTLS 1.2 and 1.3 on the worker (RFC 7350): associations by client and listener, without sockets
//! or clock.
//!
//! [`Associations`] is driven like the core: datagrams and messages in, [`Outbox`] out. A client
//! costs nothing before its cookie came back (see `cookie`), a bounded place until its handshake is
//! done, and is dropped when it stays without a session.

mod association;
mod cookie;
mod hello;
mod moved;
mod outbox;
pub mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use dimpl::{Config, DtlsCertificate, ProtocolVersion};
use turn_proto::five_tuple::FiveTuple;
use turn_proto::server::Security;

use association::{Accepted, Association, Fate, Stage};
use cookie::{Alert, CookieMint, Verdict, write_alert};
use hello::ClientHello;
pub use hello::begins_hello;
pub use moved::Moved;
pub use outbox::{Event, EventKind, Outbox};
use tally::Dropped;
pub use tally::{Tally, Totals};

use crate::certificate::CipherSuite;
use crate::room::ClientSource;

/// The longest handshake datagram made, in bytes: fits IPv6's smallest link with room for tunnels.
const MTU: usize = 1200;
/// How often an open association is looked at, whether it has a session.
const LOOK: Duration = Duration::from_secs(5);

/// Names an association: its 5-tuple, of transport DTLS.
pub type Key = FiveTuple;

/// What associations are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a handshake may take once the cookie is back.
    pub handshake: Duration,
    /// How long an association may stay without a session.
    pub idle: Duration,
    /// Connections and associations of the whole node.
    pub max: usize,
    /// Those of one source that have no session, over all transports.
    pub max_per_source: usize,
    /// Handshakes under way on one worker; the oldest makes room for the next.
    pub max_half_open: usize,
    /// Handshakes under way of one source address (IPv6: /64) on one worker.
    pub max_half_open_per_source: usize,
}

/// What new associations are made with.
#[derive(Clone, Debug)]
pub struct Settings {
    engine: Arc<Config>,
    certificate: Shown,
    limits: Limits,
}

/// The certificate in force, which may change; clients are refused while there is none.
pub type Shown = Arc<ArcSwapOption<DtlsCertificate>>;

impl Settings {
    /// Settings with this certificate and these cipher suites of DTLS 1.2; `None`: all.
    ///
    /// # Panics
    /// When the crypto provider fails its own test: nothing can be encrypted then.
    #[must_use]
    pub fn new(certificate: Shown, ciphers: Option<&[CipherSuite]>, limits: Limits) -> Self {
        let mut engine = Config::builder()
            .mtu(MTU)
            .require_client_certificate(false)
            .use_server_cookie(true)
            .handshake_timeout(limits.handshake)
            .with_crypto_provider(cookie::provider());
        if let Some(ciphers) = ciphers {
            let ciphers: Vec<_> = ciphers.iter().filter_map(|suite| suite.of_dtls()).collect();
            engine = engine.dtls12_cipher_suites(&ciphers);
        }
        let engine = engine.build().expect("settings that a test has built");
        Self {
            engine: Arc::new(engine),
            certificate,
            limits,
        }
    }
}

/// Settings that may change while they are used.
pub type SharedSettings = Arc<ArcSwap<Settings>>;

/// The associations of one worker.
#[derive(Debug)]
pub struct Associations {
    settings: SharedSettings,
    mint: CookieMint,
    map: HashMap<Key, Association>,
    /// Handshakes under way, the oldest first.
    half_open: BTreeSet<Order>,
    /// When each association is to be woken.
    timers: BTreeSet<Order>,
    outbox: Outbox,
    /// One answer to a hello, or one message being put together.
    scratch: Vec<u8>,
    tally: Arc<Tally>,
}

/// What OpenSSL calls a version of DTLS. Which cipher was agreed on the engine does not tell.
fn security(version: ProtocolVersion) -> Security {
    Security {
        version: match version {
            ProtocolVersion::DTLS1_2 => "DTLSv1.2",
            ProtocolVersion::DTLS1_3 => "DTLSv1.3",
            _ => "UNKNOWN",
        },
        cipher: "UNKNOWN",
    }
}

/// An association in an order of time.
type Order = (Instant, SocketAddr, SocketAddr);

impl Associations {
    /// What a client's association is protected with.
    #[must_use]
    pub fn security(&self, tuple: &FiveTuple) -> Option<Security> {
        let association = self.map.get(&key(tuple.client, tuple.server))?;
        association.version().map(security)
    }

    /// None yet. The secret of cookies has to be unpredictable.
    #[must_use]
    pub fn new(
        settings: SharedSettings,
        tally: Arc<Tally>,
        secret: [u8; 32],
        now: Instant,
    ) -> Self {
        Self {
            settings,
            mint: CookieMint::new(secret, now),
            map: HashMap::new(),
            half_open: BTreeSet::new(),
            timers: BTreeSet::new(),
            outbox: Outbox::default(),
            scratch: Vec::new(),
            tally,
        }
    }

    /// How many there are, handshakes under way included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Whether there is an association with that client, a handshake under way included.
    #[must_use]
    pub fn knows(&self, key: &Key) -> bool {
        self.map.contains_key(key)
    }

    /// Swaps what happened since the last call for an outbox to be filled anew.
    pub fn take(&mut self, emptied: Outbox) -> Outbox {
        std::mem::replace(&mut self.outbox, emptied)
    }

    /// Whether something happened that nobody has taken.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// A datagram from a client, whose first byte says DTLS (RFC 7983 §7).
    pub fn handle_datagram(&mut self, now: Instant, key: Key, datagram: &[u8]) {
        if begins_hello(datagram) {
            self.tally.hello();
            match ClientHello::parse(datagram) {
                Some(hello) => self.hello(now, key, &hello, datagram),
                None => self.tally.dropped(Dropped::Unreadable),
            }
            return;
        }
        let Some(association) = self.map.get_mut(&key) else {
            self.tally.dropped(Dropped::Stray);
            return;
        };
        let fate = association.handle_datagram(now, key, datagram, &mut self.outbox);
        self.settle(now, key, fate);
    }

    /// Encrypts a message for a client, put together from its parts.
    pub fn send(&mut self, now: Instant, key: Key, parts: &[&[u8]]) {
        let Some(association) = self.map.get_mut(&key) else {
            return;
        };
        self.scratch.clear();
        for part in parts {
            self.scratch.extend_from_slice(part);
        }
        let fate = association.send(now, key, &self.scratch, &mut self.outbox);
        self.settle(now, key, fate);
    }

    /// Ends an association with a close_notify.
    pub fn close(&mut self, now: Instant, key: Key) {
        if let Some(association) = self.map.get_mut(&key) {
            association.close(now, key, &mut self.outbox);
            self.remove(key);
        }
    }

    /// Whether a client is not known to have a session.
    #[must_use]
    pub fn lacks_session(&self, key: &Key) -> bool {
        let counted = |association: &Association| association.counted.is_some();
        self.map.get(key).is_some_and(counted)
    }

    /// The client has a session: it counts for its source no more.
    pub fn note_session(&mut self, key: &Key) {
        let association = self.map.get_mut(key);
        if let Some(source) = association.and_then(|association| association.counted.take()) {
            self.tally.session_began(source);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, ..)| *at)
    }

    /// Retransmits, gives up, and ends associations that stay without a session.
    pub fn handle_timeout(&mut self, now: Instant, has_session: impl Fn(&Key) -> bool) {
        while let Some(&(at, client, server)) = self.timers.first() {
            if at > now {
                return;
            }
            let key = key(client, server);
            let Some(association) = self.map.get_mut(&key) else {
                self.timers.pop_first();
                continue;
            };
            let Limits {
                handshake, idle, ..
            } = self.settings.load().limits;
            let lives = association.stage == Stage::Open && has_session(&key);
            let over = match association.stage {
                Stage::HalfOpen => now >= association.since + handshake,
                Stage::Open => now >= association.heard + idle && !lives,
            };
            if lives {
                if let Some(source) = association.counted.take() {
                    self.tally.session_began(source);
                }
            } else if association.counted.is_none() {
                let source = ClientSource::of(client);
                association.counted = self.tally.session_ended(source);
            }
            if over {
                if association.stage == Stage::HalfOpen {
                    self.tally.dropped(Dropped::HandshakeTimeout);
                }
                self.close(now, key);
                continue;
            }
            let fate = association.handle_timeout(now, key, &mut self.outbox);
            // Later than now in any case, or this loop would not end.
            association.timer = association.timer.max(now + Duration::from_millis(1));
            self.wake_again(now, key);
            self.settle(now, key, fate);
        }
    }

    fn hello(&mut self, now: Instant, key: Key, hello: &ClientHello<'_>, datagram: &[u8]) {
        if let Some(association) = self.map.get_mut(&key)
            && association.began_with(hello)
            && !hello.cookie().is_empty()
        {
            let fate = association.handle_datagram(now, key, datagram, &mut self.outbox);
            return self.settle(now, key, fate);
        }
        self.scratch.clear();
        let settings = self.settings.load_full();
        let certificate = settings.certificate.load();
        let Some(certificate) = certificate.as_deref() else {
            write_alert(Alert::HandshakeFailure, &mut self.scratch);
            if self.answer(key, datagram) {
                self.tally.alerted();
            }
            return;
        };
        let verdict = self
            .mint
            .judge(now, &key, hello, &settings.engine, &mut self.scratch);
        match verdict {
            Verdict::Cookie | Verdict::Alert => {
                if !hello.cookie().is_empty() {
                    self.tally.cookie_refused();
                }
                let sent = self.answer(key, datagram);
                match verdict {
                    Verdict::Cookie if sent => self.tally.cookie_sent(),
                    Verdict::Alert if sent => self.tally.alerted(),
                    _ => {}
                }
            }
            Verdict::Genuine {
                version,
                first,
                cookie,
            } => {
                let accepted = Accepted {
                    version,
                    first,
                    cookie,
                    hello,
                    datagram,
                };
                self.begin(now, key, &settings, certificate, &accepted);
            }
        }
    }

    /// Sends the answer that was written to somebody who has proven nothing: never more bytes than
    /// came in. Whether it was sent.
    fn answer(&mut self, key: Key, datagram: &[u8]) -> bool {
        if self.scratch.len() > datagram.len() {
            self.tally.dropped(Dropped::TooShort);
            return false;
        }
        self.outbox.transmit(key, &self.scratch);
        true
    }

    fn begin(
        &mut self,
        now: Instant,
        key: Key,
        settings: &Settings,
        certificate: &DtlsCertificate,
        accepted: &Accepted<'_>,
    ) {
        // A client that begins anew has forgotten what was before (RFC 6347 §4.2.8).
        self.remove(key);
        self.make_room(key, settings.limits);
        let source = ClientSource::of(key.client);
        if !self.tally.begin(source, settings.limits) {
            return;
        }
        let certificate = certificate.clone();
        let made = Association::accept(now, settings, certificate, accepted);
        let Some(mut association) = made else {
            self.tally.dropped(Dropped::Failed);
            self.tally.end_half_open(Some(source));
            self.scratch.clear();
            write_alert(Alert::HandshakeFailure, &mut self.scratch);
            self.outbox.transmit(key, &self.scratch);
            return;
        };
        let fate = association.drain(now, key, &mut self.outbox);
        self.half_open.insert((now, key.client, key.server));
        association.scheduled = now;
        association.counted = Some(source);
        self.timers.insert((now, key.client, key.server));
        self.map.insert(key, association);
        self.wake_again(now, key);
        self.settle(now, key, fate);
    }

    /// Room for one more handshake: the oldest one goes, of the same source where that has its share.
    fn make_room(&mut self, newcomer: Key, limits: Limits) {
        let source = ClientSource::of(newcomer.client);
        let of_source = |order: &&Order| ClientSource::of(order.1) == source;
        let share = limits.max_half_open_per_source;
        let oldest = if self.half_open.iter().filter(of_source).count() >= share {
            self.half_open.iter().find(of_source)
        } else if self.half_open.len() >= limits.max_half_open {
            self.half_open.first()
        } else {
            None
        };
        if let Some(&(_, client, server)) = oldest {
            self.tally.dropped(Dropped::CrowdedOut);
            self.remove(key(client, server));
        }
    }

    /// Keeps the books after a call of the engine.
    fn settle(&mut self, now: Instant, key: Key, fate: Fate) {
        if fate == Fate::Over {
            let half_open = |a: &Association| a.stage == Stage::HalfOpen;
            if self.map.get(&key).is_some_and(half_open) {
                self.tally.dropped(Dropped::Failed);
            }
            return self.remove(key);
        }
        let Some(association) = self.map.get_mut(&key) else {
            return;
        };
        if association.stage == Stage::Open
            && self
                .half_open
                .remove(&(association.since, key.client, key.server))
        {
            self.tally.establish();
        }
        if association.timer < association.scheduled {
            self.wake_again(now, key);
        }
    }

    /// Schedules an association for its engine's timer, and for the look at its age.
    fn wake_again(&mut self, now: Instant, key: Key) {
        let Some(association) = self.map.get_mut(&key) else {
            return;
        };
        let limits = self.settings.load().limits;
        let look = match association.stage {
            Stage::HalfOpen => association.since + limits.handshake,
            Stage::Open => now + LOOK.min(limits.idle),
        };
        let (client, server) = (key.client, key.server);
        self.timers.remove(&(association.scheduled, client, server));
        association.scheduled = association.timer.min(look);
        self.timers.insert((association.scheduled, client, server));
    }

    fn remove(&mut self, key: Key) {
        let Some(association) = self.map.remove(&key) else {
            return;
        };
        let (client, server) = (key.client, key.server);
        self.timers.remove(&(association.scheduled, client, server));
        // Open for the engine and not for the books: that is settled after it said so.
        if self.half_open.remove(&(association.since, client, server)) {
            self.tally.end_half_open(association.counted);
        } else {
            self.tally.end_open(association.counted);
        }
        if association.stage == Stage::Open {
            self.outbox.push(key, EventKind::Disconnected, 0);
        }
    }
}

fn key(client: SocketAddr, server: SocketAddr) -> Key {
    FiveTuple {
        client,
        server,
        transport: shared::Transport::Dtls,
    }
}
