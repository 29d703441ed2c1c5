//! The loop: wait, mailbox, ready sockets, timers.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll};
use shared::Transport;
use turn_proto::demux::Protocol;
use turn_proto::five_tuple::{FiveTuple, RelayId};
use turn_proto::server::{Errand, Forward, Output};
use turn_proto::{Now, Server};

use super::alarm::Alarm;
use super::dtls;
use super::handover::Leaving;
use super::mailbox::{Mail, MailSender, NewsSender, Post};
use super::outputs::{Relays, is_stream};
use super::ports::PortPool;
use super::succession::Doorway;
use super::token::{self, Source};
use crate::dtls::{Associations, Outbox};
use crate::listener::{ListenerShare, Listening, StreamBuffers, Streams};
use crate::tcp::{Links, Tokens};
use turn_udp::batch::{SendBatch, SendQueue};
use turn_udp::grouping::{Device, Outlet};
use turn_udp::receive::RecvBuffers;
use turn_udp::sys;

/// Messages read from one listener per turn, before others get theirs.
const LISTENER_BUDGET: usize = 128;
/// Messages read from one relay socket per turn: one loud session cannot starve the rest.
const RELAY_BUDGET: usize = 32;
/// Commands taken per turn.
const MAILBOX_BUDGET: usize = 256;
/// Events taken from one poll.
const EVENTS: usize = 1024;
/// How often unclaimed reservations are swept.
const SWEEP: Duration = Duration::from_secs(1);

/// One worker: everything it owns but the packet buffers, which its thread makes.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) poll: Poll,
    alarm: Alarm,
    pub(super) core: Core,
    inbox: Receiver<Mail>,
    /// Sockets that may have more to read: mio tells only once (edge-triggered).
    pub(super) ready: VecDeque<Source>,
    mail_waiting: bool,
    next_sweep: Instant,
}

/// The protocol core with the sockets it steers. Apart from the buffers, so that packets can borrow
/// from those while this is worked with.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) server: Server,
    pub(super) news: NewsSender,
    pub(super) ports: Arc<PortPool>,
    pub(super) listeners: Vec<Listener>,
    pub(super) relays: Relays,
    pub(super) streams: Streams,
    pub(super) dtls: Associations,
    /// An outbox that nobody uses, for its memory.
    pub(super) spare_outbox: Outbox,
    pub(super) links: Links,
    /// The mailboxes of all workers.
    pub(super) colleagues: Arc<[MailSender]>,
    /// A client's connection that leaves, until the rest of what was read of it is packed.
    pub(super) leaving: Option<Leaving>,
    /// Sources that have something to do although no event said so.
    pub(super) woken: Vec<Source>,
    /// Where the process after this one brings datagrams of DTLS clients.
    pub(super) doorway: Option<Doorway>,
    /// Where those of clients go that processes before this one know.
    pub(super) elders: Vec<Doorway>,
    doorway_ready: bool,
}

/// A listening socket of this worker.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) socket: UdpSocket,
    pub(super) device: Device,
    serves_udp: bool,
    serves_dtls: bool,
    ready: bool,
}

/// Receive and send storage.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) receive: RecvBuffers,
    pub(super) send: SendQueue,
    pub(super) stream: StreamBuffers,
}

/// What one look at a socket brought.
pub(super) enum Drained {
    Yes,
    No,
}

impl Worker {
    pub(super) fn new(
        poll: Poll,
        server: Server,
        post: Post,
        ports: Arc<PortPool>,
        listening: Arc<Listening>,
        shares: Vec<ListenerShare>,
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        let registry = poll.registry().try_clone()?;
        let copy_dscp = listening.copy_dscp;
        let dtls = dtls::associations(&listening)?;
        let mut relays = Relays::new(poll.registry().try_clone()?, copy_dscp);
        let mut streams = Streams::new(listening, registry, |id| Source::Stream(id).token());
        for share in shares {
            if let Some(socket) = share.tcp {
                let token = Source::Acceptor(streams.acceptors()).token();
                streams.listen(socket, &share.transports, share.proxy_from, token)?;
            }
            let Some(socket) = share.udp else {
                continue;
            };
            let address = socket.local_addr()?;
            if copy_dscp {
                sys::set_receive_class(socket.as_fd(), address.is_ipv4())?;
            }
            prefer_segments(socket.as_fd());
            let device = relays.device(address.ip());
            let mut socket = UdpSocket::from_std(socket);
            let token = Source::Listener(listeners.len()).token();
            poll.registry()
                .register(&mut socket, token, Interest::READABLE)?;
            listeners.push(Listener {
                address,
                socket,
                device,
                serves_udp: share.transports.contains(&Transport::Udp),
                serves_dtls: share.transports.contains(&Transport::Dtls),
                ready: false,
            });
        }
        let tokens = Tokens {
            relay: |relay| Source::TcpRelay(relay).token(),
            link: |link| Source::Link(link).token(),
        };
        let links = Links::new(poll.registry().try_clone()?, tokens);
        Ok(Self {
            alarm: Alarm::new(poll.registry(), token::ALARM)?,
            poll,
            core: Core {
                server,
                news: post.news,
                ports,
                listeners,
                relays,
                streams,
                dtls,
                spare_outbox: Outbox::default(),
                links,
                colleagues: post.colleagues,
                leaving: None,
                woken: Vec::new(),
                doorway: None,
                elders: Vec::new(),
                doorway_ready: false,
            },
            inbox: post.inbox,
            ready: VecDeque::new(),
            mail_waiting: false,
            next_sweep: read_clocks().mono,
        })
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let (mut events, mut buffers) = (events(), Buffers::default());
        while self.turn(&mut events, &mut buffers)? {}
        Ok(())
    }

    /// Waits until there is something to do, and does it; `false` when told to stop.
    pub(super) fn turn(&mut self, events: &mut Events, buffers: &mut Buffers) -> io::Result<bool> {
        self.wait(events)?;
        let now = read_clocks();
        if self.take_mail(now, buffers) {
            return Ok(false);
        }
        self.read_sockets(now, buffers);
        self.timers(now);
        self.core.pump_dtls(now, &mut buffers.send.batch());
        self.tend_streams(now);
        if self.next_sweep <= now.mono {
            self.core.ports.sweep(now.mono);
            self.next_sweep = now.mono + SWEEP;
        }
        Ok(true)
    }

    fn timers(&mut self, now: Now) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
        if is_due(self.core.server.poll_timeout()) {
            self.core.server.handle_timeout(now);
            self.core.drain_outputs(now);
        }
        if is_due(self.core.dtls.poll_timeout()) {
            self.core.dtls_timers(now);
        }
    }

    /// Waits for sockets, mail or the next timer; not at all while something is left to read.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let busy = self.mail_waiting || !self.ready.is_empty();
        if !busy {
            let timers = [
                self.core.server.poll_timeout(),
                self.core.streams.poll_timeout(),
                self.core.dtls.poll_timeout(),
                self.core.links.poll_timeout(),
                Some(self.next_sweep),
            ];
            let next = timers.into_iter().flatten().min();
            let next = next.unwrap_or(self.next_sweep);
            self.alarm.set(next, || read_clocks().mono)?;
        }
        match self.poll.poll(events, busy.then_some(Duration::ZERO)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in events.iter() {
            if event.token() == token::MAILBOX {
                self.mail_waiting = true;
                continue;
            }
            if event.token() == token::ALARM {
                self.alarm.gone_off();
            }
            let Some(source) = Source::of(event.token()) else {
                continue;
            };
            match source {
                Source::Stream(id) => self.core.streams.noted(id, event),
                Source::Relay(relay) if event.is_error() => self.core.relays.note_errors(relay),
                _ => {}
            }
            self.mark_ready(source);
        }
        Ok(())
    }

    fn mark_ready(&mut self, source: Source) {
        if let Some(flag) = self.core.ready_flag(source)
            && !std::mem::replace(flag, true)
        {
            self.ready.push_back(source);
        }
    }

    /// What connections want besides being read: their deadlines, and what the turn left to write.
    fn tend_streams(&mut self, now: Now) {
        self.core.expire_streams(now);
        if self.core.streams.resume(now.mono) {
            for index in 0..self.core.streams.acceptors() {
                self.mark_ready(Source::Acceptor(index));
            }
        }
        self.core.write_streams(now);
        self.core.wake_links(now);
        for source in std::mem::take(&mut self.core.woken) {
            self.mark_ready(source);
        }
    }

    /// Takes commands; `true` when told to stop.
    fn take_mail(&mut self, now: Now, buffers: &mut Buffers) -> bool {
        if !std::mem::take(&mut self.mail_waiting) {
            return false;
        }
        for _ in 0..MAILBOX_BUDGET {
            match self.inbox.try_recv() {
                Ok(Mail::Command(command)) => {
                    self.core.server.handle_command(now, command);
                    self.core.drain_outputs(now);
                    self.core.depart(&[]);
                }
                Ok(Mail::PassedOn(passed)) => self.core.take_passed_on(now, &passed, buffers),
                Ok(Mail::Adopt(adopted)) => self.core.adopt(now, *adopted, buffers),
                Ok(Mail::Restore(restore)) => self.core.restore(now, *restore),
                Ok(Mail::Freeze(freeze)) => self.freeze(now, *freeze),
                Ok(Mail::Stop) => return true,
                Err(_) => return false,
            }
        }
        self.mail_waiting = true;
        false
    }

    /// One turn over the sockets that had something: each gets its budget, whoever has more left
    /// goes to the end of the line.
    fn read_sockets(&mut self, now: Now, buffers: &mut Buffers) {
        self.core.streams.begin_turn();
        let mut left = self.ready.len();
        while left > 0 {
            left -= self.read_some(now, buffers, left);
            buffers.receive.give_back();
        }
    }

    /// Serves sockets until all slots are lent out, at most `most` of them, and answers how many.
    /// What they bring leaves together: most flows have a packet or two per turn.
    fn read_some(&mut self, now: Now, buffers: &mut Buffers, most: usize) -> usize {
        let Buffers {
            receive,
            send,
            stream,
        } = buffers;
        let receive = &*receive;
        let mut batch = send.batch();
        let mut served = 0;
        while served < most && receive.has_room() {
            let Some(source) = self.ready.pop_front() else {
                return most;
            };
            served += 1;
            let core = &mut self.core;
            let drained = match source {
                Source::Listener(index) => core.read_listener(now, index, receive, &mut batch),
                Source::Relay(relay) => core.read_relay(now, relay, receive, &mut batch),
                Source::Acceptor(index) => core.accept(now, index),
                Source::Stream(id) => core.read_stream(now, id, stream, &mut batch),
                Source::TcpRelay(relay) => core.accept_peers(now, relay),
                Source::Link(link) => core.run_link(now, link, stream),
                Source::Doorway => core.read_doorway(now, &mut batch),
            };
            match (drained, self.core.ready_flag(source)) {
                (Drained::No, _) => self.ready.push_back(source),
                (Drained::Yes, Some(flag)) => *flag = false,
                (Drained::Yes, None) => {}
            }
        }
        served
    }
}

impl Core {
    fn ready_flag(&mut self, source: Source) -> Option<&mut bool> {
        match source {
            Source::Listener(index) => self.listeners.get_mut(index).map(|l| &mut l.ready),
            Source::Acceptor(index) => self.streams.acceptor_ready(index),
            Source::Relay(relay) => self.relays.ready_flag(relay),
            Source::Stream(id) => self.streams.ready(id),
            Source::TcpRelay(relay) => self.links.relay_ready(relay),
            Source::Link(link) => self.links.link_ready(link),
            Source::Doorway => Some(&mut self.doorway_ready),
        }
    }

    fn read_listener<'p>(
        &mut self,
        now: Now,
        index: usize,
        receive: &'p RecvBuffers,
        batch: &mut SendBatch<'_, 'p>,
    ) -> Drained {
        let Listener {
            address: server,
            ref socket,
            serves_udp,
            serves_dtls,
            ..
        } = self.listeners[index];
        let Ok(received) = receive.receive(socket.as_raw_fd(), LISTENER_BUDGET) else {
            return Drained::Yes;
        };
        for datagram in received.datagrams() {
            // One that is too long counts as malformed, as an empty one does.
            let (client, bytes, class) =
                datagram.map_or((server, &[][..], 0), |d| (d.from, d.bytes, d.class));
            let mut tuple = FiveTuple {
                client,
                server,
                transport: Transport::Udp,
            };
            if serves_dtls && Protocol::of(bytes) == Protocol::Dtls {
                tuple.transport = Transport::Dtls;
                if self.pass_to_elders(&tuple, bytes) {
                    continue;
                }
                match self.server.host_of(now, &tuple) {
                    Some(host) => self.pass_on(tuple, host, bytes.to_vec(), Errand::Serve),
                    None => self.dtls.handle_datagram(now.mono, tuple, bytes),
                }
                continue;
            }
            if !serves_udp {
                continue;
            }
            let forward = self.server.handle_client(now, tuple, bytes);
            batch.set_class(class);
            self.dispatch(now, forward, batch);
        }
        if self.dtls.has_events() {
            self.pump_dtls(now, batch);
        }
        if received.is_drained {
            Drained::Yes
        } else {
            Drained::No
        }
    }

    fn read_relay<'p>(
        &mut self,
        now: Now,
        relay: RelayId,
        receive: &'p RecvBuffers,
        batch: &mut SendBatch<'_, 'p>,
    ) -> Drained {
        let drained = self.read_peers(now, relay, receive, batch);
        if self.read_errors(now, relay, None) {
            drained
        } else {
            Drained::No
        }
    }

    fn read_peers<'p>(
        &mut self,
        now: Now,
        relay: RelayId,
        receive: &'p RecvBuffers,
        batch: &mut SendBatch<'_, 'p>,
    ) -> Drained {
        // None: closed meanwhile, by a command or by its own client.
        let Some(outlet) = self.relays.outlet(relay) else {
            return Drained::Yes;
        };
        let received = match receive.receive(outlet.socket, RELAY_BUDGET) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Drained::Yes,
            // Errors keep coming, and something may be behind them.
            Err(_) => return Drained::No,
        };
        for datagram in received.datagrams().flatten() {
            batch.set_class(datagram.class);
            let forward = self
                .server
                .handle_peer(now, relay, datagram.from, datagram.bytes);
            self.dispatch(now, forward, batch);
        }
        if received.is_drained {
            Drained::Yes
        } else {
            Drained::No
        }
    }

    /// Queues the packet that the core let through, then does whatever else it asks for.
    pub(super) fn dispatch<'p>(
        &mut self,
        now: Now,
        forward: Option<Forward<'p>>,
        batch: &mut SendBatch<'_, 'p>,
    ) {
        match forward {
            Some(Forward::ToPeer {
                relay,
                peer,
                payload,
                dont_fragment,
            }) => {
                if dont_fragment {
                    self.send_whole(now, relay, peer, payload, batch);
                } else if let Some(outlet) = self.relays.outlet(relay) {
                    batch.push(outlet, peer, &[], payload, 0);
                }
            }
            Some(Forward::ToClient {
                tuple,
                header,
                payload,
                pad,
            }) if is_stream(&tuple) => {
                let padding = &[0; 3][..usize::from(pad)];
                self.relay_to_stream(now, &tuple, [header.as_slice(), payload, padding]);
            }
            Some(Forward::ToClient {
                tuple,
                header,
                payload,
                pad,
            }) if tuple.transport == Transport::Dtls => {
                let padding = &[0; 3][..usize::from(pad)];
                let parts = [header.as_slice(), payload, padding];
                self.dtls.send(now.mono, tuple, &parts);
            }
            Some(Forward::ToClient {
                tuple,
                header,
                payload,
                pad,
            }) => {
                if let Some(listener) = self.listener(tuple.server) {
                    let outlet = listener.outlet();
                    batch.push(outlet, tuple.client, header.as_slice(), payload, pad);
                }
            }
            None => {}
        }
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { tuple, message } if tuple.transport == Transport::Udp => {
                    if let Some(listener) = self.listener(tuple.server) {
                        batch.push_copy(listener.outlet(), tuple.client, &message);
                    }
                }
                Output::Event(_) | Output::OpenRelay { .. } | Output::PrepareRelay { .. } => {
                    self.perform(now, output);
                }
                Output::CloseRelay { relay } => {
                    // At once, so that its port is free when the client hears of it.
                    let outlet = self.relays.outlet(relay);
                    if outlet.is_some_and(|outlet| batch.holds(outlet.socket)) {
                        batch.flush();
                    }
                    self.perform(now, output);
                }
                output => {
                    // What was let through before leaves before whatever this is.
                    batch.flush();
                    self.perform(now, output);
                }
            }
        }
    }

    pub(super) fn listener(&self, server: SocketAddr) -> Option<&Listener> {
        self.listeners.iter().find(|l| l.address == server)
    }
}

impl Listener {
    /// Whether clients may come to it by plain UDP.
    pub(super) fn serves_udp(&self) -> bool {
        self.serves_udp
    }

    /// Where datagrams for its clients leave.
    pub(super) fn outlet(&self) -> Outlet {
        Outlet {
            socket: self.socket.as_raw_fd(),
            device: self.device,
        }
    }
}

/// Room for what one poll tells.
pub(super) fn events() -> Events {
    Events::with_capacity(EVENTS)
}

/// Has the kernel hand over what came together together. One that does not know how still works.
pub(super) fn prefer_segments(socket: BorrowedFd<'_>) {
    if let Err(error) = sys::set_receive_segments(socket) {
        tracing::debug!(%error, "This kernel hands datagrams over one by one.");
    }
}

/// Both clocks. The only place of the data plane that reads them.
pub(super) fn read_clocks() -> Now {
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Now {
        mono: Instant::now(),
        unix,
    }
}
