//! `cargo run -p relayd-tests --bin soak -- --minutes 60`: three nodes, a failing store, operators and
//! clients, and what is left when all is over.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it tells what happens, and prints a table"
)]

use std::time::Duration;

use clap::Parser;
use kit::soak::Soak;

/// Soaks a cluster and fails when something is left behind, misrouted or changed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How long clients talk
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Clients at a time
    #[arg(long, default_value_t = 24)]
    callers: usize,
    /// What the randomness comes from; drawn and printed where it is not given
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let soak = Soak {
        length: Duration::try_from_secs_f64(arguments.minutes * 60.0)?,
        warm_up: Duration::from_secs(20),
        callers: arguments.callers,
        seed: arguments.seed.unwrap_or_else(rand::random),
    };
    let outcome = soak.run(&|text| eprintln!("{text}"));
    println!("{outcome}");
    let found = outcome.findings.len();
    anyhow::ensure!(found == 0, "{found} findings");
    Ok(())
}
