//! The kit of the end-to-end suites: real processes, a TURN client, and waiting with deadlines.

pub mod address;
pub mod admin;
pub mod bench;
pub mod browser;
pub mod certificate;
pub mod client;
pub mod cluster;
pub mod coturn;
pub mod ctl;
pub mod demo;
pub mod fake;
pub mod foreign_server;
pub mod http;
pub mod netns;
pub mod node;
pub mod program;
pub mod pty;
pub mod redis;
pub mod rules;
pub mod ssh;
pub mod stream;
pub mod tmux;
pub mod tour;
pub mod traffic;
pub mod turnserver;
pub mod wait;
