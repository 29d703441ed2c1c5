//! DTLS on UDP (RFC 7350).

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error};
use tokio::net::UdpSocket;
use tokio::time::sleep_until;

use super::TlsOptions;
use super::certificate::Summary;
use super::tls::{Secured, told, verifier};
use super::udp::{DATAGRAM, bound_towards};
use crate::turn::TurnError;

/// Decrypted messages and datagrams to be sent that are kept; the oldest goes first.
const MAX_KEPT: usize = 1024;

/// An association.
pub struct DtlsLink {
    socket: UdpSocket,
    engine: Dtls,
    wake: Option<Instant>,
    outbox: VecDeque<Vec<u8>>,
    inbox: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
    connected: bool,
    closed: bool,
    leaf: Option<Vec<u8>>,
}

impl fmt::Debug for DtlsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DtlsLink")
            .field("connected", &self.connected)
            .finish_non_exhaustive()
    }
}

impl DtlsLink {
    /// Shakes hands with `server`, which must be `name`.
    pub(super) async fn connect(
        server: SocketAddr,
        name: &str,
        options: &TlsOptions,
    ) -> Result<(Self, Secured), TurnError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = verifier(options, &provider)?;
        let name = options.name_for(name)?;
        // A server of TURN asks for no certificate of the client's; the engine wants one anyway.
        let made = rcgen::generate_simple_self_signed(["relayctl".to_owned()]);
        let made = made.map_err(io::Error::other)?;
        let own = DtlsCertificate {
            certificate: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_der(),
        };
        let now = Instant::now();
        let mut engine = Dtls::new_auto(Arc::new(Config::default()), own, now);
        engine.set_active(true);
        engine.handle_timeout(now).map_err(broken)?;
        let mut link = Self {
            socket: bound_towards(server).await?,
            engine,
            wake: None,
            outbox: VecDeque::new(),
            inbox: VecDeque::new(),
            buffer: vec![0; DATAGRAM],
            connected: false,
            closed: false,
            leaf: None,
        };
        while !link.connected {
            link.turn().await?;
        }
        let version = link.engine.protocol_version();
        let version = version.map_or_else(|| "DTLS".to_owned(), |v| format!("{v:?}"));
        let leaf = link.leaf.take().unwrap_or_default();
        let secured = judge(&leaf, &name, verifier.as_deref(), options)?;
        let secured = Secured {
            version: version.replace("DTLS1_", "DTLSv1."),
            ..secured
        };
        Ok((link, secured))
    }

    /// Takes what the engine has for us.
    fn drain(&mut self) {
        loop {
            match self.engine.poll_output(&mut self.buffer) {
                Output::Packet(packet) => keep(&mut self.outbox, packet),
                Output::ApplicationData(data) => keep(&mut self.inbox, data),
                Output::PeerCert(leaf) => self.leaf = Some(leaf.to_vec()),
                Output::Connected => self.connected = true,
                Output::CloseNotify => self.closed = true,
                Output::Timeout(at) => {
                    self.wake = Some(at);
                    return;
                }
                Output::BufferTooSmall { needed } => self.buffer.resize(needed, 0),
                _ => {}
            }
        }
    }

    /// Sends what waits to be sent.
    async fn flush(&mut self) -> io::Result<()> {
        self.drain();
        while let Some(packet) = self.outbox.front() {
            self.socket.send(packet).await?;
            self.outbox.pop_front();
        }
        Ok(())
    }

    /// Waits for a datagram or for the engine's next time, and lets the engine have it.
    async fn turn(&mut self) -> io::Result<()> {
        self.flush().await?;
        if self.closed {
            let what = "the server closed the association";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        if !self.inbox.is_empty() {
            return Ok(());
        }
        let wake = self.wake.unwrap_or_else(Instant::now);
        tokio::select! {
            len = self.socket.recv(&mut self.buffer) => {
                let len = len?;
                self.engine.handle_packet(&self.buffer[..len]).map_err(broken)?;
            }
            () = sleep_until(wake.into()) => {
                self.engine.handle_timeout(Instant::now()).map_err(broken)?;
            }
        }
        self.drain();
        self.flush().await
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.engine.send_application_data(message).map_err(broken)?;
        self.flush().await
    }

    pub(super) async fn recv(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            self.turn().await?;
        }
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

fn keep(queue: &mut VecDeque<Vec<u8>>, packet: &[u8]) {
    if queue.len() == MAX_KEPT {
        queue.pop_front();
    }
    queue.push_back(packet.to_vec());
}

fn broken(error: dimpl::Error) -> io::Error {
    io::Error::other(format!("DTLS: {error}"))
}

/// Whether the certificate is believed. The engine hands out the leaf alone, so a chain over
/// intermediates cannot be built: that is a warning, a wrong name or an end in the past is not.
fn judge(
    leaf: &[u8],
    name: &ServerName<'_>,
    verifier: Option<&WebPkiServerVerifier>,
    options: &TlsOptions,
) -> Result<Secured, TurnError> {
    let now = SystemTime::now();
    let summary = Summary::read(leaf);
    let certificate = told(summary.as_ref(), now);
    let soon = summary.as_ref().and_then(|summary| summary.warning(now));
    let secured = |warning| Secured {
        version: String::new(),
        certificate: certificate.clone(),
        warning,
    };
    let error = match believed(leaf, name, verifier) {
        Ok(()) => return Ok(secured(soon)),
        Err(error) => error,
    };
    if options.insecure {
        let doubt = format!("not believed, but --insecure takes it: {error}");
        return Ok(secured(Some(doubt)));
    }
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let expired = summary.is_some_and(|summary| summary.is_expired(now));
    if error == unknown && options.ca_pem.is_none() && named(leaf, name).is_ok() && !expired {
        let doubt = "only the server's own certificate is seen over DTLS, so what vouches for it \
                     is unknown: its turns: listener over TCP shows the chain";
        return Ok(secured(Some(doubt.to_owned())));
    }
    Err(TurnError::Tls {
        error,
        certificate: Some(certificate),
    })
}

fn believed(
    leaf: &[u8],
    name: &ServerName<'_>,
    verifier: Option<&WebPkiServerVerifier>,
) -> Result<(), Error> {
    let verifier = verifier.ok_or(CertificateError::UnknownIssuer)?;
    let leaf = CertificateDer::from(leaf);
    let judged = verifier.verify_server_cert(&leaf, &[], name, &[], UnixTime::now());
    judged.map(drop)
}

fn named(leaf: &[u8], name: &ServerName<'_>) -> Result<(), Error> {
    let leaf = CertificateDer::from(leaf);
    let parsed = rustls::server::ParsedCertificate::try_from(&leaf)?;
    rustls::client::verify_server_name(&parsed, name)
}
