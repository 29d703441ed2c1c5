//! Clients over UDP: many 5-tuples from one socket, or a socket each; everything in batches.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};
use turn_udp::batch::SendQueue;
use turn_udp::grouping::{Device, Outlet};
use turn_udp::receive::{RECV_SLOTS, RecvBuffers};
use turn_udp::sys;

use super::plan::{Place, Source};
use super::poll::Poll;

/// Asked of the kernel for each socket that many clients share, in bytes.
const SHARED_BUFFER: usize = 8 << 20;
/// Asked for a client's own socket.
const OWN_BUFFER: usize = 1 << 20;

/// Storage of batches, shared by all sockets of the run.
#[derive(Debug)]
pub(super) struct Batches {
    /// Where datagrams are received.
    pub(super) receive: RecvBuffers,
    /// Sends each datagram by itself.
    pub(super) singly: SendQueue,
    /// Sends those of one flow that follow each other as one message.
    pub(super) together: SendQueue,
}

impl Batches {
    /// Empty ones.
    pub(super) fn new() -> Self {
        Self {
            receive: RecvBuffers::new(),
            singly: SendQueue::without_runs(),
            together: SendQueue::new(),
        }
    }

    /// The queue for datagrams that go together, or do not.
    pub(super) fn queue(&mut self, together: bool) -> &mut SendQueue {
        match together {
            true => &mut self.together,
            false => &mut self.singly,
        }
    }

    /// Takes all that a socket has, and gives it to `each` with the time at which it was found.
    pub(super) fn drain(
        &mut self,
        socket: BorrowedFd<'_>,
        each: &mut impl FnMut(&turn_udp::receive::Datagram<'_>, Instant),
    ) -> io::Result<()> {
        loop {
            let received = match self.receive.receive(socket.as_raw_fd(), RECV_SLOTS) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            received
                .datagrams()
                .flatten()
                .for_each(|datagram| each(&datagram, now));
            let is_drained = received.is_drained;
            self.receive.give_back();
            if is_drained {
                return Ok(());
            }
        }
    }
}

/// Binds a socket with room for `buffer` bytes each way.
pub(super) fn bind(address: SocketAddr, buffer: usize, segments: bool) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Beyond the limit of the system where we may; what is received late must not be lost here.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, buffer).is_err() {
        socket.set_recv_buffer_size(buffer)?;
    }
    socket.set_send_buffer_size(buffer)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    if segments {
        sys::set_receive_segments(socket.as_fd())?;
    }
    Ok(socket)
}

/// The clients.
#[derive(Debug)]
pub(super) struct Datagrams {
    server: SocketAddr,
    clients: Clients,
}

#[derive(Debug)]
enum Clients {
    /// One socket, an address each.
    Shared {
        socket: UdpSocket,
        source: Source,
        /// By client, the number of its address.
        addresses: Vec<u32>,
    },
    /// A socket each.
    Own {
        sockets: Vec<UdpSocket>,
        poll: Poll,
        segments: bool,
    },
}

impl Datagrams {
    /// So many clients of the server in `place`.
    ///
    /// # Errors
    /// There are no more sockets, or fewer addresses than clients.
    pub(super) fn new(place: &Place, clients: usize) -> io::Result<Self> {
        let (server, segments) = (place.server, place.receive_segments);
        let clients = match place.source {
            Some(source) => {
                if clients > source.count as usize {
                    let count = source.count;
                    let what = format!("--source has {count} addresses for {clients} clients");
                    return Err(io::Error::other(what));
                }
                let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
                let socket = bind(any, SHARED_BUFFER, segments)?;
                sys::set_receive_destination(socket.as_fd(), true)?;
                Clients::Shared {
                    socket,
                    source,
                    addresses: (0..clients as u32).collect(),
                }
            }
            None => {
                let mut own = (Vec::with_capacity(clients), Poll::new()?);
                for client in 0..clients {
                    let socket = own_socket(server, segments)?;
                    own.1.add(socket.as_fd(), client)?;
                    own.0.push(socket);
                }
                Clients::Own {
                    sockets: own.0,
                    poll: own.1,
                    segments,
                }
            }
        };
        Ok(Self { server, clients })
    }

    /// Gives `client` a 5-tuple that it did not have before, as far as there are any.
    pub(super) fn renew(&mut self, client: usize) -> io::Result<()> {
        match &mut self.clients {
            Clients::Shared {
                source, addresses, ..
            } => {
                let step = addresses.len() as u32;
                let rounds = source.count / step;
                let next = addresses[client] + step;
                addresses[client] = if next < rounds * step {
                    next
                } else {
                    next % step
                };
            }
            Clients::Own {
                sockets,
                poll,
                segments,
            } => {
                let socket = own_socket(self.server, *segments)?;
                poll.add(socket.as_fd(), client)?;
                sockets[client] = socket;
            }
        }
        Ok(())
    }

    /// Where messages of `client` come from.
    pub(super) fn address(&self, client: usize) -> io::Result<SocketAddr> {
        match &self.clients {
            Clients::Shared {
                socket,
                source,
                addresses,
            } => {
                let port = socket.local_addr()?.port();
                Ok(SocketAddr::new(source.address(addresses[client]), port))
            }
            Clients::Own { sockets, .. } => sockets[client].local_addr(),
        }
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match &self.clients {
            Clients::Shared { socket, .. } => socket.as_fd(),
            Clients::Own { poll, .. } => poll.fd(),
        }
    }

    /// Sends messages of clients; those of one client that follow each other leave `together` where
    /// so. Answers how many the kernel did not take.
    pub(super) fn send<'p>(
        &mut self,
        batches: &mut Batches,
        together: bool,
        messages: impl Iterator<Item = (usize, &'p [u8])>,
    ) -> u64 {
        let queue = batches.queue(together);
        let before = queue.failed;
        let mut batch = queue.batch();
        for (client, bytes) in messages {
            let socket = match &self.clients {
                Clients::Shared {
                    socket,
                    source,
                    addresses,
                } => {
                    batch.set_source(Some(source.address(addresses[client])));
                    socket
                }
                Clients::Own { sockets, .. } => &sockets[client],
            };
            let outlet = Outlet {
                socket: socket.as_raw_fd(),
                device: Device::default(),
            };
            batch.push(outlet, self.server, &[], bytes, 0);
        }
        drop(batch);
        queue.failed - before
    }

    /// Gives what came to clients to `each`, with the client and the time.
    pub(super) fn receive(
        &mut self,
        batches: &mut Batches,
        each: &mut impl FnMut(usize, &[u8], Instant),
    ) -> io::Result<()> {
        let server = self.server;
        match &mut self.clients {
            Clients::Shared {
                socket,
                source,
                addresses,
            } => batches.drain(socket.as_fd(), &mut |datagram, now| {
                let index = datagram.to.and_then(|to| source.index(to));
                let client = index.map(|index| (index as usize % addresses.len(), index));
                if let Some((client, _)) = client.filter(|(c, i)| addresses[*c] == *i)
                    && datagram.from == server
                {
                    each(client, datagram.bytes, now);
                }
            }),
            Clients::Own { sockets, poll, .. } => {
                while poll.look()? {
                    for client in (0..poll.count()).map(|index| poll.number(index)) {
                        batches.drain(sockets[client].as_fd(), &mut |datagram, now| {
                            if datagram.from == server {
                                each(client, datagram.bytes, now);
                            }
                        })?;
                    }
                    if !poll.is_full() {
                        break;
                    }
                }
                Ok(())
            }
        }
    }
}

/// A socket whose address is the one that routing picks towards the server.
fn own_socket(server: SocketAddr, segments: bool) -> io::Result<UdpSocket> {
    bind(local_towards(server)?, OWN_BUFFER, segments)
}

/// The local address from which packets to `to` leave, with port 0.
pub(super) fn local_towards(to: SocketAddr) -> io::Result<SocketAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((any, 0))?;
    probe.connect(to)?;
    Ok(SocketAddr::new(probe.local_addr()?.ip(), 0))
}
