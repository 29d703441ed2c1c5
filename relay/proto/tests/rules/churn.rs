//! Many clients doing anything in any order: the tables stay in step and nothing leaks.

use std::sync::atomic::Ordering;

use crate::kit::*;
use proptest::prelude::*;
use turn_proto::stun::{AttributeType as A, MessageBuilder, Method};
use turn_proto::{AddressFamily, Command, EndCause, OpenError, RelayOpened};

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize, bool),
    /// With REQUESTED-ADDRESS-FAMILY, where it is not 0.
    Refresh(usize, u8, u32),
    Permit(usize, u8),
    Bind(usize, u8, u8),
    ToPeer(usize, u8),
    FromPeer(usize, u8),
    Open(bool),
    Kill(usize),
    Policy(bool),
    Wait(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    let client = 0..4_usize;
    prop_oneof![
        4 => (client.clone(), any::<bool>()).prop_map(|(c, dual)| Step::Allocate(c, dual)),
        2 => (client.clone(), 0..3_u8, prop_oneof![Just(0_u32), 1..5000_u32])
            .prop_map(|(c, family, lifetime)| Step::Refresh(c, family, lifetime)),
        1 => (client.clone(), 0..5_u8).prop_map(|(c, peer)| Step::Permit(c, peer)),
        1 => (client.clone(), 0..3_u8, 0..5_u8).prop_map(|(c, n, peer)| Step::Bind(c, n, peer)),
        2 => (client.clone(), 0..3_u8).prop_map(|(c, n)| Step::ToPeer(c, n)),
        2 => (client.clone(), 0..5_u8).prop_map(|(c, peer)| Step::FromPeer(c, peer)),
        4 => any::<bool>().prop_map(Step::Open),
        1 => client.prop_map(Step::Kill),
        1 => any::<bool>().prop_map(Step::Policy),
        1 => (0..400_u32).prop_map(Step::Wait),
    ]
}

struct World {
    net: Net,
    clients: Vec<Client>,
    answered: usize,
    bound: usize,
    revision: u64,
}

impl World {
    fn new() -> Self {
        let mut net = Net::new();
        net.hold_opening = true;
        let clients =
            (0..4).map(|n| Client::at(&format!("192.0.2.1:{}", 40_000 + n), "alice", "secret"));
        Self {
            clients: clients.collect(),
            net,
            answered: 0,
            bound: 0,
            revision: 1,
        }
    }

    fn take(&mut self, step: &Step) {
        let peer = |n: u8| match n % 2 {
            0 => format!("9.9.9.{n}:7000"),
            _ => format!("[2a00::{n}]:7000"),
        };
        match *step {
            Step::Allocate(c, false) => self.ask(c, allocate()),
            Step::Allocate(c, true) => {
                let both = A::ADDITIONAL_ADDRESS_FAMILY;
                self.ask(c, allocate().attribute(both, &[2, 0, 0, 0]));
            }
            Step::Refresh(c, family, lifetime) => {
                let mut request = ask_for(Method::Refresh).number(A::LIFETIME, lifetime);
                if family != 0 {
                    let value = [family, 0, 0, 0];
                    request = request.attribute(A::REQUESTED_ADDRESS_FAMILY, &value);
                }
                self.ask(c, request);
            }
            Step::Permit(c, n) => {
                self.ask(c, ask_for(Method::CreatePermission).peer(&peer(n)));
            }
            Step::Bind(c, number, n) => {
                let request = ask_for(Method::ChannelBind)
                    .number(A::CHANNEL_NUMBER, (0x4000 + u32::from(number)) << 16);
                self.ask(c, request.peer(&peer(n)));
            }
            Step::ToPeer(c, n) => {
                let packet = channel_data(0x4000 + u16::from(n), b"x");
                self.net.client(self.clients[c].tuple, &packet);
            }
            Step::FromPeer(c, n) => {
                if let Some(&(relay, _)) = self.net.requests.get(c) {
                    self.net.peer(relay, &peer(n), b"x");
                }
            }
            Step::Open(fine) => self.open(fine),
            Step::Kill(n) => {
                let session = shared::SessionId::new(0, n as u32);
                self.net.command(Command::Kill {
                    session,
                    cause: EndCause::Killed,
                });
            }
            Step::Policy(strict) => {
                let mut realm = realm_policy(REALM);
                realm.max_rate_bps = strict.then_some(1000);
                self.revision += 1;
                let mut next = policy(vec![realm]);
                next.revision = self.revision;
                self.net.command(Command::SetPolicy(next.into()));
            }
            Step::Wait(seconds) => self.net.advance(f64::from(seconds)),
        }
    }

    fn ask(&mut self, client: usize, request: MessageBuilder) {
        let client = self.clients[client].clone().greet(&mut self.net);
        let _ = client.ask(&mut self.net, request);
    }

    /// Answers the oldest open question of the server.
    fn open(&mut self, fine: bool) {
        let Some(&(relay, request)) = self.net.requests.get(self.answered) else {
            return;
        };
        self.answered += 1;
        self.bound += usize::from(fine);
        let local = addr(match request.family {
            AddressFamily::V4 => "198.51.100.1:50000",
            AddressFamily::V6 => "[2001:db8::1]:50000",
        });
        let opened = RelayOpened {
            local,
            external: local,
            reservation: None,
        };
        let answer = if fine {
            Ok(opened)
        } else {
            Err(OpenError::PortsExhausted)
        };
        self.net
            .server
            .handle_relay_opened(self.net.now, relay, answer);
        self.net.drain();
    }
}

proptest! {
    #[test]
    fn every_bound_relay_is_closed_once_and_every_quota_comes_back(
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        while world.answered < world.net.requests.len() {
            world.open(true);
        }
        world.net.advance(10_000.0);
        prop_assert_eq!(world.net.server.sessions(), 0);
        prop_assert_eq!(world.net.closed.len(), world.bound);
        prop_assert_eq!(world.net.quota.held.load(Ordering::Relaxed), 0);
        let counters = *world.net.server.counters();
        prop_assert_eq!(counters.ended.total(), counters.allocations);
    }
}
