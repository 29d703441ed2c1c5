//! Flows: whose they are, where they go.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use mio::net::UdpSocket;

use super::Binder;

/// One client with one peer.
#[derive(Debug)]
pub(super) struct Flow {
    /// Who it belongs to.
    pub(super) client: SocketAddr,
    /// Where peers send to.
    pub(super) relayed: SocketAddr,
    /// Its channel, as on the wire; zero until there is one.
    pub(super) channel: [u8; 2],
    /// Where its channel leads.
    pub(super) peer: SocketAddr,
    /// Its socket.
    pub(super) socket: UdpSocket,
    /// The same, for system calls.
    pub(super) fd: RawFd,
    /// Whether it waits to be read.
    pub(super) ready: bool,
}

/// All flows.
#[derive(Debug, Default)]
pub(super) struct Flows {
    all: Vec<Option<Flow>>,
    free: Vec<usize>,
    by_client: HashMap<u64, usize, BuildHasherDefault<OneNumber>>,
    /// The client that was looked for last, since packets come in bursts.
    latest: (u64, usize),
}

impl Flows {
    /// The flow of a client.
    pub(super) fn of_client(&mut self, client: SocketAddr) -> Option<&mut Flow> {
        let index = self.index_of(client)?;
        self.all[index].as_mut()
    }

    /// The number of a client's flow.
    pub(super) fn index_of(&mut self, client: SocketAddr) -> Option<usize> {
        let key = key(client);
        if key != self.latest.0 {
            self.latest = (key, *self.by_client.get(&key)?);
        }
        Some(self.latest.1)
    }

    /// Flow number `index`, where it still is.
    pub(super) fn get(&mut self, index: usize) -> Option<&mut Flow> {
        self.all.get_mut(index)?.as_mut()
    }

    /// Opens the flow of a client, or finds it.
    pub(super) fn open(&mut self, client: SocketAddr, binder: &Binder) -> io::Result<&mut Flow> {
        let index = match self.index_of(client) {
            Some(index) => index,
            None => self.make(client, binder)?,
        };
        Ok(self.all[index].as_mut().expect("flows in the map exist"))
    }

    fn make(&mut self, client: SocketAddr, binder: &Binder) -> io::Result<usize> {
        let index = self.free.pop().unwrap_or(self.all.len());
        let socket = match binder.bind(index) {
            Ok(socket) => socket,
            Err(error) => {
                if index < self.all.len() {
                    self.free.push(index);
                }
                return Err(error);
            }
        };
        let flow = Flow {
            client,
            relayed: socket.local_addr()?,
            channel: [0; 2],
            peer: client,
            fd: socket.as_raw_fd(),
            socket,
            ready: false,
        };
        if index == self.all.len() {
            self.all.push(None);
        }
        self.all[index] = Some(flow);
        self.by_client.insert(key(client), index);
        Ok(index)
    }

    /// Closes the flow of a client.
    pub(super) fn close(&mut self, client: SocketAddr, binder: &Binder) {
        let Some(index) = self.by_client.remove(&key(client)) else {
            return;
        };
        self.latest = (0, 0);
        self.free.push(index);
        if let Some(flow) = self.all[index].take() {
            binder.release(flow.socket);
        }
    }
}

/// Address and port in one number, which is never 0: nobody sends from port 0.
fn key(client: SocketAddr) -> u64 {
    match client {
        SocketAddr::V4(v4) => u64::from(u32::from(*v4.ip())) << 16 | u64::from(v4.port()),
        // The sockets are of IPv4.
        SocketAddr::V6(_) => u64::MAX,
    }
}

/// A hash of one number: a multiplication, whose upper half is as good as it gets for that price.
#[derive(Clone, Copy, Debug, Default)]
struct OneNumber(u64);

impl Hasher for OneNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte) ^ self.0);
        }
    }

    fn write_u64(&mut self, number: u64) {
        let wide = u128::from(number) * 0x9e37_79b9_7f4a_7c15_u128;
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }
}
