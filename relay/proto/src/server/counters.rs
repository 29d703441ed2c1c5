//! What a server counts besides refusals and sessions.

use std::ops::AddAssign;

use shared::Transport;

use super::EndCause;
use crate::stun::ParseError;

/// What is wrong with a datagram or frame that is dropped in silence (RFC 8489 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Empty, or a first byte of neither STUN nor ChannelData (RFC 7983 §7).
    FirstByte,
    /// Shorter than a STUN header.
    TooShort,
    /// Another magic cookie.
    Cookie,
    /// A STUN message type that does not exist.
    MessageType,
    /// A length that is not a multiple of four, or not what arrived.
    Length,
    /// An attribute overruns the message, or there are too many.
    Attribute,
    /// FINGERPRINT does not fit, or is not last.
    Fingerprint,
    /// A channel number that is none, or ChannelData shorter than it says.
    ChannelData,
    /// A Send indication without peer or data, or with an unknown required attribute.
    SendIndication,
}

impl Flaw {
    /// All of them, as they are numbered.
    pub const ALL: [Self; 9] = [
        Self::FirstByte,
        Self::TooShort,
        Self::Cookie,
        Self::MessageType,
        Self::Length,
        Self::Attribute,
        Self::Fingerprint,
        Self::ChannelData,
        Self::SendIndication,
    ];

    /// The word used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstByte => "first_byte",
            Self::TooShort => "too_short",
            Self::Cookie => "cookie",
            Self::MessageType => "message_type",
            Self::Length => "length",
            Self::Attribute => "attribute",
            Self::Fingerprint => "fingerprint",
            Self::ChannelData => "channel_data",
            Self::SendIndication => "send_indication",
        }
    }
}

impl From<ParseError> for Flaw {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::TooShort => Self::TooShort,
            ParseError::UnknownType => Self::MessageType,
            ParseError::BadCookie => Self::Cookie,
            ParseError::BadLength => Self::Length,
            ParseError::BrokenAttribute => Self::Attribute,
            ParseError::BadFingerprint => Self::Fingerprint,
        }
    }
}

/// A number for each of a small closed set of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts<const N: usize>([u64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Counts<N> {
    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl<const N: usize> AddAssign for Counts<N> {
    fn add_assign(&mut self, other: Self) {
        for (sum, one) in self.0.iter_mut().zip(other.0) {
            *sum += one;
        }
    }
}

/// Numbers by client transport.
pub type ByTransport = Counts<{ Transport::ALL.len() }>;

impl ByTransport {
    pub(super) fn count(&mut self, transport: Transport) {
        self.0[transport as usize] += 1;
    }

    /// Each transport with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Transport, u64)> {
        Transport::ALL.into_iter().zip(self.0)
    }
}

/// Numbers by flaw.
pub type ByFlaw = Counts<{ Flaw::ALL.len() }>;

impl ByFlaw {
    pub(super) fn count(&mut self, flaw: Flaw) {
        self.0[flaw as usize] += 1;
    }

    /// Each flaw with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Flaw, u64)> {
        Flaw::ALL.into_iter().zip(self.0)
    }
}

/// Numbers by how a session ended.
pub type ByCause = Counts<{ EndCause::WORDS }>;

impl ByCause {
    pub(super) fn count(&mut self, cause: EndCause) {
        self.add(cause, 1);
    }

    /// Counts several that ended so.
    pub fn add(&mut self, cause: EndCause, number: u64) {
        let place = match cause {
            EndCause::Released => 0,
            EndCause::Expired => 1,
            EndCause::Killed => 2,
            EndCause::Disconnected => 3,
            EndCause::Revoked(_) => 4,
            EndCause::Banned => 5,
            EndCause::Drained => 6,
        };
        self.0[place] += number;
    }

    /// Each cause's word with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EndCause::each()
            .into_iter()
            .map(EndCause::as_str)
            .zip(self.0)
    }
}

/// Plain counters of one server, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCounters {
    /// Datagrams or frames that came from clients.
    pub received: ByTransport,
    /// Of those: neither STUN nor ChannelData, truncated, or malformed; dropped silently.
    pub malformed: ByFlaw,
    /// Binding requests answered.
    pub bindings: u64,
    /// Binding requests dropped: too many of one source.
    pub limited_bindings: u64,
    /// Errors that unproven sources were not sent: too many to one of them.
    pub limited_errors: u64,
    /// 401 challenges sent.
    pub challenges: u64,
    /// Allocate requests sent to another server.
    pub redirects: u64,
    /// Allocations created.
    pub allocations: u64,
    /// Allocations of an earlier start that were taken up again.
    pub restored: u64,
    /// Sessions that another process carries on.
    pub passed_on: u64,
    /// Allocations ended, by cause.
    pub ended: ByCause,
    /// Packets relayed in either direction.
    pub relayed_packets: u64,
    /// Payload bytes relayed in either direction.
    pub relayed_bytes: u64,
    /// Packets dropped on the data path, sessions' drops included.
    pub dropped_packets: u64,
    /// ICMP errors that clients were told of.
    pub icmp_errors: u64,
    /// ICMP errors that nobody was told of: no permission, too many, or of no use to a client.
    pub icmp_dropped: u64,
    /// Refusals that no report told one by one, because there were too many in its second.
    pub untold_refusals: u64,
}

impl AddAssign for ServerCounters {
    fn add_assign(&mut self, other: Self) {
        // Taken apart, so that no counter can be forgotten.
        let Self {
            received,
            malformed,
            bindings,
            limited_bindings,
            limited_errors,
            challenges,
            redirects,
            allocations,
            restored,
            passed_on,
            ended,
            relayed_packets,
            relayed_bytes,
            dropped_packets,
            icmp_errors,
            icmp_dropped,
            untold_refusals,
        } = other;
        self.received += received;
        self.malformed += malformed;
        self.bindings += bindings;
        self.limited_bindings += limited_bindings;
        self.limited_errors += limited_errors;
        self.challenges += challenges;
        self.redirects += redirects;
        self.allocations += allocations;
        self.restored += restored;
        self.passed_on += passed_on;
        self.ended += ended;
        self.relayed_packets += relayed_packets;
        self.relayed_bytes += relayed_bytes;
        self.dropped_packets += dropped_packets;
        self.icmp_errors += icmp_errors;
        self.icmp_dropped += icmp_dropped;
        self.untold_refusals += untold_refusals;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered_as_they_are_listed() {
        for (index, flaw) in Flaw::ALL.into_iter().enumerate() {
            assert_eq!(flaw as usize, index);
        }
        for cause in EndCause::each() {
            let mut counts = ByCause::default();
            counts.count(cause);
            let counted = counts.iter().find(|(_, number)| *number == 1);
            assert_eq!(counted, Some((cause.as_str(), 1)));
        }
        for (index, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport as usize, index);
        }
    }
}
