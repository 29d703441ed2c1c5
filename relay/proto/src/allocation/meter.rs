//! What the traffic of one session is measured by: its own buckets and its share of others'.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::rate::TokenBucket;
use super::shares::{ShareIds, SharedLimits, Shares};
use crate::policy::{Lane, Policy, RateLimit, RealmPolicy};

pub(crate) use super::shares::Scope;

/// What a bucket of new peers holds: a call may begin with many of them at once.
const NEW_PEER_BURST: Duration = Duration::from_secs(10);

/// The limits of one session, and what they cost it.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The source address that it counts for: the one that asked for it, wherever the client is now.
    pub(crate) source: IpAddr,
    pub(crate) shares: ShareIds,
    to_peer: Option<TokenBucket>,
    to_client: Option<TokenBucket>,
    new_peers: Option<TokenBucket>,
    rates: SharedLimits,
    new_peer_rates: SharedLimits,
    /// Packets over a limit since the last report, by [`Scope`].
    pub(crate) dropped: [u32; 4],
    /// Those among all that nobody was told of.
    pub(crate) untold: [u32; 4],
    /// When somebody was told last.
    pub(crate) told: Option<Instant>,
}

impl Meter {
    /// Without limits.
    pub(crate) fn new(source: IpAddr, shares: ShareIds) -> Self {
        Self {
            source,
            shares,
            to_peer: None,
            to_client: None,
            new_peers: None,
            rates: SharedLimits::default(),
            new_peer_rates: SharedLimits::default(),
            dropped: [0; 4],
            untold: [0; 4],
            told: None,
        }
    }

    /// Brings the limits in force into the form that packets are judged by. `user_bps` is the
    /// user's own. A bucket whose limit stays keeps what is in it.
    pub(crate) fn limit(
        &mut self,
        policy: &Policy,
        realm: &RealmPolicy,
        user_bps: Option<u64>,
        now: Instant,
    ) {
        let settings = &policy.settings;
        let burst = settings.rate_burst;
        let bits = |per_second: u64| RateLimit { per_second, burst };
        let of_session = realm.max_rate_bps.map(bits);
        TokenBucket::follow(&mut self.to_peer, of_session, now);
        TokenBucket::follow(&mut self.to_client, of_session, now);
        self.rates = SharedLimits {
            user: user_bps.or(realm.max_user_rate_bps).map(bits),
            realm: realm.max_realm_rate_bps.map(bits),
            node: settings.max_rate_bps.map(bits),
        };
        let peers = |per_second: u32| RateLimit {
            per_second: per_second.into(),
            burst: NEW_PEER_BURST,
        };
        let of_session = realm.max_new_peers_per_sec.map(peers);
        TokenBucket::follow(&mut self.new_peers, of_session, now);
        self.new_peer_rates = SharedLimits {
            user: realm.max_user_new_peers_per_sec.map(peers),
            realm: realm.max_realm_new_peers_per_sec.map(peers),
            node: settings.max_new_peers_per_sec.map(peers),
        };
    }

    /// Takes bits or new peers out of every bucket that limits them, or out of none.
    pub(crate) fn admit(
        &mut self,
        shares: &mut Shares,
        lane: Lane,
        amount: u64,
        now: Instant,
    ) -> Result<(), Scope> {
        let (own, limits) = match lane {
            Lane::ToPeer => (&mut self.to_peer, &self.rates),
            Lane::ToClient => (&mut self.to_client, &self.rates),
            Lane::NewPeers => (&mut self.new_peers, &self.new_peer_rates),
        };
        if own.as_mut().is_some_and(|bucket| !bucket.ready(now)) {
            return Err(Scope::Session);
        }
        shares.take(self.shares, limits, lane, amount, now)?;
        if let Some(bucket) = own {
            bucket.spend(amount);
        }
        Ok(())
    }

    /// The limit of its user that is in force.
    pub(crate) fn user_bps(&self) -> Option<u64> {
        let limit = self.rates.user.filter(|_| self.shares.has_user());
        limit.map(|limit| limit.per_second)
    }

    /// Remembers a packet over a limit for the next report.
    pub(crate) fn note_drop(&mut self, scope: Scope) {
        let dropped = &mut self.dropped[scope as usize];
        *dropped = dropped.saturating_add(1);
    }
}
