//! What a node listens on: bound before anything is served, or taken over from the process before it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use shared::{Realm, Transport};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::addresses::relay_addresses;
use crate::config::{Config, ListenerConfig};
use crate::control::{Service, WatchedCertificates};
use crate::listener::{ListenerGroup, Listening, nat_discovery};
use crate::succession::{GroupCopies, Inherited, Listeners};
use crate::udp::interfaces;
use crate::{admin, telemetry};

/// A listener that is bound.
pub(super) struct Group {
    pub(super) address: SocketAddr,
    pub(super) realm: Option<Realm>,
    pub(super) sockets: ListenerGroup,
    /// What clients may be told to speak there; nothing behind a proxy, and on a second port for
    /// NAT behaviour discovery.
    pub(super) offered: Vec<Transport>,
}

/// The HTTP servers of a node, bound before anything runs: a taken address fails the start.
pub(super) struct Servers {
    pub(super) admin: admin::Bound,
    metrics: Option<telemetry::health::Bound>,
}

impl Servers {
    async fn bind(config: &Config, inherited: &Inherited) -> anyhow::Result<Self> {
        let admin = admin::bind(&config.admin, inherited).await?;
        let metrics = match config.metrics {
            Some(address) => {
                let bound = telemetry::health::bind(address, inherited).await;
                Some(bound.with_context(|| {
                    format!("metrics.listen {address}: end what uses it, or name another")
                })?)
            }
            None => None,
        };
        Ok(Self { admin, metrics })
    }

    pub(super) fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(telemetry::health::Bound::address)
    }

    pub(super) fn serve(
        self,
        service: &Service,
        cancel: &CancellationToken,
    ) -> Vec<JoinHandle<()>> {
        let mut tasks = vec![tokio::spawn(
            self.admin.serve(service.clone(), cancel.clone()),
        )];
        if let Some(metrics) = self.metrics {
            tasks.push(tokio::spawn(metrics.serve(service.clone(), cancel.clone())));
        }
        tasks
    }

    /// Copies of these sockets and of those of `groups`, to be passed on.
    pub(super) fn copies(&self, groups: &[Group]) -> anyhow::Result<Listeners> {
        let (socket, admin) = self.admin.copies()?;
        let groups = groups.iter().map(|group| GroupCopies::of(&group.sockets));
        let metrics = self.metrics.as_ref().map(telemetry::health::Bound::copy);
        Ok(Listeners {
            groups: groups.collect::<std::io::Result<_>>()?,
            socket,
            admin,
            metrics: metrics.transpose()?,
        })
    }
}

/// What is read again when its files change.
pub(super) fn certificates(listening: &Listening, servers: &Servers) -> Vec<WatchedCertificates> {
    let clients = listening.tls.certificates().map(Arc::clone);
    [("tls", clients), ("admin", servers.admin.certificates())]
        .into_iter()
        .filter_map(|(purpose, certificates)| {
            let certificates = certificates?;
            Some(WatchedCertificates {
                purpose,
                certificates,
            })
        })
        .collect()
}

/// Binds what is served. An override of the store that nothing can be bound with would keep the node
/// down, and with it the API that could take the override back: the node starts without it then.
pub(super) async fn bind(
    config: Config,
    inherited: &Inherited,
) -> anyhow::Result<(Config, Vec<Group>, Servers)> {
    let error = match bind_all(&config, inherited).await {
        Ok((groups, servers)) => match unusable_relay(&config, &groups) {
            None => return Ok((config, groups, servers)),
            Some(error) if config.without_overrides_of_starts().is_some() => error,
            // As the file says: an address that may come up later.
            Some(_) => return Ok((config, groups, servers)),
        },
        Err(error) => error,
    };
    let Some(without) = config.without_overrides_of_starts() else {
        return Err(error);
    };
    let error = format!("{error:#}");
    tracing::error!(
        error,
        "the store's overrides cannot be used; starting without those that apply at a start"
    );
    let (groups, servers) = bind_all(&without, inherited).await?;
    Ok((without, groups, servers))
}

async fn bind_all(config: &Config, inherited: &Inherited) -> anyhow::Result<(Vec<Group>, Servers)> {
    let groups = bind_listeners(config, inherited)?;
    Ok((groups, Servers::bind(config, inherited).await?))
}

/// Why no session could relay from one of the addresses.
fn unusable_relay(config: &Config, groups: &[Group]) -> Option<anyhow::Error> {
    let relays = relay_addresses(config, groups).into_iter();
    relays.map(|relay| relay.local).find_map(|local| {
        let error = std::net::UdpSocket::bind((local, 0)).err()?;
        Some(anyhow::Error::new(error).context(format!("cannot relay from {local}")))
    })
}

/// Binds every listener before anything is served: the group of sockets behind an address never
/// changes size afterwards.
fn bind_listeners(config: &Config, inherited: &Inherited) -> anyhow::Result<Vec<Group>> {
    let mut groups = Vec::new();
    for (listener, address) in wanted_listeners(config)? {
        let sockets = ListenerGroup::bind(listener, address, config.workers, inherited)
            .with_context(|| {
                format!("cannot listen on {address}: end what uses it, or change `listen`")
            })?;
        groups.push(Group {
            address: sockets.address,
            realm: listener.realm.clone(),
            offered: offered(listener, address),
            sockets,
        });
    }
    anyhow::ensure!(
        !groups.is_empty() || !config.is_relay(),
        "no address to listen on: the host has none of the families that `listen` names"
    );
    Ok(groups)
}

/// What is to be listened on: wildcards expanded, second ports for NAT behaviour discovery added.
fn wanted_listeners(config: &Config) -> anyhow::Result<Vec<(&ListenerConfig, SocketAddr)>> {
    let mut wanted = Vec::new();
    for listener in config.listeners.iter().filter(|_| config.is_relay()) {
        let addresses = interfaces::expand(listener.address)?;
        wanted.extend(addresses.into_iter().map(|address| (listener, address)));
    }
    let usage = &config.nat_discovery;
    if usage.enabled && config.is_relay() {
        let tls_port = usage.tls_ports.map(|[port, _]| port);
        let can = |(listener, address): &&(&ListenerConfig, SocketAddr)| {
            listener.serves_udp() || listener.serves_tls() && tls_port == Some(address.port())
        };
        let addresses: Vec<_> = wanted.iter().filter(can).map(|one| one.1).collect();
        let alternates = nat_discovery::alternates(&addresses, usage);
        if alternates.is_empty() && nat_discovery::others(&addresses, usage).is_empty() {
            tracing::warn!(
                "rfc5780 is on, but no two listeners have port {} on addresses of one family: \
                 CHANGE-REQUEST is refused.",
                usage.first_port
            );
        }
        for (like, alternate) in alternates {
            if let Some((listener, _)) = wanted.iter().find(|(_, address)| *address == like) {
                wanted.push((*listener, alternate));
            }
        }
    }
    Ok(wanted)
}

/// What clients may be told to speak at `address`, where `listener` is bound.
fn offered(listener: &ListenerConfig, address: SocketAddr) -> Vec<Transport> {
    let configured = listener.address.port();
    let second_port = configured != 0 && configured != address.port();
    if second_port || !listener.proxy_from.is_empty() {
        return Vec::new();
    }
    listener.transports.clone()
}

pub(super) fn listener_realms(groups: &[Group]) -> HashMap<SocketAddr, Realm> {
    groups
        .iter()
        .filter_map(|g| Some((g.address, g.realm.clone()?)))
        .collect()
}
