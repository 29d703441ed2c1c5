//! UDP sockets of the workers, and the selector that spreads clients over them. Datagrams themselves
//! are moved by `turn-udp`.

pub mod interfaces;
pub mod selector;
pub mod socket;
