//! Sessions of an earlier start of the node, taken up again as if nothing had happened.
//!
//! No key is stored, so none comes back with a session. That of a time-limited credential is derived
//! anew; anybody else's session relays what it is sent, and gets its key from the next request that
//! proves to be its owner's.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::{PasswordAlgorithm, Realm, RelayTransport, SessionId, Transport, Username, WorkerId};

use super::timeout::due;
use super::{IcmpBudget, Mobility, Output, Server, SessionCounters, SessionSnapshot, SessionTally};
use crate::allocation::{Allocation, Channels, Half, Identity, Meter, Permissions};
use crate::auth::credential::{IntegrityKey, SigningKey};
use crate::auth::rest;
use crate::auth::token::TokenSpan;
use crate::channel_data::ChannelNumber;
use crate::five_tuple::{AddressFamily, FiveTuple, RelayId};
use crate::policy::{Claimant, QuotaLimits, RealmPolicy, source_of};
use crate::stun::TransactionId;
use crate::time::Now;

/// No client draws it: a restored session has no Allocate that could be sent again.
const NO_TRANSACTION: TransactionId = TransactionId([0xff; 12]);

/// A relayed address of a session that is to be restored. Its socket is bound already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredRelay {
    /// Where the socket is bound.
    pub local: SocketAddr,
    /// What the client was told.
    pub external: SocketAddr,
    /// When it expires unless refreshed.
    pub expires: Instant,
}

/// What a restore needs of few sessions besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreDetails {
    /// What its key was made with.
    pub algorithm: PasswordAlgorithm,
    /// The limit of the user that the realm's gives way to, in bits per second and direction.
    pub user_rate_bps: Option<u64>,
    /// When the access token is good that it came with (RFC 7635).
    pub token: Option<TokenSpan>,
    /// Of a client that may move (RFC 8016).
    pub mobility: Option<RestoredMobility>,
    /// When the first of two relayed addresses expires, where that is before the other.
    pub first_expires: Option<Instant>,
}

impl Default for RestoreDetails {
    fn default() -> Self {
        Self {
            algorithm: PasswordAlgorithm::Md5,
            user_rate_bps: None,
            token: None,
            mobility: None,
            first_expires: None,
        }
    }
}

/// How far a mobile client has come (RFC 8016).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredMobility {
    /// Of the ticket that it holds.
    pub serial: u16,
    /// The source address that its session counts for.
    pub source: IpAddr,
    /// The 5-tuple that it moves to and has not sent data on yet. A session that comes back has one
    /// 5-tuple: this one.
    pub pending: Option<FiveTuple>,
}

/// A session that is to be restored: what was known of it before the node stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredSession {
    /// It keeps its id.
    pub id: SessionId,
    /// Client and listener; over UDP, or over a TCP connection that another process passed on. Every
    /// other connection died with its process.
    pub tuple: FiveTuple,
    /// The realm that its user belongs to.
    pub realm: Realm,
    /// As the client wrote it.
    pub username: Username,
    /// When its credential ends or ended, in Unix seconds; `None`: the password of a user.
    pub credential_expiry: Option<u64>,
    /// The shared secret that the credential was made of.
    pub secret_id: Option<Arc<str>>,
    /// Which key of its user it came with; 0: of no stored user.
    pub key_id: u32,
    /// What few sessions have.
    pub details: RestoreDetails,
    /// Its relayed address.
    pub first: RestoredRelay,
    /// That of the other family, in a dual allocation.
    pub second: Option<RestoredRelay>,
    /// When it was created.
    pub created: Instant,
    /// The same in Unix seconds.
    pub created_unix: u64,
    /// The lifetime granted last.
    pub lifetime: Duration,
    /// Peers that may be talked to, and until when.
    pub permissions: Vec<(IpAddr, Instant)>,
    /// Channel bindings with their ends; those in their rebind guard included.
    pub channels: Vec<(ChannelNumber, SocketAddr, Instant)>,
    /// What it relayed before.
    pub counters: SessionCounters,
}

/// What the sockets of a restored session are called from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredRelays {
    /// That of [`RestoredSession::first`]; `None`: it had expired.
    pub first: Option<RelayId>,
    /// That of [`RestoredSession::second`].
    pub second: Option<RelayId>,
}

/// Why a session is not restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestoreRefusal {
    /// All its relayed addresses have expired.
    Expired,
    /// Its client came by a connection whose state cannot move.
    Secured,
    /// There is no such realm any more.
    UnknownRealm,
    /// A session of this start has that 5-tuple.
    TupleTaken,
    /// Two relayed addresses of one family, which no session has.
    SameFamily,
    /// It is there already.
    Known,
    /// The books of quotas do not take it.
    NoQuota,
}

impl From<&SessionSnapshot> for RestoredSession {
    fn from(session: &SessionSnapshot) -> Self {
        let details = session.details.as_deref().cloned().unwrap_or_default();
        let pending = details.mobility.and_then(|mobility| mobility.pending);
        // Other connections end with the process.
        let pending = pending.filter(|path| path.transport == Transport::Udp);
        let second = session.second_relay.as_deref();
        Self {
            id: session.id,
            tuple: pending.unwrap_or(session.tuple),
            realm: session.realm.clone(),
            username: session.username.clone(),
            credential_expiry: session.credential_expiry,
            secret_id: session.secret_id.clone(),
            first: RestoredRelay {
                local: session.relay_local,
                external: session.relay_external,
                expires: details.first_expires.unwrap_or(session.expires),
            },
            second: second.map(|second| RestoredRelay {
                local: second.local,
                external: second.external,
                expires: second.expires,
            }),
            created: session.created,
            created_unix: session.created_unix,
            lifetime: session.lifetime,
            permissions: session
                .permissions
                .iter()
                .map(|permission| (permission.peer, permission.expires))
                .collect(),
            channels: session
                .channels
                .iter()
                .filter_map(|channel| {
                    let number = ChannelNumber::new(channel.number)?;
                    Some((number, channel.peer, channel.expires))
                })
                .collect(),
            counters: session.counters,
            key_id: session.key_id,
            details,
        }
    }
}

impl Server {
    /// Takes up a session of an earlier start. The driver has bound its sockets; it files them under
    /// the names answered, then drains [`poll_output`](Self::poll_output). Limits are not asked, since
    /// the session was within them when it began; it counts against them from now on.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn restore(
        &mut self,
        now: Now,
        session: RestoredSession,
    ) -> Result<RestoredRelays, RestoreRefusal> {
        self.touch(now);
        if matches!(session.tuple.transport, Transport::Tls | Transport::Dtls) {
            return Err(RestoreRefusal::Secured);
        }
        if self.table.by_session(session.id).is_some() {
            return Err(RestoreRefusal::Known);
        }
        let alive = |relay: &RestoredRelay| now.mono < relay.expires;
        let first = Some(session.first).filter(alive);
        let second = session.second.filter(alive);
        let family = |relay: &RestoredRelay| AddressFamily::of(relay.external);
        if first.as_ref().map(family) == second.as_ref().map(family) {
            return Err(match first {
                Some(_) => RestoreRefusal::SameFamily,
                None => RestoreRefusal::Expired,
            });
        }
        let realm = self.policy.realms.get(&session.realm).cloned();
        let realm = realm.ok_or(RestoreRefusal::UnknownRealm)?;
        if self.table.slot(&session.tuple).is_some() {
            return Err(RestoreRefusal::TupleTaken);
        }
        let identity = identity(&session, realm);
        let mobility = session.details.mobility;
        let client = source_of(session.tuple.client.ip());
        let source = mobility.map_or(client, |mobility| mobility.source);
        let claimant = Claimant {
            realm: &identity.realm.name,
            user: &identity.user,
            source,
        };
        let limits = QuotaLimits {
            has_own_rate: identity.max_rate_bps.is_some(),
            ..QuotaLimits::default()
        };
        let budgets = self.quota.try_reserve(claimant, limits);
        let budgets = budgets.map_err(|_| RestoreRefusal::NoQuota)?;
        let meter = Meter::new(source, self.shares.join(&budgets));
        let both = [first, second];
        let mut halves = both.into_iter().flatten();
        // One of them is there, or it would be expired.
        let filed = halves.next().unwrap_or(session.first);
        let allocation = self.restored(now, &session, identity, filed, meter);
        let relay = self.table.insert(allocation);
        let other = halves.next();
        let other = other.map(|half| self.add_half(relay, half));
        self.begin_restored(now, relay);
        Ok(match first {
            Some(_) => RestoredRelays {
                first: Some(relay),
                second: other,
            },
            None => RestoredRelays {
                first: None,
                second: Some(relay),
            },
        })
    }

    /// Says where sessions of an earlier start are now whose clients may move: their tickets name
    /// the worker of that start.
    pub fn set_relocated(&mut self, relocated: Arc<HashMap<SessionId, WorkerId>>) {
        if self.relocated.is_empty() {
            self.relocated = relocated;
        } else {
            let more = relocated
                .iter()
                .map(|(session, worker)| (*session, *worker));
            Arc::make_mut(&mut self.relocated).extend(more);
        }
    }

    /// Lets go of a session that another process carries on: nobody is told, least of all its client.
    /// Its sockets are closed here by what [`poll_output`](Self::poll_output) says.
    pub fn let_go(&mut self, session: SessionId) {
        let Some(relay) = self.table.by_session(session) else {
            return;
        };
        if let Some(allocation) = self.take_out(relay) {
            self.counters.passed_on += 1;
            self.connections.remove(&allocation.tuple);
            let halves = allocation.halves().map(|half| half.relay);
            self.outputs
                .extend(halves.map(|relay| Output::CloseRelay { relay }));
            self.sweep_expiry();
        }
    }

    fn restored(
        &self,
        now: Now,
        session: &RestoredSession,
        identity: Identity,
        first: RestoredRelay,
        meter: Meter,
    ) -> Allocation {
        let settings = &self.policy.settings;
        let mut permissions = Permissions::default();
        for (peer, expires) in &session.permissions {
            if now.mono < *expires && permissions.len() < settings.permissions_per_session {
                permissions.install(*peer, *expires, &self.policy, &identity.realm);
            }
        }
        let mut channels = Channels::default();
        let guard = settings.channel_rebind_guard;
        for (number, peer, expires) in &session.channels {
            let room = channels.check(*number, *peer, settings.channels_per_session, now.mono);
            if now.mono < *expires + guard && room.is_ok() {
                channels.bind(*number, *peer, *expires, guard);
            }
        }
        Allocation {
            id: session.id,
            tuple: session.tuple,
            identity,
            transaction: NO_TRANSACTION,
            success: Box::default(),
            transport: RelayTransport::Udp,
            first: Half {
                // The table gives it its name.
                relay: RelayId(0),
                local: first.local,
                external: first.external,
                expires: first.expires,
            },
            second: None,
            mobility: session
                .details
                .mobility
                .map(|mobility| Box::new(Mobility::restored(mobility.serial))),
            half_ended: None,
            created: session.created,
            created_unix: session.created_unix,
            lifetime: session.lifetime,
            permissions,
            channels,
            links: Vec::new(),
            counters: SessionTally::from(&session.counters),
            is_prepared: false,
            changed: false,
            scheduled: first.expires,
            meter,
            indications: 0,
            icmp: IcmpBudget::new(now.mono),
        }
    }

    fn add_half(&mut self, filed: RelayId, half: RestoredRelay) -> RelayId {
        let relay = self.table.insert_second(filed);
        if let Some(allocation) = self.table.get_mut(filed) {
            allocation.second = Some(Box::new(Half {
                relay,
                local: half.local,
                external: half.external,
                expires: half.expires,
            }));
        }
        relay
    }

    /// Puts limits and deadlines in force, and has the sockets made ready where something may come.
    fn begin_restored(&mut self, now: Now, relay: RelayId) {
        let Some(allocation) = self.table.get_mut(relay) else {
            return;
        };
        allocation.adopt(&self.policy, now.mono);
        allocation.scheduled = allocation.next_deadline();
        let (at, id) = (allocation.scheduled, allocation.id);
        let is_used = allocation.permissions.len() > 0;
        self.expiry.push(at, due(relay, id));
        self.counters.restored += 1;
        if is_used {
            self.prepare_relays(relay);
        }
    }
}

/// Who the session belongs to, as far as that is known without a request.
fn identity(session: &RestoredSession, realm: Arc<RealmPolicy>) -> Identity {
    let name = session.username.as_str();
    let rest = session.credential_expiry;
    let rest = rest.and_then(|_| rest::split_username(name, realm.rest_separator));
    // An access token names nobody.
    let by_token = session.details.token.is_some();
    let user = rest.map_or(name, |rest| rest.user);
    let user = if by_token { "" } else { user };
    let secrets = realm.secrets.iter();
    let secret = secrets
        .filter(|_| rest.is_some())
        .find(|secret| Some(&secret.id) == session.secret_id.as_ref());
    let key = secret.map(|secret| {
        let password = rest::password(secret.value.expose(), name);
        let realm = realm.name.as_str();
        let key = IntegrityKey::derive(session.details.algorithm, name, realm, &password);
        Arc::new(SigningKey::new(key))
    });
    Identity {
        user: user.into(),
        username: session.username.clone(),
        credential_expiry: session.credential_expiry,
        secret_id: session.secret_id.clone(),
        key,
        key_id: session.key_id,
        token: session.details.token,
        max_sessions: None,
        max_rate_bps: session.details.user_rate_bps,
        realm,
    }
}
