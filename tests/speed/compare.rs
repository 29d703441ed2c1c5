//! The comparison of servers and the forwarders beside them: they work, whatever the machine.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use kit::address::{free_port, fresh_ip};
use kit::client::{From, Login, TurnClient};
use kit::program::{Sinks, finish, ours, spawn};
use kit::wait::wait_until;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(10);

#[test]
fn the_comparison_runs_to_its_end_with_the_servers_that_are_installed() {
    let mut command = Command::new(ours("compare-servers"));
    command.args(["--smoke", "-o", "json"]);
    command.args(["--servers", "relayd,coturn,single,batched,grouped"]);
    let output = finish(
        "compare-servers",
        spawn("this workspace", command, &Sinks::Pipes),
        PATIENCE,
    );
    let wrote = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{wrote}");
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cases = results["cases"].as_array().unwrap();
    let names: Vec<_> = cases.iter().map(|case| &case["name"]).collect();
    let expected: Vec<_> = kit::compare::CASES.iter().map(|case| case.name).collect();
    assert_eq!(names, expected);
    for case in cases {
        let rows = case["servers"].as_array().unwrap();
        assert_eq!(rows[0]["server"], "relayd");
        // A few sessions may fit into memory that is there already.
        let is_idle = case["name"] == "idle";
        for row in rows {
            assert!(is_idle || row["median"].as_f64() > Some(0.0), "{row:#}");
            let counted = &row["runs"][0]["count"];
            assert!(counted.as_u64() > Some(0), "{row:#}");
        }
        let servers: Vec<_> = rows.iter().map(|row| &row["server"]).collect();
        let compared = &rows[0]["ratio_to_coturn"];
        let is_alone = case["name"] == "two-workers";
        assert_eq!(servers.len() > 1, !is_alone, "{case:#}");
        assert!(
            is_alone || is_idle || compared.as_f64() > Some(0.0),
            "{case:#}"
        );
    }
}

#[test]
fn every_forwarder_moves_what_it_is_given_both_ways() {
    for mode in ["single", "batched", "grouped"] {
        let forwarder = Forwarder::start(mode);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(SOON)).unwrap();
        let mut clients: Vec<_> = (0..3).map(|_| forwarder.client()).collect();
        let relays: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let relay = client.allocate().unwrap().relay;
                client.permit(&[peer.local_addr().unwrap().ip()]).unwrap();
                client
                    .bind_channel(0x4001, peer.local_addr().unwrap())
                    .unwrap();
                relay
            })
            .collect();
        for size in [0, 1, 160, 161, 1200] {
            for (client, relay) in clients.iter_mut().zip(&relays) {
                let payload = vec![size as u8; size];
                let mut buffer = [0; 2000];
                // Two at once, so that there is something to put together.
                client.send_channel(0x4001, &payload).unwrap();
                client.send_channel(0x4001, &payload).unwrap();
                for _ in 0..2 {
                    let (len, from) = peer.recv_from(&mut buffer).unwrap();
                    assert_eq!((&buffer[..len], from), (&payload[..], *relay), "{mode}");
                }
                peer.send_to(&payload, relay).unwrap();
                let received = client.recv(SOON).unwrap();
                assert_eq!(received, Some((From::Channel(0x4001), payload)), "{mode}");
            }
        }
        // What is released is not forwarded any more, and the next one is.
        clients[0].refresh(0).unwrap();
        let next = forwarder.client().allocate().unwrap().relay;
        assert!(!relays[1..].contains(&next), "{mode}");
        clients[0].send_channel(0x4001, b"late").unwrap();
        clients[1].send_channel(0x4001, b"on time").unwrap();
        let mut buffer = [0; 2000];
        let (len, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..len], from),
            (&b"on time"[..], relays[1]),
            "{mode}"
        );
    }
}

/// A running `plain-forwarder`. Dropping it ends it.
struct Forwarder {
    address: std::net::SocketAddr,
    child: std::process::Child,
}

impl Forwarder {
    fn start(mode: &str) -> Self {
        let address = free_port(fresh_ip());
        let mut command = Command::new(ours("plain-forwarder"));
        command.args(["--listen", &address.to_string(), "--mode", mode]);
        command.args(["--realm", "speed", "--user", "alice", "--password", "w"]);
        let child = spawn(
            "this workspace",
            command,
            &Sinks::File("/dev/null".as_ref()),
        );
        let forwarder = Self { address, child };
        wait_until("the forwarder to listen", SOON, || {
            // Whoever has the port is not us.
            UdpSocket::bind(address).is_err()
        });
        forwarder
    }

    fn client(&self) -> TurnClient {
        TurnClient::new(self.address, Login::new("alice", "w")).unwrap()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
