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
    /// Absent while nothing limits the session, and nothing that a limit did is to be told.
    limits: Option<Box<Limits>>,
}

/// The limits in force, in the form that packets are judged by.
#[derive(Debug, Default)]
struct Limits {
    to_peer: Option<TokenBucket>,
    to_client: Option<TokenBucket>,
    new_peers: Option<TokenBucket>,
    rates: SharedLimits,
    new_peer_rates: SharedLimits,
    drops: Drops,
}

/// Packets over a limit, by [`Scope`].
#[derive(Debug, Default)]
pub(crate) struct Drops {
    /// Since the last report.
    pub(crate) dropped: [u32; 4],
    /// Those among all that nobody was told of.
    pub(crate) untold: [u32; 4],
    /// When somebody was told last.
    pub(crate) told: Option<Instant>,
}

impl Limits {
    /// Whether there are none, and nothing is left to tell.
    fn is_idle(&self) -> bool {
        let own = [&self.to_peer, &self.to_client, &self.new_peers];
        let none = own.into_iter().all(Option::is_none)
            && self.rates.is_none()
            && self.new_peer_rates.is_none();
        none && self.drops.dropped == [0; 4] && self.drops.untold == [0; 4]
    }
}

impl Meter {
    /// Without limits.
    pub(crate) fn new(source: IpAddr, shares: ShareIds) -> Self {
        Self {
            source,
            shares,
            limits: None,
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
        let mut limits = self.limits.take().unwrap_or_default();
        TokenBucket::follow(&mut limits.to_peer, of_session, now);
        TokenBucket::follow(&mut limits.to_client, of_session, now);
        limits.rates = SharedLimits {
            user: user_bps.or(realm.max_user_rate_bps).map(bits),
            realm: realm.max_realm_rate_bps.map(bits),
            node: settings.max_rate_bps.map(bits),
        };
        let peers = |per_second: u32| RateLimit {
            per_second: per_second.into(),
            burst: NEW_PEER_BURST,
        };
        let of_session = realm.max_new_peers_per_sec.map(peers);
        TokenBucket::follow(&mut limits.new_peers, of_session, now);
        limits.new_peer_rates = SharedLimits {
            user: realm.max_user_new_peers_per_sec.map(peers),
            realm: realm.max_realm_new_peers_per_sec.map(peers),
            node: settings.max_new_peers_per_sec.map(peers),
        };
        self.limits = (!limits.is_idle()).then_some(limits);
    }

    /// Takes bits or new peers out of every bucket that limits them, or out of none.
    pub(crate) fn admit(
        &mut self,
        shares: &mut Shares,
        lane: Lane,
        amount: u64,
        now: Instant,
    ) -> Result<(), Scope> {
        let Some(all) = self.limits.as_deref_mut() else {
            return Ok(());
        };
        let (own, limits) = match lane {
            Lane::ToPeer => (&mut all.to_peer, &all.rates),
            Lane::ToClient => (&mut all.to_client, &all.rates),
            Lane::NewPeers => (&mut all.new_peers, &all.new_peer_rates),
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
        let limit = self.limits.as_ref()?.rates.user;
        let limit = limit.filter(|_| self.shares.has_user());
        limit.map(|limit| limit.per_second)
    }

    /// Remembers a packet over a limit for the next report.
    pub(crate) fn note_drop(&mut self, scope: Scope) {
        if let Some(drops) = self.drops() {
            let dropped = &mut drops.dropped[scope as usize];
            *dropped = dropped.saturating_add(1);
        }
    }

    /// What limits cost the session; `None`: nothing.
    pub(crate) fn drops(&mut self) -> Option<&mut Drops> {
        self.limits.as_deref_mut().map(|limits| &mut limits.drops)
    }
}
