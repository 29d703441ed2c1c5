//! A simulated world around the TURN core: time, randomness, clients, peers and the network are
//! plain values, so that every run can be had again from its seed or its script.
//!
//! [`network::run`] plays a whole fleet over a network that loses, doubles and reorders. [`script::run`]
//! takes any bytes as orders, for fuzzers; [`targets`] holds what is fuzzed besides.

pub mod access;
pub mod checks;
pub mod client;
pub mod network;
pub mod policies;
pub mod quota;
mod restart;
pub mod script;
pub mod targets;
pub mod world;
