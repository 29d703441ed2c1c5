//! A forwarder without TURN: what moving packets costs by itself, and so the limit for every server.
//!
//! It takes the four bytes of ChannelData off and puts them on, with a socket per flow as a relay has,
//! and nothing else: no permissions, no limits, no statistics, no timers. So that the same clients drive
//! it, it answers their requests with success, whatever they ask ([`desk`]). Over UDP and IPv4 only.

mod desk;
mod flows;
mod single;
mod together;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use clap::ValueEnum;
use mio::net::UdpSocket;
use mio::{Interest, Poll, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};
use turn_proto::auth::credential::LongTermKey;

use desk::Desk;
use flows::Flows;

/// The listener's token; flows have those from 0 on.
const LISTENER: Token = Token(usize::MAX - 1);
/// Events taken from one poll.
const EVENTS: usize = 1024;
/// Asked of the kernel for the listener and for each flow, in bytes, as `relayd` does.
const LISTENER_BUFFER: usize = 4 << 20;
const FLOW_BUFFER: usize = 512 << 10;

/// How packets pass through the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// One per call.
    Single,
    /// Many per call (recvmmsg, sendmmsg).
    Batched,
    /// Many per call, and those of one flow in one message (UDP_GRO, UDP_SEGMENT).
    Grouped,
}

/// Whom it answers as.
#[derive(Clone, Debug)]
pub struct Account {
    /// The realm that clients are told.
    pub realm: String,
    /// The key that answers are signed with: clients insist on it.
    pub key: LongTermKey,
}

/// Forwards until the process is ended.
///
/// # Errors
/// The address cannot be bound or is not IPv4, or polling fails.
pub fn run(listen: SocketAddr, mode: Mode, account: Account) -> io::Result<()> {
    if !listen.is_ipv4() {
        return Err(io::Error::other("the forwarder knows IPv4 only"));
    }
    let poll = Poll::new()?;
    let mut socket = bind(listen, LISTENER_BUFFER, mode)?;
    let registry = poll.registry();
    registry.register(&mut socket, LISTENER, Interest::READABLE)?;
    let listener = Listener {
        fd: socket.as_raw_fd(),
        address: socket.local_addr()?,
        socket,
    };
    let binder = Binder {
        ip: listener.address,
        mode,
        registry: registry.try_clone()?,
    };
    let desk = Desk::new(account);
    let house = House {
        listener,
        flows: Flows::default(),
        desk,
        binder,
    };
    match mode {
        Mode::Single => single::run(poll, house),
        Mode::Batched | Mode::Grouped => together::run(poll, house, mode),
    }
}

/// All but the way in which packets are moved.
#[derive(Debug)]
struct House {
    listener: Listener,
    flows: Flows,
    desk: Desk,
    binder: Binder,
}

impl House {
    /// The answer to a request.
    fn answer(&mut self, from: SocketAddr, request: &[u8]) -> Option<Vec<u8>> {
        self.desk
            .answer(from, request, &mut self.flows, &self.binder)
    }
}

/// Where clients come to.
#[derive(Debug)]
struct Listener {
    socket: UdpSocket,
    fd: std::os::fd::RawFd,
    address: SocketAddr,
}

/// Makes the sockets of flows.
#[derive(Debug)]
struct Binder {
    ip: SocketAddr,
    mode: Mode,
    registry: Registry,
}

impl Binder {
    /// A socket for flow number `index`.
    fn bind(&self, index: usize) -> io::Result<UdpSocket> {
        let mut address = self.ip;
        address.set_port(0);
        let mut socket = bind(address, FLOW_BUFFER, self.mode)?;
        let token = Token(index);
        self.registry
            .register(&mut socket, token, Interest::READABLE)?;
        Ok(socket)
    }

    /// Lets go of one.
    fn release(&self, mut socket: UdpSocket) {
        // Closing it does the same; this only keeps the poll's own books tidy.
        let _ = self.registry.deregister(&mut socket);
    }
}

fn bind(address: SocketAddr, buffer: usize, mode: Mode) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(buffer)?;
    socket.set_send_buffer_size(buffer)?;
    if mode == Mode::Grouped {
        turn_udp::sys::set_receive_segments(socket.as_fd())?;
    }
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}
