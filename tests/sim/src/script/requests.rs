//! Orders to clients: what they ask for.

use turn_proto::stun::{AttributeType as A, Method};

use super::{PEERS, Stage};
use crate::access::{self, SERVER_NAME};
use crate::client::Habit;
use crate::policies::{ORIGIN, OTHER_REALM, REALM, SERVER_ALIAS};

/// Attributes that the general order picks from.
const ATTRIBUTES: [A; 24] = [
    A::REQUESTED_TRANSPORT,
    A::LIFETIME,
    A::EVEN_PORT,
    A::RESERVATION_TOKEN,
    A::REQUESTED_ADDRESS_FAMILY,
    A::ADDITIONAL_ADDRESS_FAMILY,
    A::DONT_FRAGMENT,
    A::CHANNEL_NUMBER,
    A::XOR_PEER_ADDRESS,
    A::DATA,
    A::CONNECTION_ID,
    A::MOBILITY_TICKET,
    A::ACCESS_TOKEN,
    A::USERHASH,
    A::PASSWORD_ALGORITHM,
    A::PASSWORD_ALGORITHMS,
    A::CHANGE_REQUEST,
    A::RESPONSE_PORT,
    A::PADDING,
    A::ORIGIN,
    A::ICMP,
    A::SOFTWARE,
    A::ERROR_CODE,
    A::DRAFT_ADDITIONAL_ADDRESS_FAMILY,
];
/// Methods that the general order picks from.
const METHODS: [Method; 10] = [
    Method::Binding,
    Method::Allocate,
    Method::Refresh,
    Method::Send,
    Method::Data,
    Method::CreatePermission,
    Method::ChannelBind,
    Method::Connect,
    Method::ConnectionBind,
    Method::ConnectionAttempt,
];

impl Stage<'_> {
    pub(super) fn allocate(&mut self) {
        let (client, flags) = (self.client(), self.script.byte());
        let transport = if flags & 1 != 0 { 6 } else { 17 };
        let mut request = self.request(client, Method::Allocate);
        request = request.attribute(A::REQUESTED_TRANSPORT, &[transport, 0, 0, 0]);
        if flags & 2 != 0 {
            request = request.attribute(A::EVEN_PORT, &[flags & 0x80]);
        }
        if flags & 4 != 0 {
            let token = self.clients[client].token;
            request = request.attribute(A::RESERVATION_TOKEN, &token);
        }
        if flags & 8 != 0 {
            let family = 1 + (flags >> 7);
            request = request.attribute(A::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        }
        if flags & 16 != 0 {
            request = request.attribute(A::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        }
        if flags & 32 != 0 {
            request = request.number(A::LIFETIME, u32::from(self.script.word()));
        }
        if flags & 64 != 0 {
            request = request.attribute(A::MOBILITY_TICKET, &[]);
        }
        self.ask(client, &request);
    }

    pub(super) fn refresh(&mut self) {
        let (client, flags) = (self.client(), self.script.byte());
        let mut request = self.request(client, Method::Refresh);
        if flags & 1 != 0 {
            request = request.number(A::LIFETIME, u32::from(self.script.word()));
        }
        if flags & 2 != 0 {
            request = request.attribute(A::REQUESTED_ADDRESS_FAMILY, &[1 + (flags >> 7), 0, 0, 0]);
        }
        if flags & 4 != 0 {
            request = request.number(A::LIFETIME, 0);
        }
        if flags & 8 != 0 {
            request = request.attribute(A::MOBILITY_TICKET, &self.clients[client].ticket);
        }
        self.ask(client, &request);
    }

    pub(super) fn permit(&mut self) {
        let (client, peers) = (self.client(), self.script.word());
        let mut request = self.request(client, Method::CreatePermission);
        for (bit, peer) in PEERS.iter().enumerate() {
            if peers & (1 << bit) != 0 {
                let peer = peer.parse().expect("an address");
                request = request.xor_address(A::XOR_PEER_ADDRESS, peer);
            }
        }
        self.ask(client, &request);
    }

    pub(super) fn bind(&mut self) {
        let (client, number, peer) = (self.client(), self.script.byte(), self.script.peer());
        let number = channel_number(number);
        let request = self
            .request(client, Method::ChannelBind)
            .number(A::CHANNEL_NUMBER, u32::from(number) << 16)
            .xor_address(A::XOR_PEER_ADDRESS, peer);
        self.ask(client, &request);
    }

    pub(super) fn connect(&mut self) {
        let (client, peer) = (self.client(), self.script.peer());
        let request = self.request(client, Method::Connect);
        self.ask(client, &request.xor_address(A::XOR_PEER_ADDRESS, peer));
    }

    /// A ConnectionBind, with the id that some client learnt last.
    pub(super) fn bind_connection(&mut self) {
        let (client, whose) = (self.client(), self.client());
        let id = self.clients[whose].connection;
        let request = self.request(client, Method::ConnectionBind);
        self.ask(client, &request.number(A::CONNECTION_ID, id));
    }

    /// A request without credentials.
    pub(super) fn stranger(&mut self) {
        let (client, method) = (self.client(), self.script.pick(&METHODS));
        let request = self.request(client, method).fingerprint().finish();
        let tuple = self.clients[client].tuple;
        self.world_of(client).client(tuple, &request);
    }

    /// A genuine request with one byte changed on its way.
    pub(super) fn spoilt(&mut self) {
        let (client, method) = (self.client(), self.script.pick(&METHODS));
        let request = self.request(client, method);
        let request = request.attribute(A::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        let mut bytes = self.clients[client].sign(request);
        let at = usize::from(self.script.byte()) % bytes.len();
        bytes[at] ^= self.script.byte();
        let tuple = self.clients[client].tuple;
        self.world_of(client).client(tuple, &bytes);
    }

    /// Any method with any attributes, well signed.
    pub(super) fn general(&mut self) {
        let (client, method) = (self.client(), self.script.pick(&METHODS));
        let mut request = self.request(client, method);
        for _ in 0..self.script.byte() % 6 {
            let kind = self.script.pick(&ATTRIBUTES);
            let len = usize::from(self.script.byte() % 40);
            let value = self.script.take(len);
            request = request.attribute(kind, &value);
        }
        self.ask(client, &request);
    }

    /// A client goes to another port and takes its ticket, or that of another, along.
    pub(super) fn move_client(&mut self) {
        let (client, whose) = (self.client(), self.client());
        // Its own range of ports: nobody else is there.
        let port = 5000 + 256 * client as u16 + u16::from(self.script.byte());
        self.clients[client].tuple.client.set_port(port);
        let request = self.request(client, Method::Refresh);
        let ticket = self.clients[whose].ticket.clone();
        self.ask(client, &request.attribute(A::MOBILITY_TICKET, &ticket));
    }

    /// The last request of a client, byte for byte.
    pub(super) fn again(&mut self) {
        let client = self.client();
        let tuple = self.clients[client].tuple;
        let worker = self.worker_of(&tuple);
        self.clients[client].again(&mut self.worlds[worker]);
    }

    /// A Binding request that wants its answer to come otherwise (RFC 5780), from either listener.
    pub(super) fn discover(&mut self) {
        let (client, flags) = (self.client(), self.script.byte());
        let mut request = self.request(client, Method::Binding);
        if flags & 1 != 0 {
            request = request.number(A::CHANGE_REQUEST, u32::from(flags & 6));
        }
        if flags & 8 != 0 {
            request = request.attribute(A::RESPONSE_PORT, &self.script.word().to_be_bytes());
        }
        if flags & 16 != 0 {
            request = request.attribute(A::PADDING, &[0; 120]);
        }
        if flags & 32 != 0 {
            request = request.fingerprint();
        }
        let mut tuple = self.clients[client].tuple;
        if flags & 64 != 0 && tuple.server.is_ipv4() {
            tuple.server = "192.0.2.2:3479".parse().expect("an address");
        }
        let request = request.finish();
        self.world_of(client).client(tuple, &request);
    }

    /// A client changes how it signs and what it says of where it comes from.
    pub(super) fn become_another(&mut self) {
        let (client, flags) = (self.client(), self.script.byte());
        let client = &mut self.clients[client];
        client.habit =
            [Habit::Classic, Habit::Modern, Habit::Anonymous][usize::from(flags & 3) % 3];
        client.fingerprint = flags & 4 != 0;
        client.origin = (flags & 8 != 0).then_some(ORIGIN);
        client.server_name = (flags & 16 != 0).then_some(SERVER_ALIAS);
        if flags & 32 != 0 {
            client.access = None;
        }
        client.shy = flags & 64 != 0;
    }

    /// A client gets an access token (RFC 7635).
    pub(super) fn show_token(&mut self) {
        let (client, flaws) = (self.client(), self.script.byte());
        let server = self
            .script
            .pick(&[REALM, SERVER_NAME, REALM, REALM, OTHER_REALM]);
        let unix = self.worlds[0].now.unix;
        self.clients[client].access = Some(access::token(flaws, unix, server));
    }
}

/// Channel numbers around the first one, and some that RFC 8656 took away.
pub(super) fn channel_number(byte: u8) -> u16 {
    match byte % 8 {
        7 => 0x5000 + u16::from(byte >> 5),
        low => 0x3fff + u16::from(low),
    }
}
