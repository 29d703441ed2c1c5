//! Rates of a user and of a realm, shared by three nodes: measured where the packets arrive.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kit::client::{Login, TurnClient};
use kit::cluster::Cluster;
use kit::node::{NodeOptions, REALM, rest_login};
use kit::survivors::CHANNEL;
use kit::wait::until;
use relayctl::client::AdminApi as _;
use shared::api::{RealmDocument, RealmPut};

/// The limit, in bits per second.
const LIMIT: u64 = 1_200_000;
/// The payload of a packet.
const PAYLOAD: usize = 500;
/// What a client sends per second, in bits: more than all of the limit.
const OFFERED: u64 = 2 * LIMIT;
/// Any so much time is looked at.
const WINDOW: Duration = Duration::from_secs(5);
/// How long shares may take to move: each node leases twice per second.
const MOVES_WITHIN: Duration = Duration::from_secs(2);
/// The same where an idle node has to be asked first: it listens every third turn.
const ASKED_WITHIN: Duration = Duration::from_secs(3);

#[expect(clippy::print_stdout, reason = "a run tells what it saw")]
fn report(text: &str) {
    println!("{text}");
}

/// What arrives, and when.
struct Peer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    arrived: Arc<Mutex<Arrived>>,
    thread: JoinHandle<()>,
}

impl Peer {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let arrived = Arc::new(Mutex::new(Arrived::default()));
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&arrived));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((len, _)) = socket.recv_from(&mut buffer) {
                    let now = (Instant::now(), 8 * len as u64);
                    noted.lock().unwrap().0.push(now);
                }
            }
        });
        Self {
            address,
            stop,
            arrived,
            thread,
        }
    }

    /// The part of the limit that arrives from these clients, once it has settled: a busy machine may carry
    /// less than that, so that some tries are made; the last one counts.
    fn steady(&self, clients: &[TurnClient], who: &[usize]) -> f64 {
        let mut part = 0.0;
        for _ in 0..4 {
            let (begin, end) = flood(clients, who, Duration::from_secs(7));
            part = self.arrived.lock().unwrap().part(begin + MOVES_WITHIN, end);
            if part >= 0.9 {
                break;
            }
            report(&format!("{part:.3} of the limit: once more"));
        }
        part
    }

    fn stop(self) -> Arrived {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut *self.arrived.lock().unwrap())
    }
}

#[derive(Default)]
struct Arrived(Vec<(Instant, u64)>);

impl Arrived {
    /// The part of the limit that arrived between two moments.
    fn part(&self, from: Instant, to: Instant) -> f64 {
        let of_time = self.0.iter().filter(|(at, _)| (from..to).contains(at));
        let bits: u64 = of_time.map(|(_, bits)| bits).sum();
        bits as f64 / (to - from).as_secs_f64() / LIMIT as f64
    }

    /// The most that arrived in any window, as a part of what may.
    fn fullest_window(&self) -> f64 {
        let (mut first, mut bits, mut most) = (0, 0, 0);
        for (at, arrived) in &self.0 {
            bits += arrived;
            while self.0[first].0 + WINDOW <= *at {
                bits -= self.0[first].1;
                first += 1;
            }
            most = most.max(bits);
        }
        most as f64 / WINDOW.as_secs_f64() / LIMIT as f64
    }
}

/// A client on each node that has the peer on a channel.
fn clients(cluster: &Cluster, peer: SocketAddr, logins: &[Login; 3]) -> Vec<TurnClient> {
    let clients = cluster.nodes.iter().zip(logins).map(|(node, login)| {
        let mut client = node.client(login);
        client.allocate().unwrap();
        client.bind_channel(CHANNEL, peer).unwrap();
        client
    });
    clients.collect()
}

/// Has these clients send more than the limit allows each of them, for so long. Answers from when to when.
fn flood(clients: &[TurnClient], who: &[usize], time: Duration) -> (Instant, Instant) {
    let pause = Duration::from_secs_f64(8.0 * PAYLOAD as f64 / OFFERED as f64);
    let begin = Instant::now();
    let (mut next, end) = (begin, begin + time);
    while next < end {
        until(next);
        for number in who {
            clients[*number]
                .send_channel(CHANNEL, &[0x5a; PAYLOAD])
                .unwrap();
        }
        next += pause;
    }
    (begin, end)
}

fn limited(limit: &str) -> Cluster {
    Cluster::start_with(&NodeOptions {
        end: format!("{limit} = {LIMIT}\n"),
        ..NodeOptions::default()
    })
}

fn limit_holds(whose: &str, cluster: &Cluster, logins: &[Login; 3]) {
    let peer = Peer::start();
    let clients = clients(cluster, peer.address, logins);
    for (name, who) in [("one", &[0][..]), ("another", &[2]), ("all", &[0, 1, 2])] {
        let part = peer.steady(&clients, who);
        report(&format!("{whose}, {name}: {part:.3} of the limit"));
        assert!(part >= 0.9, "{name}: {part}");
    }
    // Wherever the packets come from, in turn.
    let begin = Instant::now();
    for turn in 0..8 {
        flood(&clients, &[turn % 3], Duration::from_millis(1500));
    }
    let switching = (begin, Instant::now());
    let arrived = peer.stop();
    let switching = arrived.part(switching.0, switching.1);
    let fullest = arrived.fullest_window();
    report(&format!(
        "{whose}, switching nodes: {switching:.3}; the fullest five seconds: {fullest:.3}"
    ));
    assert!(fullest <= 1.1, "{fullest}");
}

#[test]
fn a_users_rate_is_shared_by_all_nodes() {
    let cluster = limited("max_user_rate_bps");
    let logins = ["alice"; 3].map(rest_login);
    limit_holds("a user", &cluster, &logins);
}

#[test]
fn a_realms_rate_is_shared_by_all_nodes() {
    let cluster = limited("max_realm_rate_bps");
    let logins = ["alice", "bob", "carol"].map(rest_login);
    limit_holds("a realm", &cluster, &logins);
}

#[test]
fn what_an_idle_node_has_goes_to_the_busy_one_and_comes_back() {
    let cluster = limited("max_user_rate_bps");
    let peers = [Peer::start(), Peer::start()];
    let seconds = Duration::from_secs;
    let client = |node: usize, peer: &Peer| {
        let mut client = cluster.nodes[node].client(&rest_login("alice"));
        client.allocate().unwrap();
        client.bind_channel(CHANNEL, peer.address).unwrap();
        client
    };
    let mut clients = vec![client(0, &peers[0])];
    // It has all, and, silent again, what nobody else asked for.
    let begun = flood(&clients, &[0], seconds(3)).0;
    let alone = (begun + MOVES_WITHIN, Instant::now());
    until(Instant::now() + seconds(2));
    clients.push(client(2, &peers[1]));
    let (begin, end) = flood(&clients, &[1], seconds(8));
    let busy = (begin + ASKED_WITHIN, end);
    let (begin, end) = flood(&clients, &[0, 1], seconds(7));
    let both = (begin + MOVES_WITHIN, end);
    let [first, second] = peers.map(Peer::stop);
    let shares = [
        first.part(alone.0, alone.1),
        second.part(busy.0, busy.1),
        first.part(both.0, both.1),
        second.part(both.0, both.1),
    ];
    let mut all = Arrived([first.0, second.0].concat());
    all.0.sort_by_key(|(at, _)| *at);
    let fullest = all.fullest_window();
    report(&format!(
        "alone {:.3}, beside an idle one {:.3}, both {:.3} and {:.3}; the fullest five seconds: {fullest:.3}",
        shares[0], shares[1], shares[2], shares[3]
    ));
    assert!(shares[..2].iter().all(|share| *share >= 0.9), "{shares:?}");
    assert!(shares[2..].iter().all(|share| *share >= 0.4), "{shares:?}");
    assert!(fullest <= 1.1, "{fullest}");
}

/// Adds a stored user, with or without a rate of its own.
fn add_user(cluster: &Cluster, name: &str, settings: &[&str]) -> Login {
    let mut password = tempfile::NamedTempFile::new().unwrap();
    writeln!(password, "rabbit-hole").unwrap();
    let add = ["user", "add", name, "--realm", REALM, "--password-stdin"];
    let add = [&add[..], settings].concat();
    let added = cluster.nodes[1]
        .ctl()
        .run_with_input(&add, Some(password.path()));
    assert_eq!(added.code, 0, "{}{}", added.stdout, added.stderr);
    Login::new(name, "rabbit-hole")
}

#[test]
fn a_users_own_rate_is_shared_by_all_nodes() {
    let cluster = Cluster::start();
    let login = add_user(&cluster, "dinah", &["--max-rate-bps", &LIMIT.to_string()]);
    limit_holds("a user's own", &cluster, &[(); 3].map(|()| login.clone()));
}

/// A limit that comes while sessions run holds over all of them, and can be used up from one.
fn limit_comes(whose: &str, cluster: &Cluster, login: &Login, comes: impl FnOnce()) {
    let peer = Peer::start();
    let clients = clients(cluster, peer.address, &[(); 3].map(|()| login.clone()));
    let (begin, end) = flood(&clients, &[0, 1, 2], Duration::from_secs(1));
    let before = (begin, end);
    comes();
    // Until all have heard of it, and what was sent before has arrived.
    until(Instant::now() + MOVES_WITHIN);
    let limited = Instant::now();
    let all = peer.steady(&clients, &[0, 1, 2]);
    let one = peer.steady(&clients, &[1]);
    let mut arrived = peer.stop();
    let before = arrived.part(before.0, before.1);
    arrived.0.retain(|(at, _)| *at >= limited);
    let fullest = arrived.fullest_window();
    report(&format!(
        "{whose} that comes: {before:.3} before, all {all:.3}, one {one:.3}; the fullest five seconds: {fullest:.3}"
    ));
    assert!(before > 2.0, "nothing is limited yet: {before}");
    assert!(all >= 0.9 && one >= 0.9, "{all} {one}");
    assert!(fullest <= 1.1, "{fullest}");
}

#[test]
fn a_rate_of_a_realms_users_that_comes_while_they_talk_is_shared() {
    let cluster = Cluster::start();
    limit_comes("a limit", &cluster, &rest_login("alice"), || {
        let (node, realm) = (&cluster.nodes[2], REALM.parse().unwrap());
        let now = node.admin().call(|api| api.realm(&realm)).unwrap();
        let put = RealmPut {
            document: RealmDocument {
                max_user_rate_bps: Some(LIMIT),
                ..now.document
            },
            reason: String::new(),
        };
        let put = node
            .admin()
            .call(|api| api.put_realm(&realm, now.revision, &put));
        put.unwrap();
    });
}

#[test]
fn a_users_own_rate_that_comes_while_it_talks_is_shared() {
    let cluster = Cluster::start();
    let login = add_user(&cluster, "dinah", &[]);
    limit_comes("a limit of its own", &cluster, &login, || {
        let limit = LIMIT.to_string();
        let edit = ["user", "edit", "dinah", "--realm", REALM];
        let edit = [&edit[..], &["--max-rate-bps", &limit]].concat();
        let edited = cluster.nodes[2].ctl().run(&edit);
        assert_eq!(edited.code, 0, "{}{}", edited.stdout, edited.stderr);
    });
}
