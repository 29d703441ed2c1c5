//! Listeners bound for all workers at once, before anything is served.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use shared::{IpRange, Transport};

use super::tcp;
use crate::config::ListenerConfig;
use crate::succession::Inherited;
use crate::udp::socket;

/// How often a free port of one protocol is tried for the other.
const ATTEMPTS: usize = 16;

/// The sockets of one address: of each protocol that is spoken there, one per worker.
#[derive(Debug)]
pub struct ListenerGroup {
    /// The address, its port known.
    pub address: SocketAddr,
    /// For UDP and DTLS; or none.
    pub udp: Vec<UdpSocket>,
    /// For TCP and TLS; or none.
    pub tcp: Vec<TcpListener>,
    /// What is spoken.
    pub transports: Vec<Transport>,
    /// Whose proxy headers are believed, and demanded.
    pub proxy_from: Vec<IpRange>,
}

/// What one worker gets of a [`ListenerGroup`].
#[derive(Debug)]
pub struct ListenerShare {
    /// For UDP and DTLS.
    pub udp: Option<UdpSocket>,
    /// For TCP and TLS.
    pub tcp: Option<TcpListener>,
    /// What is spoken.
    pub transports: Vec<Transport>,
    /// Whose proxy headers are believed, and demanded.
    pub proxy_from: Vec<IpRange>,
}

impl ListenerGroup {
    /// Binds what `config` says, at one of the addresses that its own stands for, unless the process
    /// before this one passed its sockets on.
    ///
    /// # Errors
    /// What the system says; the caller names the address.
    pub fn bind(
        config: &ListenerConfig,
        address: SocketAddr,
        workers: u16,
        inherited: &Inherited,
    ) -> io::Result<Self> {
        if let Some((address, udp, tcp)) = inherited.group(address)? {
            return Self::inherit(config, address, workers, udp, tcp);
        }
        let mut result = Self::bind_once(config, address, workers);
        for _ in 1..ATTEMPTS {
            match &result {
                // The port that was free for UDP is not for TCP: another one may be.
                Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse => {
                    result = Self::bind_once(config, address, workers);
                }
                _ => break,
            }
        }
        result
    }

    /// The sockets that the process before this one had; what that one did not speak is bound.
    fn inherit(
        config: &ListenerConfig,
        address: SocketAddr,
        workers: u16,
        mut udp: Vec<UdpSocket>,
        mut tcp: Vec<TcpListener>,
    ) -> io::Result<Self> {
        let speaks = |any: [Transport; 2]| config.transports.iter().any(|t| any.contains(t));
        match speaks([Transport::Udp, Transport::Dtls]) {
            true if udp.is_empty() => udp = socket::bind_listener_group(address, workers)?,
            true => {}
            false => udp.clear(),
        }
        match speaks([Transport::Tcp, Transport::Tls]) {
            true if tcp.is_empty() => tcp = tcp::bind_listener_group(address, workers)?,
            true => {}
            false => tcp.clear(),
        }
        Ok(Self {
            address,
            udp,
            tcp,
            transports: config.transports.clone(),
            proxy_from: config.proxy_from.clone(),
        })
    }

    fn bind_once(
        config: &ListenerConfig,
        mut address: SocketAddr,
        workers: u16,
    ) -> io::Result<Self> {
        let speaks = |any: [Transport; 2]| config.transports.iter().any(|t| any.contains(t));
        let mut udp = Vec::new();
        if speaks([Transport::Udp, Transport::Dtls]) {
            udp = socket::bind_listener_group(address, workers)?;
            if let Some(first) = udp.first() {
                address = first.local_addr()?;
            }
        }
        let mut tcp = Vec::new();
        if speaks([Transport::Tcp, Transport::Tls]) {
            tcp = tcp::bind_listener_group(address, workers)?;
            if let Some(first) = tcp.first() {
                address = first.local_addr()?;
            }
        }
        Ok(Self {
            address,
            udp,
            tcp,
            transports: config.transports.clone(),
            proxy_from: config.proxy_from.clone(),
        })
    }

    /// One share per worker, in the order of workers.
    #[must_use]
    pub fn shares(self, workers: u16) -> Vec<ListenerShare> {
        let (mut udp, mut tcp) = (self.udp.into_iter(), self.tcp.into_iter());
        (0..workers)
            .map(|_| ListenerShare {
                udp: udp.next(),
                tcp: tcp.next(),
                transports: self.transports.clone(),
                proxy_from: self.proxy_from.clone(),
            })
            .collect()
    }
}
