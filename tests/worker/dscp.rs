//! The traffic class of relayed datagrams (RFC 8656 §14), as the kernel sees it on both sides.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use kit::wait::wait_for;
use turn_proto::channel_data::{ChannelData, ChannelNumber};
use turn_udp::batch::SendQueue;
use turn_udp::grouping::{Device, Outlet};
use turn_udp::receive::RecvBuffers;
use turn_udp::sys::set_receive_class;

use super::Rig;
use super::icmp::allocated;

const SOON: Duration = Duration::from_secs(5);
/// Expedited forwarding, ECN-capable.
const VOICE: u8 = 46 << 2 | 0b10;

fn send(socket: &UdpSocket, to: SocketAddr, class: u8, parts: [&[u8]; 2]) {
    let mut queue = SendQueue::new();
    let mut batch = queue.batch();
    batch.set_class(class);
    let outlet = Outlet {
        socket: socket.as_raw_fd(),
        device: Device::default(),
    };
    batch.push(outlet, to, parts[0], parts[1], 0);
    assert_eq!(batch.flush(), 0);
}

/// The next datagram of a socket: its traffic class and its bytes.
fn next(socket: &UdpSocket) -> (u8, Vec<u8>) {
    let buffers = RecvBuffers::new();
    wait_for("a datagram", SOON, || {
        let received = buffers.receive(socket.as_raw_fd(), 1).ok()?;
        let datagram = received.datagrams().next()??;
        Some((datagram.class, datagram.bytes.to_vec()))
    })
}

/// Sends with each class both ways; answers what arrived.
fn classes(ip: &str, copy: bool) -> Vec<(u8, u8, u8)> {
    let rig = Rig::with(ip, 1, copy);
    let (mut client, relay) = allocated(&rig);
    let peer = UdpSocket::bind((ip, 0)).unwrap();
    for socket in [&peer, client.socket()] {
        set_receive_class(socket.as_fd(), rig.server.is_ipv4()).unwrap();
    }
    client
        .bind_channel(0x4000, peer.local_addr().unwrap())
        .unwrap();
    let header = ChannelData::header(ChannelNumber::new(0x4000).unwrap(), 2);
    let mut seen = Vec::new();
    for class in [0, VOICE, 0, 1, 255] {
        send(client.socket(), rig.server, class, [&header, b"up"]);
        let (there, bytes) = next(&peer);
        assert_eq!(bytes, b"up");
        send(&peer, relay, class, [&[], b"dn"]);
        let (back, bytes) = next(client.socket());
        assert_eq!(bytes[4..], *b"dn");
        seen.push((class, there, back));
    }
    seen
}

#[test]
fn a_datagram_keeps_its_traffic_class_both_ways_where_that_is_wanted() {
    for ip in ["127.0.0.1", "::1"] {
        for (sent, there, back) in classes(ip, true) {
            assert_eq!((there, back), (sent, sent), "{ip}");
        }
    }
}

#[test]
fn otherwise_datagrams_leave_as_best_effort_and_not_ect() {
    for ip in ["127.0.0.1", "::1"] {
        for (_, there, back) in classes(ip, false) {
            assert_eq!((there, back), (0, 0), "{ip}");
        }
    }
}
