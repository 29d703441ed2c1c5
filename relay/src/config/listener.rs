//! `listen`: where clients come to, over which transports, and whose proxy headers are believed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use shared::api::NodeRole;
use shared::{IpRange, Transport};

use super::ListenerConfig;
use super::error::Origin;
use super::file::{Item, Value};
use super::source::Reader;

/// STUN's port (RFC 8489 §18.6).
const TURN_PORT: u16 = 3478;
/// STUN's port over TLS and DTLS; a default listener only where there is a certificate.
const TURNS_PORT: u16 = 5349;
const MAX_LISTENERS: usize = 64;
const ADDRESS: &str = "address:port, as in \"0.0.0.0:3478\" or \"[::]:3478\"";
/// The keys of a listener that is a table.
const KEYS: [&str; 4] = ["address", "realm", "transports", "proxy_from"];

/// An address with or without a port.
struct ListenAddress(SocketAddr);

impl FromStr for ListenAddress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(address));
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>()
            .map(|ip| Self(SocketAddr::new(ip, TURN_PORT)))
            .map_err(|_| ())
    }
}

/// The transports of a listener that names none: all that can be served.
#[must_use]
pub(super) fn default_transports(has_certificate: bool) -> Vec<Transport> {
    let needs_certificate = |t: &Transport| matches!(t, Transport::Tls | Transport::Dtls);
    let all = Transport::ALL.into_iter();
    all.filter(|t| has_certificate || !needs_certificate(t))
        .collect()
}

pub(super) fn resolve(
    reader: &mut Reader<'_>,
    roles: &[NodeRole],
    has_certificate: bool,
) -> Vec<ListenerConfig> {
    let is_relay = roles.contains(&NodeRole::Relay);
    let Some(items) = reader.list("listen") else {
        return if is_relay {
            wildcards(has_certificate)
        } else {
            Vec::new()
        };
    };
    if let (false, Some(item)) = (is_relay, items.first()) {
        let remedy = "remove it, or give the node the role relay";
        let problem = "has no meaning for a pure gateway";
        reader.error(&item.origin, "listen", problem, remedy);
    }
    if is_relay && (items.is_empty() || items.len() > MAX_LISTENERS) {
        let remedy = format!("write 1 to {MAX_LISTENERS} addresses, or remove it");
        reader.error(&Origin::Default, "listen", "is empty or too long", remedy);
    }
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for item in &items {
        let Some(listener) = listener(reader, item, has_certificate) else {
            continue;
        };
        let same = |other: &ListenerConfig| other.address == listener.address;
        if listener.address.port() != 0 && listeners.iter().any(same) {
            let problem = format!("{} appears twice", listener.address);
            reader.error(&item.origin, "listen", problem, "keep one of them");
        }
        listeners.push(listener);
    }
    listeners
}

fn wildcards(has_certificate: bool) -> Vec<ListenerConfig> {
    let wildcards = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let ports = [TURN_PORT, TURNS_PORT].into_iter();
    let ports = ports.filter(|&port| has_certificate || port == TURN_PORT);
    let addresses = ports.flat_map(|port| wildcards.map(|ip| SocketAddr::new(ip, port)));
    addresses
        .map(|address| ListenerConfig {
            address,
            realm: None,
            transports: default_transports(has_certificate),
            proxy_from: Vec::new(),
        })
        .collect()
}

fn listener(reader: &mut Reader<'_>, item: &Item, has_certificate: bool) -> Option<ListenerConfig> {
    let Value::Table(table) = &item.value else {
        let ListenAddress(address) = reader.entry("listen", item, ADDRESS)?;
        return Some(ListenerConfig {
            address,
            realm: None,
            transports: default_transports(has_certificate),
            proxy_from: Vec::new(),
        });
    };
    for (key, item) in table
        .iter()
        .filter(|(key, _)| !KEYS.contains(&key.as_str()))
    {
        let remedy = "write { address = \"0.0.0.0:3478\", realm = \"example.org\" }; \
                      transports and proxy_from are lists";
        let key = format!("listen.{key}");
        reader.error(&item.origin, &key, "unknown key", remedy);
    }
    let Some(address) = table.get("address") else {
        let remedy = format!("add address = {ADDRESS}");
        reader.error(&item.origin, "listen.address", "is missing", remedy);
        return None;
    };
    let ListenAddress(address) = reader.entry("listen.address", address, ADDRESS)?;
    let realm = table.get("realm").cloned();
    let realm = realm.and_then(|item| reader.entry("listen.realm", &item, "a realm's name"));
    let transports = transports(reader, item, table, has_certificate);
    let proxy_from = proxy_from(reader, table, &transports);
    Some(ListenerConfig {
        address,
        realm,
        transports,
        proxy_from,
    })
}

fn transports(
    reader: &mut Reader<'_>,
    listener: &Item,
    table: &BTreeMap<String, Item>,
    has_certificate: bool,
) -> Vec<Transport> {
    const NAME: &str = "listen.transports";
    let Some(given) = table.get("transports") else {
        return default_transports(has_certificate);
    };
    let mut transports = Vec::new();
    for item in entries(reader, NAME, given) {
        let wanted = "udp, tcp, tls or dtls";
        let Some(transport) = reader.entry::<Transport>(NAME, &item, wanted) else {
            continue;
        };
        let is_served = default_transports(has_certificate).contains(&transport);
        if !is_served {
            let problem = format!("{transport} needs a certificate");
            let remedy = "add certificate and key in [tls], or leave it out";
            reader.error(&item.origin, NAME, problem, remedy);
        }
        if !transports.contains(&transport) {
            transports.push(transport);
        }
    }
    if transports.is_empty() {
        let remedy = "name one of udp, tcp, tls, dtls, or remove it";
        reader.error(&listener.origin, NAME, "is empty", remedy);
    }
    transports
}

fn proxy_from(
    reader: &mut Reader<'_>,
    table: &BTreeMap<String, Item>,
    transports: &[Transport],
) -> Vec<IpRange> {
    const NAME: &str = "listen.proxy_from";
    let Some(given) = table.get("proxy_from") else {
        return Vec::new();
    };
    let wanted = "an address, address/prefix or first-last of your proxies";
    let ranges: Vec<IpRange> = entries(reader, NAME, given)
        .iter()
        .filter_map(|item| reader.entry(NAME, item, wanted))
        .collect();
    let is_datagram = |t: &Transport| matches!(t, Transport::Udp | Transport::Dtls);
    if !ranges.is_empty() && transports.iter().any(is_datagram) {
        let problem = "works for tcp and tls only, and a port behind a proxy serves nothing else";
        let remedy = "add transports = [\"tcp\", \"tls\"] to this listener";
        reader.error(&given.origin, NAME, problem, remedy);
    }
    ranges
}

/// The entries of a list inside a listener; one text stands for a list of one.
fn entries(reader: &mut Reader<'_>, name: &str, item: &Item) -> Vec<Item> {
    match &item.value {
        Value::List(items) => items.clone(),
        Value::Text(_) => vec![item.clone()],
        _ => {
            let problem = format!("is {}", item.value.kind());
            reader.error(&item.origin, name, problem, "write a list, as in [\"one\"]");
            Vec::new()
        }
    }
}
