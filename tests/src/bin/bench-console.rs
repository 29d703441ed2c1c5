//! `cargo run --release -p relayd-tests --bin bench-console`: proves or disproves the console's speed.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints a table"
)]

use clap::Parser;
use kit::bench::{Effort, Figure, console, lists, traffic};
use kit::fake::{FakeCluster, FakeOptions};

/// Measures the console against a fake cluster.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Sessions over all nodes
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u32,
    /// Nodes
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// Run everything briefly and judge nothing
    #[arg(long)]
    smoke: bool,
    /// Only what administration costs the calls that go on meanwhile
    #[arg(long)]
    only_traffic: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Built before anything is measured.
    let _ = kit::program::ours("relayctl");
    let _ = kit::program::ours("relayd");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let figures = runtime.block_on(measure(&arguments))?;
    let missed = figures.iter().filter(|figure| !figure.met()).count();
    anyhow::ensure!(missed == 0, "{missed} targets missed");
    Ok(())
}

fn tell(figures: &mut Vec<Figure>, new: Vec<Figure>) {
    for figure in &new {
        println!("{figure}");
    }
    figures.extend(new);
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Vec<Figure>> {
    let effort = if arguments.smoke {
        Effort::SMOKE
    } else {
        Effort::FULL
    };
    let mut figures = Vec::new();
    if arguments.only_traffic {
        beside_traffic(&mut figures, effort).await?;
        return Ok(figures);
    }
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("fake.sock");
    let mut options = FakeOptions {
        sessions: (arguments.sessions / 10).max(1),
        nodes: 1,
        changing: true,
        churn: 0,
        refresh_secs: 0,
        redis: None,
        socket: socket.clone(),
    };
    let cluster = FakeCluster::start(&options).await?;
    let on_a_node = lists::on_a_node(&cluster.service(), effort).await?;
    tell(&mut figures, on_a_node);
    cluster.stop().await;
    options.sessions = arguments.sessions;
    options.nodes = arguments.nodes;
    let cluster = FakeCluster::start(&options).await?;
    let pages = lists::of_the_cluster(&socket, effort).await?;
    tell(&mut figures, pages);
    let drawing = console::drawing(&socket, effort).await?;
    tell(&mut figures, drawing);
    let sessions = arguments.sessions;
    let in_a_terminal = move || console::in_a_terminal(&socket, sessions, effort);
    let in_a_terminal = tokio::task::spawn_blocking(in_a_terminal).await??;
    tell(&mut figures, in_a_terminal);
    cluster.stop().await;
    beside_traffic(&mut figures, effort).await?;
    Ok(figures)
}

async fn beside_traffic(figures: &mut Vec<Figure>, effort: Effort) -> anyhow::Result<()> {
    tell(figures, traffic::beside_lists(effort).await?);
    tell(figures, traffic::beside_changes(effort).await?);
    Ok(())
}
