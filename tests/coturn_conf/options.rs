//! Common options, each by what a client, `turnadmin` or an administrator gets to see of it.

use std::time::Duration;

use kit::client::{Login, fresh_id};
use kit::coturn::{Uclient, UserDb, Way, turnadmin};
use kit::node::unix_now;
use kit::redis::RedisServer;
use kit::wait::{wait_for, wait_until};
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method};

use crate::start::Migrated;

const BASE: &str =
    "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\nuser=alice:wonderland-wonder\n";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const FLAGS: &[&str] = &["-c", "turnserver.conf"];

fn alice() -> Login {
    Login::new("alice", "wonderland-wonder")
}

fn node(lines: &str) -> Migrated {
    Migrated::start(&format!("{BASE}{lines}\n"), FLAGS)
}

fn code(result: Result<impl std::fmt::Debug, kit::client::ClientError>) -> Option<u16> {
    result.unwrap_err().code()
}

#[test]
fn quotas_of_users_and_of_the_realm_count_on_this_node() {
    let node = node("user=bob:looking-glass-world\nuser-quota=1\ntotal-quota=2");
    let bob = Login::new("bob", "looking-glass-world");
    let (mut first, mut second, mut third) = (
        node.client(&alice()),
        node.client(&alice()),
        node.client(&bob),
    );
    first.allocate().unwrap();
    assert_eq!(code(second.allocate()), Some(486));
    third.allocate().unwrap();
    let without = self::node("user=bob:looking-glass-world\ntotal-quota=2");
    let mut clients: Vec<_> = (0..3).map(|_| without.client(&alice())).collect();
    clients[0].allocate().unwrap();
    clients[1].allocate().unwrap();
    assert_eq!(code(clients[2].allocate()), Some(486));
}

#[test]
fn rates_are_bytes_in_the_file_and_bits_in_force() {
    let node = node("max-bps=64000\nbps-capacity=1000000");
    let realm = node.ctl().json(&["realm", "show", "north.gov"]).to_string();
    assert!(realm.contains("\"max_rate_bps\":512000"), "{realm}");
    let config = node.ctl().json(&["config", "show"]).to_string();
    assert!(
        config.contains("limits.max_rate_bps") && config.contains("8000000"),
        "{config}"
    );
}

#[test]
fn secrets_make_credentials_and_users_of_the_file_are_refused_then() {
    let node = node(&format!("use-auth-secret\nstatic-auth-secret={SECRET}"));
    let login = Login::rest(&format!("{}:carol", unix_now() + 600), SECRET);
    node.client(&login).allocate().unwrap();
    assert_eq!(code(node.client(&alice()).allocate()), Some(401));
    assert_eq!(
        node.said()
            .matches("users of the file are refused (1)")
            .count(),
        1
    );
}

#[test]
fn keys_are_as_good_as_passwords() {
    // What `turnadmin -k -u gorst -r north.gov -p hero` prints.
    let node = node("user=gorst:0x7da2270ccfa49786e0115366d3a3d14d");
    node.client(&Login::new("gorst", "hero"))
        .allocate()
        .unwrap();
}

#[test]
fn users_that_turnadmin_keeps_in_sqlite_are_accepted() {
    let node = node("lt-cred-mech\nuserdb=/var/db/turndb");
    let db = UserDb::Sqlite(node.file("turndb"));
    turnadmin(
        &db,
        &[
            "-a",
            "-u",
            "cheshire",
            "-r",
            "north.gov",
            "-p",
            "grin-without-a-cat",
        ],
    );
    let login = Login::new("cheshire", "grin-without-a-cat");
    wait_until("the user of turnadmin", Duration::from_secs(10), || {
        node.client(&login).allocate().is_ok()
    });
}

#[test]
fn users_that_turnadmin_keeps_in_redis_are_accepted() {
    let redis = RedisServer::start();
    let connection = format!(
        "ip=127.0.0.1 port={} dbname=0 connect_timeout=30",
        redis.port
    );
    turnadmin(
        &UserDb::Redis(connection.clone()),
        &[
            "-a",
            "-u",
            "cheshire",
            "-r",
            "north.gov",
            "-p",
            "grin-without-a-cat",
        ],
    );
    let node = node(&format!("lt-cred-mech\nredis-userdb=\"{connection}\""));
    let login = Login::new("cheshire", "grin-without-a-cat");
    wait_until("the user of turnadmin", Duration::from_secs(10), || {
        node.client(&login).allocate().is_ok()
    });
    assert!(node.file("state/cluster-key").exists());
    drop(node);
    let wrong = Migrated::prepare(
        &format!("{BASE}redis-userdb=\"ip=127.0.0.1 colour=red\"\n"),
        FLAGS,
    );
    let (code, said) = wrong.run_to_end();
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("redis-userdb: has an unknown key: colour"),
        "{said}"
    );
}

#[test]
fn other_databases_are_refused_with_the_way_out() {
    for option in ["psql-userdb", "mysql-userdb", "mongo-userdb"] {
        let node = Migrated::prepare(&format!("{BASE}{option}=\"host=db dbname=turn\"\n"), FLAGS);
        let (code, said) = node.run_to_end();
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains(option) && said.contains("relayctl import"),
            "{said}"
        );
    }
}

#[test]
fn a_hashed_password_opens_the_administrators_port() {
    // What `turnadmin -P -p qwerty` may print.
    let hashed =
        "$5$79a316b350311570$81df9cfb9af7f5e5a76eada31e7097b663a0670f99a3c07ded3f1c8e59c5658a";
    let node = node(&format!("cli-password={hashed}"));
    let call = |token: &str, words: &[&str]| {
        let mut command = std::process::Command::new(kit::program::ours("relayctl"));
        command
            .args(["--url", &format!("http://{}", node.cli())])
            .args(words);
        command
            .env("RELAYCTL_TOKEN", token)
            .env_remove("RELAYCTL_CONTEXT");
        let child = kit::program::spawn("this workspace", command, &kit::program::Sinks::Pipes);
        let output = kit::program::finish("relayctl", child, Duration::from_secs(30));
        (output.status.success(), kit::program::text(&output))
    };
    let (done, who) = call("qwerty", &["whoami"]);
    assert!(
        done && who.contains("operator") && who.contains("local:password"),
        "{who}"
    );
    assert!(!call(hashed, &["whoami"]).0, "the hash is no password");
    assert!(
        !call("qwerty", &["token", "list"]).0,
        "an operator manages no tokens"
    );
    let said = node.said();
    assert_eq!(
        said.matches("the password of administrators is common")
            .count(),
        1,
        "{said}"
    );
}

#[test]
fn no_auth_serves_everybody_once_it_was_said_twice() {
    let text = "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\nno-auth\n";
    let flags = [
        FLAGS,
        &[
            "--accept-open-relay",
            "--allow-loopback-peers",
            "--accept-open-peers",
        ],
    ]
    .concat();
    let mut node = Migrated::start(text, &flags);
    assert!(node.said().contains("open_relay"), "{}", node.said());
    let stranger = || Login::new("a-stranger", "with any password");
    let totals = Uclient {
        server: node.turn(),
        login: stranger(),
        way: Way::Channels,
        clients: 2,
        messages: 20,
        flags: &["-c"],
        peer: None,
    }
    .run(Duration::from_secs(60));
    assert_eq!((totals.sent, totals.received), (40, 40), "{}", totals.text);
    // Nobody in particular, for operators too; a kill ends it, and a restart does not.
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let ask = |server, request: MessageBuilder| {
        let request = request.finish();
        let mut answer = [0; 1500];
        let length = wait_for("an answer", Duration::from_secs(10), || {
            client.send_to(&request, server).ok()?;
            client.recv(&mut answer).ok()
        });
        Message::parse(&answer[..length]).unwrap().class()
    };
    let request = |method| MessageBuilder::request(method, fresh_id());
    let allocate = request(Method::Allocate).number(AttributeType::REQUESTED_TRANSPORT, 17 << 24);
    assert_eq!(ask(node.turn(), allocate), Class::Success);
    wait_until("the session in the list", Duration::from_secs(10), || {
        let rows = node.ctl().items(&["session", "list"]);
        rows.iter().any(|row| row["username"] == "anonymous")
    });
    node.signal("TERM");
    node.wait_exit();
    node.launch();
    node.wait_ready();
    let refreshed = ask(node.turn(), request(Method::Refresh));
    assert_eq!(refreshed, Class::Success, "it goes on after a restart");
}
