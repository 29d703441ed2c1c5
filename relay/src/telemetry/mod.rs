//! Logs, metrics and health.

pub mod health;
pub mod log;
mod metrics;
mod output;
