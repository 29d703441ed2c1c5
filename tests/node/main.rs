//! One `relayd` process: its life, its configuration, its rights, its users.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod addresses;
mod configuration;
mod coturn_databases;
mod coturn_sql;
mod credentials;
mod ended;
mod exhaustion;
mod guessing;
mod life;
mod limits;
mod peers;
mod redis_away;
mod redis_cluster;
mod redis_full;
mod redis_sentinel;
mod refusals;
mod restart;
mod revocation;
mod selector;
mod statsdb;
mod tcp_relaying;
mod turnadmin;
mod under_load;
mod upgrade;
mod written;
