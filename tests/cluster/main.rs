//! Three `relayd` around one `redis-server`: every node answers for all, and acts on all.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod aftermath;
mod alerts;
mod bans;
mod beside;
mod drains;
mod edits;
mod history;
mod lifecycle;
mod live;
mod lookups;
mod partition;
mod passed_on;
mod placement;
mod quotas;
mod rates;
mod redirects;
mod restart;
mod revocation;
mod rings;
mod scale;
mod settings;
mod sockets;
mod undo;
