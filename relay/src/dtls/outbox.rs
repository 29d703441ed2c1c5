//! What associations have to say, in order, with its bytes in one buffer that is used again.

use dimpl::{Dtls, Output};

use super::Key;

/// Room kept free behind what is written: a datagram of the usual size.
const ROOM: usize = 2048;
/// Capacity kept from one turn to the next, in bytes; what a burst took beyond is given back.
const KEPT: usize = 256 * 1024;

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A datagram for the client.
    Transmit,
    /// The handshake is done.
    Connected {
        /// The host that the client asked for (SNI), in lower case.
        server_name: Option<Box<str>>,
    },
    /// What the client sent, decrypted.
    Data,
    /// An association that was open is no more.
    Disconnected,
}

/// Something that happened to one client.
#[derive(Debug)]
pub struct Event {
    /// Whose.
    pub key: Key,
    /// What.
    pub kind: EventKind,
    start: usize,
    end: usize,
}

/// Events and their bytes.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    used: usize,
    events: Vec<Event>,
}

impl Outbox {
    /// Nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What happened, in order, with the bytes of datagrams and data.
    pub fn events(&self) -> impl Iterator<Item = (&Event, &[u8])> {
        let bytes = |event: &Event| &self.bytes[event.start..event.end];
        self.events.iter().map(move |event| (event, bytes(event)))
    }

    /// Forgets everything but its memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.used = 0;
        if self.bytes.len() > KEPT {
            self.bytes.truncate(KEPT);
            self.bytes.shrink_to_fit();
        }
    }

    /// Where the next bytes go.
    pub(super) fn space(&mut self) -> &mut [u8] {
        self.want(ROOM);
        &mut self.bytes[self.used..]
    }

    /// Makes room for so many bytes.
    pub(super) fn want(&mut self, room: usize) {
        if self.bytes.len() < self.used + room {
            self.bytes.resize(self.used + room.max(ROOM) * 2, 0);
        }
    }

    /// An event with the bytes that were just written into [`space`](Self::space).
    pub(super) fn push(&mut self, key: Key, kind: EventKind, length: usize) {
        let (start, end) = (self.used, self.used + length);
        self.used = end;
        self.events.push(Event {
            key,
            kind,
            start,
            end,
        });
    }

    /// A datagram made elsewhere.
    pub(super) fn transmit(&mut self, key: Key, datagram: &[u8]) {
        self.want(datagram.len());
        self.bytes[self.used..self.used + datagram.len()].copy_from_slice(datagram);
        self.push(key, EventKind::Transmit, datagram.len());
    }

    /// The last datagrams of an engine that is given up: its alert, or nothing.
    pub(super) fn rest_of(&mut self, engine: &mut Dtls, key: Key) {
        loop {
            let length = match engine.poll_output(self.space()) {
                Output::Packet(packet) => packet.len(),
                Output::BufferTooSmall { needed } => {
                    self.want(needed);
                    continue;
                }
                _ => return,
            };
            self.push(key, EventKind::Transmit, length);
        }
    }
}
