//! A blocking TURN client over TCP or TLS, which can also misbehave byte by byte.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use socket2::{Domain, Socket, Type};
use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_proto::framing::{Front, MAX_FRAME, front};
use turn_proto::stun::{AttributeType, MessageBuilder, Method};

use crate::client::{ClientError, Login};
use crate::credentials::{Asking, Credentials, address, parse};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// REQUESTED-TRANSPORT UDP (RFC 8656 §18.7).
const TRANSPORT_UDP: u32 = 17 << 24;

trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// A client with at most one allocation.
pub struct StreamClient {
    io: Box<dyn Duplex>,
    socket: TcpStream,
    received: Vec<u8>,
    credentials: Credentials,
}

impl std::fmt::Debug for StreamClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamClient")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// What to offer in a TLS handshake. Any certificate will do.
#[must_use]
pub fn tls_config(
    versions: &[&'static rustls::SupportedProtocolVersion],
    protocols: &[&str],
) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .expect("versions of the provider")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A TCP connection that begins at this address.
///
/// # Errors
/// It cannot be made.
pub fn connect_from(from: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&server.into(), ANSWER)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the other side closes within that time, whatever else it sends before.
#[must_use]
pub fn closes(socket: &mut TcpStream, wait: Duration) -> bool {
    let end = Instant::now() + wait;
    let mut buffer = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            return false;
        }
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if is_timeout(&error) => return false,
            Err(_) => return true,
        }
    }
}

impl StreamClient {
    /// A client over plain TCP.
    ///
    /// # Errors
    /// There is no connection.
    pub fn tcp(server: SocketAddr, login: Login) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&server, ANSWER)?, login)
    }

    /// A client over a connection that exists.
    ///
    /// # Errors
    /// The socket is of no use.
    pub fn over(socket: TcpStream, login: Login) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let io = Box::new(socket.try_clone()?);
        Ok(Self::new(io, socket, login))
    }

    /// A client over TLS.
    ///
    /// # Errors
    /// The handshake fails.
    pub fn tls(
        server: SocketAddr,
        login: Login,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Self> {
        Self::tls_over(
            TcpStream::connect_timeout(&server, ANSWER)?,
            login,
            config,
            name,
        )
    }

    /// A client over TLS over a connection that exists.
    ///
    /// # Errors
    /// The handshake fails.
    pub fn tls_over(
        mut socket: TcpStream,
        login: Login,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        socket.set_read_timeout(Some(ANSWER))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        let stream = StreamOwned::new(tls, socket.try_clone()?);
        Ok(Self::new(Box::new(stream), socket, login))
    }

    fn new(io: Box<dyn Duplex>, socket: TcpStream, login: Login) -> Self {
        Self {
            io,
            socket,
            received: Vec::new(),
            credentials: Credentials::new(login),
        }
    }

    /// The socket underneath.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes)?;
        self.io.flush()
    }

    /// The next message; `None`: none came in time.
    ///
    /// # Errors
    /// The connection ended, or what came is no message.
    pub fn message(&mut self, wait: Duration) -> io::Result<Option<Vec<u8>>> {
        let end = Instant::now() + wait;
        let mut buffer = [0; 16_384];
        loop {
            match front(&self.received, MAX_FRAME).map_err(io::Error::other)? {
                Front::Frame { message, consumed } => {
                    let message = message.to_vec();
                    self.received.drain(..consumed);
                    return Ok(Some(message));
                }
                Front::Incomplete => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.io.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the server closes within that time, whatever else it sends before.
    #[must_use]
    pub fn is_closed(&mut self, wait: Duration) -> bool {
        closes(&mut self.socket, wait)
    }

    /// A Binding request answered with our address as the server sees it.
    ///
    /// # Errors
    /// No answer, or none that says it.
    pub fn binding(&mut self) -> Result<SocketAddr, ClientError> {
        self.ask_binding()
    }

    /// Makes an allocation and answers its relayed address.
    ///
    /// # Errors
    /// It was refused.
    pub fn allocate(&mut self) -> Result<SocketAddr, ClientError> {
        let answer = self.request(Method::Allocate, |request| {
            let transport = TRANSPORT_UDP.to_be_bytes();
            request.attribute(AttributeType::REQUESTED_TRANSPORT, &transport)
        })?;
        let kind = AttributeType::XOR_RELAYED_ADDRESS;
        address(&parse(&answer)?, kind, "XOR-RELAYED-ADDRESS")
    }

    /// Asks for another lifetime in seconds; 0 ends the session.
    ///
    /// # Errors
    /// It was refused.
    pub fn refresh(&mut self, seconds: u32) -> Result<(), ClientError> {
        let answer = self.request(Method::Refresh, |request| {
            request.attribute(AttributeType::LIFETIME, &seconds.to_be_bytes())
        });
        answer.map(drop)
    }

    /// Binds a channel, which permits the peer too.
    ///
    /// # Errors
    /// It was refused.
    pub fn bind_channel(&mut self, number: u16, peer: SocketAddr) -> Result<(), ClientError> {
        self.ask_channel(number, peer)
    }

    /// Sends over a channel, padded as streams need it.
    ///
    /// # Errors
    /// The connection is gone.
    ///
    /// # Panics
    /// When that is no channel number.
    pub fn send_channel(&mut self, number: u16, payload: &[u8]) -> io::Result<()> {
        let number = ChannelNumber::new(number).expect("a channel number");
        let mut bytes = ChannelData::header(number, payload.len() as u16).to_vec();
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.write(&bytes)
    }

    /// The payload of the next ChannelData message; `None`: none came in time.
    ///
    /// # Errors
    /// The connection ended.
    pub fn recv_channel(&mut self, wait: Duration) -> io::Result<Option<(u16, Vec<u8>)>> {
        let end = Instant::now() + wait;
        while let Some(message) = self.message(end.saturating_duration_since(Instant::now()))? {
            if let Some(data) = ChannelData::parse(&message) {
                return Ok(Some((data.number.get(), data.payload.to_vec())));
            }
        }
        Ok(None)
    }

    /// Sends an authenticated request until it is answered with success.
    ///
    /// # Errors
    /// It was refused, or nothing came.
    pub fn request(
        &mut self,
        method: Method,
        fill: impl Fn(MessageBuilder) -> MessageBuilder,
    ) -> Result<Vec<u8>, ClientError> {
        self.ask(method, fill)
    }
}

impl Asking for StreamClient {
    fn credentials(&mut self) -> &mut Credentials {
        &mut self.credentials
    }

    /// Sends a request once, as streams need it, and waits for its answer.
    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.write(request)?;
        let end = Instant::now() + ANSWER;
        while let Some(message) = self.message(end.saturating_duration_since(Instant::now()))? {
            if message.get(8..20) == request.get(8..20) {
                return Ok(message);
            }
        }
        Err(ClientError::Timeout)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Believes every certificate, but checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
