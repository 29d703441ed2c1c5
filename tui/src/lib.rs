//! `relayctl`: the console and the command line of relayd clusters.

pub mod bench;
pub mod cli;
pub mod client;
pub mod configuration;
pub mod console;
pub mod contexts;
mod coturn;
mod drain;
mod editor;
pub mod guardrails;
#[cfg(test)]
mod looks;
pub mod realm_document;
pub mod settings;
pub mod turn;
#[cfg(test)]
mod verbs;
pub mod verify;
mod views;
mod widgets;
