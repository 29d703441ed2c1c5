//! `cargo run --release -p relayd-tests --bin fake-cluster`: a console's playground with as many
//! sessions as wanted and no socket but the admin API's.

#![allow(clippy::print_stderr, reason = "it says where things are")]

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use kit::fake::{FakeCluster, FakeOptions};

/// Serves the real admin API over generated sessions until it is interrupted.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Sessions over all nodes
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u32,
    /// Nodes
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// Where the admin API is served
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Change rates every second
    #[arg(long)]
    changing: bool,
    /// End so many sessions a second on every node, and begin as many
    #[arg(long, default_value_t = 0, requires = "changing")]
    churn: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let options = FakeOptions {
        sessions: arguments.sessions,
        nodes: arguments.nodes,
        changing: arguments.changing,
        churn: arguments.churn,
        refresh_secs: 0,
        redis: None,
        socket: arguments.socket,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        eprintln!("Generating {} sessions.", options.sessions);
        let cluster = FakeCluster::start(&options).await?;
        let socket = options.socket.display();
        eprintln!("relayctl --context unix:{socket}");
        tokio::signal::ctrl_c().await.context("no signals")?;
        cluster.stop().await;
        Ok(())
    })
}
