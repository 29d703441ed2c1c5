//! Four configurations as people run them: they start, and answer the clients that they name.

use std::time::Duration;

use kit::certificate::{HOST, TestCertificate};
use kit::client::Login;
use kit::coturn::{Uclient, Way};
use kit::stream::{StreamClient, tls_config};
use kit::wait::wait_until;

use crate::start::{Migrated, configuration, lives, pid_in};

/// What the start of each of them has besides its own flags: a file with the process id, so that it can
/// be stopped, and its address where the file names none.
const PID: &str = "--pid-file=own.pid";

#[test]
fn the_minimal_file_starts_with_its_flags_and_relays_for_uclient() {
    let text = configuration("minimal");
    let flags = [
        "-v",
        "-r",
        "198.51.100.10",
        "-a",
        "-o",
        "-c",
        "turnserver.conf",
        "-L",
        "IP",
        "-E",
        "IP",
        "--allow-loopback-peers",
        "--accept-open-peers",
        PID,
    ];
    let mut node = Migrated::start(text, &flags);
    assert_eq!(
        node.wait_exit(),
        Some(0),
        "-o returns once everything is served"
    );
    let pid = pid_in(&node.file("own.pid")).unwrap();
    assert!(lives(pid));
    let totals = Uclient {
        server: node.turn(),
        login: Login::new("test", "123456"),
        way: Way::Channels,
        clients: 2,
        messages: 20,
        flags: &["-c"],
        peer: None,
    }
    .run(Duration::from_secs(60));
    assert_eq!((totals.sent, totals.received), (40, 40), "{}", totals.text);
    let mut client = node.client(&Login::new("test", "123456"));
    let relayed = client.allocate().unwrap().relay;
    assert_eq!(relayed.ip().to_string(), "198.51.100.10");
}

#[test]
fn the_long_term_file_starts_with_its_database_its_log_and_without_stun() {
    let certificate = TestCertificate::ecdsa();
    // No listener at 127.0.0.1: that address is everybody's.
    let text = configuration("long-term").replace("listening-ip=127.0.0.1\n", "");
    let mut node = Migrated::prepare(&text, &["-c", "turnserver.conf"]);
    node.furnish(&certificate);
    node.launch();
    node.wait_ready();
    let login = Login::new("test", "test");
    let mut client = node.client(&login);
    let relayed = client.allocate().unwrap().relay;
    assert_eq!(relayed.ip().to_string(), "198.51.100.20");
    assert!((50_001..=50_009).contains(&relayed.port()), "{relayed}");
    // Nobody answers a Binding request, over a connection that would tell at once.
    let mut stream = StreamClient::tcp(node.turn(), login.clone()).unwrap();
    stream.allocate().unwrap();
    let mut other = node.client(&login);
    assert!(
        other.binding().is_err(),
        "no-stun answers no Binding request"
    );
    assert!(node.file("turndb").exists());
    assert_eq!(pid_in(&node.file("turnserver.pid")), Some(node.pid()));
    let log = std::fs::read_to_string(node.file("turn.log")).unwrap();
    assert!(
        log.contains("Serving.") && log.contains("realm.users.password"),
        "{log}"
    );
    let terminal = std::fs::read_to_string(node.file("terminal.log")).unwrap();
    assert!(!terminal.contains("Serving."), "{terminal}");
}

#[test]
fn the_cloud_file_is_found_and_its_password_opens_relayctl() {
    opens("cloud", &Login::new("hhh", "123456"), 49_152);
}

#[test]
fn the_file_with_wide_ports_is_found_and_its_password_opens_relayctl() {
    opens("wide-ports", &Login::new("admin", "123456"), 40_000);
}

/// `-o -a -f` and no file named: `turnserver.conf` is where coturn looks.
fn opens(name: &str, login: &Login, first_port: u16) {
    let certificate = TestCertificate::ecdsa();
    let mut node = Migrated::prepare(configuration(name), &["-o", "-a", "-f", PID]);
    node.furnish(&certificate);
    node.launch();
    assert_eq!(node.wait_exit(), Some(0), "{}", node.said());
    let mut client = node.client(login);
    let relayed = client.allocate().unwrap().relay;
    assert!(relayed.port() >= first_port && relayed.ip().to_string().starts_with("198.51.100."));
    let tls = std::net::SocketAddr::new(node.ip, 5349);
    let config = tls_config(rustls::ALL_VERSIONS, &[]);
    let mut secure = StreamClient::tls(tls, login.clone(), &config, HOST).unwrap();
    secure.allocate().unwrap();
    let sessions = |token: &str| {
        let mut command = std::process::Command::new(kit::program::ours("relayctl"));
        command.args([
            "--url",
            &format!("http://{}", node.cli()),
            "session",
            "list",
            "-o",
            "json",
        ]);
        command
            .env("RELAYCTL_TOKEN", token)
            .env_remove("RELAYCTL_CONTEXT");
        let child = kit::program::spawn("this workspace", command, &kit::program::Sinks::Pipes);
        let output = kit::program::finish("relayctl", child, Duration::from_secs(30));
        (output.status.success(), kit::program::text(&output))
    };
    wait_until(
        "both sessions to be listed",
        Duration::from_secs(20),
        || {
            let (done, text) = sessions("123456");
            done && text.matches(login.username.as_str()).count() >= 2
        },
    );
    let (done, text) = sessions("654321");
    assert!(!done && text.contains("wrong"), "{text}");
    let said = node.said();
    assert_eq!(
        said.matches("the password of administrators is common")
            .count(),
        1,
        "{said}"
    );
    assert_eq!(
        said.matches("realm.users.password: is a password out of samples")
            .count(),
        1,
        "{said}"
    );
}
