//! What system calls take and tell of a datagram besides its bytes.

use std::net::{IpAddr, SocketAddr};

/// What the IP header of a datagram says beyond its destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Traffic class (IPv6) or type of service (IPv4): six bits of DSCP, two of ECN.
    pub traffic_class: u8,
    /// Never fragment it here; IPv6 only, since IPv4 has no control message for it.
    pub dont_fragment: bool,
    /// The local address it comes from, where the socket is bound to none.
    pub source: Option<IpAddr>,
}

/// Who reported an error of [`receive_error`](super::sys::receive_error).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorOrigin {
    /// The network, by ICMP.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
    },
    /// This host: the datagram is too long for the link that it would have left by.
    TooLong,
    /// Something else.
    Other,
}

/// An error from the queue of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedError {
    /// Where the datagram that it is about was sent to.
    pub destination: SocketAddr,
    /// Who says so, and what.
    pub origin: ErrorOrigin,
    /// The MTU in bytes, where the error is about that.
    pub mtu: u32,
}
