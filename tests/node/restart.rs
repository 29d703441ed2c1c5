//! A node that ends without a word and starts again: its UDP sessions go on.

use std::time::{Duration, Instant};

use kit::client::{From, Login, TurnClient};
use kit::coturn::Peer;
use kit::node::{Node, NodeOptions, SECRET, stored_login};
use kit::wait::{wait_for, wait_until};

/// How long clients have, at most, until they are heard again.
const BACK: Duration = Duration::from_secs(10);
const CHANNEL: u16 = 0x4001;

/// A session that sends nothing but ChannelData.
struct Survivor {
    client: TurnClient,
    next: u32,
}

impl Survivor {
    fn new(node: &Node, login: Login, peer: &Peer) -> Self {
        let mut client = node.client(&login);
        client.allocate().unwrap();
        client.bind_channel(CHANNEL, peer.address).unwrap();
        Self { client, next: 0 }
    }

    /// Whether what it sends now comes back.
    fn is_heard(&mut self) -> bool {
        self.next += 1;
        let number = self.next.to_be_bytes();
        self.client.send_channel(CHANNEL, &number).unwrap();
        let end = Instant::now() + Duration::from_millis(50);
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let got = self
                .client
                .recv(left.max(Duration::from_millis(1)))
                .unwrap();
            if got == Some((From::Channel(CHANNEL), number.to_vec())) {
                return true;
            }
        }
        false
    }
}

fn kill(node: &mut Node) {
    node.signal("KILL");
    node.wait_exit();
}

fn login(number: usize) -> Login {
    Login::rest(&format!("4000000000:user-{number}"), SECRET)
}

/// Sessions in the store: what a node that ends now leaves behind.
fn written(node: &Node, sessions: usize) {
    let file = node.state_dir().join("relayd.db");
    wait_until("the sessions in the store", Duration::from_secs(20), || {
        let db = rusqlite::Connection::open(&file).unwrap();
        let count = db.query_row("SELECT count(*) FROM session", [], |row| row.get(0));
        count.is_ok_and(|count: u32| count as usize == sessions)
    });
}

#[expect(clippy::print_stderr, reason = "the gap is the result")]
fn report(text: &str) {
    eprintln!("{text}");
}

#[test]
fn sessions_go_on_after_a_kill() {
    let peer = Peer::start();
    let mut node = Node::start(NodeOptions {
        workers: 2,
        ..NodeOptions::default()
    });
    let mut survivors: Vec<_> = (0..20)
        .map(|number| Survivor::new(&node, login(number), &peer))
        .collect();
    survivors.push(Survivor::new(&node, stored_login(), &peer));
    assert!(survivors.iter_mut().all(Survivor::is_heard));
    written(&node, survivors.len());
    kill(&mut node);
    let start = Instant::now();
    node.launch();
    for survivor in &mut survivors {
        wait_for("a session that goes on", BACK, || {
            survivor.is_heard().then_some(())
        });
    }
    report(&format!(
        "all {} are heard {:?} after the kill",
        survivors.len(),
        start.elapsed()
    ));
    node.wait_ready();
    for survivor in &mut survivors {
        survivor.client.refresh(600).unwrap();
        survivor.client.refresh(0).unwrap();
    }
}
