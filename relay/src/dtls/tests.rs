//! Associations against the client side of the same crate, in virtual time and without sockets.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shared::Transport;

use super::cookie::Version;
use super::*;
use crate::room::Room;

const LIMITS: Limits = Limits {
    handshake: Duration::from_secs(10),
    idle: Duration::from_secs(30),
    max: 10_000,
    max_per_source: 10_000,
    max_half_open: 256,
    max_half_open_per_source: 8,
};

fn certificate() -> Arc<DtlsCertificate> {
    let made = rcgen::generate_simple_self_signed(vec!["turn.example.org".into()]).unwrap();
    Arc::new(DtlsCertificate {
        certificate: made.cert.der().to_vec(),
        private_key: made.signing_key.serialize_der(),
    })
}

fn client_key(port: u16) -> Key {
    FiveTuple {
        client: SocketAddr::from(([192, 0, 2, 1], port)),
        server: SocketAddr::from(([192, 0, 2, 2], 5349)),
        transport: Transport::Dtls,
    }
}

/// A server and the virtual time of a test.
struct World {
    associations: Associations,
    tally: Arc<Tally>,
    now: Instant,
    connected: Vec<(Key, Option<Box<str>>)>,
    disconnected: Vec<Key>,
    /// What the server decrypted.
    received: Vec<Vec<u8>>,
}

/// A client, its datagrams on the way and what it decrypted.
struct Client {
    key: Key,
    engine: Dtls,
    connected: bool,
    closed: bool,
    received: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        Self::with(LIMITS, Arc::default())
    }

    fn with(limits: Limits, tally: Arc<Tally>) -> Self {
        let now = Instant::now();
        let settings = Settings::new(
            Arc::new(ArcSwapOption::new(Some(certificate()))),
            None,
            limits,
        );
        Self {
            associations: Associations::new(
                Arc::new(ArcSwap::from_pointee(settings)),
                Arc::clone(&tally),
                [7; 32],
                now,
            ),
            tally,
            now,
            connected: Vec::new(),
            disconnected: Vec::new(),
            received: Vec::new(),
        }
    }

    fn dropped(&self, why: &str) -> u64 {
        let dropped = self.tally.totals().dropped;
        dropped.iter().find(|(name, _)| *name == why).unwrap().1
    }

    /// What the server sends to `key`; everything else that happened is noted.
    fn answers(&mut self, key: Key) -> Vec<Vec<u8>> {
        let outbox = self.associations.take(Outbox::default());
        let mut datagrams = Vec::new();
        for (event, bytes) in outbox.events() {
            match &event.kind {
                EventKind::Transmit if event.key == key => datagrams.push(bytes.to_vec()),
                EventKind::Transmit => {}
                EventKind::Connected { server_name } => {
                    self.connected.push((event.key, server_name.clone()));
                }
                EventKind::Data => self.received.push(bytes.to_vec()),
                EventKind::Disconnected => self.disconnected.push(event.key),
            }
        }
        datagrams
    }

    fn hand(&mut self, key: Key, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.associations.handle_datagram(self.now, key, datagram);
        self.answers(key)
    }

    fn advance(&mut self, by: Duration, has_session: bool) {
        self.now += by;
        self.associations.handle_timeout(self.now, |_| has_session);
    }

    /// Carries datagrams to and fro until nobody has any more.
    fn run(&mut self, client: &mut Client) {
        loop {
            let sent = client.poll();
            if sent.is_empty() {
                return;
            }
            for datagram in sent {
                for answer in self.hand(client.key, &datagram) {
                    client.hand(self.now, &answer);
                }
            }
        }
    }

    fn connect(&mut self, version: Version, port: u16) -> Client {
        let mut client = Client::new(version, port, self.now);
        self.run(&mut client);
        assert!(client.connected, "{version:?}");
        client
    }
}

impl Client {
    fn new(version: Version, port: u16, now: Instant) -> Self {
        static CONFIG: LazyLock<Arc<Config>> =
            LazyLock::new(|| Arc::new(Config::builder().build().unwrap()));
        static CERTIFICATE: LazyLock<Arc<DtlsCertificate>> = LazyLock::new(certificate);
        let (config, certificate) = (Arc::clone(&CONFIG), CERTIFICATE.as_ref().clone());
        let mut engine = match version {
            Version::Dtls12 => Dtls::new_12(config, certificate, now),
            Version::Dtls13 => Dtls::new_13(config, certificate, now),
        };
        engine.set_active(true);
        engine.handle_timeout(now).unwrap();
        Self {
            key: client_key(port),
            engine,
            connected: false,
            closed: false,
            received: Vec::new(),
        }
    }

    fn hand(&mut self, now: Instant, datagram: &[u8]) {
        self.engine.handle_timeout(now).unwrap();
        self.engine.handle_packet(datagram).unwrap();
    }

    /// The datagrams it wants to send.
    fn poll(&mut self) -> Vec<Vec<u8>> {
        let (mut buffer, mut sent) = (vec![0; 20_000], Vec::new());
        loop {
            match self.engine.poll_output(&mut buffer) {
                Output::Packet(packet) => sent.push(packet.to_vec()),
                Output::Connected => self.connected = true,
                Output::ApplicationData(data) => self.received.push(data.to_vec()),
                Output::CloseNotify => self.closed = true,
                Output::Timeout(_) => return sent,
                _ => {}
            }
        }
    }
}

const VERSIONS: [Version; 2] = [Version::Dtls12, Version::Dtls13];

#[test]
fn data_flows_both_ways_in_both_versions() {
    for version in VERSIONS {
        let mut world = World::new();
        let mut client = world.connect(version, 1000);
        assert_eq!(world.connected, [(client.key, None)]);
        client.engine.send_application_data(b"hello").unwrap();
        world.run(&mut client);
        assert_eq!(world.received, [b"hello".to_vec()]);
        let parts: [&[u8]; 2] = [b"head", &[9; 1400]];
        world.associations.send(world.now, client.key, &parts);
        for datagram in world.answers(client.key) {
            client.hand(world.now, &datagram);
        }
        client.poll();
        assert_eq!(client.received, [parts.concat()], "{version:?}");
        assert_eq!(world.tally.totals().established, 1);
        assert_eq!(world.tally.totals().begun, 1);
    }
}

#[test]
fn a_first_hello_leaves_nothing_behind_and_its_answer_is_not_longer() {
    for version in VERSIONS {
        let mut world = World::new();
        for port in 1..=500 {
            let hello = Client::new(version, port, world.now).poll().remove(0);
            let answers = world.hand(client_key(port), &hello);
            assert_eq!(answers.len(), 1);
            assert!(answers[0].len() <= hello.len(), "{version:?}");
            assert!(world.associations.is_empty());
            assert_eq!(world.associations.poll_timeout(), None);
        }
    }
}

#[test]
fn a_cookie_is_good_for_its_address_and_hello_and_time_only() {
    for version in VERSIONS {
        let mut world = World::new();
        let mut client = Client::new(version, 1000, world.now);
        let first = client.poll().remove(0);
        let answer = world.hand(client.key, &first).remove(0);
        client.hand(world.now, &answer);
        let second = client.poll().remove(0);
        // Another address.
        world.hand(client_key(1001), &second);
        assert!(world.associations.is_empty(), "{version:?}");
        // Another random.
        let mut forged = second.clone();
        forged[30] ^= 1;
        world.hand(client.key, &forged);
        assert!(world.associations.is_empty(), "{version:?}");
        // Another time.
        world.now += Duration::from_secs(61);
        world.hand(client.key, &second);
        assert!(world.associations.is_empty(), "{version:?}");
        world.now -= Duration::from_secs(61);
        world.hand(client.key, &second);
        assert_eq!(world.associations.len(), 1, "{version:?}");
    }
}

/// A datagram with a few bytes changed, cut off, or repeated.
fn spoilt(random: &mut StdRng, datagram: &[u8]) -> Vec<u8> {
    let mut bytes = datagram.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 => bytes.truncate(at + 1),
            1 => bytes.extend_from_within(at..),
            // Lengths are what goes wrong.
            2 => bytes[at] = 0xff,
            3 => bytes[at] = 0,
            _ => bytes[at] = random.random(),
        }
    }
    bytes
}

#[test]
fn spoilt_hellos_leave_nothing_behind_and_their_answers_are_not_longer() {
    let mut random = StdRng::seed_from_u64(1);
    for version in VERSIONS {
        let mut world = World::new();
        let mut client = Client::new(version, 1000, world.now);
        let first = client.poll().remove(0);
        let answer = world.hand(client.key, &first).remove(0);
        client.hand(world.now, &answer);
        let second = client.poll().remove(0);
        for round in 0..20_000 {
            let genuine = if round % 2 == 0 { &first } else { &second };
            let hello = spoilt(&mut random, genuine);
            // From elsewhere, so that no cookie fits by accident.
            let answers = world.hand(client_key(2000), &hello);
            let len: usize = answers.iter().map(Vec::len).sum();
            assert!(len <= hello.len(), "{version:?} {round}: {hello:02x?}");
            assert!(world.associations.is_empty(), "{version:?} {round}");
        }
    }
}

#[test]
fn spoilt_datagrams_of_an_association_do_not_end_it() {
    let mut random = StdRng::seed_from_u64(2);
    for version in VERSIONS {
        let mut world = World::new();
        let mut client = world.connect(version, 1000);
        for round in 0..2_000_u32 {
            client.engine.send_application_data(b"hello").unwrap();
            for datagram in client.poll() {
                let mut spoilt = spoilt(&mut random, &datagram);
                // The records of a datagram are judged one by one: not even a whole one is left.
                spoilt.truncate(datagram.len());
                // The engine takes the version of a record for the one that was agreed on.
                if version == Version::Dtls12 && spoilt.len() > 3 {
                    spoilt[1..3].copy_from_slice(&datagram[1..3]);
                }
                if spoilt != datagram {
                    world.hand(client.key, &spoilt);
                }
            }
            assert!(world.received.is_empty(), "{version:?} {round}");
        }
        client.engine.send_application_data(b"still here").unwrap();
        world.run(&mut client);
        assert_eq!(world.received, [b"still here".to_vec()], "{version:?}");
    }
}

#[test]
fn lost_datagrams_are_sent_again_by_the_timer() {
    for version in VERSIONS {
        let mut world = World::new();
        let mut client = Client::new(version, 1000, world.now);
        let first = client.poll().remove(0);
        let answer = world.hand(client.key, &first).remove(0);
        client.hand(world.now, &answer);
        let lost = world.hand(client.key, &client.poll().remove(0));
        assert!(!lost.is_empty());
        // The client's own timer may fire too: a few turns settle who sent what.
        while !client.connected && world.associations.len() == 1 {
            let next = world.associations.poll_timeout().unwrap() - world.now;
            world.advance(next, false);
            for datagram in world.answers(client.key) {
                client.hand(world.now, &datagram);
            }
            world.run(&mut client);
        }
        assert!(client.connected, "{version:?}");
    }
}

#[test]
fn close_notify_ends_the_session_and_is_answered() {
    for version in VERSIONS {
        let mut world = World::new();
        let mut client = world.connect(version, 1000);
        client.engine.close().unwrap();
        world.run(&mut client);
        assert_eq!(world.disconnected, [client.key], "{version:?}");
        assert!(world.associations.is_empty());
    }
}

#[test]
fn closing_tells_the_client() {
    for version in VERSIONS {
        let mut world = World::new();
        let mut client = world.connect(version, 1000);
        world.associations.close(world.now, client.key);
        for datagram in world.answers(client.key) {
            client.hand(world.now, &datagram);
        }
        client.poll();
        assert!(client.closed, "{version:?}");
        assert_eq!(world.disconnected, [client.key]);
        assert_eq!(world.associations.poll_timeout(), None);
    }
}

#[test]
fn an_association_stays_with_its_session_and_goes_without() {
    let mut world = World::new();
    let client = world.connect(Version::Dtls12, 1000);
    for _ in 0..20 {
        world.advance(Duration::from_secs(5), true);
    }
    assert_eq!(world.associations.len(), 1);
    world.advance(Duration::from_secs(5), false);
    world.answers(client.key);
    assert_eq!(world.disconnected, [client.key]);
}

#[test]
fn a_handshake_that_stands_still_is_dropped_in_time() {
    for version in VERSIONS {
        let mut world = World::new();
        half_open(&mut world, version, 1000);
        for _ in 0..100 {
            world.advance(Duration::from_millis(100), false);
        }
        assert!(world.associations.is_empty(), "{version:?}");
        assert_eq!(world.associations.poll_timeout(), None);
        assert_eq!(world.dropped("handshake_timeout"), 1);
    }
}

#[test]
fn too_many_handshakes_drop_the_oldest_and_leave_established_ones_alone() {
    let mut world = World::new();
    let mut client = world.connect(Version::Dtls12, 1000);
    for host in 0..600_u16 {
        world.now += Duration::from_millis(1);
        half_open_from(
            &mut world,
            Version::Dtls12,
            [10, 0, (host >> 8) as u8, host as u8],
        );
    }
    assert_eq!(world.associations.len(), 1 + LIMITS.max_half_open);
    assert_eq!(
        world.dropped("crowded_out"),
        600 - LIMITS.max_half_open as u64
    );
    client.engine.send_application_data(b"still here").unwrap();
    world.run(&mut client);
    assert_eq!(world.received, [b"still here".to_vec()]);
    world.connect(Version::Dtls13, 1001);
}

#[test]
fn associations_of_all_workers_take_their_places_from_one_room() {
    let (room, limits) = (Arc::new(Room::default()), Limits { max: 3, ..LIMITS });
    let tally = Arc::new(Tally::new(Arc::clone(&room)));
    let mut first = World::with(limits, Arc::clone(&tally));
    let mut second = World::with(limits, tally);
    // A connection over TCP counts like any other.
    room.take();
    let client = first.connect(Version::Dtls12, 1000);
    half_open(&mut first, Version::Dtls13, 1001);
    half_open(&mut second, Version::Dtls12, 1002);
    assert!(second.associations.is_empty());
    assert_eq!(second.dropped("node_limit"), 1);
    assert_eq!(
        (first.tally.totals().open, first.tally.totals().half_open),
        (1, 1)
    );
    first.associations.close(first.now, client.key);
    second.connect(Version::Dtls13, 1003);
    // The other handshake stands still and gives its place back.
    first.advance(LIMITS.handshake, false);
    room.leave();
    assert_eq!((room.taken(), second.tally.totals().open), (1, 1));
}

#[test]
fn one_source_has_its_share_of_handshakes() {
    let mut world = World::new();
    half_open_from(&mut world, Version::Dtls12, [10, 0, 0, 1]);
    for port in 1..=100 {
        world.now += Duration::from_millis(1);
        half_open(&mut world, Version::Dtls12, port);
    }
    assert_eq!(
        world.associations.len(),
        1 + LIMITS.max_half_open_per_source
    );
}

#[test]
fn a_client_that_begins_anew_replaces_its_association_only_with_a_cookie() {
    for version in VERSIONS {
        let mut world = World::new();
        let old = world.connect(version, 1000);
        let mut new = Client::new(version, 1000, world.now);
        let first = new.poll().remove(0);
        let answer = world.hand(old.key, &first).remove(0);
        assert!(world.disconnected.is_empty(), "{version:?}");
        new.hand(world.now, &answer);
        world.run(&mut new);
        assert!(new.connected, "{version:?}");
        assert_eq!(world.disconnected, [old.key]);
        assert_eq!(world.associations.len(), 1);
    }
}

#[test]
fn forged_datagrams_do_not_end_an_association() {
    for version in VERSIONS {
        let mut world = World::new();
        let mut client = world.connect(version, 1000);
        let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40];
        let close = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 98, 0, 2, 1, 0];
        let mut data = vec![23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 50, 0, 40];
        data.extend_from_slice(&[0; 40]);
        let finished = [
            22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 97, 0, 12, 20, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0,
        ];
        for forged in [&alert[..], &close, &data, &finished, &[63; 64], &[22], &[]] {
            world.hand(client.key, forged);
        }
        client.engine.send_application_data(b"unmoved").unwrap();
        world.run(&mut client);
        assert_eq!(world.received, [b"unmoved".to_vec()], "{version:?}");
        assert!(world.disconnected.is_empty());
    }
}

#[test]
fn without_a_certificate_clients_are_told() {
    let mut world = World::new();
    world.associations.settings.load().certificate.store(None);
    let hello = Client::new(Version::Dtls12, 1000, world.now)
        .poll()
        .remove(0);
    let answers = world.hand(client_key(1000), &hello);
    assert_eq!(answers[0][13..], [2, 40], "fatal handshake_failure");
}

#[test]
fn pieces_of_hellos_are_no_panic() {
    let mut world = World::new();
    for version in VERSIONS {
        let hello = Client::new(version, 1000, world.now).poll().remove(0);
        for length in 0..hello.len() {
            world.hand(client_key(1000), &hello[..length]);
        }
        for position in 0..hello.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bent = hello.clone();
                bent[position] ^= flip;
                world.hand(client_key(1000), &bent);
            }
        }
    }
    assert!(world.associations.is_empty());
}

fn half_open(world: &mut World, version: Version, port: u16) {
    half_open_at(world, version, client_key(port));
}

fn half_open_from(world: &mut World, version: Version, host: [u8; 4]) {
    let client = SocketAddr::from((host, 4000));
    let key = Key {
        client,
        ..client_key(0)
    };
    half_open_at(world, version, key);
}

/// Brings a client to where its cookie is back and nothing more.
fn half_open_at(world: &mut World, version: Version, key: Key) {
    let mut client = Client::new(version, 1, world.now);
    let first = client.poll().remove(0);
    let answer = world.hand(key, &first).remove(0);
    client.hand(world.now, &answer);
    world.hand(key, &client.poll().remove(0));
}

#[test]
fn an_association_goes_on_with_another_worker_under_its_keys() {
    for version in VERSIONS {
        let mut world = World::new();
        let mut other = World::with(LIMITS, Arc::clone(&world.tally));
        other.now = world.now;
        let mut client = world.connect(version, 1000);
        let moved = world.associations.detach(client.key).unwrap();
        assert!(world.associations.is_empty());
        assert_eq!(world.associations.poll_timeout(), None);
        assert!(world.associations.detach(client.key).is_none());
        let (key, _) = other.associations.attach(other.now, moved);
        assert_eq!(key, client.key);
        client.engine.send_application_data(b"hello").unwrap();
        other.run(&mut client);
        assert_eq!(other.received, [b"hello".to_vec()], "{version:?}");
        other
            .associations
            .send(other.now, client.key, &[b"welcome"]);
        for datagram in other.answers(client.key) {
            client.hand(other.now, &datagram);
        }
        client.poll();
        assert_eq!(client.received, [b"welcome".to_vec()], "{version:?}");
        other.advance(LIMITS.idle + LOOK, false);
        let _ = other.answers(client.key);
        assert_eq!(other.disconnected, [client.key], "its time counts here");
        assert_eq!(world.tally.totals().open, 0);
    }
}

#[test]
fn an_association_that_no_worker_takes_is_closed_and_a_handshake_does_not_move() {
    let mut world = World::new();
    let mut client = world.connect(Version::Dtls12, 1000);
    let moved = world.associations.detach(client.key).unwrap();
    assert_eq!(world.tally.totals().open, 1);
    world.associations.abandon(moved);
    for datagram in world.answers(client.key) {
        client.hand(world.now, &datagram);
    }
    client.poll();
    assert!(client.closed);
    assert_eq!(world.tally.totals().open, 0);
    let mut other = Client::new(Version::Dtls12, 2000, world.now);
    let hello = other.poll().remove(0);
    for datagram in world.hand(other.key, &hello) {
        other.hand(world.now, &datagram);
    }
    let _ = world.hand(other.key, &other.poll().remove(0));
    assert_eq!(world.tally.totals().half_open, 1);
    assert!(world.associations.detach(other.key).is_none());
}
