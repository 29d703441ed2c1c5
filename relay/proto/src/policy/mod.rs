//! The immutable snapshot that every packet is judged by.

pub mod budget;
pub mod nat_discovery;
pub mod net_set;
pub mod oauth;
pub mod peer;
pub mod quota;
pub mod realm;
pub mod redirect;
pub mod special_use;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::{Realm, Secret};

pub use budget::{Budget, Budgets, Demand, Lane, RateLimit, WHOLE, source_of};
pub use nat_discovery::NatDiscovery;
pub use net_set::NetSet;
pub use oauth::{OauthKey, OauthPolicy};
pub use peer::{AddressVerdict, PeerRules, RelayEndpoint};
pub use quota::{Claimant, PlaceAnswer, Quota, QuotaExceeded, QuotaLimits};
pub use realm::{RealmPolicy, RestSecret};
pub use redirect::Redirect;

/// What the core needs to know to answer anybody. Built by the control plane, swapped as a whole by
/// [`Command::SetPolicy`](crate::server::Command::SetPolicy); a packet is judged by exactly one.
#[derive(Debug)]
pub struct Policy {
    /// Counts the snapshots of this node; cached verdicts of older ones are void.
    pub revision: u64,
    /// Where a listener names no realm.
    pub default_realm: Realm,
    /// Listeners that have a realm of their own.
    pub listener_realms: HashMap<SocketAddr, Realm>,
    /// Realms by the server name that a TLS or DTLS client asks for (SNI), in lower case; only for
    /// listeners without a realm of their own.
    pub server_names: HashMap<Box<str>, Realm>,
    /// Realms by web origin, the port of its scheme spelt out; only for clients that neither their
    /// listener nor a server name gives a realm. Empty: ORIGIN is ignored.
    pub origins: HashMap<Box<str>, Realm>,
    /// All realms.
    pub realms: BTreeMap<Realm, Arc<RealmPolicy>>,
    /// Which peers may be talked to, on this node, before realm rules.
    pub peers: PeerRules,
    /// Users that are refused, by realm and user (not username), until a Unix second.
    pub blocks: HashMap<(Realm, Box<str>), u64>,
    /// Networks whose clients are refused.
    pub banned_clients: NetSet,
    /// Lifetimes and what else applies to all realms.
    pub settings: NodeSettings,
    /// The key nonces are made with; the same on every node of the cluster.
    pub nonce_key: Secret<[u8; 32]>,
    /// Whether the node can relay IPv4.
    pub relay_v4: bool,
    /// Whether the node can relay IPv6.
    pub relay_v6: bool,
    /// Where new allocations are sent; none of the client's transport and family: they are served.
    pub redirects: Vec<Redirect>,
    /// Third-party authorization (RFC 7635); `None`: off.
    pub oauth: Option<OauthPolicy>,
    /// NAT behaviour discovery (RFC 5780); `None`: off.
    pub nat_discovery: Option<Arc<NatDiscovery>>,
    /// Whether new allocations are taken; 508 otherwise.
    pub accepting: bool,
    /// Whether the node cannot reach the store: it knows what it read before.
    pub store_away: bool,
    /// The node is drained: new allocations are refused as [`accepting`](Self::accepting) refuses them,
    /// and sessions go on as this says. `None`: it is not.
    pub drain: Option<Drain>,
}

/// What a node that is drained still does for the sessions that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Everything: a session lives for as long as its client refreshes it.
    KeepSessions,
    /// Everything but to prolong it: a Refresh is refused with 508 unless it releases the session, which
    /// ends with the lifetime that it has.
    EndByLifetime,
}

impl Policy {
    /// A policy that serves these realms, the first of them by default, on a node that relays both
    /// families, with default settings and no rule but the special-use ranges.
    ///
    /// # Panics
    /// Without a realm.
    #[must_use]
    pub fn new(realms: Vec<RealmPolicy>, nonce_key: Secret<[u8; 32]>) -> Self {
        Self {
            revision: 1,
            default_realm: realms.first().expect("a policy has a realm").name.clone(),
            listener_realms: HashMap::new(),
            server_names: HashMap::new(),
            origins: HashMap::new(),
            realms: realms
                .into_iter()
                .map(|realm| (realm.name.clone(), Arc::new(realm)))
                .collect(),
            peers: PeerRules::default(),
            blocks: HashMap::new(),
            banned_clients: NetSet::default(),
            settings: NodeSettings::default(),
            nonce_key,
            relay_v4: true,
            relay_v6: true,
            redirects: Vec::new(),
            oauth: None,
            nat_discovery: None,
            accepting: true,
            store_away: false,
            drain: None,
        }
    }
}

/// What applies to all realms of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// SOFTWARE in Allocate and Refresh answers.
    pub software: Option<String>,
    /// FINGERPRINT in every answer; otherwise in those to requests that have one.
    pub fingerprint: bool,
    /// How long a nonce is good for; an hour at most.
    pub nonce_lifetime: Duration,
    /// How long a permission lasts (RFC 8656 §9: 300 s). One that exists keeps its end.
    pub permission_lifetime: Duration,
    /// How long a channel binding lasts (RFC 8656 §12: 600 s). One that exists keeps its end.
    pub channel_lifetime: Duration,
    /// How long number and peer of an expired binding are kept from other partners (RFC 8656 §12:
    /// 300 s). One that exists keeps its end.
    pub channel_rebind_guard: Duration,
    /// The shortest lifetime granted to an allocation; `None`: its realm's default (RFC 8656 §7.2).
    pub min_lifetime: Option<Duration>,
    /// Whether clients may take allocations along to another address (RFC 8016).
    pub mobility: bool,
    /// Whether channel numbers of RFC 5766 that RFC 8656 §12 took away are accepted: 0x5000 to
    /// 0x7FFF.
    pub rfc5766_channel_numbers: bool,
    /// Whether Binding requests are answered; what asks in vain is dropped.
    pub stun: bool,
    /// Whether requests of TURN are; those of sessions that exist are in any case.
    pub turn: bool,
    /// Whether UDP is relayed; 442 otherwise.
    pub udp_relay: bool,
    /// TCP relaying.
    pub tcp_relay: TcpRelaySettings,
    /// Sessions of the node: 508 beyond.
    pub max_sessions: Option<u32>,
    /// Sessions of one source address (of a /64 of IPv6): 486 beyond.
    pub max_sessions_per_source: Option<u32>,
    /// Bits per second of all sessions of the node, in each direction.
    pub max_rate_bps: Option<u64>,
    /// How long somebody who was silent may exceed a rate: what a bucket holds, in time.
    pub rate_burst: Duration,
    /// Peers that were not permitted before, per second, of all sessions of the node.
    pub max_new_peers_per_sec: Option<u32>,
    /// Permissions of one session.
    pub permissions_per_session: usize,
    /// Channels of one session, those in their rebind guard included.
    pub channels_per_session: usize,
    /// Errors that one source address draws over UDP per second without a nonce of ours; more are
    /// dropped. `None`: no limit.
    pub unauthorized_ratelimit: Option<u32>,
    /// Binding requests of one source address that are answered over UDP per second; more are
    /// dropped. `None`: no limit.
    pub binding_ratelimit: Option<u32>,
    /// ICMP errors that one session is told of per second; more are dropped. 0: none.
    pub icmp_errors_per_sec: u32,
}

/// TCP allocations (RFC 6062).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpRelaySettings {
    /// Whether they are granted; 442 otherwise. Existing ones go on.
    pub enabled: bool,
    /// How long a peer may take to accept a connection (RFC 6062 §5.2: at least 30 s).
    pub connect_timeout: Duration,
    /// How long a peer's connection waits for its ConnectionBind (RFC 6062 §5.2: 30 s).
    pub bind_timeout: Duration,
}

impl Default for TcpRelaySettings {
    fn default() -> Self {
        Self {
            enabled: false,
            connect_timeout: Duration::from_secs(30),
            bind_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            software: None,
            fingerprint: false,
            nonce_lifetime: Duration::from_secs(600),
            permission_lifetime: Duration::from_secs(300),
            channel_lifetime: Duration::from_secs(600),
            channel_rebind_guard: Duration::from_secs(300),
            min_lifetime: None,
            mobility: false,
            rfc5766_channel_numbers: false,
            stun: true,
            turn: true,
            udp_relay: true,
            tcp_relay: TcpRelaySettings::default(),
            max_sessions: None,
            max_sessions_per_source: None,
            max_rate_bps: None,
            rate_burst: Duration::from_millis(400),
            max_new_peers_per_sec: None,
            permissions_per_session: 256,
            channels_per_session: 256,
            unauthorized_ratelimit: Some(1000),
            binding_ratelimit: Some(1000),
            icmp_errors_per_sec: 10,
        }
    }
}
