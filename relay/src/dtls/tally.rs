//! What became of DTLS clients, counted for the whole node.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Limits;
use crate::room::{ClientSource, Room};

/// Why a datagram, a hello or a handshake was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// A datagram of no association.
    Stray,
    /// A hello that cannot be read.
    Unreadable,
    /// A hello whose answer would have been longer than itself.
    TooShort,
    /// An oldest handshake made room for a newer one.
    CrowdedOut,
    /// The node has as many connections as it may.
    NodeLimit,
    /// The source has as many connections without a session as it may.
    SourceLimit,
    /// A handshake that failed.
    Failed,
    /// A handshake that took too long.
    HandshakeTimeout,
}

impl Dropped {
    const ALL: [Self; 8] = [
        Self::Stray,
        Self::Unreadable,
        Self::TooShort,
        Self::CrowdedOut,
        Self::NodeLimit,
        Self::SourceLimit,
        Self::Failed,
        Self::HandshakeTimeout,
    ];

    /// The word used in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Stray => "stray",
            Self::Unreadable => "unreadable",
            Self::TooShort => "too_short",
            Self::CrowdedOut => "crowded_out",
            Self::NodeLimit => "node_limit",
            Self::SourceLimit => "source_limit",
            Self::Failed => "failed",
            Self::HandshakeTimeout => "handshake_timeout",
        }
    }
}

/// Counters that all workers add to: what strangers send, and what associations begin and end.
#[derive(Debug, Default)]
pub struct Tally {
    room: Arc<Room>,
    hellos: AtomicU64,
    cookies_sent: AtomicU64,
    cookies_refused: AtomicU64,
    alerts: AtomicU64,
    begun: AtomicU64,
    established: AtomicU64,
    half_open: AtomicI64,
    open: AtomicI64,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

/// The counters as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// ClientHellos that came.
    pub hellos: u64,
    /// Cookies sent to clients that nothing was kept of.
    pub cookies_sent: u64,
    /// Hellos with a cookie that was not ours, not theirs or too old.
    pub cookies_refused: u64,
    /// Hellos answered with an alert.
    pub alerts: u64,
    /// Handshakes begun: the cookie was good.
    pub begun: u64,
    /// Handshakes done.
    pub established: u64,
    /// Handshakes under way.
    pub half_open: u64,
    /// Associations whose handshake is done.
    pub open: u64,
    /// Dropped since the start, by reason.
    pub dropped: Vec<(&'static str, u64)>,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Tally {
    /// Nothing happened; associations take their places from this room.
    #[must_use]
    pub fn new(room: Arc<Room>) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    pub(super) fn hello(&self) {
        add(&self.hellos);
    }

    pub(super) fn cookie_sent(&self) {
        add(&self.cookies_sent);
    }

    pub(super) fn cookie_refused(&self) {
        add(&self.cookies_refused);
    }

    pub(super) fn alerted(&self) {
        add(&self.alerts);
    }

    pub(super) fn dropped(&self, why: Dropped) {
        add(&self.dropped[why as usize]);
    }

    /// Takes a place for a handshake of this source that begins, and counts it for the source;
    /// `false`: there is none.
    pub(super) fn begin(&self, source: ClientSource, limits: Limits) -> bool {
        if !self.room.count(source, limits.max_per_source) {
            self.dropped(Dropped::SourceLimit);
            return false;
        }
        if !self.room.enter(limits.max) {
            self.room.discount(source);
            self.dropped(Dropped::NodeLimit);
            return false;
        }
        add(&self.begun);
        self.half_open.fetch_add(1, Ordering::Relaxed);
        true
    }

    pub(super) fn establish(&self) {
        add(&self.established);
        self.half_open.fetch_sub(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A handshake that had begun came to nothing.
    pub(super) fn end_half_open(&self, counted: Option<ClientSource>) {
        self.half_open.fetch_sub(1, Ordering::Relaxed);
        self.end(counted);
    }

    pub(super) fn end_open(&self, counted: Option<ClientSource>) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.end(counted);
    }

    fn end(&self, counted: Option<ClientSource>) {
        self.room.leave();
        if let Some(source) = counted {
            self.room.discount(source);
        }
    }

    /// An association got a session: it counts for its source no more.
    pub(super) fn session_began(&self, source: ClientSource) {
        self.room.discount(source);
    }

    /// Its session ended: it counts again, however many there are.
    pub(super) fn session_ended(&self, source: ClientSource) -> Option<ClientSource> {
        self.room.count(source, usize::MAX).then_some(source)
    }

    /// The counters as they are.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let count = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let gauge = |value: &AtomicI64| u64::try_from(value.load(Ordering::Relaxed)).unwrap_or(0);
        let dropped = Dropped::ALL.iter();
        Totals {
            hellos: count(&self.hellos),
            cookies_sent: count(&self.cookies_sent),
            cookies_refused: count(&self.cookies_refused),
            alerts: count(&self.alerts),
            begun: count(&self.begun),
            established: count(&self.established),
            half_open: gauge(&self.half_open),
            open: gauge(&self.open),
            dropped: dropped
                .map(|why| (why.as_str(), count(&self.dropped[*why as usize])))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_where_they_are_listed() {
        for (index, why) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
        }
    }
}
