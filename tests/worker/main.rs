//! The workers alone, on real sockets: no store, no control plane, one policy.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod by_hand;
mod cuts;
mod dscp;
mod early;
mod fairness;
mod icmp;
mod mixes;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::client::{From, Login, TurnClient};
use relay::config::{Args, Config, ListenerConfig};
use relay::listener::{ListenerGroup, Listening};
use relay::succession::Inherited;
use relay::worker::ports::{PortPool, RelayAddress, Reserving};
use relay::worker::{News, WorkerNews, WorkerPool, WorkerSetup, WorkerThreads};
use shared::{Realm, Secret, Transport};
use turn_proto::ServerConfig;
use turn_proto::policy::{
    Budget, Budgets, Claimant, Policy, Quota, QuotaExceeded, QuotaLimits, RealmPolicy, RestSecret,
};
use turn_proto::server::{Command, EndCause, Event};

const SECRET: &str = "a shared secret of the suite";

#[derive(Debug)]
struct NoQuota;

impl Quota for NoQuota {
    fn try_reserve(&self, _: Claimant<'_>, _: QuotaLimits) -> Result<Budgets, QuotaExceeded> {
        let new = || Arc::new(Budget::new(Instant::now()));
        Ok(Budgets {
            user: None,
            realm: new(),
            node: new(),
        })
    }

    fn release(&self, _: Claimant<'_>) {}
}

struct Rig {
    pool: Arc<WorkerPool>,
    threads: Option<WorkerThreads>,
    ports: Arc<PortPool>,
    news: News,
    server: SocketAddr,
}

impl Rig {
    fn start(workers: u16) -> Self {
        Self::at("127.0.0.1", workers)
    }

    /// With listener and relays on that address.
    fn at(ip: &str, workers: u16) -> Self {
        Self::with(ip, workers, false)
    }

    fn with(ip: &str, workers: u16, copy_dscp: bool) -> Self {
        let (setup, server, ports) = setup(ip, workers, copy_dscp);
        let (pool, threads, news) = WorkerPool::start(workers, setup).unwrap();
        Self {
            pool,
            threads: Some(threads),
            ports,
            news,
            server,
        }
    }

    fn client(&self) -> TurnClient {
        TurnClient::new(self.server, Login::rest("4000000000:alice", SECRET)).unwrap()
    }

    /// The next event that `pick` wants; news come on a bounded queue, so this waits, with an end.
    fn event<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let news = &mut self.news;
        kit::wait::wait_for("an event", Duration::from_secs(10), || {
            while let Ok((_, news)) = news.try_recv() {
                if let WorkerNews::Event(event) = news
                    && let Some(found) = pick(event)
                {
                    return Some(found);
                }
            }
            None
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.stop();
        }
    }
}

/// What workers need, where they listen, and their ports.
fn setup(ip: &str, workers: u16, copy_dscp: bool) -> (WorkerSetup, SocketAddr, Arc<PortPool>) {
    let address = SocketAddr::new(ip.parse().unwrap(), 0);
    let listener = ListenerConfig {
        address,
        realm: None,
        transports: vec![Transport::Udp, Transport::Tcp],
        proxy_from: Vec::new(),
    };
    let group = ListenerGroup::bind(&listener, address, workers, &Inherited::default()).unwrap();
    let server = group.address;
    let local = server.ip();
    let ports = PortPool::new(
        vec![RelayAddress {
            local,
            external: local,
        }],
        &(20_000..=30_000),
        Reserving {
            lifetime: Duration::from_secs(30),
            most: 16,
        },
    );
    let ports = Arc::new(ports);
    let mut config = Config::load(&Args::default()).unwrap();
    config.copy_dscp = copy_dscp;
    let listening = Listening::new(&config).unwrap();
    let setup = WorkerSetup {
        inheritance: Vec::new(),
        server: ServerConfig {
            session_base: 7,
            ..ServerConfig::default()
        },
        policy: Arc::new(policy()),
        quota: Arc::new(NoQuota),
        ports: Arc::clone(&ports),
        listeners: vec![group],
        listening: Arc::new(listening),
        restore: Vec::new(),
    };
    (setup, server, ports)
}

fn policy() -> Policy {
    let name: Realm = "example.org".parse().unwrap();
    let realm = RealmPolicy {
        secrets: vec![RestSecret {
            id: "s".into(),
            value: Secret::new(SECRET.into()),
        }],
        allowed_peers: ["127.0.0.0/8", "10.0.0.0/8", "::1", "fd00::/8"]
            .map(|range| range.parse().unwrap())
            .into(),
        ..RealmPolicy::new(name)
    };
    Policy::new(vec![realm], Secret::new([1; 32]))
}

fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

#[test]
fn data_goes_both_ways_over_channels_and_indications() {
    let rig = Rig::start(2);
    // Kept open, so that no two of them get the same address.
    let mut clients: Vec<_> = (0..8).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.be_patient();
        let peer = peer();
        let address = peer.local_addr().unwrap();
        let relay = client.allocate().unwrap().relay;
        client.permit(&[address.ip()]).unwrap();

        let mut buffer = [0; 100];
        client.send(address, b"indication").unwrap();
        assert_eq!(peer.recv_from(&mut buffer).unwrap(), (10, relay));
        peer.send_to(b"back", relay).unwrap();
        let got = client.recv(Duration::from_secs(5)).unwrap();
        assert_eq!(got, Some((From::Peer(address), b"back".to_vec())));

        client.bind_channel(0x4001, address).unwrap();
        client.send_channel(0x4001, b"channel").unwrap();
        assert_eq!(peer.recv_from(&mut buffer).unwrap(), (7, relay));
        peer.send_to(b"again", relay).unwrap();
        let got = client.recv(Duration::from_secs(5)).unwrap();
        assert_eq!(got, Some((From::Channel(0x4001), b"again".to_vec())));
        assert_eq!(client.retransmissions(), 0);
    }
}

#[test]
fn a_kill_closes_the_relay_and_the_next_refresh_is_437() {
    let mut rig = Rig::start(2);
    let mut client = rig.client();
    client.allocate().unwrap();
    let created = rig.event(|event| match event {
        Event::SessionCreated(session) => Some(session),
        _ => None,
    });
    assert_eq!(rig.ports.usage().used, 1);
    let command = Command::Kill {
        session: created.id,
        cause: EndCause::Killed,
    };
    rig.pool.send(created.worker, command).unwrap();
    let ended = rig.event(|event| match event {
        Event::SessionEnded { session, cause, .. } => Some((session, cause)),
        _ => None,
    });
    assert_eq!(ended, (created.id, EndCause::Killed));
    assert_eq!(rig.ports.usage().used, 0);
    assert_eq!(client.refresh(600).unwrap_err().code(), Some(437));
}

#[test]
fn a_released_port_serves_the_next_client() {
    let rig = Rig::start(1);
    for _ in 0..200 {
        let mut client = rig.client();
        client.allocate().unwrap();
        client.refresh(0).unwrap();
    }
    assert_eq!(rig.ports.usage().used, 0);
}
