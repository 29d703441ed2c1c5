//! `relayd`, a relay node: see `ARCHITECTURE.md` beside this crate for the map and the invariants.
//!
//! [`worker`] threads relay packets ([`udp`], [`listener`] and [`dtls`] below them); [`control`] keeps
//! the books, syncs with the [`store`] and answers the [`admin`] API; [`config`] and [`telemetry`] serve
//! both; [`room`] bounds what listeners take together; [`beside`] speaks with a coturn in the place of
//! workers; `trusted` opens files where others may write; [`node`] owns it all.

pub mod admin;
pub mod beside;
pub mod certificate;
pub mod config;
pub mod control;
pub mod dtls;
pub mod listener;
pub mod node;
pub mod room;
pub mod store;
pub mod succession;
pub mod tcp;
pub mod telemetry;
mod trusted;
pub mod udp;
pub mod worker;
