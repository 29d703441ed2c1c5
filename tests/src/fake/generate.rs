//! Generated sessions: the same number always makes the same session.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::{Realm, SessionId, Transport, Username, WorkerId};
use turn_proto::FiveTuple;
use turn_proto::server::{ChannelSnapshot, PermissionSnapshot, SessionCounters, SessionSnapshot};

/// Realms of the fake cluster.
pub(super) const REALMS: u64 = 40;
/// Users of the fake cluster, over all realms.
const USERS: u64 = 100_000;
/// Networks that clients come from.
const CLIENT_NETS: u64 = 20_000;
/// Networks that peers are in.
const PEER_NETS: u64 = 5_000;
/// The oldest session, in seconds.
const OLDEST: u64 = 8 * 3600;
/// Workers of each node.
pub(super) const WORKERS: u16 = 4;
/// Bytes in a generated packet.
const PACKET: u64 = 900;

/// The name of a realm.
#[must_use]
pub fn realm_name(number: u64) -> String {
    const WORDS: [&str; 8] = [
        "acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "tyrell",
    ];
    let word = WORDS[(number % 8) as usize];
    format!("{word}{}.example", number / 8)
}

/// The address of a node, of the networks for benchmarks (RFC 2544).
pub(super) fn address(node: u64) -> IpAddr {
    let [.., high, low] = (node + 1).to_be_bytes();
    Ipv4Addr::new(198, 18, high, low).into()
}

/// Makes the sessions of one node.
#[derive(Debug)]
pub(super) struct Generator {
    /// The node's place in the cluster.
    node: u64,
    /// The upper half of its session ids.
    base: u32,
    realms: Vec<Realm>,
    started: Instant,
    started_unix: u64,
}

impl Generator {
    pub(super) fn new(node: u64, base: u32) -> Self {
        let realms = (0..REALMS).map(|number| realm_name(number).parse());
        Self {
            node,
            base,
            realms: realms
                .collect::<Result<_, _>>()
                .expect("generated realms are legal"),
            started: Instant::now(),
            started_unix: crate::node::unix_now(),
        }
    }

    /// The id of the `count`th session.
    pub(super) fn id(&self, count: u32) -> SessionId {
        SessionId::new(self.base, count)
    }

    /// The count that an id was made of, if it is one of this node's.
    pub(super) fn count(&self, id: SessionId) -> Option<u32> {
        (id.base() == self.base).then_some(id.0 as u32)
    }

    /// The worker of the `count`th session.
    pub(super) fn worker(&self, count: u32) -> WorkerId {
        WorkerId((count % u32::from(WORKERS)) as u16)
    }

    /// Its transport.
    pub(super) fn transport(&self, count: u32) -> Transport {
        transport(self.die(count, 5))
    }

    /// What it relays in a second: bytes from the client and to it. A third of all are silent.
    pub(super) fn traffic(&self, count: u32, second: u64) -> (u64, u64) {
        let die = self.die(count, 1);
        if die.is_multiple_of(3) {
            return (0, 0);
        }
        // A long tail: most are voice, few are screens and meetings.
        let bytes = 4_000 + 2_000_000 / (1 + (die >> 8) % 2_000);
        let wobble = 50 + mix(die ^ second) % 100;
        let inward = bytes * wobble / 100;
        (inward, inward * (1 + die % 7) / 4)
    }

    /// A session as its worker describes it. One that is `born` now is younger than the others.
    pub(super) fn snapshot(&self, count: u32, totals: (u64, u64), born: bool) -> SessionSnapshot {
        let now = Instant::now();
        let age = if born { 0 } else { self.die(count, 2) % OLDEST };
        let number = self.user(count);
        let realm = &self.realms[(number % REALMS) as usize];
        let name = user_name(number);
        let rest = self.die(count, 3).is_multiple_of(2);
        let expiry = self.started_unix + 86_400 + number;
        let username = if rest {
            format!("{expiry}:{name}")
        } else {
            name.clone()
        };
        let username: Username = username.parse().expect("generated names are legal");
        let lifetime = Duration::from_secs(600);
        let left = Duration::from_secs(1 + self.die(count, 4) % 600);
        let relay = SocketAddr::new(self.relay_ip(), 49_152 + (count % 16_000) as u16);
        let permissions = self.permissions(count, now + left / 2);
        let created = self.started.checked_sub(Duration::from_secs(age));
        SessionSnapshot {
            id: self.id(count),
            worker: self.worker(count),
            tuple: FiveTuple {
                client: self.client(count),
                server: SocketAddr::new(self.relay_ip(), 3478),
                transport: self.transport(count),
            },
            security: None,
            realm: realm.clone(),
            username,
            user: name.into(),
            credential_expiry: rest.then_some(expiry),
            key_id: 0,
            secret_id: rest.then(|| Arc::from(format!("{:016x}", mix(number % REALMS)).as_str())),
            relay_transport: shared::RelayTransport::Udp,
            is_mobile: false,
            relay_local: relay,
            relay_external: relay,
            second_relay: None,
            created: if born {
                now
            } else {
                created.unwrap_or(self.started)
            },
            created_unix: self.started_unix.saturating_sub(age),
            expires: now + left,
            lifetime,
            max_rate_bps: number.is_multiple_of(5).then_some(10_000_000),
            max_user_rate_bps: None,
            links: Vec::new(),
            channels: self.channels(count, &permissions, now + left),
            permissions,
            counters: counters(totals),
            details: None,
        }
    }

    fn relay_ip(&self) -> IpAddr {
        address(self.node)
    }

    /// The user of a session: a few have many, most have some.
    fn user(&self, count: u32) -> u64 {
        let die = self.die(count, 6);
        let heavy = die.is_multiple_of(10);
        (die >> 8) % if heavy { USERS / 100 } else { USERS }
    }

    fn client(&self, count: u32) -> SocketAddr {
        let die = self.die(count, 7);
        let net = (die >> 8) % CLIENT_NETS;
        let port = 1024 + (die >> 40) as u16 % 60_000;
        if die.is_multiple_of(20) {
            let segments = [0x2001, 0xdb8, net as u16, 0, 0, 0, 0, (die >> 24) as u16];
            return SocketAddr::new(Ipv6Addr::from(segments).into(), port);
        }
        let [_, _, b, c] = (net as u32).to_be_bytes();
        SocketAddr::new(
            Ipv4Addr::new(100, 64 + b, c, (die >> 24) as u8).into(),
            port,
        )
    }

    fn permissions(&self, count: u32, expires: Instant) -> Vec<PermissionSnapshot> {
        let die = self.die(count, 8);
        let peer = |index: u64| {
            let die = mix(die ^ index);
            let [.., b, c] = (((die >> 8) % PEER_NETS) as u32).to_be_bytes();
            let ip = Ipv4Addr::new(172, b, c, die as u8);
            PermissionSnapshot {
                peer: ip.into(),
                last_port: (index == 0).then_some(40_000 + (die >> 48) as u16 % 20_000),
                expires,
                in_bytes: 0,
                out_bytes: 0,
            }
        };
        (0..1 + die % 3).map(peer).collect()
    }

    /// Half of all sessions have bound a channel to their first peer.
    fn channels(
        &self,
        count: u32,
        permissions: &[PermissionSnapshot],
        expires: Instant,
    ) -> Vec<ChannelSnapshot> {
        let bound = permissions
            .first()
            .filter(|_| self.die(count, 9).is_multiple_of(2));
        let channel = bound.map(|permission| ChannelSnapshot {
            number: 0x4000,
            peer: SocketAddr::new(permission.peer, permission.last_port.unwrap_or(40_000)),
            expires,
        });
        channel.into_iter().collect()
    }

    fn die(&self, count: u32, salt: u64) -> u64 {
        mix(u64::from(count) | self.node << 32 | salt << 48)
    }
}

/// Totals as a worker counts them.
pub(super) fn counters((in_bytes, out_bytes): (u64, u64)) -> SessionCounters {
    SessionCounters {
        in_packets: in_bytes / PACKET,
        in_bytes,
        out_packets: out_bytes / PACKET,
        out_bytes,
        drop_unknown_peer: in_bytes / (PACKET * 10_000),
        ..SessionCounters::default()
    }
}

fn user_name(number: u64) -> String {
    match number % 4 {
        0 => format!("alice-{number:05}@web"),
        1 => format!("bot-{number:05}"),
        2 => format!("mcu-eu-{number:05}"),
        _ => format!("kiosk-{number:05}"),
    }
}

fn transport(die: u64) -> Transport {
    match die % 20 {
        0..=13 => Transport::Udp,
        14..=16 => Transport::Tls,
        17..=18 => Transport::Tcp,
        _ => Transport::Dtls,
    }
}

/// Scatters a number over 64 bits (the finalizer of `SplitMix64`).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
