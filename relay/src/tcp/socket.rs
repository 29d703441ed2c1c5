//! Sockets of TCP relays: one that listens on the relayed transport address, and connections that
//! leave from there.
//!
//! A connection can only be bound to a port that something listens on if both sockets allow it
//! (SO_REUSEPORT). The listener is bound without it, so that it is alone on its port; it allows it
//! afterwards, and then only sockets of the same user can join. SO_REUSEADDR lets a port serve again
//! while connections of its last user are in TIME_WAIT.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Peers that wait to be accepted, per relay.
const BACKLOG: i32 = 32;
/// A peer that vanished is noticed after about 90 s.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Binds a relay socket and listens.
///
/// # Errors
/// `AddrInUse` when something else has the port; whatever else the system says.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = new_socket(address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// Begins a connection to a peer from the address that `relay` listens on.
///
/// # Errors
/// What the system says, `AddrNotAvailable` for a pair of addresses that was connected a moment ago.
pub fn connect(relay: &TcpListener, peer: SocketAddr) -> io::Result<TcpStream> {
    let local = relay.local_addr()?;
    let socket = new_socket(local)?;
    socket.set_reuse_port(true)?;
    socket.bind(&local.into())?;
    // Whoever joins the port from here on is none of ours.
    socket.set_reuse_port(false)?;
    match socket.connect(&peer.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Prepares a connection that a relay accepted.
pub fn prepare(peer: &TcpStream) {
    let socket = SockRef::from(peer);
    let prepared = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&KEEPALIVE));
    if let Err(error) = prepared {
        tracing::debug!(%error, "A connection of a peer keeps the system's settings.");
    }
}

/// Lets a connection that nobody wants end without TIME_WAIT.
pub fn reset(peer: &TcpStream) {
    if let Err(error) = SockRef::from(peer).set_linger(Some(Duration::ZERO)) {
        tracing::trace!(%error, "A connection of a peer ends the slow way.");
    }
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn listener() -> TcpListener {
        TcpListener::from_std(listen("127.0.0.1:0".parse().unwrap()).unwrap())
    }

    /// A peer, and the connection that a relay made to it.
    fn connected(relay: &TcpListener) -> (std::net::TcpStream, TcpStream) {
        let peer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = connect(relay, peer.local_addr().unwrap()).unwrap();
        let (theirs, from) = peer.accept().unwrap();
        assert_eq!(from, relay.local_addr().unwrap());
        (theirs, ours)
    }

    #[test]
    fn connections_leave_from_the_address_that_is_listened_on() {
        let relay = listener();
        let (mut first, mut ours) = connected(&relay);
        let (_second, _also) = connected(&relay);
        ours.write_all(b"hello").unwrap();
        let mut bytes = [0; 5];
        first.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
        // And it still listens.
        std::net::TcpStream::connect(relay.local_addr().unwrap()).unwrap();
    }

    #[test]
    fn nobody_else_can_listen_there() {
        let relay = listener();
        let address = relay.local_addr().unwrap();
        let _connected = connected(&relay);
        assert_eq!(
            listen(address).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        let stranger = std::net::TcpListener::bind(address).unwrap_err();
        assert_eq!(stranger.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_serves_again_at_once_after_its_connections_were_closed() {
        let relay = listener();
        let address = relay.local_addr().unwrap();
        let (theirs, ours) = connected(&relay);
        // The side that closes first keeps the pair in TIME_WAIT.
        drop(ours);
        drop(theirs);
        drop(relay);
        let again = TcpListener::from_std(listen(address).unwrap());
        connected(&again);
    }
}
