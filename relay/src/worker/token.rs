//! What a readiness event is about: the token space of a worker's poll.

use mio::Token;
use turn_proto::five_tuple::{LinkId, RelayId};

use crate::listener::StreamId;

/// Wakes the worker for its mailbox.
pub(super) const MAILBOX: Token = Token(usize::MAX);
/// Wakes the worker for its deadlines.
pub(super) const ALARM: Token = Token(usize::MAX - 1);
/// Kinds above, numbers of that kind below. Relay and stream numbers have 32 bits.
const KIND: u32 = 32;

/// A source of readiness events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A UDP listener.
    Listener(usize),
    /// A TCP listener.
    Acceptor(usize),
    /// A relay socket.
    Relay(RelayId),
    /// A client connection.
    Stream(StreamId),
    /// A relay socket that listens.
    TcpRelay(RelayId),
    /// A connection with a peer.
    Link(LinkId),
    /// Datagrams that the process after this one received.
    Doorway,
}

impl Source {
    pub(super) fn token(self) -> Token {
        let (kind, number) = match self {
            Self::Listener(index) => (0, index),
            Self::Acceptor(index) => (1, index),
            Self::Relay(relay) => (2, relay.0 as usize),
            Self::Stream(stream) => (3, stream.0 as usize),
            Self::TcpRelay(relay) => (4, relay.0 as usize),
            Self::Link(link) => (5, link.0 as usize),
            Self::Doorway => (6, 0),
        };
        Token(kind << KIND | number)
    }

    /// The source of a token; `None` for one that was never given out.
    pub(super) fn of(token: Token) -> Option<Self> {
        let number = token.0 & u32::MAX as usize;
        Some(match token.0 >> KIND {
            0 => Self::Listener(number),
            1 => Self::Acceptor(number),
            2 => Self::Relay(RelayId(number as u32)),
            3 => Self::Stream(StreamId(number as u32)),
            4 => Self::TcpRelay(RelayId(number as u32)),
            5 => Self::Link(LinkId(number as u32)),
            6 => Self::Doorway,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_its_own_token() {
        let sources = [0, 1, u32::MAX].into_iter().flat_map(|number| {
            [
                Source::Listener(number as usize),
                Source::Acceptor(number as usize),
                Source::Relay(RelayId(number)),
                Source::Stream(StreamId(number)),
                Source::TcpRelay(RelayId(number)),
                Source::Link(LinkId(number)),
            ]
        });
        for source in sources.chain([Source::Doorway]) {
            assert_eq!(Source::of(source.token()), Some(source));
        }
        assert_eq!(Source::of(MAILBOX), None);
        assert_eq!(Source::of(ALARM), None);
    }
}
