//! TLS on one connection: rustls as a state machine between the socket and the messages.

use std::io::{self, Read, Write};

use rustls::{CipherSuite, ProtocolVersion};
use turn_proto::server::Security;

use super::outbound::Outbound;

/// Bytes secured before they are written, all of them with one call where the socket takes them.
const BATCH: usize = 64 << 10;

/// A TLS connection, its handshake included.
#[derive(Debug)]
pub(super) struct Session(Box<rustls::ServerConnection>);

/// What came out of a run of records.
#[derive(Debug)]
pub(super) struct Opened {
    /// Bytes of messages, in front of the buffer.
    pub(super) len: usize,
    /// The client said that nothing more comes.
    pub(super) finished: bool,
}

impl Session {
    pub(super) fn new(config: std::sync::Arc<rustls::ServerConfig>) -> Result<Self, rustls::Error> {
        let mut connection = rustls::ServerConnection::new(config)?;
        // What waits is bounded before it gets here.
        connection.set_buffer_limit(None);
        Ok(Self(Box::new(connection)))
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// What the handshake agreed on.
    pub(super) fn security(&self) -> Security {
        let suite = self.0.negotiated_cipher_suite();
        Security {
            version: match self.0.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "UNKNOWN",
            },
            cipher: suite.map_or("UNKNOWN", |suite| name_of(suite.suite())),
        }
    }

    /// Whether records wait to be written.
    pub(super) fn has_unsent(&self) -> bool {
        self.0.wants_write()
    }

    /// The name that the client asked for (SNI), in lower case.
    pub(super) fn server_name(&self) -> Option<Box<str>> {
        self.0
            .server_name()
            .map(|name| name.to_ascii_lowercase().into())
    }

    /// Takes records in and writes what they hold behind `clear[..len]`, which has room for as many
    /// bytes as the records have.
    pub(super) fn open(
        &mut self,
        mut records: &[u8],
        clear: &mut [u8],
        mut len: usize,
    ) -> io::Result<Opened> {
        let mut finished = false;
        while !records.is_empty() && !finished {
            self.0.read_tls(&mut records)?;
            let state = self.0.process_new_packets().map_err(io::Error::other)?;
            finished = state.peer_has_closed();
            let mut waiting = state.plaintext_bytes_to_read();
            while waiting > 0 {
                let count = self.0.reader().read(&mut clear[len..])?;
                if count == 0 {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                len += count;
                waiting = waiting.saturating_sub(count);
            }
        }
        Ok(Opened { len, finished })
    }

    /// Secures and writes what is queued, a record for each message, until there is nothing left or the socket takes no more.
    pub(super) fn write(&mut self, queue: &mut Outbound, socket: &mut dyn Write) -> io::Result<()> {
        loop {
            while self.0.wants_write() {
                if self.0.write_tls(socket)? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
            // Until the handshake is over the queue is empty: nobody was announced.
            if queue.is_empty() {
                return Ok(());
            }
            let mut secured = 0;
            while !queue.is_empty() && secured < BATCH {
                let message = queue.first_message();
                let count = self.0.writer().write(message)?;
                queue.advance(count);
                secured += count;
            }
        }
    }

    /// Queues the alert that nothing more comes.
    pub(super) fn say_goodbye(&mut self) {
        self.0.send_close_notify();
    }
}

/// What OpenSSL calls a cipher suite.
fn name_of(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => "UNKNOWN",
    }
}
