//! Logs, metrics and health.

pub mod log;
