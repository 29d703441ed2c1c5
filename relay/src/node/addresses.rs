//! Where clients reach a node, and where it relays from.

use std::net::{IpAddr, SocketAddr};

use shared::{Realm, Transport};

use super::Group;
use crate::config::Config;
use crate::worker::ports::RelayAddress;

/// The listeners as URIs (RFC 7065), at the addresses that clients know, each with the realm that it has of
/// its own.
pub(super) fn urls(groups: &[Group], relays: &[RelayAddress]) -> Vec<(String, Option<Realm>)> {
    let of_group = |group: &Group| {
        let mapped = relays.iter().find(|r| r.local == group.address.ip());
        let ip = mapped.map_or(group.address.ip(), |relay| relay.external);
        let address = SocketAddr::new(ip, group.address.port());
        let uri = move |transport: &Transport| match transport {
            Transport::Udp => format!("turn:{address}?transport=udp"),
            Transport::Tcp => format!("turn:{address}?transport=tcp"),
            Transport::Tls => format!("turns:{address}?transport=tcp"),
            Transport::Dtls => format!("turns:{address}?transport=udp"),
        };
        let with_realm = |uri| (uri, group.realm.clone());
        let uris = group.offered.iter().map(uri).map(with_realm);
        uris.collect::<Vec<_>>()
    };
    groups.iter().flat_map(of_group).collect()
}

/// The configured relay addresses, or those of the listeners, with what stands in front of them.
pub(super) fn relay_addresses(config: &Config, groups: &[Group]) -> Vec<RelayAddress> {
    let mut locals: Vec<IpAddr> = config.relay_addresses.clone();
    if locals.is_empty() {
        locals.extend(groups.iter().map(|g| g.address.ip()));
    }
    locals.sort_unstable();
    locals.dedup();
    let external = |local: IpAddr| {
        let exact = config.external_ips.iter().find(|e| e.local == Some(local));
        let family = || {
            let fits = |e: &&_| is_family_wide(e, local);
            config.external_ips.iter().find(fits)
        };
        exact.or_else(family).map_or(local, |e| e.public)
    };
    locals
        .into_iter()
        .map(|local| RelayAddress {
            local,
            external: external(local),
        })
        .collect()
}

fn is_family_wide(entry: &crate::config::ExternalIp, local: IpAddr) -> bool {
    entry.local.is_none() && entry.public.is_ipv4() == local.is_ipv4()
}
