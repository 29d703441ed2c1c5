//! One association: the engine of one client whose address is proven.

use std::sync::Arc;
use std::time::Instant;

use dimpl::{Config, Dtls, DtlsCertificate, Output, ProtocolVersion};

use super::cookie::{Version, with_cookie};
use super::hello::ClientHello;
use super::outbox::{EventKind, Outbox};
use super::{Key, Settings};
use crate::room::ClientSource;

/// Where an association stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The handshake goes on.
    HalfOpen,
    /// Application data flows.
    Open,
}

/// What became of an association after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    Over,
}

/// A client with whom keys are, or are being, agreed.
#[derive(Debug)]
pub(super) struct Association {
    engine: Dtls,
    random: [u8; 32],
    pub(super) server_name: Option<Box<str>>,
    pub(super) stage: Stage,
    pub(super) since: Instant,
    /// When a datagram came that the engine accepted data from.
    pub(super) heard: Instant,
    /// When the engine wants to be woken.
    pub(super) timer: Instant,
    /// When [`super::Associations`] will wake it.
    pub(super) scheduled: Instant,
    /// The source that counts it, while it has no session, as far as was looked.
    pub(super) counted: Option<ClientSource>,
}

impl Association {
    /// Makes the engine and brings it to where the client is: behind the exchange of cookies.
    pub(super) fn accept(
        now: Instant,
        settings: &Settings,
        certificate: DtlsCertificate,
        hello: &Accepted<'_>,
    ) -> Option<Self> {
        let config = Arc::clone(&settings.engine);
        let mut engine = new_engine(hello.version, config, certificate, now);
        let mut dropped = [0; 512];
        with_cookie(hello.cookie, || {
            engine.handle_timeout(now).ok()?;
            engine.handle_packet(&hello.first).ok()?;
            // The request for the cookie, which the client has had.
            while let Output::Packet(_) = engine.poll_output(&mut dropped) {}
            engine.handle_packet(hello.datagram).ok()
        })?;
        Some(Self {
            engine,
            random: *hello.hello.random,
            server_name: hello.hello.server_name(),
            stage: Stage::HalfOpen,
            since: now,
            heard: now,
            timer: now,
            scheduled: now,
            counted: None,
        })
    }

    /// The version that was agreed on.
    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        self.engine.protocol_version()
    }

    /// Whether a hello is this association's own, sent again.
    pub(super) fn began_with(&self, hello: &ClientHello<'_>) -> bool {
        self.random == *hello.random
    }

    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        key: Key,
        datagram: &[u8],
        outbox: &mut Outbox,
    ) -> Fate {
        let handled = self.engine.handle_timeout(now);
        if handled
            .and_then(|()| self.engine.handle_packet(datagram))
            .is_err()
        {
            return self.fail(key, outbox);
        }
        self.drain(now, key, outbox)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, key: Key, outbox: &mut Outbox) -> Fate {
        if self.engine.handle_timeout(now).is_err() {
            return self.fail(key, outbox);
        }
        self.drain(now, key, outbox)
    }

    /// Encrypts and queues one message.
    pub(super) fn send(
        &mut self,
        now: Instant,
        key: Key,
        message: &[u8],
        outbox: &mut Outbox,
    ) -> Fate {
        if self.stage != Stage::Open {
            return Fate::Lives;
        }
        if self.engine.send_application_data(message).is_err() {
            return self.fail(key, outbox);
        }
        self.drain(now, key, outbox)
    }

    /// Says goodbye to the client.
    pub(super) fn close(&mut self, now: Instant, key: Key, outbox: &mut Outbox) {
        if self.engine.close().is_ok() {
            let _ = self.drain(now, key, outbox);
        }
    }

    /// Everything that the engine has to say, until it only waits.
    pub(super) fn drain(&mut self, now: Instant, key: Key, outbox: &mut Outbox) -> Fate {
        loop {
            let (kind, length) = match self.engine.poll_output(outbox.space()) {
                Output::Packet(packet) => (EventKind::Transmit, packet.len()),
                Output::ApplicationData(data) => {
                    self.heard = now;
                    (EventKind::Data, data.len())
                }
                Output::BufferTooSmall { needed } => {
                    outbox.want(needed);
                    continue;
                }
                Output::Timeout(at) => {
                    self.timer = at;
                    return Fate::Lives;
                }
                Output::Connected => {
                    self.stage = Stage::Open;
                    self.heard = now;
                    let server_name = self.server_name.clone();
                    (EventKind::Connected { server_name }, 0)
                }
                Output::CloseNotify => {
                    // Our own close_notify goes back (RFC 5246 §7.2.1).
                    if self.engine.close().is_ok() {
                        outbox.rest_of(&mut self.engine, key);
                    }
                    return Fate::Over;
                }
                // Keys for SRTP and certificates of clients: neither is asked for.
                _ => continue,
            };
            outbox.push(key, kind, length);
        }
    }

    fn fail(&mut self, key: Key, outbox: &mut Outbox) -> Fate {
        outbox.rest_of(&mut self.engine, key);
        Fate::Over
    }
}

/// A hello whose cookie is good.
#[derive(Debug)]
pub(super) struct Accepted<'a> {
    pub(super) version: Version,
    pub(super) first: Vec<u8>,
    pub(super) cookie: [u8; 32],
    pub(super) hello: &'a ClientHello<'a>,
    pub(super) datagram: &'a [u8],
}

fn new_engine(
    version: Version,
    config: Arc<Config>,
    certificate: DtlsCertificate,
    now: Instant,
) -> Dtls {
    match version {
        Version::Dtls12 => Dtls::new_12(config, certificate, now),
        Version::Dtls13 => Dtls::new_13(config, certificate, now),
    }
}
