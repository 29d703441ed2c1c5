//! TCP relaying (RFC 6062) as a worker does it: listening relay sockets, connections with peers, and
//! pairs of connections whose bytes pass from one to the other.

mod links;
mod pair;
pub mod socket;

pub use links::{Links, Tokens, Told};
pub use pair::Pair;
