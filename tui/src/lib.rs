//! `relayctl`: the console and the command line of relayd clusters.

pub mod cli;
pub mod client;
pub mod console;
pub mod contexts;
mod views;
mod widgets;
