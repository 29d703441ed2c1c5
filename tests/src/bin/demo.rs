//! `cargo run --release -p relayd-tests --bin demo`: a live cluster, and the console on top of it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it says where things are"
)]

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use kit::demo::{DemoFolder, DemoOptions, DemoReport};
use tracing_subscriber::EnvFilter;

/// Starts three nodes, sends voice and video through them, and opens the console.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Run the nodes as processes of their own around this Redis, as in redis://127.0.0.1:6379/9
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Keep state and logs in this folder; default: a temporary one
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Calls per pair of nodes
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    calls: usize,
    /// Serve pages on which a browser gathers candidates and two browsers call each other through this cluster
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "127.0.0.1:8088"
    )]
    pages: Option<SocketAddr>,
    /// Put all nodes at this address of the machine instead of loopback, for browsers elsewhere
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Run without a console and print what was relayed
    #[arg(long)]
    headless: bool,
    /// How long to run without a console
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        requires = "headless"
    )]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = DemoFolder::create(arguments.state)?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.log())?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(log))
        .init();
    let options = DemoOptions {
        redis: arguments.redis,
        calls: arguments.calls,
        address: arguments.address,
        pages: arguments.pages,
        told: |url| println!("pages: {url}"),
        headless: arguments
            .headless
            .then(|| Duration::from_secs(arguments.seconds)),
    };
    eprintln!("Starting three nodes; log: {}", folder.log().display());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime
        .block_on(kit::demo::run(&options, &folder))
        .with_context(|| {
            let log = std::fs::read_to_string(folder.log()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(10).collect();
            format!(
                "the last lines of the log:\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            )
        })?;
    if let Some(report) = report {
        print_report(&report);
    }
    Ok(())
}

fn print_report(report: &DemoReport) {
    for (id, sessions, rate) in &report.nodes {
        println!("{id}: {sessions} sessions, {} kbit/s", rate / 1000);
    }
    println!(
        "clients sent {} datagrams and received {}",
        report.sent, report.received
    );
}
