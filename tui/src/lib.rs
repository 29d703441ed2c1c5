//! `relayctl`: the console and the command line of relayd clusters.

pub mod client;
pub mod console;
mod views;
mod widgets;
