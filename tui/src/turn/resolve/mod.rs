//! From a URI to addresses (RFC 5928; RFC 8489 §8 for `stun:`).

mod dns;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use shared::Transport;

use super::uri::{Host, Scheme, TurnUri};

pub use dns::Dns;

/// Addresses of one URI that are tried at most.
const MAX_TARGETS: usize = 16;
/// Non-terminal NAPTR records that are followed at most, one behind the other.
const MAX_NAPTR: usize = 4;

/// One address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// By what.
    pub transport: Transport,
    /// How it was found, as in `SRV _turn._udp.example.org`.
    pub found: String,
}

/// What a URI leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// In the order in which they are tried.
    pub targets: Vec<Target>,
    /// What went wrong on the way, though it may not matter.
    pub notes: Vec<String>,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower is tried before.
    pub priority: u16,
    /// Share among those of equal priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` where the service is expressly not offered.
    pub target: String,
}

/// A NAPTR record (RFC 3403).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lower comes before.
    pub order: u16,
    /// Lower comes before, within an order.
    pub preference: u16,
    /// `s`: SRV behind it; `a`: addresses; empty: another NAPTR.
    pub flags: String,
    /// As in `RELAY:turn.udp:turn.tcp`.
    pub services: String,
    /// Where it leads.
    pub replacement: String,
}

/// Where names are looked up. No record is an empty list; an error says that nobody knows.
#[async_trait]
pub trait Names: Send + Sync {
    /// A and AAAA.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String>;
    /// SRV.
    async fn srv(&self, name: &str) -> Result<Vec<Srv>, String>;
    /// NAPTR.
    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, String>;
}

/// Finds the addresses of `uri`. None found is an empty list, with notes that say why.
pub async fn resolve(uri: &TurnUri, names: &dyn Names) -> Resolution {
    let mut walk = Walk {
        names,
        uri,
        found: Resolution::default(),
    };
    match &uri.host {
        Host::Ip(ip) => walk.push(*ip, uri.port(), uri.default_transport(), "literal"),
        Host::Name(name) => walk.name(name).await,
    }
    walk.found
}

struct Walk<'a> {
    names: &'a dyn Names,
    uri: &'a TurnUri,
    found: Resolution,
}

impl Walk<'_> {
    fn push(&mut self, ip: IpAddr, port: u16, transport: Transport, found: &str) {
        let target = Target {
            address: SocketAddr::new(ip, port),
            transport,
            found: found.to_owned(),
        };
        let known =
            |other: &Target| (other.address, other.transport) == (target.address, transport);
        if self.found.targets.len() < MAX_TARGETS && !self.found.targets.iter().any(known) {
            self.found.targets.push(target);
        }
    }

    /// The steps of RFC 5928 §3: a port rules out SRV, a transport rules out NAPTR.
    async fn name(&mut self, name: &str) {
        let uri = self.uri;
        if uri.port.is_none() {
            if uri.transport.is_none() && uri.scheme.is_turn() {
                self.naptr(name).await;
            }
            if self.found.targets.is_empty() {
                for plain in self.transports() {
                    self.srv(&srv_name(uri.scheme, plain, name), uri.secured(plain))
                        .await;
                }
            }
        }
        if self.found.targets.is_empty() {
            self.addresses(name, uri.port(), uri.default_transport(), "")
                .await;
        }
    }

    /// The transports that may be meant, the usual one first.
    fn transports(&self) -> Vec<Transport> {
        match (self.uri.transport, self.uri.scheme.is_secure()) {
            (Some(transport), _) => vec![transport],
            (None, true) => vec![Transport::Tcp, Transport::Udp],
            (None, false) => vec![Transport::Udp, Transport::Tcp],
        }
    }

    async fn addresses(&mut self, name: &str, port: u16, transport: Transport, by: &str) {
        match self.names.addresses(name).await {
            Ok(addresses) if addresses.is_empty() => {
                self.found.notes.push(format!("{name} has no address"));
            }
            Ok(addresses) => {
                for ip in addresses {
                    let record = if ip.is_ipv4() { "A" } else { "AAAA" };
                    self.push(ip, port, transport, &format!("{by}{record} {name}"));
                }
            }
            Err(error) => self.found.notes.push(format!("{name}: {error}")),
        }
    }

    async fn srv(&mut self, name: &str, transport: Transport) {
        let mut records = match self.names.srv(name).await {
            Ok(records) => records,
            Err(error) => {
                self.found.notes.push(format!("SRV {name}: {error}"));
                return;
            }
        };
        // The heavier first instead of a draw: a check says the same thing twice.
        records.sort_by_key(|record| (record.priority, u16::MAX - record.weight));
        for record in records.iter().take(MAX_TARGETS) {
            if record.target == "." {
                let note = format!("SRV {name}: expressly not offered");
                self.found.notes.push(note);
                continue;
            }
            let by = format!("SRV {name}, ");
            self.addresses(&record.target, record.port, transport, &by)
                .await;
        }
    }

    /// S-NAPTR with the service tag RELAY (RFC 5928 §3 step 4).
    async fn naptr(&mut self, domain: &str) {
        let mut name = domain.to_owned();
        for _ in 0..MAX_NAPTR {
            let mut records = match self.names.naptr(&name).await {
                Ok(records) => records,
                Err(error) => {
                    self.found.notes.push(format!("NAPTR {name}: {error}"));
                    return;
                }
            };
            records.sort_by_key(|record| (record.order, record.preference));
            let mut next = None;
            for record in records.iter().take(MAX_TARGETS) {
                let transports = relay_services(&record.services, self.uri.scheme);
                let at = record.replacement.as_str();
                let Some(first) = transports.first() else {
                    continue;
                };
                match record.flags.to_ascii_lowercase().as_str() {
                    "s" => self.srv(at, *first).await,
                    "a" => {
                        for transport in transports {
                            let by = format!("NAPTR {name}, ");
                            self.addresses(at, self.uri.port(), transport, &by).await;
                        }
                    }
                    "" if next.is_none() => next = Some(at.to_owned()),
                    _ => {}
                }
            }
            match next {
                Some(to) if self.found.targets.is_empty() => name = to,
                _ => return,
            }
        }
    }
}

fn srv_name(scheme: Scheme, plain: Transport, name: &str) -> String {
    format!("_{}._{plain}.{name}", scheme.as_str())
}

/// The transports that a NAPTR offers to this scheme: `turn.udp` and `turn.tcp` to `turn:`,
/// `turn.tls` to `turns:`.
fn relay_services(services: &str, scheme: Scheme) -> Vec<Transport> {
    let mut parts = services.split(':');
    if !parts
        .next()
        .unwrap_or_default()
        .eq_ignore_ascii_case("RELAY")
    {
        return Vec::new();
    }
    let known = [
        ("turn.udp", false, Transport::Udp),
        ("turn.tcp", false, Transport::Tcp),
        ("turn.tls", true, Transport::Tls),
    ];
    let of = |part: &str| {
        let fits = known.iter().find(|(word, secure, _)| {
            part.eq_ignore_ascii_case(word) && *secure == scheme.is_secure()
        });
        fits.map(|(.., transport)| *transport)
    };
    parts.filter_map(of).collect()
}
