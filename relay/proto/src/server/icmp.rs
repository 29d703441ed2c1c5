//! From the network to the client: ICMP errors about datagrams of its relay (RFC 8656 §11.5).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Server;
use super::peer_data::indication_id;
use crate::five_tuple::RelayId;
use crate::server::Output;
use crate::stun::{AttributeType, Class, MessageBuilder, Method};
use crate::time::Now;

/// In which a client is told of a few ICMP errors: enough for a path MTU to be found, and no stranger
/// with forged errors turns a session into a stream of indications.
const WINDOW: Duration = Duration::from_secs(1);

/// An ICMP error that quotes a datagram of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Where the quoted datagram was sent to. Its family says which ICMP it is.
    pub destination: SocketAddr,
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
    /// The MTU of the next hop in bytes, where the error is about that; anything otherwise.
    pub mtu: u32,
}

impl IcmpError {
    /// ICMPv4 "destination unreachable".
    pub const UNREACHABLE_V4: u8 = 3;
    /// ICMPv4 "fragmentation needed", a code of [`Self::UNREACHABLE_V4`].
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// ICMPv6 "packet too big".
    pub const TOO_BIG_V6: u8 = 2;
    const EXCEEDED_V4: u8 = 11;

    /// Whether clients are told of errors of this type.
    fn is_relayed(&self) -> bool {
        if self.destination.is_ipv4() {
            matches!(self.kind, Self::UNREACHABLE_V4 | Self::EXCEEDED_V4)
        } else {
            matches!(self.kind, 1..=3)
        }
    }

    /// The value of the ICMP attribute (§18.13).
    fn value(&self) -> [u8; 8] {
        let about_mtu = match (self.destination.is_ipv4(), self.kind, self.code) {
            (true, kind, code) => {
                kind == Self::UNREACHABLE_V4 && code == Self::FRAGMENTATION_NEEDED
            }
            (false, kind, _) => kind == Self::TOO_BIG_V6,
        };
        let data = if about_mtu { self.mtu } else { 0 };
        let [a, b, c, d] = data.to_be_bytes();
        [0, 0, self.kind, self.code, a, b, c, d]
    }
}

/// How many ICMP errors a session was told of lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IcmpBudget {
    since: Instant,
    told: u32,
}

impl IcmpBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            told: 0,
        }
    }

    fn admit(&mut self, limit: u32, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            *self = Self::new(now);
        }
        let admitted = self.told < limit;
        self.told += u32::from(admitted);
        admitted
    }
}

impl Server {
    /// Takes an ICMP error about a datagram of a relay. The client is told if it has a permission
    /// for where that datagram went, and the policy still allows it: who sent the error does not
    /// matter.
    pub fn handle_icmp(&mut self, now: Now, relay: RelayId, error: IcmpError) {
        self.touch(now);
        let told = error.is_relayed() && self.tell_icmp(now, relay, error).is_some();
        let counter = if told {
            &mut self.counters.icmp_errors
        } else {
            &mut self.counters.icmp_dropped
        };
        *counter += 1;
    }

    fn tell_icmp(&mut self, now: Now, relay: RelayId, error: IcmpError) -> Option<()> {
        let allocation = self.table.get_mut(relay)?;
        let peer = allocation.presented(&self.policy, error.destination);
        let permission = allocation.permissions.live(peer.ip(), now.mono)?;
        let realm = &allocation.identity.realm;
        if !permission.allows(peer.port(), &self.policy, realm) {
            return None;
        }
        let limit = self.policy.settings.icmp_errors_per_sec;
        if !allocation.icmp.admit(limit, now.mono) {
            return None;
        }
        allocation.indications = allocation.indications.wrapping_add(1);
        let id = indication_id(allocation.id, allocation.indications);
        let message = MessageBuilder::new(Class::Indication, Method::Data, id)
            .xor_address(AttributeType::XOR_PEER_ADDRESS, peer)
            .attribute(AttributeType::ICMP, &error.value())
            .finish();
        let tuple = allocation.tuple;
        self.outputs.push_back(Output::Transmit { tuple, message });
        Some(())
    }
}
