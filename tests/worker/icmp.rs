//! ICMP errors about relayed datagrams (RFC 8656 §11.5) and DONT-FRAGMENT (§14), from the kernel.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use kit::client::{AllocateOptions, From, Icmp, Login, TurnClient};
use kit::netns::{ip, isolated, sysctl};
use kit::wait::wait_for;

use super::{Rig, SECRET, peer};

const SOON: Duration = Duration::from_secs(5);

/// A port of that address that nobody listens on.
fn closed_port(ip: &str) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.local_addr().unwrap()
}

fn icmp(peer: SocketAddr, kind: u8, code: u8, data: u32) -> Icmp {
    Icmp {
        peer,
        kind,
        code,
        data,
    }
}

/// A client with a relay of the rig's family.
pub(crate) fn allocated(rig: &Rig) -> (TurnClient, SocketAddr) {
    let login = Login::rest("4000000000:alice", SECRET);
    let mut client = TurnClient::bound((rig.server.ip(), 0).into(), rig.server, login).unwrap();
    let family = if rig.server.is_ipv4() { 1 } else { 2 };
    let allocated = client.allocate_with(AllocateOptions {
        family: Some(family),
        ..AllocateOptions::default()
    });
    (client, allocated.unwrap().relay)
}

#[test]
fn a_closed_port_of_a_peer_is_told_as_icmp() {
    for (address, kind, code) in [("127.0.0.1", 3, 3), ("::1", 1, 4)] {
        let rig = Rig::at(address, 1);
        let (mut client, _) = allocated(&rig);
        let peer = closed_port(address);
        client.permit(&[peer.ip()]).unwrap();
        client.send(peer, b"anybody there?").unwrap();
        let told = client.recv_icmp(SOON).unwrap();
        assert_eq!(told, Some(icmp(peer, kind, code, 0)));
    }
}

#[test]
fn an_icmp_error_hurts_no_other_peer() {
    let rig = Rig::start(1);
    let (mut client, relay) = allocated(&rig);
    let (open, closed) = (peer(), closed_port("127.0.0.1"));
    let address = open.local_addr().unwrap();
    client.permit(&[closed.ip()]).unwrap();
    client.bind_channel(0x4000, address).unwrap();
    client.bind_channel(0x4001, closed).unwrap();
    let mut buffer = [0; 100];
    for round in 0..200_u32 {
        // Errors about the closed port pend whenever the open one is sent to.
        for _ in 0..5 {
            client.send_channel(0x4001, b"lost").unwrap();
            client.send_channel(0x4000, &round.to_be_bytes()).unwrap();
        }
        for _ in 0..5 {
            assert_eq!(open.recv_from(&mut buffer).unwrap(), (4, relay));
            assert_eq!(buffer[..4], round.to_be_bytes());
        }
        open.send_to(b"back", relay).unwrap();
        let got = client.recv(SOON).unwrap();
        assert_eq!(got, Some((From::Channel(0x4000), b"back".to_vec())));
    }
}

#[test]
fn the_error_queue_takes_no_room_from_peers() {
    let rig = Rig::start(1);
    let (mut client, relay) = allocated(&rig);
    let (open, closed) = (peer(), closed_port("127.0.0.1"));
    client.permit(&[closed.ip()]).unwrap();
    client.bind_channel(0x4001, closed).unwrap();
    client
        .bind_channel(0x4000, open.local_addr().unwrap())
        .unwrap();
    // An error keeps its datagram: these would fill the receive buffer several times over.
    let large = vec![0; 8000];
    for _ in 0..40 {
        for _ in 0..50 {
            client.send_channel(0x4001, &large).unwrap();
        }
        // The worker is through with all of them.
        client.binding().unwrap();
    }
    // The errors of the last round may still be there: one packet may be lost to them, not all.
    let got = wait_for("a packet of the peer", SOON, || {
        open.send_to(b"still here", relay).unwrap();
        client.recv(Duration::from_millis(200)).unwrap()
    });
    assert_eq!(got, (From::Channel(0x4000), b"still here".to_vec()));
}

/// This namespace, a router, and a peer behind a link of 1,280 bytes.
fn lay_cables() {
    for name in ["router", "peer"] {
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
    }
    ip("link add up0 type veth peer name down0 netns router");
    ip("-n router link add up1 mtu 1280 type veth peer name down1 mtu 1280 netns peer");
    for (namespace, link, v4, v6) in [
        ("", "up0", "10.9.0.1/24", "fd09::1/64"),
        ("-n router ", "down0", "10.9.0.2/24", "fd09::2/64"),
        ("-n router ", "up1", "10.9.1.1/24", "fd09:1::1/64"),
        ("-n peer ", "down1", "10.9.1.2/24", "fd09:1::2/64"),
    ] {
        ip(&format!("{namespace}address add {v4} dev {link}"));
        ip(&format!("{namespace}address add {v6} dev {link} nodad"));
        ip(&format!("{namespace}link set {link} up"));
    }
    ip("route add default via 10.9.0.2");
    ip("route add default via fd09::2");
    ip("-n peer route add default via 10.9.1.1");
    ip("-n peer route add default via fd09:1::1");
    sysctl("router", "net.ipv4.ip_forward=1");
    sysctl("router", "net.ipv6.conf.all.forwarding=1");
    for namespace in ["router", "peer"] {
        sysctl(namespace, "net.ipv4.icmp_ratelimit=0");
        sysctl(namespace, "net.ipv6.icmp.ratelimit=0");
    }
}

#[test]
fn dont_fragment_holds_for_one_datagram_and_its_path_mtu_is_told() {
    isolated(
        "icmp::dont_fragment_holds_for_one_datagram_and_its_path_mtu_is_told",
        || {
            lay_cables();
            for (own, host, too_big, closed) in [
                ("10.9.0.1", "10.9.1.2", (3, 4), (3, 3)),
                ("fd09::1", "fd09:1::2", (2, 0), (1, 4)),
            ] {
                let rig = Rig::at(own, 1);
                let (mut client, _) = allocated(&rig);
                let peer: SocketAddr = (host.parse::<std::net::IpAddr>().unwrap(), 9).into();
                client.permit(&[peer.ip()]).unwrap();
                let error = |(kind, code): (u8, u8), data| Some(icmp(peer, kind, code, data));
                for _ in 0..2 {
                    // The router says so.
                    client.send_whole(peer, &[1; 1300]).unwrap();
                    assert_eq!(client.recv_icmp(SOON).unwrap(), error(too_big, 1280));
                    // Not a sticky bit: in fragments it reaches the peer, who has no such port.
                    client.send(peer, &[1; 1300]).unwrap();
                    assert_eq!(client.recv_icmp(SOON).unwrap(), error(closed, 0));
                    // One that fits reaches the peer in one piece.
                    client.send_whole(peer, &[1; 1000]).unwrap();
                    assert_eq!(client.recv_icmp(SOON).unwrap(), error(closed, 0));
                }
            }
            // Too long for the first link already: this host says so.
            let rig = Rig::at("10.9.0.1", 1);
            let (mut client, _) = allocated(&rig);
            let peer = "10.9.1.2:9".parse().unwrap();
            client.permit(&["10.9.1.2".parse().unwrap()]).unwrap();
            client.send_whole(peer, &[1; 2000]).unwrap();
            assert_eq!(
                client.recv_icmp(SOON).unwrap(),
                Some(icmp(peer, 3, 4, 1500))
            );
            client.send(peer, &[1; 2000]).unwrap();
            assert_eq!(client.recv_icmp(SOON).unwrap(), Some(icmp(peer, 3, 3, 0)));
        },
    );
}

#[test]
fn routers_on_the_way_are_heard() {
    isolated("icmp::routers_on_the_way_are_heard", || {
        lay_cables();
        ip("-n router route add unreachable 10.8.1.0/24");
        ip("-n router route add prohibit 10.8.2.0/24");
        let rig = Rig::at("10.9.0.1", 1);
        let (mut client, _) = allocated(&rig);
        for (peer, kind, code) in [
            ("10.8.1.1:7", 3, 1),
            ("10.8.2.1:7", 3, 13),
            ("10.8.3.1:7", 3, 0),
        ] {
            let peer: SocketAddr = peer.parse().unwrap();
            client.permit(&[peer.ip()]).unwrap();
            client.send(peer, b"?").unwrap();
            let told = client.recv_icmp(SOON).unwrap();
            assert_eq!(told, Some(icmp(peer, kind, code, 0)));
        }
        // The next router is the last one that such a datagram reaches.
        std::fs::write("/proc/sys/net/ipv4/ip_default_ttl", "1").unwrap();
        let peer = "10.9.1.2:9".parse().unwrap();
        client.permit(&["10.9.1.2".parse().unwrap()]).unwrap();
        client.send(peer, b"?").unwrap();
        let told = client.recv_icmp(SOON).unwrap();
        assert_eq!(told, Some(icmp(peer, 11, 0, 0)));
    });
}
