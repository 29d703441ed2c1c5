//! Connections to a server: whole STUN and ChannelData messages out and in, whatever carries them.

mod udp;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use shared::Transport;
use tokio::time::timeout;

use super::error::TurnError;
use super::resolve::Target;

/// How a server's certificate is believed.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// PEM certificates that it must lead to, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Believe any certificate.
    pub insecure: bool,
    /// The name that it must have and that is sent as SNI, instead of the URI's host.
    pub server_name: Option<String>,
}

/// A connection.
#[derive(Debug)]
pub enum Link {
    /// A connected UDP socket.
    Udp(udp::UdpLink),
}

impl Link {
    /// Connects to `target` within `patience`; `name` is whom its certificate must name.
    ///
    /// # Errors
    /// No socket, no way to that address, or nobody there.
    pub async fn open(
        target: &Target,
        name: &str,
        tls: &TlsOptions,
        patience: Duration,
    ) -> Result<Self, TurnError> {
        let opened = timeout(patience, Self::connect(target, name, tls)).await;
        opened.unwrap_or(Err(TurnError::NoAnswer {
            sendings: 1,
            waited: patience,
        }))
    }

    async fn connect(target: &Target, _name: &str, _tls: &TlsOptions) -> Result<Self, TurnError> {
        match target.transport {
            Transport::Udp => Ok(Self::Udp(udp::UdpLink::open(target.address).await?)),
            other => {
                let what = format!("{other} is not built in");
                Err(io::Error::new(io::ErrorKind::Unsupported, what).into())
            }
        }
    }

    /// The connection in words, and what is doubtful about it.
    #[must_use]
    pub fn describe(&self) -> (String, Option<String>) {
        let local = self
            .local()
            .map_or_else(|_| "?".to_owned(), |local| local.to_string());
        (format!("{} from {local}", self.transport()), None)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(link) => link.send(message).await,
        }
    }

    /// The next message. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn recv(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(link) => link.recv().await,
        }
    }

    /// Whether what is sent arrives, or the connection ends (RFC 8489 §6.2.2).
    #[must_use]
    pub fn is_reliable(&self) -> bool {
        match self {
            Self::Udp(_) => false,
        }
    }

    /// What carries the messages.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Udp(_) => Transport::Udp,
        }
    }

    /// Our own address.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(link) => link.local(),
        }
    }
}
