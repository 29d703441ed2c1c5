//! The far end: one socket that is the peer of all sessions.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use turn_udp::grouping::{Device, Outlet};

use super::datagrams::{Batches, bind, local_towards};

/// Asked of the kernel for the socket, in bytes.
const BUFFER: usize = 8 << 20;

/// The peer.
#[derive(Debug)]
pub(super) struct Peer {
    socket: UdpSocket,
    /// Where the server sees it.
    pub(super) address: SocketAddr,
    /// By client, where its relay is.
    relays: Vec<SocketAddr>,
    by_relay: HashMap<SocketAddr, usize>,
}

impl Peer {
    /// One at `address`, or where packets of this machine to `server` come from.
    ///
    /// # Errors
    /// It cannot be bound, or is an address of nobody.
    pub(super) fn bind(
        address: Option<SocketAddr>,
        server: SocketAddr,
        segments: bool,
    ) -> io::Result<Self> {
        let address = match address {
            Some(address) if address.ip().is_unspecified() => {
                let mut local = local_towards(server)?;
                local.set_port(address.port());
                local
            }
            Some(address) => address,
            // Any address of the loopback would do: this is the one that configurations name.
            None if server.ip().is_loopback() && server.is_ipv4() => {
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
            }
            None => local_towards(server)?,
        };
        let socket = bind(address, BUFFER, segments)
            .map_err(|error| io::Error::new(error.kind(), format!("--peer {address}: {error}")))?;
        Ok(Self {
            address: socket.local_addr()?,
            socket,
            relays: Vec::new(),
            by_relay: HashMap::new(),
        })
    }

    /// Learns where the clients' relays are.
    pub(super) fn set_relays(&mut self, relays: Vec<SocketAddr>) {
        let pairs = relays.iter().enumerate();
        self.by_relay = pairs.map(|(client, relay)| (*relay, client)).collect();
        self.relays = relays;
    }

    /// Where the relay of `client` is.
    pub(super) fn relay(&self, client: usize) -> Option<SocketAddr> {
        self.relays.get(client).copied()
    }

    /// Whose relay that is.
    pub(super) fn client_of(&self, relay: SocketAddr) -> Option<usize> {
        self.by_relay.get(&relay).copied()
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Where it sends.
    pub(super) fn outlet(&self) -> Outlet {
        Outlet {
            socket: self.socket.as_raw_fd(),
            device: Device::default(),
        }
    }

    /// Sends payloads to the relays of clients. Answers how many the kernel did not take.
    pub(super) fn send<'p>(
        &self,
        batches: &mut Batches,
        together: bool,
        payloads: impl Iterator<Item = (usize, &'p [u8])>,
    ) -> u64 {
        let queue = batches.queue(together);
        let before = queue.failed;
        let mut batch = queue.batch();
        for (client, payload) in payloads {
            batch.push(self.outlet(), self.relays[client], &[], payload, 0);
        }
        drop(batch);
        queue.failed - before
    }
}
