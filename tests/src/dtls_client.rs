//! A blocking TURN client over DTLS 1.2 or 1.3 (RFC 7350), on the client side of the crate that the server uses.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_proto::stun::{MessageBuilder, Method};

use crate::client::ClientError;
use crate::credentials::{Asking, Credentials};
use crate::login::Login;

/// How long a handshake or an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The wait before a request is sent again.
const RETRANSMIT: Duration = Duration::from_millis(500);
/// Room for the largest datagram.
const DATAGRAM: usize = 65_536;

/// A client with at most one allocation.
pub struct DtlsClient {
    socket: UdpSocket,
    engine: Dtls,
    is_connected: bool,
    is_closed: bool,
    received: VecDeque<Vec<u8>>,
    credentials: Credentials,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for DtlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DtlsClient")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl DtlsClient {
    /// A client on this socket, after its handshake with the server. Any certificate will do.
    ///
    /// # Errors
    /// The handshake fails.
    ///
    /// # Panics
    /// When no certificate can be made.
    pub fn over(socket: UdpSocket, server: SocketAddr, login: Login) -> io::Result<Self> {
        socket.connect(server)?;
        let made = rcgen::generate_simple_self_signed(vec!["client.example.org".to_owned()])
            .expect("a certificate");
        let certificate = DtlsCertificate {
            certificate: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_der(),
        };
        let config = Config::builder().build().map_err(io::Error::other)?;
        let mut engine = Dtls::new_auto(Arc::new(config), certificate, Instant::now());
        engine.set_active(true);
        let mut client = Self {
            socket,
            engine,
            is_connected: false,
            is_closed: false,
            received: VecDeque::new(),
            credentials: Credentials::new(login),
            buffer: vec![0; DATAGRAM],
        };
        let end = Instant::now() + ANSWER;
        while !client.is_connected {
            if !client.step(end)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(client)
    }

    /// The client's own address.
    ///
    /// # Panics
    /// Never for a bound socket.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        let local = self.socket.local_addr();
        local.expect("a bound socket has an address")
    }

    /// Sends one message.
    ///
    /// # Errors
    /// The socket failed, or the association is over.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let sent = self.engine.send_application_data(message);
        sent.map_err(io::Error::other)?;
        self.flush().map(drop)
    }

    /// The next message; `None`: none came in time.
    ///
    /// # Errors
    /// The socket failed, or the association is over.
    pub fn message(&mut self, wait: Duration) -> io::Result<Option<Vec<u8>>> {
        let end = Instant::now() + wait;
        loop {
            if let Some(message) = self.received.pop_front() {
                return Ok(Some(message));
            }
            if self.is_closed {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if !self.step(end)? {
                return Ok(None);
            }
        }
    }

    /// An authenticated request; the whole success answer.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn request(
        &mut self,
        method: Method,
        fill: impl Fn(MessageBuilder) -> MessageBuilder,
    ) -> Result<Vec<u8>, ClientError> {
        self.ask(method, fill)
    }

    /// Sends over a channel.
    ///
    /// # Errors
    /// The socket failed, or the association is over.
    ///
    /// # Panics
    /// When that is no channel number.
    pub fn send_channel(&mut self, number: u16, payload: &[u8]) -> io::Result<()> {
        let number = ChannelNumber::new(number).expect("a channel number");
        let mut message = ChannelData::header(number, payload.len() as u16).to_vec();
        message.extend_from_slice(payload);
        self.send(&message)
    }

    /// The payload of the next ChannelData message; `None`: none came in time.
    ///
    /// # Errors
    /// The socket failed, or the association is over.
    pub fn recv_channel(&mut self, wait: Duration) -> io::Result<Option<(u16, Vec<u8>)>> {
        let end = Instant::now() + wait;
        while let Some(message) = self.message(end.saturating_duration_since(Instant::now()))? {
            if let Some(data) = ChannelData::parse(&message) {
                return Ok(Some((data.number.get(), data.payload.to_vec())));
            }
        }
        Ok(None)
    }

    /// Does what the engine wants, then waits for a datagram or its timer; `false`: `end` came.
    fn step(&mut self, end: Instant) -> io::Result<bool> {
        let before = self.received.len();
        let timer = self.flush()?;
        if self.received.len() > before || self.is_closed {
            return Ok(true);
        }
        let now = Instant::now();
        if now >= end {
            return Ok(false);
        }
        // The socket takes a wait of zero for none.
        let wait = timer.min(end).saturating_duration_since(now);
        let wait = wait.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(wait))?;
        match self.socket.recv(&mut self.buffer) {
            Ok(count) => {
                let handled = self.engine.handle_packet(&self.buffer[..count]);
                handled.map_err(io::Error::other)?;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
        self.flush()?;
        Ok(true)
    }

    /// Sends what the engine has to send and takes what it has received; answers its timer.
    fn flush(&mut self) -> io::Result<Instant> {
        let now = Instant::now();
        self.engine.handle_timeout(now).map_err(io::Error::other)?;
        loop {
            match self.engine.poll_output(&mut self.buffer) {
                Output::Packet(packet) => self.socket.send(packet).map(drop)?,
                Output::ApplicationData(data) => self.received.push_back(data.to_vec()),
                Output::Connected => self.is_connected = true,
                Output::CloseNotify => self.is_closed = true,
                Output::Timeout(at) => return Ok(at),
                _ => {}
            }
        }
    }
}

impl Asking for DtlsClient {
    fn credentials(&mut self) -> &mut Credentials {
        &mut self.credentials
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        let end = Instant::now() + ANSWER;
        while Instant::now() < end {
            self.send(request)?;
            let again = end.min(Instant::now() + RETRANSMIT);
            let left = || again.saturating_duration_since(Instant::now());
            while let Some(message) = self.message(left())? {
                if message.get(8..20) == request.get(8..20) {
                    return Ok(message);
                }
            }
        }
        Err(ClientError::Timeout)
    }
}
