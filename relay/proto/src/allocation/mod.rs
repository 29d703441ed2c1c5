//! Allocations (RFC 8656 §3.2): one client's relayed transport address and all that hangs on it.

mod channel;
mod index;
mod link;
mod meter;
mod permission;
mod rate;
mod shares;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::{PasswordAlgorithm, RelayTransport, SessionId, WorkerId};

pub(crate) use channel::Channels;
pub(crate) use link::{Link, Links, Stage};
pub(crate) use meter::{Meter, Scope};
pub(crate) use permission::Permissions;
pub(crate) use shares::Shares;
pub(crate) use table::{AllocationTable, Slot};

use crate::auth::credential::{IntegrityKey, SigningKey};
use crate::auth::token::TokenSpan;
use crate::five_tuple::{AddressFamily, FiveTuple, LinkId, RelayId};
use crate::policy::{Lane, Policy, RealmPolicy};
use crate::server::{
    IcmpBudget, Mobility, RestoreDetails, SecondRelay, SessionSnapshot, SessionTally,
};
use crate::stun::{Message, TransactionId};
use shared::Username;

/// Who a client proved to be.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) realm: Arc<RealmPolicy>,
    pub(crate) username: Username,
    /// The id part of a time-limited username, else the name itself.
    pub(crate) user: Arc<str>,
    pub(crate) credential_expiry: Option<u64>,
    pub(crate) secret_id: Option<Arc<str>>,
    /// What requests are checked by; `None`: of a session that was restored, whose owner has not asked
    /// for anything since.
    pub(crate) key: Option<Arc<SigningKey>>,
    /// Which key of its user that is; 0: of no stored user.
    pub(crate) key_id: u32,
    /// When the access token is good that it came with (RFC 7635).
    pub(crate) token: Option<TokenSpan>,
    /// The user's own session limit.
    pub(crate) max_sessions: Option<u32>,
    /// The user's own rate limit, over all its sessions.
    pub(crate) max_rate_bps: Option<u64>,
}

/// A relayed transport address of an allocation. A dual allocation has one of each family (RFC 8656
/// §7.2), and each lives as long as it is refreshed itself (§8.2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub(crate) relay: RelayId,
    pub(crate) local: SocketAddr,
    pub(crate) external: SocketAddr,
    pub(crate) expires: Instant,
}

impl Half {
    pub(crate) fn family(&self) -> AddressFamily {
        AddressFamily::of(self.external)
    }
}

impl Identity {
    /// A lifetime that ends no later than the access token (RFC 7635 §9).
    pub(crate) fn cap(&self, granted: Duration, unix: u64) -> Duration {
        let left = self.token.map(|span| span.left(unix).unwrap_or_default());
        left.map_or(granted, |left| granted.min(left))
    }

    /// Whether a session of the one is the other's (RFC 8656 §5): of one name and realm.
    ///
    /// A token names nobody: its kid is a key that all clients of an authorization server share, and
    /// that changes when the server takes another one. So the owner of a session with a token is
    /// whoever has a token of the same realm (RFC 7635 §9: a new one refreshes what exists), and
    /// nobody with a password.
    pub(crate) fn is_same_owner(&self, other: &Self) -> bool {
        let same = match (self.token, other.token) {
            (None, None) => self.username == other.username,
            (Some(_), Some(_)) => true,
            (None, Some(_)) | (Some(_), None) => false,
        };
        same && self.realm.name == other.realm.name
    }

    /// Whether the other one knows the session's key. Asked where being of the same realm is too
    /// little, because somebody else's secret may have been read on its way.
    pub(crate) fn has_key_of(&self, other: &Self) -> bool {
        let same = |key: &Arc<SigningKey>| other.key.as_ref().is_some_and(|o| o.key() == key.key());
        self.token.is_none() || self.key.as_ref().is_some_and(same)
    }

    /// Whether the key of the session signed a message.
    pub(crate) fn verifies(&self, message: &Message<'_>) -> bool {
        let key = self.key.as_ref();
        key.is_some_and(|key| key.verifies(message))
    }

    /// Takes what a restored session does not know of its owner from a request of theirs.
    pub(crate) fn complete(&mut self, proven: &Self) {
        if self.key.is_none() {
            self.key.clone_from(&proven.key);
            self.key_id = proven.key_id;
            self.max_rate_bps = proven.max_rate_bps;
        }
    }

    /// Goes on with the access token of a later request of the same owner.
    pub(crate) fn renew(&mut self, later: &Self) {
        self.username = later.username.clone();
        self.key.clone_from(&later.key);
        self.key_id = later.key_id;
        self.token = later.token;
        self.credential_expiry = later.credential_expiry;
        self.secret_id = later.secret_id.clone();
    }
}

/// A live allocation.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) id: SessionId,
    pub(crate) tuple: FiveTuple,
    pub(crate) identity: Identity,
    /// The Allocate that made it, and its answer: sent again to a retransmission, and empty when the
    /// client has shown that it got it.
    pub(crate) transaction: TransactionId,
    pub(crate) success: Box<[u8]>,
    /// What its relayed transport address is for.
    pub(crate) transport: RelayTransport,
    /// The first relayed address; the table files the allocation under its id.
    pub(crate) first: Half,
    /// The one of the other family, in a dual allocation.
    pub(crate) second: Option<Box<Half>>,
    /// Of a client that may move (RFC 8016).
    pub(crate) mobility: Option<Box<Mobility>>,
    /// The Refresh that ended a half: its retransmission is no mistake.
    pub(crate) half_ended: Option<TransactionId>,
    pub(crate) created: Instant,
    pub(crate) created_unix: u64,
    pub(crate) lifetime: Duration,
    pub(crate) permissions: Permissions,
    pub(crate) channels: Channels,
    /// Its connections with peers; none but where it relays TCP.
    pub(crate) links: Vec<LinkId>,
    pub(crate) counters: SessionTally,
    /// Its sockets are ready for datagrams.
    pub(crate) is_prepared: bool,
    /// Listed in the next usage report already.
    pub(crate) changed: bool,
    /// The deadline whose queue entry is the live one.
    pub(crate) scheduled: Instant,
    /// What its traffic is measured by.
    pub(crate) meter: Meter,
    /// Counts Data indications, for their transaction ids.
    pub(crate) indications: u32,
    pub(crate) icmp: IcmpBudget,
}

impl Allocation {
    /// Its relayed addresses: one or two.
    pub(crate) fn halves(&self) -> impl Iterator<Item = &Half> {
        std::iter::once(&self.first).chain(self.second.as_deref())
    }

    pub(crate) fn halves_mut(&mut self) -> impl Iterator<Item = &mut Half> {
        std::iter::once(&mut self.first).chain(self.second.as_deref_mut())
    }

    /// The 5-tuple that its client moves to.
    pub(crate) fn pending(&self) -> Option<FiveTuple> {
        self.mobility.as_ref()?.pending
    }

    /// Whether that is this one.
    pub(crate) fn pending_is(&self, tuple: &FiveTuple) -> bool {
        let mobility = self.mobility.as_deref();
        mobility.is_some_and(|mobility| mobility.pending.as_ref() == Some(tuple))
    }

    /// The relayed address that speaks to peers of this family.
    pub(crate) fn half(&self, family: AddressFamily) -> Option<&Half> {
        self.halves().find(|half| half.family() == family)
    }

    /// When it is over unless refreshed.
    pub(crate) fn expires(&self) -> Instant {
        self.halves()
            .map(|half| half.expires)
            .fold(self.first.expires, Instant::max)
    }

    /// Forgets all permissions and channels of peers that no relayed address speaks to any more.
    pub(crate) fn forget_family(&mut self, family: AddressFamily) {
        self.permissions.forget_family(family);
        self.channels.forget_family(family);
    }

    /// Whether it relays TCP (RFC 6062).
    pub(crate) fn is_tcp(&self) -> bool {
        self.transport == RelayTransport::Tcp
    }

    /// The nearest of all its deadlines.
    pub(crate) fn next_deadline(&self) -> Instant {
        let inner = [
            self.second.as_ref().map(|half| half.expires),
            self.permissions.next_deadline(),
            self.channels.next_deadline(),
            self.credential_end(),
        ];
        let inner = inner.into_iter().flatten();
        inner.fold(self.first.expires, Instant::min)
    }

    /// When its credential ends it, in a realm that wants that: in the second after the last one in
    /// which the credential would still be accepted. Reckoned from the beginning of the session, so
    /// that a clock which is set later neither ends nor prolongs anything.
    pub(crate) fn credential_end(&self) -> Option<Instant> {
        if !self.identity.realm.ends_with_credential {
            return None;
        }
        let left = self.identity.credential_expiry?;
        let left = left.saturating_sub(self.created_unix).saturating_add(1);
        self.created.checked_add(Duration::from_secs(left))
    }

    /// Follows a new policy: limits at once, peer verdicts through the revision.
    pub(crate) fn adopt(&mut self, policy: &Policy, now: Instant) {
        if let Some(realm) = policy.realms.get(&self.identity.realm.name) {
            self.identity.realm = Arc::clone(realm);
        }
        self.limit(policy, now);
    }

    /// Forgets permissions and channels of peers that the policy bans; says whether there were any.
    pub(crate) fn forget_banned(&mut self, policy: &Policy) -> bool {
        if policy.peers.banned.is_empty() {
            return false;
        }
        let permissions = &mut self.permissions;
        let forgot = permissions.forget_peers(|peer| policy.peers.is_banned(peer));
        self.channels
            .forget_peers(|peer| policy.peers.is_banned(peer))
            || forgot
    }

    /// Puts the limits of a policy in force.
    pub(crate) fn limit(&mut self, policy: &Policy, now: Instant) {
        let Identity {
            realm,
            max_rate_bps,
            ..
        } = &self.identity;
        self.meter.limit(policy, realm, *max_rate_bps, now);
    }

    /// Counts new peers against their limits, all of them or none.
    pub(crate) fn admit_new_peers(
        &mut self,
        shares: &mut Shares,
        count: usize,
        now: Instant,
    ) -> bool {
        let meter = &mut self.meter;
        let count = count as u64;
        let admitted = count == 0 || meter.admit(shares, Lane::NewPeers, count, now).is_ok();
        if !admitted {
            self.counters.rare().refused_new_peers += 1;
        }
        admitted
    }

    /// The address under which the client knows a peer that is a relay of this very node.
    pub(crate) fn presented(&self, policy: &Policy, peer: SocketAddr) -> SocketAddr {
        if self.permissions.get(peer.ip()).is_some() {
            return peer;
        }
        let known = |ip: &IpAddr| self.permissions.get(*ip).is_some();
        let external = policy.peers.to_external(peer.ip()).find(known);
        external.map_or(peer, |ip| SocketAddr::new(ip, peer.port()))
    }

    pub(crate) fn snapshot(&self, worker: WorkerId, links: &Links) -> SessionSnapshot {
        let link = |id: &LinkId| links.get(*id).map(Link::snapshot);
        SessionSnapshot {
            id: self.id,
            worker,
            tuple: self.tuple,
            security: None,
            realm: self.identity.realm.name.clone(),
            username: self.identity.username.clone(),
            user: Arc::clone(&self.identity.user),
            credential_expiry: self.identity.credential_expiry,
            secret_id: self.identity.secret_id.clone(),
            key_id: self.identity.key_id,
            relay_transport: self.transport,
            is_mobile: self.mobility.is_some(),
            relay_local: self.first.local,
            relay_external: self.first.external,
            second_relay: self.second.as_deref().map(|half| {
                Box::new(SecondRelay {
                    local: half.local,
                    external: half.external,
                    expires: half.expires,
                })
            }),
            created: self.created,
            created_unix: self.created_unix,
            expires: self.expires(),
            lifetime: self.lifetime,
            max_rate_bps: self.identity.realm.max_rate_bps,
            max_user_rate_bps: self.meter.user_bps(),
            permissions: self.permissions.snapshot(),
            channels: self.channels.snapshot(),
            links: self.links.iter().filter_map(link).collect(),
            counters: self.counters.counters(),
            details: self.details(),
        }
    }

    fn details(&self) -> Option<Box<RestoreDetails>> {
        let key = self.identity.key.as_ref().map(|key| key.key());
        let details = RestoreDetails {
            algorithm: match key {
                Some(IntegrityKey::Sha256(_)) => PasswordAlgorithm::Sha256,
                Some(IntegrityKey::Md5(_) | IntegrityKey::Token(_)) | None => {
                    PasswordAlgorithm::Md5
                }
            },
            user_rate_bps: self.identity.max_rate_bps,
            token: self.identity.token,
            mobility: self
                .mobility
                .as_deref()
                .map(|mobility| mobility.kept(self.meter.source)),
            first_expires: Some(self.first.expires).filter(|first| *first < self.expires()),
        };
        (details != RestoreDetails::default()).then(|| Box::new(details))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel_data::ChannelNumber;

    /// What a session with one permission and one channel takes in its worker, besides what it
    /// shares with others: a thousand more sessions should not be a surprise on anybody's bill.
    #[test]
    fn a_session_takes_little_memory() {
        let parts = [
            ("allocation", size_of::<Allocation>(), 624),
            ("slot", size_of::<Slot>(), 16),
            ("permission", size_of::<permission::Permission>(), 96),
            ("channel", size_of::<channel::Channel>(), 72),
        ];
        for (what, is, most) in parts {
            assert!(is <= most, "{what}: {is} bytes");
        }
    }

    #[test]
    fn the_first_permission_and_channel_make_room_for_no_more() {
        let realm = || RealmPolicy::new("example.org".parse().unwrap());
        let policy = Policy::new(vec![realm()], shared::Secret::new([0; 32]));
        #[allow(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let now = Instant::now();
        let peer: SocketAddr = "192.0.2.1:7".parse().unwrap();
        let mut permissions = Permissions::default();
        let mut channels = Channels::default();
        permissions.install(peer.ip(), now, &policy, &realm());
        let number = ChannelNumber::new(0x4000).unwrap();
        channels.bind(number, peer, now, Duration::ZERO);
        assert_eq!((permissions.room(), channels.room()), (1, 1));
        permissions.purge(now);
        channels.purge(now);
        assert_eq!((permissions.room(), channels.room()), (0, 0), "given back");
    }
}
