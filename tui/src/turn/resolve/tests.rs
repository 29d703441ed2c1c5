//! RFC 5928's steps against names in memory.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;

use super::*;

/// Order, preference, flags, services, replacement.
type NaptrRow = (u16, u16, &'static str, &'static str, &'static str);

#[derive(Default)]
struct Zone {
    addresses: BTreeMap<&'static str, Vec<&'static str>>,
    srv: BTreeMap<&'static str, Vec<(u16, u16, u16, &'static str)>>,
    naptr: BTreeMap<&'static str, Vec<NaptrRow>>,
}

#[async_trait]
impl Names for Zone {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let found = self.addresses.get(name).ok_or("no such name")?;
        Ok(found.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, String> {
        let records = self.srv.get(name).into_iter().flatten();
        let read = |&(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority,
            weight,
            port,
            target: target.to_owned(),
        };
        Ok(records.map(read).collect())
    }

    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, String> {
        let records = self.naptr.get(name).into_iter().flatten();
        let read = |&(order, preference, flags, services, to): &NaptrRow| Naptr {
            order,
            preference,
            flags: flags.to_owned(),
            services: services.to_owned(),
            replacement: to.to_owned(),
        };
        Ok(records.map(read).collect())
    }
}

fn zone() -> Zone {
    let mut zone = Zone::default();
    zone.addresses
        .insert("example.org", vec!["192.0.2.1", "2001:db8::1"]);
    zone.addresses.insert("a.example.net", vec!["192.0.2.10"]);
    zone.addresses.insert("b.example.net", vec!["192.0.2.11"]);
    zone
}

fn found(uri: &str, zone: &Zone) -> Vec<String> {
    let uri = uri.parse().unwrap();
    let resolution = resolve(&uri, zone).now_or_never().unwrap();
    let line = |target: &Target| format!("{} {}", target.transport, target.address);
    resolution.targets.iter().map(line).collect()
}

#[test]
fn a_literal_address_asks_nobody() {
    let zone = Zone::default();
    assert_eq!(found("turn:192.0.2.7", &zone), ["udp 192.0.2.7:3478"]);
    assert_eq!(
        found("turns:[2001:db8::7]:443", &zone),
        ["tls [2001:db8::7]:443"]
    );
    assert_eq!(
        found("turns:192.0.2.7?transport=udp", &zone),
        ["dtls 192.0.2.7:5349"]
    );
}

#[test]
fn a_port_rules_srv_out() {
    let mut zone = zone();
    zone.srv.insert(
        "_turn._udp.example.org",
        vec![(1, 0, 5000, "a.example.net")],
    );
    assert_eq!(
        found("turn:example.org:80", &zone),
        ["udp 192.0.2.1:80", "udp [2001:db8::1]:80"]
    );
}

#[test]
fn srv_records_are_tried_by_priority_and_weight_and_by_transport() {
    let mut zone = zone();
    zone.srv.insert(
        "_turn._udp.example.org",
        vec![
            (2, 9, 5002, "a.example.net"),
            (1, 1, 5001, "a.example.net"),
            (1, 5, 5000, "b.example.net"),
        ],
    );
    zone.srv
        .insert("_turn._tcp.example.org", vec![(1, 1, 443, "a.example.net")]);
    let udp = [
        "udp 192.0.2.11:5000",
        "udp 192.0.2.10:5001",
        "udp 192.0.2.10:5002",
    ];
    assert_eq!(found("turn:example.org?transport=udp", &zone), udp);
    assert_eq!(
        found("turn:example.org", &zone),
        [&udp[..], &["tcp 192.0.2.10:443"]].concat()
    );
}

#[test]
fn without_srv_the_addresses_get_the_default_port_and_transport() {
    assert_eq!(
        found("turns:example.org", &zone()),
        ["tls 192.0.2.1:5349", "tls [2001:db8::1]:5349"]
    );
    assert_eq!(
        found("stun:example.org", &zone()),
        ["udp 192.0.2.1:3478", "udp [2001:db8::1]:3478"]
    );
}

#[test]
fn naptr_decides_where_neither_port_nor_transport_is_written() {
    let mut zone = zone();
    zone.naptr.insert(
        "example.org",
        vec![
            (100, 20, "s", "RELAY:turn.tcp", "_turn._tcp.example.net"),
            (100, 10, "", "RELAY:turn.udp", "datagram.example.net"),
            (100, 5, "a", "SIP:x", "a.example.net"),
            (50, 1, "a", "RELAY:turn.tls", "b.example.net"),
        ],
    );
    zone.srv
        .insert("_turn._tcp.example.net", vec![(1, 1, 99, "a.example.net")]);
    assert_eq!(found("turn:example.org", &zone), ["tcp 192.0.2.10:99"]);
    assert_eq!(found("turns:example.org", &zone), ["tls 192.0.2.11:5349"]);
    assert_eq!(found("turn:example.org:1", &zone)[0], "udp 192.0.2.1:1");
    zone.srv.clear();
    zone.naptr.insert(
        "datagram.example.net",
        vec![(1, 1, "a", "RELAY:turn.udp", "b.example.net")],
    );
    assert_eq!(found("turn:example.org", &zone), ["udp 192.0.2.11:3478"]);
    zone.naptr.insert(
        "datagram.example.net",
        vec![(1, 1, "", "RELAY:turn.udp", "datagram.example.net")],
    );
    assert_eq!(
        found("turn:example.org", &zone)[0],
        "udp 192.0.2.1:3478",
        "a loop ends"
    );
}

#[test]
fn what_is_not_found_is_said() {
    let uri = "turn:nowhere.example".parse().unwrap();
    let resolution = resolve(&uri, &zone()).now_or_never().unwrap();
    assert_eq!(resolution.targets, []);
    assert_eq!(resolution.notes, ["nowhere.example: no such name"]);
    let mut zone = zone();
    zone.srv
        .insert("_turn._udp.example.org", vec![(0, 0, 0, ".")]);
    let uri = "turn:example.org?transport=udp".parse().unwrap();
    let resolution = resolve(&uri, &zone).now_or_never().unwrap();
    assert_eq!(
        resolution.notes,
        ["SRV _turn._udp.example.org: expressly not offered"]
    );
}
