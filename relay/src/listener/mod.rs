//! Client connections over TCP: accepted, told apart, secured, cut into frames, and bounded.
//!
//! [`Streams`] is what one worker owns; [`Listening`] is what the listeners of all workers share. The
//! loop that drives them is the worker's.

pub mod certificate;
mod connection;
mod estate;
mod gate;
mod group;
pub mod nat_discovery;
mod outbound;
mod proxy;
mod splice;
mod streams;
pub mod tally;
pub mod tcp;
mod tls;

use std::sync::Arc;

use arc_swap::ArcSwap;
use turn_proto::framing::MAX_FRAME;

use crate::certificate::{CertificateError, CipherSuite};
use crate::config::{Config, ConnectionLimits};
use crate::dtls::{self, SharedSettings};
use crate::room::Room;
use certificate::TlsContext;
pub use connection::{Arrived, Brought};
pub use estate::StreamEstate;
use gate::Gate;
pub use group::{ListenerGroup, ListenerShare};
pub use outbound::Kind;
pub use splice::{Attached, Moved};
pub use streams::{Accepted, Sent, StreamId, Streams};
pub use tally::{Closing, ConnectionTotals, Tally};
use turn_udp::sys;

/// Bytes read from a connection at once.
const READ: usize = 64 << 10;
/// Room for what a read may find kept: a proxy header in front of the first record, or the beginning
/// of a record (RFC 8446 §5.2: 16 KiB and a little).
const KEPT: usize = 24 << 10;

/// What the listeners of all workers have in common.
#[derive(Debug)]
pub struct Listening {
    /// The certificates shown to TLS and DTLS clients.
    pub tls: TlsContext,
    /// What was accepted, refused and closed.
    pub tally: Tally,
    /// What became of DTLS clients.
    pub dtls_tally: Arc<dtls::Tally>,
    /// Whether datagrams keep their traffic class from client to peer and back (RFC 8656 §14).
    pub copy_dscp: bool,
    gate: Gate,
    /// The cipher suites of TLS 1.2 and DTLS 1.2; `None`: all.
    ciphers: Option<Vec<CipherSuite>>,
    /// Clients with a connection, those over DTLS too.
    room: Arc<Room>,
    limits: ArcSwap<ConnectionLimits>,
    /// Connections that leave descriptors for relay sockets and for the node itself.
    affordable: usize,
    dtls: SharedSettings,
}

impl Listening {
    /// That of a node which starts.
    ///
    /// # Errors
    /// When a certificate cannot be used.
    pub fn new(config: &Config) -> Result<Self, CertificateError> {
        let ciphers = config.tls_ciphers.clone();
        let tls = TlsContext::load(&config.certificate_files(), ciphers.as_deref())?;
        let dtls = dtls_settings(&tls, ciphers.as_deref(), &config.connections);
        let room = Arc::new(Room::default());
        Ok(Self {
            tls,
            ciphers,
            tally: Tally::new(Arc::clone(&room)),
            dtls_tally: Arc::new(dtls::Tally::new(Arc::clone(&room))),
            room,
            copy_dscp: config.copy_dscp,
            gate: Gate::default(),
            limits: ArcSwap::from_pointee(config.connections.clone()),
            affordable: affordable_connections(),
            dtls: Arc::new(ArcSwap::from_pointee(dtls)),
        })
    }

    /// What connections are held to.
    #[must_use]
    pub fn limits(&self) -> Arc<ConnectionLimits> {
        self.limits.load_full()
    }

    /// Holds connections, those that exist too, to other limits from now on.
    pub fn set_limits(&self, limits: &ConnectionLimits) {
        self.limits.store(Arc::new(limits.clone()));
        let settings = dtls_settings(&self.tls, self.ciphers.as_deref(), limits);
        self.dtls.store(Arc::new(settings));
    }

    /// What DTLS associations are made with and held to.
    #[must_use]
    pub fn dtls(&self) -> SharedSettings {
        Arc::clone(&self.dtls)
    }

    /// Connections as they are, and what became of others.
    #[must_use]
    pub fn totals(&self) -> ConnectionTotals {
        ConnectionTotals {
            dtls: self.dtls_tally.totals(),
            ..self.tally.totals()
        }
    }

    /// Whether there are more connections than there may be, the newest one included.
    fn is_crowded(&self) -> bool {
        self.room.taken() > self.limits.load().max || self.tally.connections() > self.affordable
    }
}

fn dtls_settings(
    tls: &TlsContext,
    ciphers: Option<&[CipherSuite]>,
    limits: &ConnectionLimits,
) -> dtls::Settings {
    let certificate = tls.certificates().map(|found| found.dtls());
    let limits = dtls::Limits {
        handshake: limits.handshake_timeout,
        idle: limits.max_allocate_timeout,
        max: limits.max,
        max_per_source: limits.max_per_source,
        max_half_open: limits.dtls_handshakes,
        max_half_open_per_source: limits.dtls_handshakes_per_source.min(limits.max_per_source),
    };
    dtls::Settings::new(certificate.unwrap_or_default(), ciphers, limits)
}

/// Each session over TCP takes two descriptors, and those over UDP, the store and the API must not
/// starve: connections get at most half of what is free when the node starts.
fn affordable_connections() -> usize {
    let limit = sys::descriptor_limit().unwrap_or(1024);
    let used = std::fs::read_dir("/proc/self/fd").map_or(64, Iterator::count);
    usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(used)
        .div_ceil(2)
}

/// Where bytes of connections are read and decrypted; one per worker.
pub struct StreamBuffers {
    /// Messages: what was left of the last read, and what came now.
    pub clear: Box<[u8]>,
    /// TLS records as they came.
    cipher: Box<[u8]>,
}

impl StreamBuffers {
    /// Room for a partial frame and what one read can bring.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clear: vec![0; MAX_FRAME + KEPT + READ].into_boxed_slice(),
            cipher: vec![0; KEPT + READ].into_boxed_slice(),
        }
    }
}

impl Default for StreamBuffers {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for StreamBuffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamBuffers").finish_non_exhaustive()
    }
}
