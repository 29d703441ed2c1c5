//! `rfc5780` and what belongs to it: NAT behaviour discovery.

use serde_json::{Value, json};

use super::error::Origin;
use super::source::Reader;
use super::{ListenerConfig, NatDiscoveryConfig};

pub(super) fn resolve(reader: &mut Reader<'_>, listeners: &[ListenerConfig]) -> NatDiscoveryConfig {
    let enabled = reader.boolean("rfc5780").unwrap_or(false);
    let alt_port = reader.integer("alt_listening_port", 1..=65_535);
    let alt_port = alt_port.and_then(|port| u16::try_from(port).ok());
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
    NatDiscoveryConfig {
        first_port,
        alt_port,
        ..usage
    }
}

pub(super) fn view(usage: &NatDiscoveryConfig, key: &str) -> Option<Value> {
    Some(match key {
        "rfc5780" => json!(usage.enabled),
        "alt_listening_port" if usage.enabled => json!(usage.alt_port),
        "alt_listening_port" => Value::Null,
        "rfc5780_response_port" => json!(usage.response_port),
        "rfc5780_padding" => json!(usage.padding),
        _ => return None,
    })
}
