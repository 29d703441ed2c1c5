//! STUN codec and TURN server state machine (contract in place, implementation under way).

pub mod five_tuple;
pub mod policy;
pub mod time;
