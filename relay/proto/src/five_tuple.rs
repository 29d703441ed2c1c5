//! Transport addresses and what they identify.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use shared::Transport;

/// The 5-tuple that names an allocation (RFC 8656 §3.1): client address, server address, transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiveTuple {
    /// Where the client's packets come from.
    pub client: SocketAddr,
    /// The listener they came to; answers leave from there.
    pub server: SocketAddr,
    /// How.
    pub transport: Transport,
}

/// A map from 5-tuples, which is asked for each packet: its hash is a few multiplications under a
/// seed of the process. A forged address gets nothing into such maps: what is in them stands for a
/// session, a connection or a proven guest, and those are bounded.
pub type FiveTupleMap<V> = HashMap<FiveTuple, V, foldhash::fast::RandomState>;

impl Hash for FiveTuple {
    /// In two words for IPv4; the derived way would feed byte after byte.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let transport = self.transport as u64;
        for (address, more) in [(self.client, transport), (self.server, 0)] {
            let port = u64::from(address.port()) << 8 | more;
            match address.ip() {
                IpAddr::V4(ip) => state.write_u64(u64::from(u32::from(ip)) << 32 | port),
                IpAddr::V6(ip) => {
                    state.write_u128(ip.into());
                    state.write_u64(port);
                }
            }
        }
    }
}

/// Names a relayed transport address between the core and its driver. Reused after
/// [`Output::CloseRelay`](crate::server::Output::CloseRelay).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId(pub u32);

/// Names a connection between a relayed transport address and a peer (RFC 6062 §3) between the core
/// and its driver. Reused after [`Output::ClosePeer`](crate::server::Output::ClosePeer) and
/// [`handle_peer_closed`](crate::Server::handle_peer_closed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// Names that connection to the client (RFC 6062 §6.2.1): unpredictable, and its remainder by the
/// number of workers is the worker that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u32);

/// Names a reserved port (RFC 8656 §18.6): eight unpredictable bytes that the driver draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReservationToken(pub [u8; 8]);

/// The address family of a relayed transport address (RFC 8656 §18.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// 0x01.
    V4,
    /// 0x02.
    V6,
}

impl AddressFamily {
    /// The family of an address.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        Self::of_ip(address.ip())
    }

    /// The family of an address without port.
    #[must_use]
    pub fn of_ip(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}
