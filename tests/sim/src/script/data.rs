//! Orders about packets, of clients, peers and the network in between.

use std::time::Duration;

use turn_proto::RelayId;
use turn_proto::five_tuple::LinkId;
use turn_proto::server::{Direction, IcmpError};
use turn_proto::stun::{AttributeType as A, Class, MessageBuilder, Method};

use super::requests::channel_number;
use super::{PAYLOAD, Stage};
use crate::world::Passed;

impl Stage<'_> {
    pub(super) fn send(&mut self) {
        let (client, flags, peer) = (self.client(), self.script.byte(), self.script.peer());
        let id = self.clients[client].transaction();
        let mut indication = MessageBuilder::new(Class::Indication, Method::Send, id);
        if flags & 1 == 0 {
            indication = indication.xor_address(A::XOR_PEER_ADDRESS, peer);
        }
        if flags & 2 == 0 {
            let len = usize::from(flags >> 2);
            indication = indication.attribute(A::DATA, &PAYLOAD[..len]);
        }
        if flags & 0x80 != 0 {
            indication = indication.attribute(A::DONT_FRAGMENT, &[]);
        }
        let tuple = self.clients[client].tuple;
        self.world_of(client).client(tuple, &indication.finish());
    }

    pub(super) fn channel_data(&mut self) {
        let (client, number, len) = (self.client(), self.script.byte(), self.script.byte());
        self.say(client, number, usize::from(len) % PAYLOAD.len());
    }

    /// ChannelData of a client, whose length is a lie where the number's first bit says so.
    fn say(&mut self, client: usize, number: u8, len: usize) {
        let mut bytes = channel_number(number).to_be_bytes().to_vec();
        bytes.extend((len as u16 + u16::from(number >> 7)).to_be_bytes());
        bytes.extend(&PAYLOAD[..len]);
        let tuple = self.clients[client].tuple;
        let passed = self.world_of(client).client(tuple, &bytes);
        if let Some(Passed::ToPeer { payload, .. }) = passed {
            assert_eq!(
                payload,
                &PAYLOAD[..payload.len()],
                "payloads arrive as they were sent"
            );
        }
    }

    /// Many packets at once: of a channel, of a peer, requests, or Binding requests.
    pub(super) fn burst(&mut self) {
        let (client, what) = (self.client(), self.script.byte());
        let (count, tuple) = (16 + (what >> 2), self.clients[client].tuple);
        let relay = self.relay();
        let peer = self.script.peer();
        for _ in 0..count {
            match what % 4 {
                0 => self.say(client, 1, PAYLOAD.len()),
                1 => {
                    let Some((world, relay)) = relay else { return };
                    self.worlds[world].peer(relay, peer, &PAYLOAD);
                }
                2 => {
                    let request = self.request(client, Method::Binding).finish();
                    self.world_of(client).client(tuple, &request);
                }
                _ => {
                    let request = self.request(client, Method::Refresh).finish();
                    self.world_of(client).client(tuple, &request);
                }
            }
        }
    }

    /// Some relay, and whose worker's.
    fn relay(&mut self) -> Option<(usize, RelayId)> {
        let world = self.some_world();
        let mut relays: Vec<RelayId> = self.worlds[world].relays.keys().copied().collect();
        relays.sort_unstable();
        let index = usize::from(self.script.byte());
        (!relays.is_empty()).then(|| (world, relays[index % relays.len()]))
    }

    pub(super) fn peer_sends(&mut self) {
        let (relay, peer, len) = (self.relay(), self.script.peer(), self.script.byte());
        // A relay that is not there is no reason to fall.
        let (world, relay) = relay.unwrap_or((0, RelayId(u32::from(len))));
        let len = usize::from(len) % PAYLOAD.len();
        self.worlds[world].peer(relay, peer, &PAYLOAD[..len]);
    }

    pub(super) fn raw(&mut self) {
        let (client, len) = (self.client(), self.script.byte());
        let bytes = self.script.take(usize::from(len));
        let tuple = self.clients[client].tuple;
        self.world_of(client).client(tuple, &bytes);
    }

    pub(super) fn icmp(&mut self) {
        let (relay, destination) = (self.relay(), self.script.peer());
        let error = IcmpError {
            destination,
            kind: self.script.byte() % 16,
            code: self.script.byte() % 16,
            mtu: u32::from(self.script.word()),
        };
        if let Some((world, relay)) = relay {
            let world = &mut self.worlds[world];
            world.server.handle_icmp(world.now, relay, error);
            world.advance(Duration::ZERO);
        }
    }

    fn some_link(&mut self, world: usize) -> Option<LinkId> {
        let (index, links) = (usize::from(self.script.byte()), &self.worlds[world].links);
        (!links.is_empty()).then(|| links[index % links.len()])
    }

    /// What happens to connections with peers.
    pub(super) fn link(&mut self) {
        let (what, of) = (self.script.byte(), self.some_world());
        let link = self.some_link(of);
        let entropy = self.worlds[of].draw();
        let now = self.worlds[of].now;
        let server = &mut self.worlds[of].server;
        match (what % 4, link) {
            (0, Some(link)) => server.handle_peer_connected(now, link, entropy),
            (1, Some(link)) => {
                server.handle_peer_closed(now, link);
                self.worlds[of].forget_link(link);
            }
            (2, Some(link)) => {
                let direction = if what & 8 == 0 {
                    Direction::ToPeer
                } else {
                    Direction::ToClient
                };
                let len = usize::from(self.script.word());
                server.handle_stream(now, link, direction, len);
            }
            _ => {
                let (relay, peer) = (self.relay(), self.script.peer());
                let Some((of, relay)) = relay else { return };
                let world = &mut self.worlds[of];
                let link = world.server.handle_peer_incoming(now, relay, peer, entropy);
                world.links.extend(link);
            }
        }
        self.pass_time(Duration::ZERO);
    }

    /// A client reads too slowly.
    pub(super) fn overrun(&mut self) {
        let client = self.client();
        let tuple = self.clients[client].tuple;
        let world = self.world_of(client);
        let known = world.server.has_session(&tuple);
        world.server.handle_overrun(world.now, &tuple);
        assert_eq!(known, world.server.has_session(&tuple));
        world.advance(Duration::ZERO);
    }
}
