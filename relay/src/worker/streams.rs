//! TCP and TLS clients in the worker's loop: their messages to the core, and what it says to them.

use turn_proto::Now;
use turn_proto::five_tuple::FiveTuple;
use turn_proto::framing::{Front, front};

use super::run::{Core, Drained};
use crate::listener::{Accepted, Arrived, Closing, Kind, Sent, StreamBuffers, StreamId};
use turn_udp::batch::SendBatch;

/// Connections accepted from one listener per turn.
const ACCEPT_BUDGET: usize = 32;

impl Core {
    pub(super) fn accept(&mut self, now: Now, index: usize) -> Drained {
        for _ in 0..ACCEPT_BUDGET {
            match self.streams.accept(now.mono, index) {
                Accepted::Yes | Accepted::Refused => {}
                Accepted::No => return Drained::Yes,
            }
        }
        Drained::No
    }

    /// Reads once from a connection and hands its messages to the core.
    pub(super) fn read_stream(
        &mut self,
        now: Now,
        id: StreamId,
        stream: &mut StreamBuffers,
        batch: &mut SendBatch<'_, '_>,
    ) -> Drained {
        if let Some(link) = self.streams.link(id) {
            return self.run_link(now, link, stream);
        }
        let brought = match self.streams.read(now.mono, id, stream) {
            Ok(Some(brought)) => brought,
            Ok(None) => return Drained::Yes,
            Err(why) => {
                self.close_stream(now, id, why);
                self.drain_outputs(now);
                return Drained::Yes;
            }
        };
        if let Some(arrived) = brought.arrived {
            self.arrive(now, id, &arrived);
        }
        if brought.len > 0 {
            let mut batch = batch.apart();
            let end = self.take_messages(now, id, &stream.clear[..brought.len], &mut batch);
            drop(batch);
            if let Err(why) = end {
                self.close_stream(now, id, why);
                self.drain_outputs(now);
                return Drained::Yes;
            }
        }
        if brought.finished {
            self.close_stream(now, id, Closing::Client);
            self.drain_outputs(now);
            return Drained::Yes;
        }
        if brought.drained {
            Drained::Yes
        } else {
            Drained::No
        }
    }

    fn arrive(&mut self, now: Now, id: StreamId, arrived: &Arrived) {
        if let Some(broken) = self.streams.enroll(id, &arrived.tuple) {
            self.close_stream(now, broken, Closing::Broken);
            self.drain_outputs(now);
        }
        self.server
            .handle_connected(now, arrived.tuple, &arrived.arrival);
        self.drain_outputs(now);
    }

    fn take_messages<'p>(
        &mut self,
        now: Now,
        id: StreamId,
        mut bytes: &'p [u8],
        batch: &mut SendBatch<'_, 'p>,
    ) -> Result<(), Closing> {
        let Some((serial, tuple)) = self.streams.serial(id) else {
            return Ok(());
        };
        loop {
            // Closed by a message before.
            let Some(limit) = self.streams.speaker(id, serial) else {
                return Ok(());
            };
            match front(bytes, limit).map_err(|_| Closing::Garbage)? {
                Front::Frame { message, consumed } => {
                    self.streams.note_message(id);
                    let forward = self.server.handle_client(now, tuple, message);
                    self.dispatch(now, forward, batch);
                    self.look_for_session(id, &tuple);
                    bytes = &bytes[consumed..];
                    if self.has_moved(id, bytes) {
                        return Ok(());
                    }
                }
                Front::Incomplete => {
                    self.streams.keep(id, bytes);
                    return Ok(());
                }
            }
        }
    }

    /// Queues relayed data for a client; what has no room is dropped and counted.
    pub(super) fn relay_to_stream(&mut self, now: Now, tuple: &FiveTuple, parts: [&[u8]; 3]) {
        if self.streams.send(tuple, Kind::Data, parts) == Sent::Dropped {
            self.server.handle_overrun(now, tuple);
        }
    }

    /// Queues an answer for a client. One that does not even take answers is closed.
    pub(super) fn answer_stream(&mut self, now: Now, tuple: &FiveTuple, message: &[u8]) {
        match self.streams.send(tuple, Kind::Answer, [message, &[], &[]]) {
            Sent::Stuck(id) => self.close_stream(now, id, Closing::Slow),
            // A request that was parked: its session is made long after it was read.
            Sent::Queued(id) => self.look_for_session(id, tuple),
            Sent::Dropped | Sent::Gone => {}
        }
    }

    fn look_for_session(&mut self, id: StreamId, tuple: &FiveTuple) {
        if self.streams.lacks_session(id) && self.server.has_session(tuple) {
            self.streams.note_session(id);
        }
    }

    /// Closes the connection of a client, as the core asked.
    pub(super) fn disconnect(&mut self, now: Now, tuple: &FiveTuple) {
        if let Some(id) = self.streams.find(tuple) {
            self.close_stream(now, id, Closing::Ordered);
        }
    }

    /// Closes a connection and tells the core, whose outputs are still to be drained.
    pub(super) fn close_stream(&mut self, now: Now, id: StreamId, why: Closing) {
        let link = self.streams.link(id);
        if let Some(tuple) = self.streams.close(id, why) {
            self.server.handle_disconnected(now, tuple);
        }
        if let Some(link) = link {
            self.links.close(link);
            self.server.handle_peer_closed(now, link);
        }
    }

    /// Writes what waits for clients, whatever put it there.
    pub(super) fn write_streams(&mut self, now: Now) {
        while let Some(written) = self.streams.write_next() {
            if let Err(broken) = written {
                self.close_stream(now, broken, Closing::Broken);
                self.drain_outputs(now);
            }
        }
    }

    /// Closes the connections whose time is over.
    pub(super) fn expire_streams(&mut self, now: Now) {
        loop {
            let server = &self.server;
            let due = self
                .streams
                .next_due(now.mono, |tuple| server.has_session(tuple));
            let Some((id, why)) = due else {
                return;
            };
            self.close_stream(now, id, why);
            self.drain_outputs(now);
        }
    }
}
