//! Who is let in: users, secrets, realm and nonces, as a client gets to see them, and as Debian's `turnserver`
//! answers beside.

use std::net::SocketAddr;
use std::process::{Child, Command};
use std::time::Duration;

use kit::client::{Login, TurnClient, fresh_id};
use kit::coturn::{UserDb, turnadmin};
use kit::node::unix_now;
use kit::program::{Sinks, spawn};
use kit::wait::{wait_for, wait_until};
use turn_proto::auth::credential::LongTermKey;
use turn_proto::stun::{AttributeType, Message, MessageBuilder, Method};

use crate::start::Migrated;

const BASE: &str = "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\n";
const USER: &str = "user=alice:wonderland-wonder\n";
const SECRETS: [&str; 3] = [
    "0123456789abcdef0123456789abcdef",
    "fedcba9876543210fedcba9876543210",
    "00112233445566778899aabbccddeeff",
];
const FLAGS: &[&str] = &["-c", "turnserver.conf"];
const SOON: Duration = Duration::from_secs(20);

fn alice() -> Login {
    Login::new("alice", "wonderland-wonder")
}

fn rest(user: &str, secret: &str) -> Login {
    Login::rest(&format!("{}:{user}", unix_now() + 600), secret)
}

/// 0 for a session, else the code of the refusal.
fn answer(server: SocketAddr, login: &Login) -> u16 {
    let mut client = TurnClient::new(server, login.clone()).unwrap();
    match client.allocate() {
        Ok(_) => {
            client.refresh(0).unwrap();
            0
        }
        Err(error) => error.code().unwrap_or_else(|| panic!("{error}")),
    }
}

/// A client that signs nothing by itself.
struct Bare {
    socket: std::net::UdpSocket,
    server: SocketAddr,
}

/// The code of a refusal (0: none), with the realm and the nonce in it.
type Challenge = (u16, String, Vec<u8>);

impl Bare {
    fn new(server: SocketAddr) -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let pause = Some(Duration::from_millis(500));
        socket.set_read_timeout(pause).unwrap();
        Self { socket, server }
    }

    fn ask(&self, request: MessageBuilder) -> Challenge {
        let request = request.finish();
        let own = Message::parse(&request).unwrap().transaction();
        let mut buffer = [0; 1500];
        // What answers an earlier request, which was sent again, is read and left.
        let answer = wait_for("an answer", SOON, || {
            self.socket.send_to(&request, self.server).ok()?;
            let mut answers = std::iter::from_fn(|| {
                let length = self.socket.recv(&mut buffer).ok()?;
                Some(buffer[..length].to_vec())
            });
            answers
                .find(|bytes| Message::parse(bytes).is_ok_and(|answer| answer.transaction() == own))
        });
        let answer = Message::parse(&answer).unwrap();
        let bytes = |kind| answer.attribute(kind).unwrap_or_default().to_vec();
        let code = answer.error_code().map_or(0, |code| code.get());
        let realm = String::from_utf8(bytes(AttributeType::REALM)).unwrap();
        (code, realm, bytes(AttributeType::NONCE))
    }

    fn allocate(&self) -> Challenge {
        self.ask(allocate())
    }

    /// An Allocate of alice's with this nonce. Her second one is 437: she is known, and has a session.
    fn allocate_with(&self, nonce: &[u8]) -> Challenge {
        let key = LongTermKey::derive("alice", "north.gov", "wonderland-wonder");
        let request = allocate()
            .attribute(AttributeType::USERNAME, b"alice")
            .attribute(AttributeType::REALM, b"north.gov")
            .attribute(AttributeType::NONCE, nonce);
        self.ask(request.integrity(key.as_bytes()))
    }
}

fn allocate() -> MessageBuilder {
    let request = MessageBuilder::request(Method::Allocate, fresh_id());
    request.number(AttributeType::REQUESTED_TRANSPORT, 17 << 24)
}

#[test]
fn lt_cred_mech_asks_every_client_for_the_password_of_a_user_of_the_realm() {
    let lines =
        format!("{BASE}lt-cred-mech\n{USER}user=gorst:0x7da2270ccfa49786e0115366d3a3d14d\n");
    let node = Migrated::start(&lines, FLAGS);
    let (code, realm, nonce) = Bare::new(node.turn()).allocate();
    assert_eq!((code, realm.as_str()), (401, "north.gov"));
    assert!(!nonce.is_empty());
    let logins = [
        (alice(), 0),
        // The key is what `turnadmin -k -u gorst -r north.gov -p hero` prints.
        (Login::new("gorst", "hero"), 0),
        (
            Login::new("gorst", "0x7da2270ccfa49786e0115366d3a3d14d"),
            401,
        ),
        (Login::new("alice", "wonderland"), 401),
        (Login::new("dinah", "wonderland-wonder"), 401),
        (rest("alice", SECRETS[0]), 401),
    ];
    for (login, expected) in logins {
        assert_eq!(answer(node.turn(), &login), expected, "{login:?}");
    }
}

#[test]
fn the_realm_is_told_to_clients_and_keys_hold_for_it_alone() {
    let lines = "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=south.gov\nlt-cred-mech\n\
                 user=alice:wonderland-wonder\nuser=gorst:0x7da2270ccfa49786e0115366d3a3d14d\n";
    let node = Migrated::start(lines, FLAGS);
    assert_eq!(Bare::new(node.turn()).allocate().1, "south.gov");
    assert_eq!(answer(node.turn(), &alice()), 0);
    // His key was made for north.gov.
    assert_eq!(answer(node.turn(), &Login::new("gorst", "hero")), 401);
}

#[test]
fn each_of_several_static_secrets_makes_credentials_until_their_time_is_over() {
    let [first, second, other] = SECRETS;
    let lines = format!("{BASE}static-auth-secret={first}\nstatic-auth-secret={second}\n");
    let node = Migrated::start(&lines, FLAGS);
    let over = Login::rest(&format!("{}:carol", unix_now() - 60), first);
    let logins = [
        (rest("carol", first), 0),
        (rest("carol", second), 0),
        (rest("carol", other), 401),
        (over, 401),
        (Login::rest(&(unix_now() + 600).to_string(), second), 0),
    ];
    for (login, expected) in logins {
        assert_eq!(answer(node.turn(), &login), expected, "{login:?}");
    }
}

/// Debian's `turnserver` on the file of `node`, at another port.
struct Beside(Child, SocketAddr);

impl Beside {
    fn start(node: &Migrated) -> Self {
        let address = SocketAddr::new(node.ip, 3490);
        let mut command = Command::new("turnserver");
        command.arg("-c").arg(node.file("turnserver.conf"));
        command.args(["--listening-port=3490", "--no-cli", "--no-tls", "--no-dtls"]);
        command.arg(format!("--pidfile={}", node.file("coturn.pid").display()));
        command.arg("--log-file=stdout");
        let child = spawn("coturn", command, &Sinks::File(&node.file("coturn.log")));
        // Whoever waits in vain ends it.
        let beside = Self(child, address);
        wait_until("turnserver to answer", Duration::from_secs(60), || {
            let mut client = TurnClient::new(address, alice()).unwrap();
            client.binding().is_ok()
        });
        beside
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who is let in by both servers on one file and one database, in the order of the logins.
fn let_in(mode: &str) -> [u16; 5] {
    let [of_file, of_database, other] = SECRETS;
    let lines = format!("{BASE}{USER}{mode}userdb=/var/db/turndb\n");
    let mut node = Migrated::prepare(&lines, FLAGS);
    let db = UserDb::Sqlite(node.file("turndb"));
    let cheshire = ["-u", "cheshire", "-p", "grin-without-a-cat"];
    turnadmin(&db, &[&["-a", "-r", "north.gov"], &cheshire[..]].concat());
    turnadmin(&db, &["-s", of_database, "-r", "north.gov"]);
    node.launch();
    node.wait_ready();
    let logins = [
        alice(),
        Login::new("cheshire", "grin-without-a-cat"),
        rest("carol", of_file),
        rest("carol", of_database),
        rest("carol", other),
    ];
    let beside = Beside::start(&node);
    let [theirs, ours] = [beside.1, node.turn()].map(|server| {
        let mut answers = [0; 5];
        for (login, is) in logins.iter().zip(&mut answers) {
            *is = answer(server, login);
        }
        answers
    });
    assert_eq!(ours, theirs, "{mode}");
    assert!(!node.said().contains("ERROR"), "{}", node.said());
    let minted = node
        .ctl()
        .run(&["credential", "mint", "--realm", "north.gov"]);
    assert_eq!(
        minted.code == 0,
        !mode.contains("lt-cred-mech"),
        "{minted:?}"
    );
    ours
}

#[test]
fn with_lt_cred_mech_secrets_of_the_database_open_nothing_as_with_coturn() {
    assert_eq!(let_in("lt-cred-mech\n"), [0, 0, 401, 401, 401]);
}

#[test]
fn with_use_auth_secret_no_user_is_let_in_as_with_coturn() {
    assert_eq!(let_in("use-auth-secret\n"), [401, 401, 401, 0, 401]);
}

#[test]
fn with_a_static_secret_those_of_the_database_count_too_and_users_do_not_as_with_coturn() {
    let mode = format!("static-auth-secret={}\nuse-auth-secret\n", SECRETS[0]);
    assert_eq!(let_in(&mode), [401, 401, 0, 0, 401]);
}

#[test]
fn both_kinds_are_taken_where_relayd_is_told_to() {
    let lines = format!(
        "{BASE}static-auth-secret={}\nuserdb=/var/db/turndb\n",
        SECRETS[0]
    );
    let flags = [FLAGS, &["--credentials", "both"]].concat();
    let node = Migrated::start(&lines, &flags);
    let db = UserDb::Sqlite(node.file("turndb"));
    turnadmin(
        &db,
        &["-a", "-u", "cheshire", "-r", "north.gov", "-p", "grin"],
    );
    assert_eq!(answer(node.turn(), &rest("carol", SECRETS[0])), 0);
    wait_until("the user of turnadmin", SOON, || {
        answer(node.turn(), &Login::new("cheshire", "grin")) == 0
    });
}

#[test]
fn users_of_the_file_are_let_in_beside_its_secrets_where_relayd_is_told_to() {
    let lines = format!(
        "{BASE}{USER}static-auth-secret={}\nuse-auth-secret\n",
        SECRETS[0]
    );
    let flags = [FLAGS, &["--credentials", "both"]].concat();
    let node = Migrated::start(&lines, &flags);
    assert_eq!(answer(node.turn(), &alice()), 0);
    assert_eq!(answer(node.turn(), &rest("carol", SECRETS[0])), 0);
    assert!(!node.said().contains("refused"), "{}", node.said());
}

#[test]
fn a_file_goes_from_secrets_to_users_and_back_at_sighup() {
    let secret = format!("{BASE}static-auth-secret={}\n", SECRETS[0]);
    let user = format!("{BASE}{USER}");
    let carol = || rest("carol", SECRETS[0]);
    let node = Migrated::start(&secret, FLAGS);
    let mut running = node.client(&carol());
    running.allocate().unwrap();
    // Both refusals are remembered by the workers when the file changes.
    for (text, welcome, refused) in [
        (&user, alice(), carol()),
        (&secret, carol(), alice()),
        (&user, alice(), carol()),
    ] {
        assert_eq!(answer(node.turn(), &welcome), 401, "{text}");
        node.rewrite(text);
        node.signal("HUP");
        wait_until("the new kind of credentials", SOON, || {
            answer(node.turn(), &welcome) == 0
        });
        // Each worker hears of it by itself, and users and secrets are judged in different places.
        wait_until("the end of the other kind", SOON, || {
            answer(node.turn(), &refused) == 401
        });
        assert_eq!(running.refresh(600).unwrap(), 600, "{text}");
    }
    let minted = node
        .ctl()
        .run(&["credential", "mint", "--realm", "north.gov"]);
    assert_ne!(minted.code, 0, "{minted:?}");
}

#[test]
fn a_nonce_is_stale_after_its_time_and_never_where_that_is_0() {
    let start = |lines: &str| Migrated::start(&format!("{BASE}{USER}{lines}\n"), FLAGS);
    let (short, long) = (start("stale-nonce=2"), start("stale-nonce=0"));
    let (of_short, of_long) = (Bare::new(short.turn()), Bare::new(long.turn()));
    let (code, _, kept) = of_long.allocate();
    assert_eq!(code, 401);
    // At first it is good; on a busy machine its time may be over before it is used.
    let nonce = wait_for("a nonce that is good", SOON, || {
        let (code, _, nonce) = of_short.allocate();
        assert_eq!(code, 401);
        (of_short.allocate_with(&nonce).0 == 0).then_some(nonce)
    });
    let fresh = wait_for("the nonce to be stale", SOON, || {
        let (code, realm, fresh) = of_short.allocate_with(&nonce);
        assert!([437, 438].contains(&code), "{code}");
        (code == 438).then(|| {
            assert_eq!(realm, "north.gov");
            fresh
        })
    });
    assert_ne!(fresh, nonce);
    let mut newest = fresh;
    wait_until("a fresh nonce to be good", SOON, || {
        let (code, _, nonce) = of_short.allocate_with(&newest);
        newest = nonce;
        code == 437
    });
    // It is the older of the two.
    assert_eq!(of_long.allocate_with(&kept).0, 0);
}
