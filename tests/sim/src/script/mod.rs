//! Any bytes as orders to a world: what fuzzers drive, and what the corpus is replayed through.
//!
//! The clients know their passwords and follow challenges, so that orders reach what lies behind
//! authentication; some orders spoil what a client made before it is sent. In some scripts there are
//! two workers, and clients whose port is odd belong to the second.

mod data;
mod operator;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::{Transport, WorkerId};
use turn_proto::stun::{MessageBuilder, Method};
use turn_proto::{FiveTuple, RestoredSession};

use crate::client::{Client, Habit, tuple};
use crate::policies::{BEGIN, LIMITED, USERS};
use crate::world::{Habits, World};

/// How often one thing may go from worker to worker.
const MAX_HOPS: usize = 6;
/// The most orders of one script.
const MAX_ORDERS: usize = 300;
/// What clients and peers send.
const PAYLOAD: [u8; 64] = [0x5a; 64];
/// Peers: allowed ones, a special-use one, IPv6 ones, one without a port; then every way to write an
/// IPv4 address inside IPv6, the relay itself, this host, and an address that belongs to a cluster.
const PEERS: [&str; 16] = [
    "9.9.9.1:7000",
    "9.9.9.1:7001",
    "9.9.9.2:7000",
    "8.8.4.4:53",
    "127.0.0.1:6379",
    "[2600:1f18::1]:7000",
    "[2600:1f18::2]:7000",
    "9.9.9.3:0",
    "[::ffff:9.9.9.2]:7000",
    "[64:ff9b::909:902]:7000",
    "[2002:909:902::1]:7000",
    "[2001:0:909:902::1]:7000",
    "198.51.100.1:50000",
    "0.0.0.0:7000",
    "[2600:1f18::5efe:909:902]:7000",
    "9.9.9.4:6379",
];

/// Plays a script to its end, then ends the world and checks that nothing is left.
///
/// # Panics
/// When the core breaks a promise.
pub fn run(bytes: &[u8]) {
    let mut script = Script { bytes };
    let flags = script.byte();
    let workers = if flags & 4 != 0 { 2 } else { 1 };
    let world = |worker| {
        World::new(Habits {
            hold_openings: flags & 1 != 0,
            hold_lookups: flags & 2 != 0,
            asks_for_places: flags & 8 != 0,
            worker,
            workers,
        })
    };
    let mut stage = Stage {
        worlds: (0..workers).map(world).collect(),
        clients: cast(),
        script,
    };
    for _ in 0..MAX_ORDERS {
        if stage.script.bytes.is_empty() {
            break;
        }
        stage.order();
    }
    for world in stage.worlds {
        world.finish();
    }
}

fn cast() -> Vec<Client> {
    let [(alice, wonderland), (bob, builder)] = USERS;
    let far = BEGIN + 1_000_000;
    let udp = |address| tuple(address, Transport::Udp);
    let tcp = |address| tuple(address, Transport::Tcp);
    vec![
        Client::new(udp("192.0.2.10:4000"), alice, wonderland),
        Client::new(udp("192.0.2.10:4001"), bob, builder).signing(Habit::Modern),
        Client::with_rest(udp("192.0.2.11:4000"), &format!("{far}:carol")),
        Client::new(udp("[2001:db8::10]:4000"), alice, wonderland).signing(Habit::Anonymous),
        Client::new(tcp("192.0.2.12:4000"), alice, wonderland),
        Client::new(tuple("192.0.2.12:4001", Transport::Tls), bob, builder),
        Client::new(tcp("192.0.2.12:4002"), alice, wonderland),
        Client::with_rest(tuple("192.0.2.13:4000", Transport::Dtls), &far.to_string()),
        Client::new(udp("192.0.2.14:4000"), alice, "wrong"),
        Client::with_rest(udp("192.0.2.15:4000"), &format!("{}:dave", BEGIN - 1)),
        Client::new(udp("192.0.2.16:4000"), LIMITED.0, LIMITED.1),
        Client::new(udp("192.0.2.17:4000"), "nobody", "nothing").signing(Habit::Anonymous),
        Client::new(tcp("192.0.2.12:4004"), bob, builder),
        Client::new(tcp("[2001:db8::12]:4000"), alice, wonderland),
    ]
}

/// Bytes that are read one order after the other; zeros behind their end.
struct Script<'b> {
    bytes: &'b [u8],
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        first
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        self.bytes = rest;
        taken.to_vec()
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[usize::from(self.byte()) % among.len()]
    }

    fn peer(&mut self) -> SocketAddr {
        self.pick(&PEERS).parse().expect("an address")
    }
}

struct Stage<'b> {
    /// One per worker.
    worlds: Vec<World>,
    clients: Vec<Client>,
    script: Script<'b>,
}

impl Stage<'_> {
    fn order(&mut self) {
        let order = self.script.byte();
        // Not among the others, so that old scripts mean what they meant.
        if order == u8::MAX {
            self.restart();
            return self.follow();
        }
        match order % 28 {
            0 => self.allocate(),
            1 => self.refresh(),
            2 => self.permit(),
            3 => self.bind(),
            4 => self.send(),
            5 => self.channel_data(),
            6 => self.peer_sends(),
            7 => self.raw(),
            8 => self.spoilt(),
            9 => self.wait(),
            10 => self.control(),
            11 => self.connection(),
            12 => self.answer(),
            13 => self.icmp(),
            14 => self.connect(),
            15 => self.link(),
            16 => self.bind_connection(),
            17 => self.stranger(),
            18 => self.move_client(),
            19 => self.general(),
            20 => self.again(),
            21 => self.become_another(),
            22 => self.discover(),
            23 => self.overrun(),
            24 => self.limit_users(),
            25 => self.show_token(),
            26 => self.burst(),
            _ => self.policy(),
        }
        self.follow();
    }

    /// What follows by itself: connections end, the other worker gets what is his, clients read, and
    /// the books are held against what is open.
    fn follow(&mut self) {
        for world in &mut self.worlds {
            while let Some(tuple) = world.disconnected.pop_front() {
                world.disconnect(tuple);
            }
        }
        let mut rounds = 0..MAX_HOPS;
        while self.hand_on() {
            assert!(rounds.next().is_some(), "it goes in a circle");
        }
        for world in &mut self.worlds {
            for client in &mut self.clients {
                client.listen(world);
            }
            world.sent.clear();
            world.audit();
        }
    }

    /// Hands everything that belongs to the other worker on; says whether there was anything.
    fn hand_on(&mut self) -> bool {
        let mut some = false;
        for from in 0..self.worlds.len() {
            let adopted = std::mem::take(&mut self.worlds[from].handed_over);
            let passed = std::mem::take(&mut self.worlds[from].passed_on);
            some |= !adopted.is_empty() || !passed.is_empty();
            let to = self.worlds.len() - 1 - from;
            for (tuple, message) in adopted {
                let home = self.home_of(&tuple);
                let is_guest = tuple.transport == Transport::Dtls && home != to;
                let home = is_guest.then_some(WorkerId(home as u16));
                self.worlds[to].adopt(tuple, home, &message);
            }
            for errand in passed {
                self.worlds[to].serve(WorkerId(from as u16), &errand);
            }
        }
        some
    }

    /// The node ends without a word and starts again.
    fn restart(&mut self) {
        let kept = self.worlds.iter().flat_map(World::kept);
        let kept: Vec<RestoredSession> = kept.collect();
        let mobile = kept
            .iter()
            .filter(|session| session.details.mobility.is_some());
        let homes = mobile.map(|session| {
            let home = self.home_of(&session.tuple);
            (session.id, WorkerId(home as u16))
        });
        let relocated = Arc::new(homes.collect());
        for number in 0..self.worlds.len() {
            let own = kept
                .iter()
                .filter(|session| self.home_of(&session.tuple) == number);
            let own = own.cloned().collect();
            self.worlds[number].restart(own, &relocated);
        }
    }

    fn client(&mut self) -> usize {
        usize::from(self.script.byte()) % self.clients.len()
    }

    /// The worker that a client's address belongs to.
    fn home_of(&self, tuple: &FiveTuple) -> usize {
        usize::from(tuple.client.port()) % self.worlds.len()
    }

    /// Which worker a client's packets come to: the one that has its connection, or its home. Records
    /// of an association that was handed over are sent on from there.
    fn worker_of(&mut self, tuple: &FiveTuple) -> usize {
        let home = self.home_of(tuple);
        let holder = self.worlds.iter().position(|world| world.has(tuple));
        let host = || {
            let world = &mut self.worlds[home];
            let is_dtls = tuple.transport == Transport::Dtls;
            let host = is_dtls.then(|| world.server.host_of(world.now, tuple));
            host.flatten().map(|worker| usize::from(worker.0))
        };
        holder.or_else(host).unwrap_or(home)
    }

    fn world_of(&mut self, client: usize) -> &mut World {
        let tuple = self.clients[client].tuple;
        let worker = self.worker_of(&tuple);
        &mut self.worlds[worker]
    }

    /// Some worker.
    fn some_world(&mut self) -> usize {
        match self.worlds.len() {
            1 => 0,
            count => usize::from(self.script.byte()) % count,
        }
    }

    fn ask(&mut self, client: usize, request: &MessageBuilder) {
        let tuple = self.clients[client].tuple;
        let worker = self.worker_of(&tuple);
        self.clients[client].ask(&mut self.worlds[worker], request);
    }

    fn request(&mut self, client: usize, method: Method) -> MessageBuilder {
        self.clients[client].request(method)
    }

    fn pass_time(&mut self, time: Duration) {
        for world in &mut self.worlds {
            world.advance(time);
        }
    }
}
