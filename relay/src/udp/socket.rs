//! Sockets bound the way relays need them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use turn_udp::sys;

use super::selector;

/// Asked of the kernel for each listener, in bytes (capped by net.core.rmem_max): a worker that is
/// busy for 10 ms at 200,000 packets per second must find them all afterwards.
const LISTENER_BUFFER: usize = 4 << 20;
/// Asked of the kernel for each relay socket, in bytes: a burst of a few hundred video packets.
const RELAY_BUFFER: usize = 512 << 10;

/// Binds `workers` sockets to one address and attaches the selector, so that socket `i` gets the
/// clients of worker `i`. Port 0 picks a free one for all.
///
/// # Errors
/// What the system says, `AddrInUse` also for a port that another node of the same user shares out;
/// the caller names the address.
pub fn bind_listener_group(address: SocketAddr, workers: u16) -> io::Result<Vec<UdpSocket>> {
    let mut address = address;
    // SO_REUSEPORT would let this group join that of another process of the same user, which would
    // then lose part of its clients to us. A bind without it finds out.
    drop(UdpSocket::bind(address)?);
    let mut group = Vec::with_capacity(usize::from(workers));
    for _ in 0..workers {
        let socket = new_socket(address)?;
        set_buffers(&socket, LISTENER_BUFFER)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from(socket);
        address = socket.local_addr()?;
        group.push(socket);
    }
    if let Some(first) = group.first() {
        let program = selector::program(address.is_ipv4(), workers);
        sys::attach_reuseport_selector(first.as_fd(), &program)?;
    }
    Ok(group)
}

/// Binds a relay socket: alone on its port (never SO_REUSEPORT, or a stranger could share it). Nobody
/// reads it until [`prepare_relay`], so it holds no more than a datagram or two: whoever floods the
/// ports of sessions without permissions fills none of the kernel's memory.
///
/// # Errors
/// `AddrInUse` when something else has the port; whatever else the system says.
pub fn bind_relay(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address)?;
    // The kernel makes it the least that it allows.
    socket.set_recv_buffer_size(0)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Makes a relay socket ready for datagrams: room for bursts, DF off unless a datagram asks for it
/// (RFC 8656 §14), ICMP errors kept (§11.5).
///
/// # Errors
/// What the system says.
pub fn prepare_relay(socket: BorrowedFd<'_>, ipv4: bool) -> io::Result<()> {
    set_buffers(&SockRef::from(&socket), RELAY_BUFFER)?;
    sys::set_relay_options(socket, ipv4)
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn set_buffers(socket: &Socket, bytes: usize) -> io::Result<()> {
    socket.set_recv_buffer_size(bytes)?;
    socket.set_send_buffer_size(bytes)
}
