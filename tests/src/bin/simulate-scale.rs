//! `cargo run --release -p relayd-tests --bin simulate-scale`: what a large cluster costs its Redis.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use clap::{Parser, ValueEnum};
use kit::scale::{Simulation, simulate};

/// Runs the control planes of many nodes in one process around a redis-server of its own, and measures.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Nodes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    nodes: u32,
    /// Sessions over all nodes
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u32,
    /// Sessions that end each second over all nodes, while as many begin
    #[arg(long, default_value_t = 2_000)]
    churn: u32,
    /// How long to measure; totals of sessions are written once a minute
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Pages of each kind to ask for
    #[arg(long, default_value_t = 100)]
    pages: usize,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let simulation = Simulation {
        nodes: arguments.nodes,
        sessions: arguments.sessions,
        churn: arguments.churn,
        seconds: arguments.seconds,
        pages: arguments.pages,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(simulate(simulation))?;
    match arguments.output {
        Output::Table => println!("{report}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}
