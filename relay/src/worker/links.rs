//! TCP relaying in the worker's loop (RFC 6062): relays that listen, connections with peers, pairs.

use std::net::SocketAddr;

use turn_proto::Now;
use turn_proto::five_tuple::{FiveTuple, LinkId, RelayId};
use turn_proto::server::{OpenError, RelayOpened, RelayRequest};

use super::run::{Core, Drained};
use super::token::Source;
use crate::listener::{Closing, StreamBuffers};
use crate::tcp::{Pair, Told, socket};

/// Peers accepted at one relay per turn.
const ACCEPT_BUDGET: usize = 16;

impl Core {
    pub(super) fn open_tcp_relay(
        &mut self,
        relay: RelayId,
        request: RelayRequest,
    ) -> Result<RelayOpened, OpenError> {
        let (socket, opened) = self.ports.open_tcp(request)?;
        self.links.listen(relay, socket).map_err(|error| {
            tracing::warn!(%error, "A relay socket cannot be polled.");
            self.ports.close(opened.local);
            OpenError::Failed
        })?;
        Ok(opened)
    }

    pub(super) fn connect_peer(
        &mut self,
        now: Now,
        relay: RelayId,
        link: LinkId,
        peer: SocketAddr,
    ) {
        if let Err(error) = self.links.connect(relay, link, peer) {
            tracing::debug!(%error, "A peer cannot be connected to.");
            self.server.handle_peer_closed(now, link);
        }
    }

    /// Accepts peers; those that the core does not want are closed at once.
    pub(super) fn accept_peers(&mut self, now: Now, relay: RelayId) -> Drained {
        for _ in 0..ACCEPT_BUDGET {
            let Some((stream, peer)) = self.links.accept(now.mono, relay) else {
                return Drained::Yes;
            };
            let wanted = |entropy| self.server.handle_peer_incoming(now, relay, peer, entropy);
            match entropy().and_then(wanted) {
                Some(link) => {
                    if let Err(error) = self.links.keep(link, stream) {
                        tracing::warn!(%error, "A connection of a peer cannot be polled.");
                        self.server.handle_peer_closed(now, link);
                    }
                }
                None => socket::reset(&stream),
            }
            self.drain_outputs(now);
        }
        Drained::No
    }

    /// Gives a connection with a peer its turn.
    pub(super) fn run_link(
        &mut self,
        now: Now,
        link: LinkId,
        stream: &mut StreamBuffers,
    ) -> Drained {
        let Self {
            server,
            streams,
            links,
            ..
        } = self;
        let mut admit = |direction, len| server.handle_stream(now, link, direction, len);
        let told = links.run(now.mono, link, streams, stream, &mut admit);
        match told {
            Told::Nothing | Told::More => {}
            Told::Connected => match entropy() {
                Some(entropy) => {
                    self.links.connected(link);
                    self.server.handle_peer_connected(now, link, entropy);
                }
                None => self.link_over(now, link),
            },
            Told::Over(None) => self.link_over(now, link),
            Told::Over(Some((stream, why))) => self.close_stream(now, stream, why),
        }
        self.drain_outputs(now);
        if told == Told::More {
            Drained::No
        } else {
            Drained::Yes
        }
    }

    fn link_over(&mut self, now: Now, link: LinkId) {
        self.links.close(link);
        self.server.handle_peer_closed(now, link);
    }

    /// Joins a client's connection with a peer's.
    pub(super) fn splice(&mut self, now: Now, link: LinkId, tuple: &FiveTuple) {
        let Some((stream, early)) = self.streams.splice(tuple, link) else {
            return self.link_over(now, link);
        };
        self.links.join(link, Pair::new(stream, &early));
        self.woken.push(Source::Link(link));
    }

    /// Closes a connection with a peer, and the client's that it is joined with.
    pub(super) fn close_peer(&mut self, now: Now, link: LinkId) {
        if let Some(stream) = self.links.close(link) {
            // The core knows, and may use the name again.
            self.streams.unlink(stream);
            self.close_stream(now, stream, Closing::Ordered);
        }
    }

    /// Lets those go on that waited for a time.
    pub(super) fn wake_links(&mut self, now: Now) {
        while let Some(link) = self.links.next_due(now.mono) {
            self.woken.push(Source::Link(link));
        }
        let rested = self.links.rested(now.mono).into_iter();
        self.woken.extend(rested.map(Source::TcpRelay));
    }
}

/// What CONNECTION-IDs are made of; `None`: the system has none, and nothing can be named.
fn entropy() -> Option<u32> {
    let mut bytes = [0; 4];
    let filled = getrandom::fill(&mut bytes);
    filled.ok().map(|()| u32::from_ne_bytes(bytes))
}
