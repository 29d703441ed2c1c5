//! TCP listeners: bound in groups, one socket per worker, as those of UDP are.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use turn_udp::sys;

use crate::udp::selector;

/// Connections that wait to be accepted, per worker; capped by net.core.somaxconn.
const BACKLOG: i32 = 1024;
/// A client that vanished is noticed after about 90 s, although its session lives on.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Binds `workers` listeners to one address and attaches the selector, so that listener `i` gets the
/// clients of worker `i`. Port 0 picks a free one for all.
///
/// # Errors
/// What the system says, `AddrInUse` also for a port that another node of the same user shares out;
/// the caller names the address.
pub fn bind_listener_group(address: SocketAddr, workers: u16) -> io::Result<Vec<TcpListener>> {
    let mut address = address;
    // As with UDP: without SO_REUSEPORT nobody else may listen there.
    drop(bound(address, false)?);
    let mut group = Vec::with_capacity(usize::from(workers));
    for _ in 0..workers {
        let socket = bound(address, true)?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        group.push(listener);
    }
    if let Some(first) = group.first() {
        let program = selector::program(address.is_ipv4(), workers);
        sys::attach_reuseport_selector(first.as_fd(), &program)?;
    }
    Ok(group)
}

/// A socket whose options the accepted ones inherit.
fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a node that ended a moment ago keep none from starting.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpStream};

    use super::*;
    use crate::udp::selector::worker_of;

    /// Connects from each client address and tells which listener of the group got it.
    fn kernel_choice(listen: &str, clients: impl Iterator<Item = IpAddr>, workers: u16) {
        let group = bind_listener_group(listen.parse().unwrap(), workers).unwrap();
        let server = group[0].local_addr().unwrap();
        for listener in &group {
            listener.set_nonblocking(false).unwrap();
        }
        for ip in clients {
            let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::new(ip, 0).into()).unwrap();
            socket.connect(&server.into()).unwrap();
            let client = TcpStream::from(socket);
            let address = client.local_addr().unwrap();
            let expected = worker_of(address, workers);
            let listener = &group[usize::from(expected.0)];
            // Established means queued: what is not here is with another listener.
            listener.set_nonblocking(true).unwrap();
            let (_, from) = listener
                .accept()
                .unwrap_or_else(|e| panic!("{address} did not reach {expected:?}: {e}"));
            assert_eq!(from, address);
        }
    }

    #[test]
    fn the_kernel_chooses_the_computed_worker_for_300_ipv4_connections() {
        let clients = (0..300_u32).map(|i| IpAddr::from([127, 17, (i >> 4) as u8, i as u8]));
        kernel_choice("127.0.0.1:0", clients, 5);
    }

    #[test]
    fn the_kernel_chooses_the_computed_worker_for_100_ipv6_connections() {
        let clients = (0..100).map(|_| "::1".parse().unwrap());
        kernel_choice("[::1]:0", clients, 3);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_shared() {
        let group = bind_listener_group("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = group[0].local_addr().unwrap();
        let error = bind_listener_group(address, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
