//! Two servers that send to each other: nothing may go round for ever (RFC 8656 §21.4).

use shared::Transport;
use turn_proto::stun::Method;
use turn_proto::{FiveTuple, Forward, PeerRules, RelayEndpoint, RelayId};

use crate::kit::*;

const LISTENERS: [&str; 2] = ["198.51.100.1:3478", "198.51.100.2:3478"];
/// The longest UDP payload over IPv4.
const LONGEST: usize = 65_507;

/// One server of a ring: its only client is the relay of the other one.
struct Hop {
    net: Net,
    client: Client,
    relay: RelayId,
}

/// Two servers, each with an allocation whose client is the relay of the other one: what somebody
/// would need who wants packets to go round. Requests come as if forged, with good credentials.
fn ring(peers: &PeerRules) -> [Hop; 2] {
    // The kit hands out this port to the first relay.
    let relay = "198.51.100.1:50002";
    [0, 1].map(|me| {
        let mut rules = policy(vec![realm_policy(REALM)]);
        rules.peers = peers.clone();
        let mut net = Net::with_policy(rules);
        let mut client = Client::at(relay, "alice", "secret");
        client.tuple = FiveTuple {
            client: addr(relay),
            server: addr(LISTENERS[me]),
            transport: Transport::Udp,
        };
        let client = client.greet(&mut net);
        assert_eq!(client.code(&mut net, allocate()), 0);
        let relay = net.requests.last().unwrap().0;
        Hop { net, client, relay }
    })
}

/// Lets a packet of the second listener come to the first relay, and counts how often the servers
/// pass it on.
fn rounds(ring: &mut [Hop; 2]) -> usize {
    let mut packet = Vec::new();
    for round in 0.. {
        let (me, other) = (round % 2, (round + 1) % 2);
        let Hop { net, relay, .. } = &mut ring[me];
        let forward = net.peer(*relay, LISTENERS[other], &packet);
        let Some(Forward::ToClient {
            header,
            payload,
            pad,
            ..
        }) = forward
        else {
            return round;
        };
        let mut next = [header.as_slice(), payload].concat();
        next.resize(next.len() + usize::from(pad), 0);
        assert!(next.len() > packet.len(), "each hop adds its header");
        if next.len() > LONGEST {
            return round;
        }
        packet = next;
    }
    unreachable!("the loop ends inside")
}

#[test]
fn a_packet_in_a_ring_of_two_servers_dies_out() {
    let open = PeerRules {
        allowed: vec!["198.51.100.0/24".parse().unwrap()],
        ..PeerRules::default()
    };
    let mut indications = ring(&open);
    for hop in &mut indications {
        assert_eq!(hop.client.permit(&mut hop.net, LISTENERS[0]), 0);
        assert_eq!(hop.client.permit(&mut hop.net, LISTENERS[1]), 0);
    }
    let went = rounds(&mut indications);
    assert!((2..=LONGEST / 36).contains(&went), "{went}");

    let mut channels = ring(&open);
    for (hop, other) in channels.iter_mut().zip([1, 0]) {
        assert_eq!(hop.client.bind(&mut hop.net, 0x4000, LISTENERS[other]), 0);
    }
    let went = rounds(&mut channels);
    assert!((2..=LONGEST / 4).contains(&went), "{went}");
}

#[test]
fn nobody_closes_a_ring_in_a_cluster_because_listeners_are_no_peers() {
    let ports = 49_152..=65_535;
    let cluster = PeerRules {
        allowed: vec!["198.51.100.0/24".parse().unwrap()],
        services: LISTENERS.map(addr).to_vec(),
        relays: LISTENERS
            .map(|one| RelayEndpoint {
                address: addr(one).ip(),
                ports: ports.clone(),
            })
            .to_vec(),
        ..PeerRules::default()
    };
    let mut ring = ring(&cluster);
    for hop in &mut ring {
        for listener in LISTENERS {
            // The address is a relay's, so it may be permitted; the listener's port may not pass.
            assert_eq!(hop.client.permit(&mut hop.net, listener), 0);
            assert_eq!(hop.client.bind(&mut hop.net, 0x4000, listener), 403);
            let request = ask_for(Method::Allocate).finish();
            let packet = send_to(listener, &request);
            assert_eq!(hop.net.client(hop.client.tuple, &packet), None);
        }
        let relay_of_another = send_to("198.51.100.2:50002", b"legitimate");
        assert!(
            hop.net
                .client(hop.client.tuple, &relay_of_another)
                .is_some()
        );
    }
    assert_eq!(rounds(&mut ring), 0);
}
