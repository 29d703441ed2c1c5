//! What became of connections, counted for the whole node.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use shared::Transport;

use crate::dtls;
use crate::room::Room;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The client closed it, or only its sending half: TURN has no use for the other.
    Client,
    /// The client closed it in the middle of a message or a handshake.
    Truncated,
    /// The network broke it.
    Broken,
    /// The peer's connection that it was joined with ended.
    Peer,
    /// Its session was killed.
    Ordered,
    /// No complete proxy header or TLS handshake in time.
    HandshakeTimeout,
    /// No complete message in time.
    FirstMessageTimeout,
    /// No session in time.
    AllocateTimeout,
    /// Bytes that are neither STUN nor ChannelData.
    Garbage,
    /// The client read so slowly that not even answers had room.
    Slow,
    /// The TLS handshake failed, or a record was broken.
    Tls,
    /// The listener does not serve that transport.
    NotServed,
    /// No proxy of ours, or a broken header.
    Proxy,
    /// Somebody else has that 5-tuple: two proxied connections claim the same client.
    Duplicate,
    /// The source address has as many connections without a session as it may.
    SourceLimit,
    /// The node has as many connections as it may.
    NodeLimit,
    /// The worker has as many unfinished TLS handshakes as it may.
    HandshakeLimit,
    /// It did not: another process carries it on.
    PassedOn,
}

impl Closing {
    /// All reasons, as they are numbered.
    pub const ALL: [Self; 18] = [
        Self::Client,
        Self::Truncated,
        Self::Broken,
        Self::Peer,
        Self::Ordered,
        Self::HandshakeTimeout,
        Self::FirstMessageTimeout,
        Self::AllocateTimeout,
        Self::Garbage,
        Self::Slow,
        Self::Tls,
        Self::NotServed,
        Self::Proxy,
        Self::Duplicate,
        Self::SourceLimit,
        Self::NodeLimit,
        Self::HandshakeLimit,
        Self::PassedOn,
    ];

    /// The word used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Truncated => "truncated",
            Self::Broken => "broken",
            Self::Peer => "peer",
            Self::Ordered => "ordered",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::FirstMessageTimeout => "first_message_timeout",
            Self::AllocateTimeout => "allocate_timeout",
            Self::Garbage => "garbage",
            Self::Slow => "slow",
            Self::Tls => "tls",
            Self::NotServed => "not_served",
            Self::Proxy => "proxy",
            Self::Duplicate => "duplicate",
            Self::SourceLimit => "source_limit",
            Self::NodeLimit => "node_limit",
            Self::HandshakeLimit => "handshake_limit",
            Self::PassedOn => "passed_on",
        }
    }
}

/// Counters that all workers add to, when a connection begins or ends.
#[derive(Debug, Default)]
pub struct Tally {
    room: Arc<Room>,
    accepted: AtomicU64,
    pauses: AtomicU64,
    /// All there are, and of those the ones that speak.
    all: AtomicI64,
    tcp: AtomicI64,
    tls: AtomicI64,
    closed: [AtomicU64; Closing::ALL.len()],
}

/// The counters as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionTotals {
    /// Plain TCP connections.
    pub tcp: u64,
    /// TLS connections whose handshake is over.
    pub tls: u64,
    /// Connections that have not said yet what they are, or are in their handshake.
    pub pending: u64,
    /// Accepted since the start.
    pub accepted: u64,
    /// How often accepting paused for want of descriptors or memory.
    pub pauses: u64,
    /// Closed since the start, by reason.
    pub closed: Vec<(&'static str, u64)>,
    /// DTLS associations, and what became of hellos and handshakes.
    pub dtls: dtls::Totals,
}

impl Tally {
    /// Nothing happened; connections are counted in this room too.
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    pub(super) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.all.fetch_add(1, Ordering::Relaxed);
        self.room.take();
    }

    pub(super) fn paused(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections of the node.
    pub(super) fn connections(&self) -> usize {
        usize::try_from(self.all.load(Ordering::Relaxed)).unwrap_or(0)
    }

    fn speaking(&self, transport: Transport) -> &AtomicI64 {
        match transport {
            Transport::Tls | Transport::Dtls => &self.tls,
            Transport::Tcp | Transport::Udp => &self.tcp,
        }
    }

    pub(super) fn opened(&self, transport: Transport) {
        self.speaking(transport).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self, why: Closing, opened: Option<Transport>) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        self.room.leave();
        if let Some(transport) = opened {
            self.speaking(transport).fetch_sub(1, Ordering::Relaxed);
        }
        self.closed[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counters as they are, without those of DTLS.
    #[must_use]
    pub fn totals(&self) -> ConnectionTotals {
        let gauge = |value: &AtomicI64| u64::try_from(value.load(Ordering::Relaxed)).unwrap_or(0);
        let (all, tcp, tls) = (gauge(&self.all), gauge(&self.tcp), gauge(&self.tls));
        ConnectionTotals {
            tcp,
            tls,
            pending: all.saturating_sub(tcp + tls),
            accepted: self.accepted.load(Ordering::Relaxed),
            pauses: self.pauses.load(Ordering::Relaxed),
            closed: Closing::ALL
                .iter()
                .map(|why| {
                    let count = &self.closed[*why as usize];
                    (why.as_str(), count.load(Ordering::Relaxed))
                })
                .collect(),
            dtls: dtls::Totals::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_where_they_are_listed() {
        for (index, why) in Closing::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
        }
    }
}
