//! The port of administrators: where `cli-ip` and `cli-port` put it, whom `cli-password` lets in, and `no-cli`.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use kit::program::{self, Sinks, ours, spawn};
use kit::wait::wait_until;

use crate::start::Migrated;

const LINES: &str =
    "listening-ip=192.0.2.30\nrelay-ip=192.0.2.30\nrealm=north.gov\nuser=alice:wonderland-wonder\n";
const FLAGS: &[&str] = &["-c", "turnserver.conf"];
/// Of no single alphabet.
const PASSWORD: &str = "grüße aus dem Bücherregal, ¡olé! 日本";

/// Whether this token is let in there, and what was said.
fn whoami(address: SocketAddr, token: &str) -> (bool, String) {
    let mut command = Command::new(ours("relayctl"));
    command.args(["--url", &format!("http://{address}"), "whoami"]);
    command
        .env("RELAYCTL_TOKEN", token)
        .env_remove("RELAYCTL_CONTEXT");
    let child = spawn("this workspace", command, &Sinks::Pipes);
    let output = program::finish("relayctl", child, Duration::from_secs(30));
    (output.status.success(), program::text(&output))
}

#[test]
fn cli_ip_and_cli_port_are_where_the_password_opens() {
    let lines =
        format!("{LINES}cli-ip=192.0.2.30\ncli-port=5799\ncli-password=behind-the-looking-glass\n");
    let node = Migrated::start(&lines, FLAGS);
    let address = SocketAddr::new(node.ip, 5799);
    let (done, said) = whoami(address, "behind-the-looking-glass");
    assert!(done && said.contains("local:password"), "{said}");
    let (done, said) = whoami(address, "behind-the-looking-glas");
    assert!(!done && said.contains("wrong"), "{said}");
    assert!(TcpStream::connect(node.cli()).is_err());
}

#[test]
fn no_cli_opens_no_port() {
    let lines = format!(
        "{LINES}no-cli\ncli-ip=192.0.2.30\ncli-port=5799\ncli-password=behind-the-looking-glass\n"
    );
    let node = Migrated::start(&lines, FLAGS);
    assert!(TcpStream::connect((node.ip, 5799)).is_err());
    // Over its socket the node is still administered.
    assert_eq!(node.ctl().run(&["whoami"]).code, 0);
}

#[test]
fn a_password_of_any_language_opens_and_one_that_nobody_can_send_is_refused() {
    let lines = format!("{LINES}cli-ip=192.0.2.30\ncli-port=5799\n");
    let node = Migrated::start(&format!("{lines}cli-password={PASSWORD}\n"), FLAGS);
    let address = SocketAddr::new(node.ip, 5799);
    let (done, said) = whoami(address, PASSWORD);
    assert!(done && said.contains("local:password"), "{said}");
    assert!(!whoami(address, &PASSWORD.replace('ü', "u")).0);
    drop(node);
    let mut wrong = Migrated::prepare(&format!("{lines}cli-password=a\u{7}bell-rings\n"), FLAGS);
    wrong.launch();
    wrong.wait_ready();
    let address = SocketAddr::new(wrong.ip, 5799);
    assert!(TcpStream::connect(address).is_err(), "the port is open");
    wait_until("what is wrong with it", Duration::from_secs(10), || {
        let said = wrong.said();
        said.contains("cli-password: ") && said.contains("the port is not opened")
    });
}

#[test]
fn a_common_password_is_told_of_wherever_it_stands() {
    let told = |lines: &str, flags: &[&str]| {
        let flags = [&["--check-config", "-c", "turnserver.conf"], flags].concat();
        let node = Migrated::prepare(&format!("{LINES}{lines}"), &flags);
        let (code, said) = node.run_to_end();
        assert_eq!(code, Some(0), "{said}");
        said.matches("the password of administrators is common")
            .count()
    };
    let ip = "cli-ip=192.0.2.30\n";
    assert_eq!(told(&format!("{ip}cli-password=qwerty\n"), &[]), 1);
    assert_eq!(told(ip, &["--cli-password=123456"]), 1);
    assert_eq!(told(&format!("{ip}cli-password={PASSWORD}\n"), &[]), 0);
}
