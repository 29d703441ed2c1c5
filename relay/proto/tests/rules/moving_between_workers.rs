//! Mobility (RFC 8016) where the new path of a client reaches another worker than its session's.

use std::collections::HashMap;

use crate::kit::*;
use crate::mobility::{allocate_mobile, mobile_policy, refresh, ticket};
use shared::{Transport, WorkerId};
use turn_proto::stun::Method;
use turn_proto::{Arrival, Errand, FiveTuple, Forward, RelayId, ServerConfig};

const WORKERS: usize = 3;
const TRANSPORTS: [Transport; 4] = [
    Transport::Udp,
    Transport::Tcp,
    Transport::Tls,
    Transport::Dtls,
];

/// The workers of a node with what their driver does between them.
struct Node {
    workers: [Net; WORKERS],
    /// Which worker has a connection or an association.
    holders: HashMap<FiveTuple, usize>,
    /// What was let through to peers: by whom, and what.
    relayed: Vec<(usize, Vec<u8>)>,
    /// Messages that went from worker to worker since the last [`Node::send`].
    hops: usize,
}

/// The `n`th client address whose packets reach this worker.
fn address(home: usize, n: usize) -> String {
    format!("203.0.113.{n}:{}", 6000 + home)
}

fn home(tuple: &FiveTuple) -> usize {
    usize::from(tuple.client.port()) % WORKERS
}

impl Node {
    fn new() -> Self {
        let worker = |worker: usize| {
            let config = ServerConfig {
                worker: WorkerId(worker as u16),
                session_first: worker as u32,
                session_step: WORKERS as u32,
                session_base: 7,
                ..ServerConfig::default()
            };
            Net::with(config, mobile_policy())
        };
        Self {
            workers: std::array::from_fn(worker),
            holders: HashMap::new(),
            relayed: Vec::new(),
            hops: 0,
        }
    }

    /// A client at this address, connected and with a nonce.
    fn client(&mut self, transport: Transport, address: &str, name: &str) -> Client {
        let password = if name == "alice" { "secret" } else { "hunter2" };
        let mut client = Client::at(address, name, password);
        client.tuple.transport = transport;
        if transport != Transport::Udp {
            self.connect(client.tuple, home(&client.tuple));
        }
        let challenge = self.send(client.tuple, &allocate().finish());
        client.nonce = challenge
            .unwrap()
            .text(turn_proto::stun::AttributeType::NONCE)
            .unwrap();
        client
    }

    fn connect(&mut self, tuple: FiveTuple, worker: usize) {
        let net = &mut self.workers[worker];
        let is_guest = tuple.transport == Transport::Dtls && home(&tuple) != worker;
        let arrival = Arrival {
            home: is_guest.then(|| WorkerId(home(&tuple) as u16)),
            ..Arrival::default()
        };
        net.server.handle_connected(net.now, tuple, &arrival);
        net.drain();
        self.holders.insert(tuple, worker);
    }

    /// The worker that takes what comes from there first: records of DTLS are sent on unopened.
    fn entrance(&mut self, tuple: &FiveTuple) -> usize {
        match tuple.transport {
            Transport::Udp => home(tuple),
            Transport::Tcp | Transport::Tls => self.holders[tuple],
            Transport::Dtls => {
                let net = &mut self.workers[home(tuple)];
                let host = net.server.host_of(net.now, tuple);
                let host = host.map_or(home(tuple), |worker| usize::from(worker.0));
                assert_eq!(host, self.holders[tuple], "records reach the association");
                host
            }
        }
    }

    /// Sends bytes from there and lets the workers hand on what they will; the answer, if any.
    fn send(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Option<Answer> {
        self.hops = 0;
        for net in &mut self.workers {
            net.sent.clear();
        }
        let entrance = self.entrance(&tuple);
        let forward = self.workers[entrance].client(tuple, bytes);
        self.note(entrance, forward);
        while self.hand_on() {
            self.hops += 1;
            assert!(self.hops < 10, "it goes in a circle");
        }
        let mut answers = self.workers.iter_mut().flat_map(|net| net.sent.drain(..));
        let (to, bytes) = answers.next()?;
        assert!(answers.next().is_none(), "one answer at most");
        assert_eq!(to, tuple);
        Some(Answer(bytes))
    }

    fn ask(&mut self, client: &Client, request: turn_proto::stun::MessageBuilder) -> Answer {
        let answer = self.send(client.tuple, &client.sign(request));
        answer.expect("an answer")
    }

    /// Does one errand between workers.
    fn hand_on(&mut self) -> bool {
        for from in 0..WORKERS {
            if let Some((tuple, to, message)) = self.workers[from].handed_over.pop() {
                let to = usize::from(to);
                assert_eq!(self.holders[&tuple], from);
                self.connect(tuple, to);
                let net = &mut self.workers[to];
                if tuple.transport == Transport::Dtls && home(&tuple) != to {
                    let home = WorkerId(home(&tuple) as u16);
                    let forward = net.server.handle_passed_on(net.now, home, tuple, &message);
                    assert!(forward.is_none());
                    net.drain();
                } else {
                    assert!(net.client(tuple, &message).is_none());
                }
                return true;
            }
            if let Some(passed) = self.workers[from].passed_on.pop() {
                let to = usize::from(passed.worker);
                let (net, bytes) = (&mut self.workers[to], &passed.message);
                let (now, from) = (net.now, WorkerId(from as u16));
                let forward = match passed.errand {
                    Errand::Serve => net.server.handle_passed_on(now, from, passed.tuple, bytes),
                    Errand::TakeBack => net.server.handle_returned(now, from, passed.tuple, bytes),
                    Errand::Confirm(session) => {
                        net.server.handle_confirmed(from, passed.tuple, session);
                        return true;
                    }
                };
                net.drain();
                self.note(to, forward);
                return true;
            }
        }
        false
    }

    fn note(&mut self, worker: usize, forward: Option<Forward<'_>>) {
        if let Some(Forward::ToPeer { payload, .. }) = forward {
            self.relayed.push((worker, payload.to_vec()));
        }
    }

    /// A client with a mobile session and a channel: its relay and its ticket.
    fn session(&mut self, transport: Transport, address: &str) -> (Client, RelayId, Vec<u8>) {
        let alice = self.client(transport, address, "alice");
        let first = ticket(&self.ask(&alice, allocate_mobile()));
        let relay = self.workers[home(&alice.tuple)].requests.last().unwrap().0;
        let bind = ask_for(Method::ChannelBind)
            .number(
                turn_proto::stun::AttributeType::CHANNEL_NUMBER,
                0x4000 << 16,
            )
            .peer(PEER);
        assert_eq!(self.ask(&alice, bind).code(), 0);
        (alice, relay, first)
    }

    /// What a client of this session sent last reached its peer.
    fn relays(&mut self, client: &Client, owner: usize) -> bool {
        self.relayed.clear();
        let answer = self.send(client.tuple, &channel_data(0x4000, b"four"));
        assert_eq!(answer, None);
        let relayed = std::mem::take(&mut self.relayed);
        relayed == [(owner, b"four".to_vec())]
    }

    /// Where data of the peer goes, and how much is added behind it.
    fn reaches(&mut self, owner: usize, relay: RelayId) -> (FiveTuple, u8) {
        match self.workers[owner].peer(relay, PEER, b"x") {
            Some(Forward::ToClient { tuple, pad, .. }) => (tuple, pad),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_session_moves_from_each_transport_to_each_on_every_worker() {
    for from in TRANSPORTS {
        for to in TRANSPORTS {
            for place in 0..WORKERS {
                moves(from, to, place);
            }
        }
    }
}

fn moves(from: Transport, to: Transport, place: usize) {
    let way = format!("{from:?} to {to:?} on worker {place}");
    let mut node = Node::new();
    let (alice, relay, first) = node.session(from, &address(0, 0));
    let moved = node.client(to, &address(place, 1), "alice");
    let answer = node.ask(&moved, refresh(&first));
    assert_ne!(ticket(&answer), first, "{way}");
    assert!(answer.message().verify_integrity(moved.key.as_bytes()));
    assert_eq!(node.reaches(0, relay).0, alice.tuple, "{way}");
    assert!(node.relays(&alice, 0), "{way}: the old path goes on");
    assert_eq!(node.reaches(0, relay).0, alice.tuple, "{way}");
    assert!(node.relays(&moved, 0), "{way}: the new path begins");
    let is_stream = matches!(to, Transport::Tcp | Transport::Tls);
    let pad = if is_stream { 3 } else { 0 };
    assert_eq!(node.reaches(0, relay), (moved.tuple, pad), "{way}");
    assert!(!node.relays(&alice, 0), "{way}: the old path is over");
    assert_eq!(node.ask(&alice, ask_for(Method::Refresh)).code(), 437);
    assert_eq!(node.ask(&moved, ask_for(Method::Refresh)).code(), 0);
    let sessions = node.workers.each_ref().map(|net| net.server.sessions());
    assert_eq!(sessions, [1, 0, 0]);
    let held = &node.workers[0].quota.held;
    assert_eq!(held.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn a_client_goes_on_from_guest_to_guest_and_nothing_goes_in_circles() {
    for transport in TRANSPORTS {
        let mut node = Node::new();
        // One session per worker, and one address that all of them move to, one after the other.
        let there = node.client(transport, &address(1, 9), "alice");
        for owner in [0, 1, 2, 0, 2, 1, 0] {
            let way = format!("{transport:?}, owner {owner}");
            let n = 100 + node.workers[owner].requests.len();
            let (_, relay, first) = node.session(Transport::Udp, &address(owner, n));
            let next = ticket(&node.ask(&there, refresh(&first)));
            assert!(node.hops <= 4, "{way}: {} hops", node.hops);
            assert!(node.relays(&there, owner), "{way}");
            assert_eq!(node.reaches(owner, relay).0, there.tuple, "{way}");
            assert_eq!(
                node.ask(&there, refresh(&next)).code(),
                400,
                "{way}: there already"
            );
            let end = ask_for(Method::Refresh);
            let end = end.number(turn_proto::stun::AttributeType::LIFETIME, 0);
            assert_eq!(node.ask(&there, end).code(), 0, "{way}");
        }
    }
}

#[test]
fn an_address_with_a_session_takes_no_other_workers_in() {
    for transport in TRANSPORTS {
        let mut node = Node::new();
        let (_, _, first) = node.session(Transport::Udp, &address(0, 0));
        let (_, _, other) = node.session(Transport::Udp, &address(2, 1));
        let there = node.client(transport, &address(1, 1), "alice");
        assert_eq!(node.ask(&there, refresh(&first)).code(), 0);
        assert!(node.relays(&there, 0));
        assert_eq!(node.ask(&there, refresh(&other)).code(), 437);
        assert!(node.relays(&there, 0), "what was there stays");
    }
}

#[test]
fn an_address_that_a_session_left_takes_another_workers_in() {
    for place in 0..WORKERS {
        let mut node = Node::new();
        let (alice, relay, first) = node.session(Transport::Udp, &address(0, 0));
        let moved = node.client(Transport::Udp, &address(place, 1), "alice");
        assert_eq!(node.ask(&moved, refresh(&first)).code(), 0);
        let (_, others, other) = node.session(Transport::Udp, &address(2, 2));
        let next = node.client(Transport::Udp, &alice.tuple.client.to_string(), "alice");
        assert_eq!(node.ask(&next, refresh(&other)).code(), 0);
        assert!(node.relays(&next, 2));
        assert_eq!(node.reaches(2, others).0, next.tuple);
        assert_eq!(node.reaches(0, relay).0, moved.tuple);
        assert!(node.relays(&moved, 0));
    }
}

#[test]
fn a_guest_whose_path_was_left_gives_its_address_to_another_session() {
    let mut node = Node::new();
    let (_, relay, first) = node.session(Transport::Udp, &address(0, 0));
    let guest = node.client(Transport::Udp, &address(1, 1), "alice");
    let next = ticket(&node.ask(&guest, refresh(&first)));
    assert!(node.relays(&guest, 0));
    let moved = node.client(Transport::Udp, &address(2, 2), "alice");
    assert_eq!(node.ask(&moved, refresh(&next)).code(), 0);
    let newcomer = node.client(Transport::Udp, &address(1, 1), "bob");
    assert_eq!(node.ask(&newcomer, allocate()).code(), 0);
    assert_eq!(node.reaches(0, relay).0, moved.tuple);
    assert_eq!(node.ask(&newcomer, ask_for(Method::Refresh)).code(), 0);
    assert!(node.relays(&moved, 0));
}

#[test]
fn hijackers_are_refused_on_every_worker_and_transport() {
    for transport in TRANSPORTS {
        for place in 0..WORKERS {
            let mut node = Node::new();
            let (alice, relay, first) = node.session(Transport::Tcp, &address(0, 0));
            let bob = node.client(transport, &address(place, 1), "bob");
            assert_eq!(node.ask(&bob, refresh(&first)).code(), 441);
            assert!(!node.relays(&bob, 0));
            let mut forged = first.clone();
            forged[5] ^= 1;
            assert_eq!(node.ask(&bob, refresh(&forged)).code(), 400);
            let moved = node.client(transport, &address(place, 2), "alice");
            assert_eq!(node.ask(&moved, refresh(&first)).code(), 0);
            let third = node.client(transport, &address(place, 3), "alice");
            assert_eq!(node.ask(&third, refresh(&first)).code(), 400, "used up");
            assert!(!node.relays(&third, 0));
            assert_eq!(node.reaches(0, relay).0, alice.tuple);
            for n in 4..8 {
                // From her own network, too.
                let near = format!("203.0.113.2:{}", 6000 + WORKERS * n + place);
                for there in [address(place, n), near] {
                    let bob = node.client(transport, &there, "bob");
                    assert_eq!(node.ask(&bob, refresh(&first)).code(), 441);
                    assert_eq!(node.ask(&bob, allocate()).code(), 0);
                }
            }
            assert!(node.relays(&moved, 0), "nobody pushes her out");
            assert_eq!(node.reaches(0, relay).0, moved.tuple);
            assert_eq!(node.ask(&bob, allocate()).code(), 0, "bob may have his own");
        }
    }
}

#[test]
fn endless_moves_from_one_source_keep_two_guests_on_a_worker() {
    let mut node = Node::new();
    let (alice, relay, mut now) = node.session(Transport::Udp, &address(0, 0));
    for n in 0..200 {
        let there = format!("203.0.113.9:{}", 6001 + WORKERS * n);
        let moved = node.client(Transport::Udp, &there, "alice");
        now = ticket(&node.ask(&moved, refresh(&now)));
    }
    assert_eq!(node.reaches(0, relay).0, alice.tuple);
    let guests = (0..200).filter(|n| {
        let mut guest = alice.tuple;
        guest.client = addr(&format!("203.0.113.9:{}", 6001 + WORKERS * n));
        let net = &mut node.workers[1];
        net.server.host_of(net.now, &guest).is_some()
    });
    assert_eq!(guests.count(), 2);
}

#[test]
fn a_silent_guest_is_forgotten() {
    let mut node = Node::new();
    let (_, _, first) = node.session(Transport::Udp, &address(0, 0));
    let moved = node.client(Transport::Udp, &address(1, 1), "alice");
    assert_eq!(node.ask(&moved, refresh(&first)).code(), 0);
    assert_eq!(node.ask(&moved, ask_for(Method::Refresh)).code(), 0);
    assert_eq!(node.hops, 1, "passed on");
    // Longer than any session lives.
    let home = &mut node.workers[1];
    home.advance(3700.0);
    home.client(tuple(CLIENT), b"");
    home.advance(2.0);
    let again = moved.greet(home);
    assert_eq!(again.refresh(home, 600), 437);
}

#[test]
fn nobody_becomes_a_guest_without_a_nonce_of_his_own() {
    for transport in TRANSPORTS {
        let mut node = Node::new();
        let (alice, _, first) = node.session(Transport::Udp, &address(0, 0));
        let mut there = node.client(transport, &address(1, 1), "alice");
        // That of her own address.
        there.nonce = alice.nonce;
        assert_eq!(node.ask(&there, refresh(&first)).code(), 438);
        assert_eq!(node.hops, 0);
    }
}
