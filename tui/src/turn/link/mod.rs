//! Connections to a server: whole STUN and ChannelData messages out and in, whatever carries them.

pub mod certificate;
mod dtls;
mod stream;
mod tls;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use shared::Transport;
use tokio::time::timeout;

use super::error::TurnError;
use super::resolve::Target;

pub use tls::Secured;
pub(crate) use tls::client_config;
pub(super) use udp::bound_towards;

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
    /// A TCP connection.
    Tcp(stream::StreamLink),
    /// TLS on one.
    Tls(stream::StreamLink, Secured),
    /// DTLS on UDP.
    Dtls(Box<dtls::DtlsLink>, Secured),
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

    async fn connect(target: &Target, name: &str, tls: &TlsOptions) -> Result<Self, TurnError> {
        let server = target.address;
        match target.transport {
            Transport::Udp => Ok(Self::Udp(udp::UdpLink::open(server).await?)),
            Transport::Tcp => {
                let stream = stream::StreamLink::connect(server).await?;
                let local = stream.local_addr()?;
                Ok(Self::Tcp(stream::StreamLink::new(stream, local)))
            }
            Transport::Tls => {
                let (link, secured) = tls::connect(server, name, tls).await?;
                Ok(Self::Tls(link, secured))
            }
            Transport::Dtls => {
                let (link, secured) = dtls::DtlsLink::connect(server, name, tls).await?;
                Ok(Self::Dtls(Box::new(link), secured))
            }
        }
    }

    /// The connection in words, and what is doubtful about it.
    #[must_use]
    pub fn describe(&self) -> (String, Option<String>) {
        let local = self.local();
        let local = local.map_or_else(|_| "?".to_owned(), |local| local.to_string());
        match self {
            Self::Tls(_, secured) | Self::Dtls(_, secured) => {
                let (version, certificate) = (&secured.version, &secured.certificate);
                let text = format!("{version} from {local}, {certificate}");
                (text, secured.warning.clone())
            }
            _ => (format!("{} from {local}", self.transport()), None),
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(link) => link.send(message).await,
            Self::Tcp(link) | Self::Tls(link, _) => link.send(message).await,
            Self::Dtls(link, _) => link.send(message).await,
        }
    }

    /// The next message. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn recv(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(link) => link.recv().await,
            Self::Tcp(link) | Self::Tls(link, _) => link.recv().await,
            Self::Dtls(link, _) => link.recv().await,
        }
    }

    /// Whether what is sent arrives, or the connection ends (RFC 8489 §6.2.2).
    #[must_use]
    pub fn is_reliable(&self) -> bool {
        match self {
            Self::Udp(_) | Self::Dtls(..) => false,
            Self::Tcp(_) | Self::Tls(..) => true,
        }
    }

    /// What carries the messages.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Udp(_) => Transport::Udp,
            Self::Tcp(_) => Transport::Tcp,
            Self::Tls(..) => Transport::Tls,
            Self::Dtls(..) => Transport::Dtls,
        }
    }

    /// Our own address.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(link) => link.local(),
            Self::Tcp(link) | Self::Tls(link, _) => Ok(link.local()),
            Self::Dtls(link, _) => link.local(),
        }
    }
}
