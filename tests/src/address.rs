//! Loopback addresses and ports that nobody else uses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Below those that Linux gives to sockets which name none, clients' among them (32768 and above), and the
/// relay range of the kit's nodes.
const OURS: Range<u16> = 10_000..32_000;
/// Ports handed out by this process: one that nobody listens at yet is free, and still somebody's.
static PORTS: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
/// Addresses handed out by this process.
static HANDED_OUT: AtomicU32 = AtomicU32::new(0);

/// An address of 127.0.0.0/8 of this process's own, so that relay ports of nodes that run at the
/// same time never meet.
#[must_use]
pub fn fresh_ip() -> IpAddr {
    let count = HANDED_OUT.fetch_add(1, Ordering::Relaxed) % 250 + 1;
    let process = std::process::id();
    let octet = |value: u32| u8::try_from(value % 256).expect("a remainder of 256");
    // The second octet is never 0: 127.0.0.0/16 stays with everybody else.
    let second = octet(process / 256 % 255 + 1);
    IpAddr::V4(Ipv4Addr::new(127, second, octet(process), octet(count)))
}

/// A port of `ip` that is free for UDP and TCP, and that no system call draws by itself: whoever gets it may
/// begin to listen later, or end and come back.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port(ip: IpAddr) -> SocketAddr {
    for _ in 0..100 {
        let address = SocketAddr::new(ip, rand::random_range(OURS));
        let is_free = || TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
        if is_free() && is_new(address) {
            return address;
        }
    }
    panic!("no free port on {ip}");
}

fn is_new(address: SocketAddr) -> bool {
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    ports.insert(address)
}
