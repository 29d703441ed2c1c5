//! The control plane: keeps the books of this node, syncs with the store, speaks with the other
//! nodes, and answers whatever the admin API asks.
//!
//! `node.rs` calls [`prepare`] before the workers start (it gives them their first policy and their
//! quota), then [`Prepared::run`] once they run. Everything the admin API does is a method of
//! [`Service`].

mod alerts;
mod bans;
mod certificates;
mod clock;
mod cluster;
mod credentials;
mod denials;
mod directory;
mod dirty;
mod documents;
mod drain;
mod ending;
mod files;
mod health;
mod history;
mod hub;
mod keys;
mod local;
mod memory;
mod mirror;
mod parts;
mod policy;
mod preview;
mod process;
mod pump;
mod quota;
mod recorder;
mod redirects;
mod refusals;
pub mod restore;
mod revocation;
mod running_users;
mod sampler;
mod service;
mod settings;
mod tokens;
mod upgrade;
mod userhash;
mod vacancy;
mod waiters;
mod workers;

#[cfg(test)]
mod testing;

pub use certificates::WatchedCertificates;
pub use keys::ClusterKey;
pub use parts::{ControlHandle, ControlParts, Prepared, WorkerSide, prepare};
pub use quota::{NodeQuota, publish as publish_quota};
pub use restore::Restoring;
pub use service::metrics::{MetricsView, RealmMetric, RefusalMetric};
pub use service::{Caller, EventStream, Readiness, Service};
pub use settings::{SettingsChange, at_start};
pub use workers::{NoWorkers, RunningWorkers, Workers};
