//! A realm as the core sees it.

use std::sync::Arc;
use std::time::Duration;

use shared::{IpRange, PasswordAlgorithm, Realm, Secret};

use crate::auth::nonce::Offer;

/// The settings of one realm.
#[derive(Debug)]
pub struct RealmPolicy {
    /// The name, sent as REALM.
    pub name: Realm,
    /// The revision of its document; 0: from the config file only.
    pub revision: u64,
    /// Shared secrets for time-limited credentials, tried in order.
    pub secrets: Vec<RestSecret>,
    /// Whether a session may begin with a credential made with one of them. Those that run know theirs
    /// either way.
    pub accepts_secrets: bool,
    /// Separates expiry and user in time-limited usernames.
    pub rest_separator: char,
    /// What PASSWORD-ALGORITHMS lists, in order of preference, each once; empty: no such attribute,
    /// and every client uses MD5 (RFC 8489 §9.2.4).
    pub password_algorithms: Vec<PasswordAlgorithm>,
    /// Whether clients may, and are told to, send USERHASH for USERNAME.
    pub username_anonymity: bool,
    /// Whether everybody is served, as nobody in particular: credentials are neither asked for nor looked at,
    /// and answers are not signed. An open relay.
    pub anonymous: bool,
    /// Whether TCP allocations are for its clients (RFC 6062), whatever the node's setting is;
    /// `None`: as the node has it.
    pub tcp_relay: Option<bool>,
    /// Whether a session ends when the time-limited credential that it came with does.
    pub ends_with_credential: bool,
    /// Whether new sessions are refused while [`store_away`](super::Policy::store_away).
    pub needs_store: bool,
    /// Sessions in the realm.
    pub max_sessions: Option<u32>,
    /// Sessions per non-empty user.
    pub max_sessions_per_user: Option<u32>,
    /// Bits per second of one session in each direction.
    pub max_rate_bps: Option<u64>,
    /// Bits per second of all sessions of a non-empty user, in each direction.
    pub max_user_rate_bps: Option<u64>,
    /// Bits per second of all sessions of the realm, in each direction.
    pub max_realm_rate_bps: Option<u64>,
    /// Peers that were not permitted before, per second, of one session.
    pub max_new_peers_per_sec: Option<u32>,
    /// The same, of all sessions of a non-empty user on this node.
    pub max_user_new_peers_per_sec: Option<u32>,
    /// The same, of all sessions of the realm on this node.
    pub max_realm_new_peers_per_sec: Option<u32>,
    /// Lifetime granted when the client asks for none or less (RFC 8656 §7.2).
    pub default_lifetime: Duration,
    /// The longest lifetime granted.
    pub max_lifetime: Duration,
    /// Peers allowed although something denies them.
    pub allowed_peers: Vec<IpRange>,
    /// Peers denied.
    pub denied_peers: Vec<IpRange>,
}

impl RealmPolicy {
    /// A realm without users, secrets or limits, with the lifetimes of RFC 8656 §7.2.
    #[must_use]
    pub fn new(name: Realm) -> Self {
        Self {
            name,
            revision: 0,
            secrets: Vec::new(),
            accepts_secrets: true,
            rest_separator: ':',
            password_algorithms: Vec::new(),
            username_anonymity: false,
            anonymous: false,
            tcp_relay: None,
            ends_with_credential: false,
            needs_store: false,
            max_sessions: None,
            max_sessions_per_user: None,
            max_rate_bps: None,
            max_user_rate_bps: None,
            max_realm_rate_bps: None,
            max_new_peers_per_sec: None,
            max_user_new_peers_per_sec: None,
            max_realm_new_peers_per_sec: None,
            default_lifetime: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            allowed_peers: Vec::new(),
            denied_peers: Vec::new(),
        }
    }

    /// The secrets that a session may begin with.
    #[must_use]
    pub(crate) fn open_secrets(&self) -> &[RestSecret] {
        if self.accepts_secrets {
            &self.secrets
        } else {
            &[]
        }
    }

    /// What its challenges offer. Names that only their user can tell, such as time-limited ones,
    /// are in no index: where they are in use, USERHASH is not offered.
    #[must_use]
    pub fn offer(&self) -> Offer<'_> {
        Offer {
            algorithms: &self.password_algorithms,
            anonymity: self.username_anonymity && self.open_secrets().is_empty(),
        }
    }
}

/// A shared secret (TURN REST).
#[derive(Clone, Debug)]
pub struct RestSecret {
    /// Its public name: a keyed fingerprint.
    pub id: Arc<str>,
    /// Its value.
    pub value: Secret<Vec<u8>>,
}
