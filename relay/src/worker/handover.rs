//! Clients that another worker has to answer: connections and DTLS associations that are handed over
//! (RFC 6062 §5.4, RFC 8016), and datagrams that are passed on.

use shared::{Transport, WorkerId};
use turn_proto::Now;
use turn_proto::demux::Protocol;
use turn_proto::five_tuple::FiveTuple;
use turn_proto::server::Errand;

use super::mailbox::{Adopted, Carrier, Mail, PassedOn};
use super::run::{Buffers, Core};
use super::token::Source;
use crate::dtls;
use crate::listener::{Closing, Moved, StreamId};
use crate::udp::selector::worker_of;

/// A client's connection on its way to another worker.
#[derive(Debug)]
pub(super) struct Leaving {
    worker: WorkerId,
    moved: Moved,
    message: Vec<u8>,
}

impl Core {
    /// Whether the connection whose messages are taken is none of the core's any more; then `rest`
    /// goes where it went.
    pub(super) fn has_moved(&mut self, id: StreamId, rest: &[u8]) -> bool {
        if self.depart(rest) {
            return true;
        }
        let Some(link) = self.streams.link(id) else {
            return false;
        };
        self.links.feed(link, rest);
        true
    }

    /// Sends the connection off that was taken out of this worker, with what was read of it behind
    /// the message; says whether there was one.
    pub(super) fn depart(&mut self, rest: &[u8]) -> bool {
        let Some(Leaving {
            worker,
            mut moved,
            message,
        }) = self.leaving.take()
        else {
            return false;
        };
        moved.keep(rest);
        let carrier = Carrier::Stream(moved);
        self.hand_over(worker, Adopted { carrier, message });
        true
    }

    /// Takes a client's connection out of this worker.
    pub(super) fn leave(
        &mut self,
        now: Now,
        tuple: &FiveTuple,
        worker: WorkerId,
        message: Vec<u8>,
    ) {
        if tuple.transport == Transport::Dtls {
            return match self.dtls.detach(*tuple) {
                Some(moved) => {
                    let carrier = Carrier::Dtls(moved);
                    self.hand_over(worker, Adopted { carrier, message });
                }
                None => self.server.handle_disconnected(now, *tuple),
            };
        }
        match self.streams.detach(tuple) {
            // What was read behind the message has to come along.
            Some(moved) => {
                self.leaving = Some(Leaving {
                    worker,
                    moved,
                    message,
                });
            }
            None => self.server.handle_disconnected(now, *tuple),
        }
    }

    fn hand_over(&mut self, worker: WorkerId, adopted: Adopted) {
        let mail = Mail::Adopt(Box::new(adopted));
        let sent = match self.colleagues.get(usize::from(worker.0)) {
            Some(mailbox) => mailbox.try_send(mail),
            None => Err(mail),
        };
        if let Err(Mail::Adopt(adopted)) = sent {
            tracing::warn!(%worker, "A worker is too busy to take a connection, which is closed.");
            match adopted.carrier {
                Carrier::Stream(moved) => self.streams.abandon(moved),
                Carrier::Dtls(moved) => self.dtls.abandon(moved),
            }
        }
    }

    /// Takes a client's connection over from another worker, and answers what it asked there.
    pub(super) fn adopt(&mut self, now: Now, adopted: Adopted, buffers: &mut Buffers) {
        let Adopted { carrier, message } = adopted;
        let arrived = match carrier {
            Carrier::Stream(moved) => self.adopt_stream(now, moved).map(|tuple| (tuple, None)),
            Carrier::Dtls(moved) => {
                // A client that began anew under the same 5-tuple has left one behind.
                self.dtls.make_way(&moved);
                self.pump_dtls(now, &mut buffers.send.batch());
                Some(self.adopt_association(now, moved))
            }
        };
        if let Some((tuple, home)) = arrived {
            // A request: nothing comes of it that would be forwarded.
            let _ = match home {
                Some(home) => self.server.handle_passed_on(now, home, tuple, &message),
                None => self.server.handle_client(now, tuple, &message),
            };
            self.drain_outputs(now);
            self.depart(&[]);
        }
    }

    fn adopt_stream(&mut self, now: Now, moved: Moved) -> Option<FiveTuple> {
        let attached = self.streams.attach(moved)?;
        if let Some(broken) = attached.displaced {
            self.close_stream(now, broken, Closing::Broken);
            self.drain_outputs(now);
        }
        let tuple = attached.arrived.tuple;
        self.server
            .handle_connected(now, tuple, &attached.arrived.arrival);
        self.drain_outputs(now);
        self.woken.push(Source::Stream(attached.id));
        Some(tuple)
    }

    /// Answers the client, and the worker that its datagrams reach where that is another one.
    fn adopt_association(&mut self, now: Now, moved: dtls::Moved) -> (FiveTuple, Option<WorkerId>) {
        let (tuple, mut arrival) = self.dtls.attach(now.mono, moved);
        let home = worker_of(tuple.client, self.colleagues.len() as u16);
        arrival.home = Some(home).filter(|home| *home != self.news.worker);
        self.server.handle_connected(now, tuple, &arrival);
        self.drain_outputs(now);
        (tuple, arrival.home)
    }

    /// Hands a datagram to the worker that serves its client. Where that one's mailbox is full it is
    /// lost, as datagrams may be.
    pub(super) fn pass_on(
        &mut self,
        tuple: FiveTuple,
        worker: WorkerId,
        message: Vec<u8>,
        errand: Errand,
    ) {
        let mail = Mail::PassedOn(PassedOn {
            from: self.news.worker,
            tuple,
            message,
            errand,
        });
        let colleague = self.colleagues.get(usize::from(worker.0));
        let sent = colleague.map(|mailbox| mailbox.send(mail));
        if !matches!(sent, Some(Ok(()))) {
            tracing::trace!(%worker, "A datagram of a moved client was dropped.");
        }
    }

    /// Takes a datagram that another worker passed on.
    pub(super) fn take_passed_on(&mut self, now: Now, passed: &PassedOn, buffers: &mut Buffers) {
        let &PassedOn {
            from,
            tuple,
            ref message,
            errand,
        } = passed;
        let is_dtls = tuple.transport == Transport::Dtls;
        if is_dtls && Protocol::of(message) == Protocol::Dtls {
            return self.dtls.handle_datagram(now.mono, tuple, message);
        }
        let mut batch = buffers.send.batch();
        let forward = match errand {
            Errand::Confirm(session) => {
                return self.server.handle_confirmed(from, tuple, session);
            }
            Errand::TakeBack => self.server.handle_returned(now, from, tuple, message),
            // Decrypted where the association was before.
            Errand::Serve if is_dtls => self.server.handle_client(now, tuple, message),
            Errand::Serve => self.server.handle_passed_on(now, from, tuple, message),
        };
        self.dispatch(now, forward, &mut batch);
    }
}
