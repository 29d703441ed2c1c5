//! What a cluster survives, and what ends a call on all nodes at once, from one console.

use std::net::{IpAddr, SocketAddr};

use kit::address::fresh_ip;
use kit::certificate::TestCertificate;
use kit::client::{Login, TurnClient};
use kit::cluster::Cluster;
use kit::node::{Node, NodeOptions, REALM, rest_login, stored_login};
use kit::pty::{PATIENCE, Pty};
use kit::stream::{StreamClient, tls_config};
use kit::wait::wait_until;

use crate::live::{console, type_into};

/// A read-write console on a node.
struct Desk {
    console: Pty,
    _home: tempfile::TempDir,
}

impl Desk {
    fn on(node: &Node) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let console = console(node, home.path(), &["--rw"]).start();
        console.wait_text("[RW]");
        console.wait_text("live 1s");
        Self {
            console,
            _home: home,
        }
    }

    /// Types `keys`, and waits for `text`.
    #[track_caller]
    fn expect(&mut self, keys: &str, text: &str) -> String {
        self.console.keys(keys);
        self.console.wait_text(text)
    }

    /// Fills in why, and confirms; the dialog is gone afterwards.
    #[track_caller]
    fn confirm(&mut self, reason: &str) {
        type_into(&mut self.console, "reason", reason);
        let on_buttons = |console: &Pty| {
            let screen = console.screen();
            let row = screen.lines().position(|line| line.contains("[ Cancel ]"));
            row.is_some_and(|row| console.has_inverted(row as u16))
        };
        while !on_buttons(&self.console) {
            let before = self.console.focus();
            self.console.keys("\t");
            wait_until("the focus to move", PATIENCE, || {
                self.console.focus() != before
            });
        }
        self.console.keys("y");
        self.closed();
    }

    #[track_caller]
    fn closed(&self) {
        self.console.wait("the dialog to close", |s| {
            // One that waits for its answer takes no keys, and does not keep them.
            let open = ["esc cancels", "working...", "FROZEN"];
            !open.iter().any(|text| s.contains(text))
        });
    }
}

/// A call of each node's, all of one login, from one address where that is said.
fn calls(cluster: &Cluster, login: &Login, from: Option<IpAddr>) -> Vec<TurnClient> {
    let call = |node: &Node| {
        let mut client = client(node, login, from);
        wait_until("the login to be accepted", PATIENCE, || {
            client.allocate().is_ok()
        });
        client
    };
    cluster.nodes.iter().map(call).collect()
}

fn client(node: &Node, login: &Login, from: Option<IpAddr>) -> TurnClient {
    match from {
        Some(ip) => {
            TurnClient::bound(SocketAddr::new(ip, 0), node.turn, login.clone()).expect("a socket")
        }
        None => node.client(login),
    }
}

#[track_caller]
fn all_end(calls: &mut [TurnClient]) {
    for call in calls {
        wait_until("the call to end", PATIENCE, || call.refresh(600).is_err());
    }
}

#[track_caller]
fn all_go_on(calls: &mut [TurnClient]) {
    for call in calls {
        assert_eq!(call.refresh(600).expect("a call that goes on"), 600);
    }
}

/// Waits until every node answers a new client so; `None`: served.
#[track_caller]
fn answered(cluster: &Cluster, login: &Login, from: Option<IpAddr>, code: Option<u16>) {
    for node in &cluster.nodes {
        wait_until("new clients to be answered so", PATIENCE, || {
            let mut client = client(node, login, from);
            let answer = client.allocate();
            // Whoever was served hangs up: limits are none of this.
            let _ = client.refresh(0);
            answer.err().and_then(|error| error.code()) == code
        });
    }
}

#[test]
fn a_user_is_thrown_out_of_three_nodes_and_let_in_again() {
    let mut cluster = Cluster::start();
    let (mallory, alice) = (rest_login("mallory"), stored_login());
    let mut gone = calls(&cluster, &mallory, None);
    let mut spared = calls(&cluster, &alice, None);
    let mut desk = Desk::on(&cluster.nodes[0]);
    desk.expect("3/user~mallory\r", "1-3 of 3 match (6 total)");
    desk.expect("a", "3 marked");
    desk.expect("X", "Kill 3 sessions");
    type_into(&mut desk.console, "block users", "10m");
    type_into(&mut desk.console, "reason", "spam");
    type_into(&mut desk.console, "type 3", "3");
    desk.expect("\ty", "killed");
    all_end(&mut gone);
    all_go_on(&mut spared);
    answered(&cluster, &mallory, None, Some(403));
    cluster.nodes[1].kill();
    cluster.nodes[1].launch();
    cluster.nodes[1].wait_ready();
    answered(&cluster, &mallory, None, Some(403));
    all_go_on(&mut spared);
    desk.console.keys("\x1b");
    desk.console.wait("the job's panel to close", |s| {
        s.contains("of 3 match") || s.contains("match (3")
    });
    desk.expect(":users user~mallory\r", "1-1 of 1");
    desk.expect("B", "Admit mallory again");
    desk.confirm("a mistake");
    answered(&cluster, &mallory, None, None);
}

#[test]
fn a_net_is_banned_after_a_look_at_whom_it_hits() {
    let mut cluster = Cluster::start();
    let ip = fresh_ip();
    let (mallory, neighbour) = (rest_login("mallory"), rest_login("neighbour"));
    let mut gone = calls(&cluster, &mallory, Some(ip));
    gone.extend(calls(&cluster, &neighbour, Some(ip)));
    let mut spared = calls(&cluster, &stored_login(), None);
    let mut desk = Desk::on(&cluster.nodes[2]);
    desk.expect("3", "1-9 of 9");
    desk.expect(":bans\r", "Bans");
    desk.expect("N", "Ban a network");
    desk.console.keys(&format!("{ip}/32\t\t\x152h\tflood\ty"));
    let asked = desk.console.wait("whom it hits", |s| {
        s.contains("sessions") && s.contains("users") && s.contains(&format!("Ban client {ip}"))
    });
    let fact = |name: &str, count: &str| {
        let mut lines = asked.lines();
        lines.any(|line| line.contains(name) && line.contains(count))
    };
    assert!(fact("sessions", "6") && fact("users", "2"), "{asked}");
    all_go_on(&mut gone);
    desk.console.keys("y");
    all_end(&mut gone);
    all_go_on(&mut spared);
    answered(&cluster, &mallory, Some(ip), Some(403));
    desk.expect("", "flood");
    cluster.nodes[0].kill();
    cluster.nodes[0].launch();
    cluster.nodes[0].wait_ready();
    answered(&cluster, &neighbour, Some(ip), Some(403));
    desk.expect("Z", "Take the ban");
    desk.confirm("over");
    answered(&cluster, &mallory, Some(ip), None);
}

#[test]
fn a_deleted_user_is_cut_off_where_the_realm_says_so() {
    let cluster = Cluster::start();
    let mut desk = Desk::on(&cluster.nodes[0]);
    for (name, revokes) in [("dinah", false), ("edgar", true)] {
        if revokes {
            let ctl = cluster.nodes[1].ctl();
            let set = [
                "realm",
                "set",
                REALM,
                "revoke_on_user_removal=true",
                "--yes",
            ];
            let done = ctl.run(&set);
            assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
        }
        desk.expect(":users\r", "Pulse > Users");
        desk.expect("N", "password again");
        let typed = format!("\x15{REALM}\t{name}\trabbit hole\trabbit hole\tnew\ty");
        desk.console.keys(&typed);
        desk.closed();
        let login = Login::new(name, "rabbit hole");
        let mut theirs = calls(&cluster, &login, None);
        desk.console.keys(&format!(":users user={name}\r"));
        desk.console.wait("the one user", |s| {
            s.contains("1-1 of 1 match") && s.contains(&format!("user={name}"))
        });
        desk.expect("Z", "Delete");
        desk.confirm("gone");
        answered(&cluster, &login, None, Some(401));
        if revokes {
            all_end(&mut theirs);
        } else {
            all_go_on(&mut theirs);
        }
    }
}

#[test]
fn both_generations_of_a_node_are_shown_until_the_former_has_nobody_left() {
    let pair = TestCertificate::ecdsa();
    let node = Node::start(NodeOptions {
        end: pair.section(),
        ..NodeOptions::default()
    });
    let config = tls_config(&[&rustls::version::TLS13], &[]);
    let mut by_tls =
        StreamClient::tls(node.turn, rest_login("tls"), &config, "localhost").expect("TLS");
    by_tls.allocate().expect("a session");
    let mut by_udp = node.client(&rest_login("udp"));
    by_udp.allocate().expect("a session");
    let mut desk = Desk::on(&node);
    desk.expect("2", "1-1 of 1");
    desk.expect(":upgrade ams1\r", "Upgrade ams1");
    desk.confirm("release");
    let both = desk.console.wait("both generations", |s| {
        s.contains("ams1.g") && s.contains("former") && s.contains(" ready ")
    });
    assert!(both.contains("1-2 of 2"), "{both}");
    by_tls.refresh(600).expect("a call that goes on");
    assert_eq!(by_udp.refresh(600).expect("a call that goes on"), 600);
    desk.expect("3", "1-2 of 2");
    desk.expect("/user=tls\r", "1-1 of 1 match");
    desk.expect("X", "Kill session");
    desk.confirm("the last one");
    assert!(by_tls.is_closed(PATIENCE));
    desk.expect("2", "Pulse > Nodes");
    desk.console.wait("the former process to be gone", |s| {
        s.contains("1-1 of 1") && s.contains(" ready ") && !s.contains("ams1.g")
    });
    assert_eq!(by_udp.refresh(600).expect("a call that goes on"), 600);
    node.stop_heirs();
}

#[test]
fn a_killed_node_is_seen_to_come_back_with_its_sessions_and_an_absent_redis_costs_none() {
    let mut cluster = Cluster::start();
    let mut talk = calls(&cluster, &stored_login(), None);
    let mut desk = Desk::on(&cluster.nodes[0]);
    desk.expect("3", "1-3 of 3");
    desk.expect("2", "1-3 of 3");
    // What a node that dies has not written yet is lost: that is another test's.
    wait_until("the session to be in the store", PATIENCE, || {
        let key = "relay:node:{fra1}:sessions";
        cluster.redis.cli(&["HLEN", key]).trim() == "1"
    });
    cluster.nodes[1].kill();
    desk.console.wait("the dead node to be named", |s| {
        s.lines()
            .any(|line| line.contains("fra1") && line.contains("STALE"))
    });
    cluster.nodes[1].launch();
    cluster.nodes[1].wait_ready();
    desk.console.wait("the node again", |s| {
        s.lines()
            .any(|line| line.contains("fra1") && line.contains(" ready "))
    });
    desk.console.keys("3");
    desk.console.wait("its session again", |s| {
        s.contains("1-3 of 3") && s.lines().any(|line| line.contains("fra1"))
    });
    all_go_on(&mut talk);
    cluster.redis.kill();
    desk.expect("", "partial: no answer of");
    desk.expect("/node=ams1\r", "1-1 of 1 match");
    desk.expect("X", "Kill session");
    desk.confirm("while Redis is away");
    wait_until("the session to end", PATIENCE, || {
        talk[0].refresh(600).is_err()
    });
    all_go_on(&mut talk[1..]);
    cluster.redis.restart();
    desk.console.keys("/\x15\r");
    desk.console
        .wait("what is left, on all nodes", |s| s.contains("1-2 of 2"));
    all_go_on(&mut talk[1..]);
}

/// How many sessions of one login the nodes take in turn before one refuses; they hang up afterwards.
fn taken(cluster: &Cluster, login: &Login, at_most: usize) -> usize {
    let mut clients = Vec::new();
    for node in cluster.nodes.iter().cycle().take(at_most) {
        let mut client = node.client(login);
        match client.allocate() {
            Ok(_) => clients.push(client),
            Err(error) => {
                assert_eq!(error.code(), Some(486), "{error}");
                break;
            }
        }
    }
    for client in &mut clients {
        client.refresh(0).expect("an answer");
    }
    clients.len()
}

#[test]
fn a_users_limit_is_set_and_a_realms_limit_undone_for_all_nodes() {
    let cluster = Cluster::start();
    let mut desk = Desk::on(&cluster.nodes[0]);
    desk.expect(":users\r", "Pulse > Users");
    desk.expect("N", "password again");
    let typed = format!("\x15{REALM}\tfelix\trabbit hole\trabbit hole\tnew\ty");
    desk.console.keys(&typed);
    desk.closed();
    let felix = Login::new("felix", "rabbit hole");
    answered(&cluster, &felix, None, None);
    desk.expect(":users user=felix\r", "1-1 of 1 match");
    // A row of before, or of a node that has not found him in the store yet, is not edited.
    desk.console.wait("felix as a stored user", |s| {
        let is_his = |line: &str| line.contains(" felix ") && line.contains(" stored ");
        s.contains("1-1 of 1 match") && s.lines().any(is_his)
    });
    desk.expect("E", "own session limit");
    desk.console.keys("\x152");
    desk.confirm("a trial");
    wait_until("two of felix on all nodes together", PATIENCE, || {
        taken(&cluster, &felix, 6) == 2
    });

    let limited = |limit: &str| {
        let setting = format!("max_sessions_per_user={limit}");
        let set = ["realm", "set", REALM, &setting, "--yes", "--reason", "test"];
        let done = cluster.nodes[0].ctl().run(&set);
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    };
    limited("5");
    limited("1");
    let guest = rest_login("guest");
    wait_until("one of guest on all nodes together", PATIENCE, || {
        taken(&cluster, &guest, 6) == 1
    });
    desk.expect(":realms\r", "Pulse > Realms");
    desk.expect("U", "Undo: realm");
    desk.expect("", "1 -> 5");
    desk.confirm("a slip");
    wait_until("five of guest on all nodes together", PATIENCE, || {
        taken(&cluster, &guest, 7) == 5
    });
    assert_eq!(taken(&cluster, &felix, 6), 2, "his own limit");
}
