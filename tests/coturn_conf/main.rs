//! coturn's configurations and command lines, taken by `relayd` as they are.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod admin;
mod auth;
mod convert;
mod files;
mod interplay;
mod limits;
mod log;
mod options;
mod process;
mod start;
