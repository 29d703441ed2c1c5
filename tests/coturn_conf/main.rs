//! coturn's configurations and command lines, taken by `relayd` as they are.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod admin;
mod auth;
mod convert;
mod files;
mod interplay;
mod limits;
mod listeners;
mod log;
mod north;
mod options;
mod peers;
mod process;
mod protocol;
mod relay;
mod stars;
mod start;
mod tls;
