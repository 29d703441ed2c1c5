//! UDP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

/// Room for the largest datagram.
pub(super) const DATAGRAM: usize = 65_536;

/// A socket that hears only its server, so that ICMP errors become errors of ours.
#[derive(Debug)]
pub struct UdpLink {
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl UdpLink {
    pub(super) async fn open(server: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            socket: bound_towards(server).await?,
            buffer: vec![0; DATAGRAM],
        })
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.socket.send(message).await.map(drop)
    }

    pub(super) async fn recv(&mut self) -> io::Result<Vec<u8>> {
        let len = self.socket.recv(&mut self.buffer).await?;
        Ok(self.buffer[..len].to_vec())
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A socket that sends to `to` and hears nobody else.
pub(in crate::turn) async fn bound_towards(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket)
}
