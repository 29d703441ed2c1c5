//! The server by RFC rule: RFC 8489 for messages and credentials, RFC 8656 for relaying, RFC 6062 for TCP.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod allocating;
mod amplification;
mod arrival;
mod authentication;
mod channels;
mod churn;
mod codec;
mod dual;
mod framing;
mod icmp;
mod kit;
mod limits;
mod live_changes;
mod lookups;
mod loops;
mod messages;
mod mobility;
mod moving_between_workers;
mod nat_discovery;
mod oauth;
mod password_algorithms;
mod peers;
mod permissions;
mod places;

mod redirecting;
mod refreshing;
mod refusals;
mod relaying;
mod restoring;
mod tcp_binding;
mod tcp_relaying;
