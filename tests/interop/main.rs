//! Other people's TURN against ours: coturn's client through `relayd`, our client through coturn.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod aioice;
mod browser;
mod clients;
mod coturn_server;
mod families;
mod mobility;
mod nat_discovery;
mod oauth;
mod profiles;
mod tcp_relaying;
mod turn_check;
mod turn_check_ways;
mod uclient;
