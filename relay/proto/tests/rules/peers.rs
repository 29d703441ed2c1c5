//! Which peers may be talked to (RFC 8656 §21.4 and the node's own rules).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::kit::*;
use proptest::prelude::*;
use shared::IpRange;
use turn_proto::policy::special_use::{embedded_v4, is_special_use};
use turn_proto::stun::AttributeType as A;
use turn_proto::{Command, PeerRules, RelayEndpoint};

fn allows(rules: &PeerRules, peer: &str) -> bool {
    rules.allows(&realm_policy(REALM), addr(peer))
}

fn range(text: &str) -> IpRange {
    text.parse().unwrap()
}

const SPECIAL_V4: &str = "\
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 169.254.169.254 172.16.0.1 \
    172.31.255.255 192.0.0.8 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.1.1 \
    192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 \
    240.0.0.1 255.255.255.255";

const SPECIAL_V6: &str = "\
    :: ::1 ::7f00:1 ::ffff:8.8.8.8 ::ffff:127.0.0.1 ::ffff:0:7f00:1 64:ff9b::7f00:1 \
    64:ff9b::808:808 64:ff9b:1::1 100::1 100:0:0:1::1 2001::1 2001:2::1 2001:10::1 2001:20::1 \
    2001:db8::1 2002:808:808::1 2620:4f:8000::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 \
    febf::1 fec0::1 ff02::1";

#[test]
fn every_special_use_range_is_denied_by_default() {
    let rules = PeerRules::default();
    for ip in SPECIAL_V4.split_whitespace() {
        assert!(!allows(&rules, &format!("{ip}:9")), "{ip}");
    }
    for ip in SPECIAL_V6.split_whitespace() {
        assert!(!allows(&rules, &format!("[{ip}]:9")), "{ip}");
    }
    for peer in [
        "9.9.9.9:9",
        "100.63.255.255:9",
        "172.32.0.1:9",
        "[2a00::1]:9",
        "[2003::1]:9",
    ] {
        assert!(allows(&rules, peer), "{peer}");
    }
    assert!(!allows(&rules, "9.9.9.9:0"), "port 0 is nobody's");
}

#[test]
fn an_embedded_ipv4_address_is_judged_as_well() {
    let everything = vec![range("::/0")];
    let rules = PeerRules {
        allowed: everything,
        ..PeerRules::default()
    };
    for ip in [
        "::ffff:127.0.0.1",
        "::127.0.0.2",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::127.0.0.1",
        "64:ff9b:1:7f00:0:100::",
        "2002:7f00:1::1",
        "2001:0:7f00:1::",
        "2001:0:808:808::80ff:fffe",
        "2a00::5efe:127.0.0.1",
    ] {
        assert!(!allows(&rules, &format!("[{ip}]:9")), "{ip}");
    }
    for ip in ["::ffff:9.9.9.9", "64:ff9b::9.9.9.9"] {
        assert!(allows(&rules, &format!("[{ip}]:9")), "{ip}");
    }
}

#[test]
fn teredo_and_6to4_peers_are_refused_whatever_the_lists_allow() {
    let rules = PeerRules {
        allowed: vec![range("::/0"), range("0.0.0.0/0")],
        ..PeerRules::default()
    };
    let tunnelled = ["2002:909:909::1", "2001:0:909:909::1"];
    for ip in tunnelled {
        assert!(!allows(&rules, &format!("[{ip}]:9")), "{ip}");
    }
    assert!(allows(&rules, "[2001:1::1]:9"), "neither of the two");
    let mut policy = policy(vec![realm_policy(REALM)]);
    policy.peers = rules;
    let mut net = Net::with_policy(policy);
    let alice = Client::alice().greet(&mut net);
    let v6 = allocate().attribute(A::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    assert_eq!(alice.code(&mut net, v6), 0);
    for ip in tunnelled {
        assert_eq!(alice.permit(&mut net, &format!("[{ip}]:9")), 403);
        assert_eq!(alice.bind(&mut net, 0x4000, &format!("[{ip}]:9")), 403);
    }
}

#[test]
fn a_realm_closes_what_the_node_opens_and_opens_what_it_closes() {
    let rules = PeerRules {
        allowed: vec![range("10.0.0.0/8")],
        denied: vec![range("9.0.0.0/8")],
        ..PeerRules::default()
    };
    let mut realm = realm_policy(REALM);
    realm.denied_peers = vec![range("10.1.2.3")];
    realm.allowed_peers = vec![range("9.9.9.9")];
    assert!(!rules.allows(&realm, addr("10.1.2.3:9")));
    assert!(rules.allows(&realm, addr("10.1.2.4:9")));
    assert!(rules.allows(&realm, addr("9.9.9.9:9")));
    assert!(!rules.allows(&realm, addr("9.9.9.8:9")));
}

#[test]
fn allow_lists_beat_deny_lists_and_services_beat_them_all() {
    let rules = PeerRules {
        allowed: vec![range("10.1.0.0/16")],
        denied: vec![range("9.9.9.0/24"), range("10.1.2.3")],
        services: vec![addr("10.1.0.5:6379"), addr("9.9.8.8:3478")],
        ..PeerRules::default()
    };
    assert!(allows(&rules, "10.1.2.3:9"));
    assert!(!allows(&rules, "9.9.9.9:9"));
    assert!(!allows(&rules, "10.1.0.5:6379"));
    assert!(allows(&rules, "10.1.0.5:6380"));
    assert!(!allows(&rules, "9.9.8.8:3478"));
    let mut realm = realm_policy(REALM);
    realm.allowed_peers = vec![range("9.9.9.9")];
    realm.denied_peers = vec![range("8.8.8.0-8.8.8.255")];
    assert!(rules.allows(&realm, addr("9.9.9.9:9")));
    assert!(!rules.allows(&realm, addr("8.8.8.8:9")));
}

#[test]
fn a_cluster_nodes_address_is_open_on_its_relay_ports_only() {
    let rules = PeerRules {
        services: vec![addr("192.168.1.5:50001")],
        relays: vec![
            RelayEndpoint {
                address: "192.168.1.5".parse().unwrap(),
                ports: 50_000..=50_009,
            },
            RelayEndpoint {
                address: "9.9.9.9".parse().unwrap(),
                ports: 50_000..=50_009,
            },
        ],
        ..PeerRules::default()
    };
    for (peer, allowed) in [
        ("192.168.1.5:50000", true),
        ("192.168.1.5:50001", false),
        ("192.168.1.5:49999", false),
        ("9.9.9.9:50009", true),
        ("9.9.9.9:22", false),
        ("192.168.1.6:50000", false),
    ] {
        assert_eq!(allows(&rules, peer), allowed, "{peer}");
    }
}

#[test]
fn a_service_on_the_wildcard_address_is_refused_at_loopback_and_relay_addresses() {
    let rules = PeerRules {
        allowed: vec![range("127.0.0.0/8"), range("192.168.0.0/16")],
        services: vec![addr("0.0.0.0:9100"), addr("[::]:50001")],
        relays: vec![RelayEndpoint {
            address: "192.168.1.5".parse().unwrap(),
            ports: 50_000..=50_009,
        }],
        ..PeerRules::default()
    };
    for (peer, allowed) in [
        ("127.0.0.1:9100", false),
        ("127.0.0.1:9101", true),
        ("192.168.1.5:9100", false),
        ("192.168.1.5:50001", false),
        ("192.168.1.5:50002", true),
        ("192.168.1.6:9100", true),
    ] {
        assert_eq!(allows(&rules, peer), allowed, "{peer}");
    }
}

#[test]
fn no_rule_opens_a_service_in_any_embedded_form() {
    let rules = PeerRules {
        allowed: vec![range("0.0.0.0/0"), range("::/0")],
        services: vec![
            addr("127.0.0.1:5766"),
            addr("10.0.0.5:6379"),
            addr("[::1]:9641"),
        ],
        ..PeerRules::default()
    };
    let forms = |v4: &str, port| {
        [
            format!("{v4}:{port}"),
            format!("[::ffff:{v4}]:{port}"),
            format!("[::{v4}]:{port}"),
            format!("[::ffff:0:{v4}]:{port}"),
            format!("[64:ff9b::{v4}]:{port}"),
            format!("[64:ff9b:1::{v4}]:{port}"),
            format!("[2a00::5efe:{v4}]:{port}"),
        ]
    };
    for (v4, port) in [("127.0.0.1", 5766), ("10.0.0.5", 6379)] {
        for peer in forms(v4, port) {
            assert!(!allows(&rules, &peer), "{peer}");
        }
        for peer in forms(v4, port + 1) {
            assert!(allows(&rules, &peer), "{peer}: the rule is about one port");
        }
    }
    assert!(!allows(&rules, "[::1]:9641"));
    for peer in ["[2002:7f00:1::1]:5766", "[2001:0:7f00:1::]:5766"] {
        assert!(!allows(&rules, peer), "{peer}");
    }
}

#[test]
fn the_unspecified_address_is_nobodys_whatever_is_allowed() {
    let rules = PeerRules {
        allowed: vec![range("0.0.0.0/0"), range("::/0")],
        ..PeerRules::default()
    };
    for peer in ["0.0.0.0:80", "[::]:80", "[::ffff:0.0.0.0]:80"] {
        assert!(!allows(&rules, peer), "{peer}");
    }
    let mut open = policy(vec![realm_policy(REALM)]);
    open.peers = rules;
    let mut net = Net::with_policy(open);
    let (alice, _) = Client::allocated(&mut net);
    assert_eq!(alice.permit(&mut net, "0.0.0.0:80"), 403);
    assert_eq!(alice.permit(&mut net, "0.0.0.1:80"), 0);
}

#[test]
fn special_use_addresses_are_refused_by_every_door_and_counted() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    let mut refused = 0;
    for ip in SPECIAL_V4.split_whitespace() {
        let peer = format!("{ip}:9");
        assert_eq!(alice.permit(&mut net, &peer), 403, "{peer}");
        assert_eq!(alice.bind(&mut net, 0x4000, &peer), 403, "{peer}");
        assert_eq!(
            net.client(alice.tuple, &send_to(&peer, b"x")),
            None,
            "{peer}"
        );
        assert_eq!(net.peer(relay, &peer, b"x"), None, "{peer}");
        refused += 2;
    }
    let six = Client::at("192.0.2.11:40000", "bob", "hunter2").greet(&mut net);
    let request = allocate().attribute(
        turn_proto::stun::AttributeType::REQUESTED_ADDRESS_FAMILY,
        &[2, 0, 0, 0],
    );
    assert_eq!(six.code(&mut net, request), 0);
    for ip in SPECIAL_V6.split_whitespace() {
        let peer = format!("[{ip}]:9");
        assert_eq!(six.permit(&mut net, &peer), 403, "{peer}");
        assert_eq!(six.bind(&mut net, 0x4000, &peer), 403, "{peer}");
        assert_eq!(net.client(six.tuple, &send_to(&peer, b"x")), None, "{peer}");
        refused += 2;
    }
    net.events.clear();
    net.advance(1.0);
    let counted = net.events.iter().find_map(|event| match event {
        turn_proto::Event::Usage(usage) => usage
            .refusals
            .iter()
            .find_map(|row| (row.1 == turn_proto::RefusalReason::DeniedPeer).then_some(row.3)),
        _ => None,
    });
    assert_eq!(counted, Some(refused));
}

fn relay_policy() -> turn_proto::Policy {
    let mut with_relays = policy(vec![realm_policy(REALM)]);
    let ports = 50_000..=50_009;
    with_relays.peers = PeerRules {
        services: vec![addr("10.0.0.5:3478")],
        relays: ["8.8.4.4", "10.0.0.5"]
            .map(|ip| RelayEndpoint {
                address: ip.parse().unwrap(),
                ports: ports.clone(),
            })
            .to_vec(),
        external_to_local: vec![("8.8.4.4".parse().unwrap(), "10.0.0.5".parse().unwrap())],
        ..PeerRules::default()
    };
    with_relays
}

#[test]
fn a_permission_on_a_node_is_judged_by_port_with_every_datagram() {
    let mut net = Net::with_policy(relay_policy());
    let (alice, relay) = Client::allocated(&mut net);
    assert_eq!(alice.permit(&mut net, "8.8.4.4:0"), 0);
    for (port, passes) in [
        (50_000, true),
        (3478, false),
        (22, false),
        (50_009, true),
        (0, false),
    ] {
        let packet = send_to(&format!("8.8.4.4:{port}"), b"x");
        assert_eq!(net.client(alice.tuple, &packet).is_some(), passes, "{port}");
        let peer = format!("8.8.4.4:{port}");
        assert_eq!(net.peer(relay, &peer, b"x").is_some(), passes, "{port}");
    }
    assert_eq!(alice.bind(&mut net, 0x4000, "8.8.4.4:3478"), 403);
}

#[test]
fn an_external_address_is_sent_to_its_local_one_and_comes_back_as_external() {
    let mut net = Net::with_policy(relay_policy());
    let (alice, relay) = Client::allocated(&mut net);
    assert_eq!(alice.bind(&mut net, 0x4000, "8.8.4.4:50003"), 0);
    match net.client(alice.tuple, &channel_data(0x4000, b"x")) {
        Some(turn_proto::Forward::ToPeer { peer, .. }) => {
            assert_eq!(peer, addr("10.0.0.5:50003"));
        }
        other => panic!("{other:?}"),
    }
    match net.peer(relay, "10.0.0.5:50003", b"y") {
        Some(turn_proto::Forward::ToClient { header, .. }) => {
            assert_eq!(header.as_slice(), [0x40, 0, 0, 1]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_policy_cuts_running_traffic_in_both_directions() {
    let mut net = Net::new();
    let (alice, relay) = Client::allocated(&mut net);
    alice.bind(&mut net, 0x4000, PEER);
    assert!(
        net.client(alice.tuple, &channel_data(0x4000, b"x"))
            .is_some()
    );
    let mut realm = realm_policy(REALM);
    realm.denied_peers = vec![range("9.9.9.9")];
    let mut stricter = policy(vec![realm]);
    stricter.revision = 2;
    net.command(Command::SetPolicy(stricter.into()));
    assert_eq!(net.client(alice.tuple, &channel_data(0x4000, b"x")), None);
    assert_eq!(net.peer(relay, PEER, b"x"), None);
    let mut again = policy(vec![realm_policy(REALM)]);
    again.revision = 3;
    net.command(Command::SetPolicy(again.into()));
    assert!(
        net.client(alice.tuple, &channel_data(0x4000, b"x"))
            .is_some()
    );
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    let v6_prefixed = (0..5_usize, any::<u128>()).prop_map(|(index, bits)| {
        let prefix = [
            0,
            0xffff_0000_0000,
            0x64_ff9b << 96,
            0x2002 << 112,
            0x2001 << 112,
        ][index];
        Ipv6Addr::from(prefix | bits >> [96, 96, 96, 16, 32][index])
    });
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from(bits).into()),
        v6_prefixed.prop_map(IpAddr::V6),
    ]
}

fn any_range() -> impl Strategy<Value = IpRange> {
    let pair = |a: IpAddr, b: IpAddr| IpRange::new(a.min(b), a.max(b));
    (any_ip(), any_ip()).prop_filter_map("one family", move |(a, b)| pair(a, b))
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Membership as text books define it: same length, and not before nor behind, byte by byte.
fn naive_contains(range: &IpRange, ip: IpAddr) -> bool {
    let (first, last, ip) = (octets(range.first()), octets(range.last()), octets(ip));
    ip.len() == first.len() && first <= ip && ip <= last
}

proptest! {
    #[test]
    fn a_range_contains_what_lies_between_its_ends(range in any_range(), ip in any_ip()) {
        prop_assert_eq!(range.contains(ip), naive_contains(&range, ip));
        prop_assert!(range.contains(range.first()) && range.contains(range.last()));
    }

    #[test]
    fn the_filter_agrees_with_a_naive_model(
        ip in any_ip(),
        port in 1..u16::MAX,
        allowed in prop::collection::vec(any_range(), 0..3),
        denied in prop::collection::vec(any_range(), 0..3),
    ) {
        let mut forms = vec![ip];
        if let IpAddr::V6(v6) = ip {
            forms.extend(embedded_v4(v6).map(IpAddr::V4));
        }
        let within = |list: &[IpRange], ip| list.iter().any(|range| naive_contains(range, ip));
        let expected = forms.iter().all(|&form| {
            within(&allowed, form) || !within(&denied, form) && !is_special_use(form)
        });
        let tunnelled = [range("2002::/16"), range("2001::/32")];
        let expected = expected && !within(&tunnelled, ip);
        let rules = PeerRules { allowed, denied, ..PeerRules::default() };
        let expected = expected && !ip.to_canonical().is_unspecified();
        let verdict = rules.allows(&realm_policy(REALM), SocketAddr::new(ip, port));
        prop_assert_eq!(verdict, expected);
    }
}
