//! The transport between a client and the relay.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a client reached the relay (RFC 8656 §1, RFC 7350 for DTLS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Plain UDP.
    Udp,
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// DTLS over UDP.
    Dtls,
}

impl Transport {
    /// All transports, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];

    /// The lower-case name used in the API, filters and screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        }
    }
}

/// What a session relays with: its relayed transport address is one of UDP or of TCP (RFC 6062).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum RelayTransport {
    /// Datagrams to and from peers.
    #[default]
    Udp,
    /// Connections to and from peers.
    Tcp,
}

impl RelayTransport {
    /// Both, in the order they are shown.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// The lower-case name used in the API, filters and screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Reads and shows by `as_str`.
macro_rules! by_name {
    ($($type:ty)*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownTransport;

            fn from_str(text: &str) -> Result<Self, UnknownTransport> {
                let mut all = Self::ALL.into_iter();
                all.find(|transport| transport.as_str() == text)
                    .ok_or(UnknownTransport)
            }
        }
    )*};
}

by_name! { Transport RelayTransport }

/// A text that names no transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a transport is udp, tcp, tls or dtls")]
pub struct UnknownTransport;
