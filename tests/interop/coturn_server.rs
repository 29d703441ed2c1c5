//! The kit's client against coturn's server, so that client and server do not share a mistake.

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command};
use std::time::Duration;

use kit::address::{free_port, fresh_ip};
use kit::client::{AllocateOptions, From, Login, TurnClient};
use kit::coturn::Peer;
use kit::program::{Sinks, spawn};
use kit::wait::wait_until;

struct Coturn {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Coturn {
    fn start() -> Self {
        let address = free_port(fresh_ip());
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("turnserver");
        command.args([
            "-n",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--allow-loopback-peers",
        ]);
        command.args([
            "--cli-password=unused",
            "--log-file=stdout",
            "-a",
            "-r",
            "north.gov",
        ]);
        command.args([
            "-u",
            "alice:wonderland",
            "--min-port=49152",
            "--max-port=65535",
        ]);
        command.arg(format!("--listening-ip={}", address.ip()));
        command.arg(format!("--relay-ip={}", address.ip()));
        command.arg(format!("--listening-port={}", address.port()));
        command.arg(format!(
            "--userdb={}",
            folder.path().join("turndb").display()
        ));
        command.arg(format!("--pidfile={}", folder.path().join("pid").display()));
        let child = spawn("coturn", command, &Sinks::File(&folder.path().join("log")));
        let server = Self {
            address,
            child,
            _folder: folder,
        };
        wait_until("coturn to answer", Duration::from_secs(20), || {
            let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
            probe
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            let binding = [
                0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
            ];
            let _ = probe.send_to(&binding, address);
            probe.recv(&mut [0; 600]).is_ok()
        });
        server
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_kits_client_relays_through_coturn() {
    let (server, peer) = (Coturn::start(), Peer::start());
    let mut client = TurnClient::new(server.address, Login::new("alice", "wonderland")).unwrap();
    assert_eq!(client.binding().unwrap(), client.local());

    let options = AllocateOptions {
        even_port: Some(true),
        lifetime: Some(900),
        ..Default::default()
    };
    let allocated = client.allocate_with(options).unwrap();
    assert_eq!(allocated.mapped, client.local());
    assert!(allocated.relay.port().is_multiple_of(2) && allocated.token.is_some());

    client.permit(&[peer.address.ip()]).unwrap();
    client.send(peer.address, b"by indication").unwrap();
    let (from, payload) = client.recv(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(
        (from, payload.as_slice()),
        (From::Peer(peer.address), b"by indication".as_slice())
    );

    client.bind_channel(0x4001, peer.address).unwrap();
    client.send_channel(0x4001, b"by channel").unwrap();
    let (from, payload) = client.recv(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(
        (from, payload.as_slice()),
        (From::Channel(0x4001), b"by channel".as_slice())
    );

    assert_eq!(client.refresh(0).unwrap(), 0);
}

#[test]
fn a_wrong_password_is_refused_by_coturn_with_401() {
    let server = Coturn::start();
    let mut client = TurnClient::new(server.address, Login::new("alice", "looking-glass")).unwrap();
    assert_eq!(client.allocate().unwrap_err().code(), Some(401));
}
