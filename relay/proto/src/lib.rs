//! STUN codec and TURN server state machine: no IO, no clock, no threads.

mod allocation;
pub mod auth;
pub mod channel_data;
pub mod demux;
pub mod expiry;
pub mod five_tuple;
pub mod framing;
pub mod policy;
pub mod server;
pub mod stun;
pub mod time;

pub use five_tuple::{AddressFamily, ConnectionId, FiveTuple, LinkId, RelayId, ReservationToken};
pub use policy::{
    Budget, Budgets, Claimant, Demand, Lane, NatDiscovery, NodeSettings, PeerRules, PlaceAnswer,
    Policy, Quota, QuotaExceeded, QuotaLimits, RateLimit, RealmPolicy, Redirect, RelayEndpoint,
    RestSecret, TcpRelaySettings, WHOLE,
};
pub use server::*;
pub use time::Now;
