//! Contexts behind a real sshd, directly and through a bastion; and a console run over a slow link.

use std::path::Path;

use kit::node::{Node, NodeOptions};
use kit::program::ours;
use kit::pty::{Pty, PtyCommand};
use kit::ssh::{Delay, SlowLink, SshServer, kill, path_with, ssh_children};
use kit::wait::wait_until;

use crate::live::at_home;

/// A console whose context leads over ssh to the node's socket.
fn over_ssh(node: &Node, home: &Path, ssh: &Path, host: &str) -> Pty {
    let address = format!("ssh://{host}{}", node.socket().display());
    let command = PtyCommand::new(&ours("relayctl")).args(&["--context", &address]);
    at_home(command, home).env("PATH", path_with(ssh)).start()
}

#[test]
fn a_node_behind_ssh_is_watched_lost_and_found_again() {
    let (mut server, node) = (SshServer::start(), Node::start(NodeOptions::default()));
    let home = tempfile::tempdir().expect("a folder");
    let ssh = server.client(server.address);
    let mut console = over_ssh(&node, home.path(), &ssh, "host");
    console.wait_text("live 1s");
    console.keys("2");
    console.wait_text("ams1");
    // The connection dies, not the node.
    let tunnels = ssh_children(console.pid());
    assert_eq!(tunnels.len(), 1, "one tunnel");
    kill(tunnels[0], "KILL");
    wait_until("another tunnel", kit::pty::PATIENCE, || {
        let now = ssh_children(console.pid());
        now.len() == 1 && now != tunnels
    });
    console.wait_text("live 1s");
    // The whole host goes away for a while.
    server.stop();
    let screen = console.wait_text("DISCONNECTED");
    assert!(screen.contains("ams1"), "the last rows stay:\n{screen}");
    server.launch();
    console.keys("R");
    console.wait_text("live 1s");
    console.keys("qq");
    assert_eq!(console.wait_exit(), 0);
}

#[test]
fn a_node_behind_a_bastion_is_watched() {
    let (server, node) = (SshServer::start(), Node::start(NodeOptions::default()));
    let home = tempfile::tempdir().expect("a folder");
    let ssh = server.client(server.address);
    let mut console = over_ssh(&node, home.path(), &ssh, "inside");
    console.wait_text("live 1s");
    console.keys("2");
    console.wait_text("ams1");
    let pid = console.pid();
    console.keys("qq");
    assert_eq!(console.wait_exit(), 0);
    assert!(
        ssh_children(pid).is_empty(),
        "the tunnel ends with the console"
    );
}

#[test]
fn who_is_not_let_in_is_told_by_whom() {
    let (server, node) = (SshServer::start(), Node::start(NodeOptions::default()));
    let home = tempfile::tempdir().expect("a folder");
    let ssh = server.client(server.address);
    let whoami = |host: &str| {
        let address = format!("ssh://{host}{}", node.socket().display());
        let command = PtyCommand::new(&ours("relayctl")).args(&["--context", &address, "whoami"]);
        let mut refused = at_home(command, home.path())
            .env("PATH", path_with(&ssh))
            .start();
        assert_eq!(refused.wait_exit(), 6);
        refused.screen().replace('\n', "")
    };
    let by_sshd = whoami("no-such-user-here@host");
    assert!(by_sshd.contains("Permission denied"), "{by_sshd}");
    // This user may enter the host, but not the node's socket.
    let by_the_socket = whoami("nobody@host");
    assert!(by_the_socket.contains("group relayd"), "{by_the_socket}");
}

#[test]
fn a_console_on_a_far_host_answers_each_key_and_writes_little() {
    let (server, node) = (SshServer::start(), Node::start(NodeOptions::default()));
    let link = SlowLink::to(
        server.address,
        Delay {
            one_way: std::time::Duration::from_millis(75),
            loss_one_in: 100,
            seed: 7,
        },
    );
    let home = tempfile::tempdir().expect("a folder");
    let ssh = server.client(link.address);
    let remote = format!(
        "HOME={home} XDG_CONFIG_HOME={home}/config TERM=xterm-256color {} --context unix:{}",
        ours("relayctl").display(),
        node.socket().display(),
        home = home.path().display(),
    );
    let command = PtyCommand::new(&ssh.join("ssh")).args(&["-tt", "host", &remote]);
    let mut console = command.start();
    console.wait_text("live 1s");
    for (key, place) in [
        ("2", "Pulse > Nodes"),
        ("3", "Pulse > Sessions"),
        ("1", "SESSIONS"),
    ] {
        console.keys(key);
        console.wait(place, |s| s.to_uppercase().contains(&place.to_uppercase()));
    }
    console.keys("3/user~quite-a-long-name-typed-over-a-slow-link");
    console.wait_text("user~quite-a-long-name-typed-over-a-slow-link");
    console.keys("\x1b");
    console.wait("the prompt to close", |s| !s.contains("quite-a-long"));
    // Ten refreshes of a quiet list: what changes is the clock and little else.
    let clock = |screen: &str| {
        screen
            .split("as of ")
            .nth(1)
            .map(|rest| rest[..8].to_owned())
    };
    let first = console.wait("a time", |s| clock(s).is_some());
    let begin = console.written_bytes();
    let mut seen = vec![clock(&first)];
    while seen.len() < 11 {
        let last = seen.last().cloned().flatten();
        let screen = console.wait("the next refresh", |s| {
            clock(s).is_some() && clock(s) != last
        });
        seen.push(clock(&screen));
    }
    let bytes = console.written_bytes() - begin;
    assert!(bytes < 10 * 1024, "{bytes} bytes for ten refreshes");
    console.keys("qq");
    assert_eq!(console.wait_exit(), 0);
}
