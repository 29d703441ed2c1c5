//! Channel bindings (RFC 8656 §12).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::channel_data::ChannelNumber;
use crate::five_tuple::AddressFamily;
use crate::server::{ChannelSnapshot, RefusalReason};

#[derive(Debug)]
pub(super) struct Channel {
    number: ChannelNumber,
    peer: SocketAddr,
    expires: Instant,
    /// When number and peer may have other partners (§12).
    free: Instant,
}

/// The channels of one allocation, those in their rebind guard included.
#[derive(Debug, Default)]
pub(crate) struct Channels(Vec<Channel>);

impl Channels {
    /// The peer of a live channel.
    pub(crate) fn peer(&self, number: ChannelNumber, now: Instant) -> Option<SocketAddr> {
        let hit = |c: &&Channel| c.number == number && now < c.expires;
        self.0.iter().find(hit).map(|channel| channel.peer)
    }

    /// The live channel of a peer.
    pub(crate) fn number(&self, peer: SocketAddr, now: Instant) -> Option<ChannelNumber> {
        let hit = |c: &&Channel| c.peer == peer && now < c.expires;
        self.0.iter().find(hit).map(|channel| channel.number)
    }

    /// Whether number and peer may be bound to each other (§12.2).
    pub(crate) fn check(
        &self,
        number: ChannelNumber,
        peer: SocketAddr,
        limit: usize,
        now: Instant,
    ) -> Result<(), RefusalReason> {
        let guarded = |c: &&Channel| now < c.free;
        let mut bound = false;
        for channel in self.0.iter().filter(guarded) {
            match (channel.number == number, channel.peer == peer) {
                (true, true) => bound = true,
                (false, false) => {}
                _ => return Err(RefusalReason::ChannelConflict),
            }
        }
        let room = bound || self.0.iter().filter(guarded).count() < limit;
        if room {
            Ok(())
        } else {
            Err(RefusalReason::TooManyChannels)
        }
    }

    /// Binds or refreshes what [`Self::check`] allowed.
    pub(crate) fn bind(
        &mut self,
        number: ChannelNumber,
        peer: SocketAddr,
        expires: Instant,
        guard: Duration,
    ) {
        self.0.retain(|c| c.number != number && c.peer != peer);
        if self.0.is_empty() {
            // Most have one, and a vector would make room for four.
            self.0.reserve_exact(1);
        }
        self.0.push(Channel {
            number,
            peer,
            expires,
            free: expires + guard,
        });
    }

    /// Drops bindings whose guard has ended.
    pub(crate) fn purge(&mut self, now: Instant) {
        self.0.retain(|channel| now < channel.free);
        self.0.shrink_to(2 * self.0.len());
    }

    /// Drops those of a family.
    pub(crate) fn forget_family(&mut self, family: AddressFamily) {
        self.0
            .retain(|channel| AddressFamily::of(channel.peer) != family);
    }

    /// Forgets those of such peers; says whether there were any.
    pub(crate) fn forget_peers(&mut self, is_gone: impl Fn(IpAddr) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|channel| !is_gone(channel.peer.ip()));
        self.0.len() < before
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.0.capacity()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|channel| channel.free).min()
    }

    pub(crate) fn snapshot(&self) -> Vec<ChannelSnapshot> {
        let shot = |c: &Channel| ChannelSnapshot {
            number: c.number.get(),
            peer: c.peer,
            expires: c.expires,
        };
        self.0.iter().map(shot).collect()
    }
}
