//! `rfc5780` and what belongs to it: NAT behaviour discovery.

use serde_json::{Value, json};

use super::error::Origin;
use super::source::Reader;
use super::{ListenerConfig, NatDiscoveryConfig};

pub(super) fn resolve(reader: &mut Reader<'_>, listeners: &[ListenerConfig]) -> NatDiscoveryConfig {
    let enabled = reader.boolean("rfc5780").unwrap_or(false);
    let alt_port = reader.integer("alt_listening_port", 1..=65_535);
    let alt_port = alt_port.and_then(|port| u16::try_from(port).ok());
    let tls_alt = reader.integer("alt_tls_listening_port", 1..=65_535);
    let usage = NatDiscoveryConfig {
        enabled,
        response_port: reader.boolean("rfc5780_response_port").unwrap_or(false),
        padding: reader.boolean("rfc5780_padding").unwrap_or(false),
        ..NatDiscoveryConfig::default()
    };
    let first = listeners.iter().find(|listener| listener.serves_udp());
    let Some(first_port) = first.map(|first| first.address.port()).filter(|_| enabled) else {
        return usage;
    };
    let alt_port = alt_port.unwrap_or(first_port.wrapping_add(1));
    if first_port == 0 || alt_port == 0 || alt_port == first_port {
        let problem = "has no two ports to answer from";
        let remedy = "name a port in listen and another one in alt_listening_port";
        reader.error(&Origin::Default, "rfc5780", problem, remedy);
    }
    let tls_alt = tls_alt.and_then(|port| u16::try_from(port).ok());
    let tls_ports = tls_alt.map(|alt| {
        let tls_port = tls_port(listeners, first_port);
        let ports = [tls_port.unwrap_or_default(), alt];
        if tls_port.is_none() || [first_port, alt_port, ports[0]].contains(&alt) {
            let problem =
                "needs a port of its own, and another one besides the first with TLS or DTLS";
            let remedy = "add such a port to listen, or remove alt_tls_listening_port";
            reader.error(&Origin::Default, "alt_tls_listening_port", problem, remedy);
        }
        ports
    });
    NatDiscoveryConfig {
        first_port,
        alt_port,
        tls_ports,
        ..usage
    }
}

/// The first port besides `first` that serves TLS or DTLS.
fn tls_port(listeners: &[ListenerConfig], first: u16) -> Option<u16> {
    let ports = listeners.iter().filter(|listener| listener.serves_tls());
    ports
        .map(|listener| listener.address.port())
        .find(|port| *port != first && *port != 0)
}

pub(super) fn view(usage: &NatDiscoveryConfig, key: &str) -> Option<Value> {
    Some(match key {
        "rfc5780" => json!(usage.enabled),
        "alt_listening_port" if usage.enabled => json!(usage.alt_port),
        "alt_listening_port" => Value::Null,
        "alt_tls_listening_port" => json!(usage.tls_ports.map(|[_, alt]| alt)),
        "rfc5780_response_port" => json!(usage.response_port),
        "rfc5780_padding" => json!(usage.padding),
        _ => return None,
    })
}
