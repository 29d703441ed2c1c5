//! Stored and time-limited credentials against a running node.

use std::net::IpAddr;
use std::time::Duration;

use kit::client::{ClientError, From, Login};
use kit::coturn::Peer;
use kit::node::{Node, NodeOptions, SECRET, rest_login, stored_login, unix_now};
use relayctl::client::AdminApi;
use shared::PasswordAlgorithm;
use shared::api::UserPut;

#[test]
fn data_flows_both_ways_by_indication_and_by_channel() {
    let (node, peer) = (Node::start(NodeOptions::default()), Peer::start());
    let mut client = node.client(&rest_login("anna"));
    client.be_patient();
    assert_eq!(client.binding().unwrap(), client.local());
    let allocated = client.allocate().unwrap();
    assert_eq!(allocated.mapped, client.local());
    assert_eq!(allocated.relay.ip(), node.ip);
    assert_eq!(allocated.lifetime, 600);
    assert_eq!(client.retransmissions(), 0);

    client.permit(&[peer.address.ip()]).unwrap();
    client.send(peer.address, b"by indication").unwrap();
    let got = client.recv(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(got, (From::Peer(peer.address), b"by indication".to_vec()));

    client.bind_channel(0x4001, peer.address).unwrap();
    client.send_channel(0x4001, b"by channel").unwrap();
    let got = client.recv(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(got, (From::Channel(0x4001), b"by channel".to_vec()));

    assert_eq!(client.refresh(0).unwrap(), 0);
    assert_eq!(client.refresh(600).unwrap_err().code(), Some(437));
}

#[test]
fn a_realm_that_offers_sha256_serves_old_and_new_clients() {
    let node = Node::start(NodeOptions {
        end: "password_algorithms = [\"sha-256\", \"md5\"]\n".to_owned(),
        ..NodeOptions::default()
    });
    for login in [stored_login(), rest_login("anna")] {
        let mut new = node.client(&login);
        new.speak_rfc8489();
        new.allocate().unwrap();
        // Time-limited names cannot be found by their hash: the name itself was asked for.
        assert_eq!(new.speaks(), (Some(PasswordAlgorithm::Sha256), false));
        assert_eq!(new.refresh(600).unwrap(), 600);
        node.client(&login).allocate().unwrap();
    }
    let mut wrong = node.client(&Login::new("alice", "looking-glass"));
    wrong.speak_rfc8489();
    assert_eq!(wrong.allocate().unwrap_err().code(), Some(401));
}

/// A node whose realm hides names, with alice in its file and dormouse in its store.
fn anonymous(top: &str) -> Node {
    let realm = "[[realm]]\nname = \"anon.gov\"\nusername_anonymity = true\n\
                 password_algorithms = [\"sha-256\", \"md5\"]\n\
                 users = [{ name = \"alice\", password = \"wonderland\" }]\n";
    let node = Node::start(NodeOptions {
        environment: vec![("RELAYD_DEFAULT_REALM".to_owned(), "anon.gov".to_owned())],
        top: top.to_owned(),
        end: realm.to_owned(),
        ..NodeOptions::default()
    });
    let put = UserPut {
        password: "sleepy".to_owned(),
        reason: String::new(),
    };
    let (anon, put) = (&"anon.gov".parse().unwrap(), &put);
    node.admin()
        .call(|api| async move { api.put_user(anon, "dormouse", put).await })
        .unwrap();
    node
}

#[test]
fn users_of_the_file_and_of_the_store_log_in_with_a_hash_for_their_name() {
    let node = anonymous("");
    for (name, password) in [("alice", "wonderland"), ("dormouse", "sleepy")] {
        let mut client = node.client(&Login::new(name, password));
        client.speak_rfc8489();
        client.allocate().unwrap();
        assert_eq!(client.speaks(), (Some(PasswordAlgorithm::Sha256), true));
        assert_eq!(client.refresh(0).unwrap(), 0);
    }
    let mut nobody = node.client(&Login::new("nobody", "sleepy"));
    nobody.speak_rfc8489();
    assert_eq!(nobody.allocate().unwrap_err().code(), Some(401));
}

#[test]
fn where_secrets_alone_count_no_user_logs_in_by_name_or_hash_and_the_other_way_round() {
    let node = anonymous("credentials = \"secrets\"\n");
    for (name, password) in [("alice", "wonderland"), ("dormouse", "sleepy")] {
        for by_hash in [true, false] {
            let mut client = node.client(&Login::new(name, password));
            if by_hash {
                client.speak_rfc8489();
            }
            assert_eq!(client.allocate().unwrap_err().code(), Some(401), "{name}");
        }
    }
    let allocate = |kind: &str, login: &Login| {
        let node = Node::start(NodeOptions {
            top: format!("credentials = \"{kind}\"\n"),
            ..NodeOptions::default()
        });
        node.client(login).allocate().map_err(|error| error.code())
    };
    assert!(allocate("secrets", &rest_login("anna")).is_ok());
    assert!(allocate("users", &stored_login()).is_ok());
    let refused = Some(Some(401));
    assert_eq!(allocate("secrets", &stored_login()).err(), refused);
    assert_eq!(allocate("users", &rest_login("anna")).err(), refused);
}

#[test]
fn wrong_passwords_and_expired_usernames_are_refused_with_401() {
    let node = Node::start(NodeOptions::default());
    let expired = format!("{}:anna", unix_now() - 5);
    for login in [
        Login::new("alice", "looking-glass"),
        Login::new("nobody", "wonderland"),
        Login::rest(&expired, SECRET),
        Login::rest(
            &format!("{}:anna", unix_now() + 60),
            "another-secret-of-mine",
        ),
    ] {
        let refused = node.client(&login).allocate().unwrap_err();
        assert_eq!(refused.code(), Some(401), "{}", login.username);
    }
}

#[test]
fn special_use_peers_are_refused_with_403_unless_allowed() {
    let node = Node::start(NodeOptions::default());
    let mut client = node.client(&stored_login());
    client.allocate().unwrap();
    for peer in [
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "192.168.1.1",
    ] {
        let peer: IpAddr = peer.parse().unwrap();
        assert_eq!(
            client.permit(&[peer]).unwrap_err().code(),
            Some(403),
            "{peer}"
        );
    }
    // One bad address spoils the request: nothing of it is installed (RFC 8656 §9.2).
    let good: IpAddr = "127.0.0.9".parse().unwrap();
    let bad: IpAddr = "10.0.0.1".parse().unwrap();
    assert_eq!(client.permit(&[good, bad]).unwrap_err().code(), Some(403));
}

#[test]
fn a_users_sessions_are_limited_and_freed_again() {
    let node = Node::start(NodeOptions {
        max_sessions_per_user: Some(3),
        ..NodeOptions::default()
    });
    let mut clients: Vec<_> = (0..3).map(|_| node.client(&stored_login())).collect();
    for client in &mut clients {
        client.allocate().unwrap();
    }
    let mut surplus = node.client(&stored_login());
    assert_eq!(surplus.allocate().unwrap_err().code(), Some(486));
    node.client(&rest_login("anna")).allocate().unwrap();
    clients[0].refresh(0).unwrap();
    surplus.allocate().unwrap();
}

#[test]
fn a_thousand_clients_with_expiry_only_usernames_get_their_sessions_under_the_default_quota() {
    let node = Node::start(NodeOptions::default());
    let login = Login::rest(&(unix_now() + 3600).to_string(), SECRET);
    // All sockets are open before the first Allocate and until the end: the address of a closed one
    // could be drawn again, and would rightly be told 437.
    let mut clients: Vec<_> = (0..1000).map(|_| node.client(&login)).collect();
    let outcomes: Vec<Result<(), ClientError>> = std::thread::scope(|scope| {
        let groups: Vec<_> = clients
            .chunks_mut(50)
            .map(|group| {
                scope.spawn(|| {
                    let each = group.iter_mut().map(|client| client.allocate().map(drop));
                    each.collect::<Vec<_>>()
                })
            })
            .collect();
        groups
            .into_iter()
            .flat_map(|group| group.join().unwrap())
            .collect()
    });
    let failed: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .collect();
    assert_eq!(
        (outcomes.len(), failed.len()),
        (1000, 0),
        "{:?}",
        failed.first()
    );
}

#[test]
fn a_password_is_nowhere_in_the_state_of_a_node() {
    let node = Node::start(NodeOptions::default());
    let password = "correct-horse-battery-staple";
    let input = node.state_dir().join("password-of-the-test");
    std::fs::write(&input, format!("{password}\n")).unwrap();
    let arguments = ["user", "add", "mallory", "--realm", kit::node::REALM];
    let added = node.ctl().run_with_input(
        &[&arguments[..], &["--password-stdin"]].concat(),
        Some(&input),
    );
    assert_eq!(added.code, 0, "{}{}", added.stdout, added.stderr);
    std::fs::remove_file(&input).unwrap();
    let mut client = node.client(&Login::new("mallory", password));
    client.allocate().unwrap();
    let holds = |bytes: &[u8]| {
        bytes
            .windows(password.len())
            .any(|w| w == password.as_bytes())
    };
    let mut files = 0;
    for entry in std::fs::read_dir(node.state_dir()).unwrap() {
        // The socket cannot be read.
        if let Ok(bytes) = std::fs::read(entry.unwrap().path()) {
            files += 1;
            assert!(!holds(&bytes));
        }
    }
    assert!(files >= 2, "turndb and relayd.db");
    assert!(!holds(node.log().as_bytes()));
}
