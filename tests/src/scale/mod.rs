//! A large cluster in one process: the control planes and stores of all nodes as they are, one real
//! Redis, and sessions that nobody relays for. What it costs Redis, and how fast its lists are.

mod console;
mod meter;
mod report;

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::fake::{FakeCluster, FakeOptions};
use crate::redis::RedisServer;
use crate::wait::{patiently, window};
use meter::{Counters, Stored, resident_bytes};

pub use console::Latency;
pub use report::Report;

/// How long the store may take to get all sessions.
const WRITTEN: Duration = Duration::from_secs(300);
/// Seconds between two requests of a session that change it: browsers renew a permission after four
/// minutes.
const REFRESH: u32 = 240;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// Nodes.
    pub nodes: u32,
    /// Sessions over all of them.
    pub sessions: u32,
    /// Sessions that end each second over all nodes, while as many begin.
    pub churn: u32,
    /// How long is measured. Totals of all sessions are written once a minute: less than that leaves
    /// a part of them out.
    pub seconds: u32,
    /// Pages of each kind that are asked for.
    pub pages: usize,
}

/// Simulates and measures.
///
/// # Errors
/// The nodes do not start, or the store does not get all sessions.
pub async fn simulate(simulation: Simulation) -> anyhow::Result<Report> {
    let _ = turn_udp::sys::raise_descriptor_limit();
    let redis = RedisServer::start();
    let folder = tempfile::tempdir()?;
    let options = FakeOptions {
        sessions: simulation.sessions,
        nodes: simulation.nodes,
        changing: true,
        churn: simulation.churn.div_ceil(simulation.nodes),
        refresh_secs: REFRESH,
        redis: Some(redis.url()),
        socket: folder.path().join("first.sock"),
    };
    let cluster = FakeCluster::meet(&options).await?;
    let empty = resident_bytes();
    let before = Counters::read(&redis);
    window(Duration::from_secs(u64::from(simulation.seconds).min(10))).await;
    let idle = Counters::read(&redis).since(&before);

    let begun = Instant::now();
    let before = Counters::read(&redis);
    cluster.introduce().await;
    let wanted = cluster.written_sessions();
    let written = patiently(WRITTEN, || {
        let count = Stored::sessions(&redis);
        std::future::ready((count == wanted).then_some(()))
    });
    written.await.with_context(|| {
        let there = Stored::sessions(&redis);
        format!("of {wanted} sessions {there} are in the store after {WRITTEN:?}")
    })?;
    let (writing, took) = (Counters::read(&redis).since(&before), begun.elapsed());
    let stored = Stored::read(&redis);
    let full = resident_bytes();

    cluster.live(&options);
    let before = Counters::read(&redis);
    window(Duration::from_secs(simulation.seconds.into())).await;
    let busy = Counters::read(&redis).since(&before);

    let before = Counters::read(&redis);
    let pages = console::latencies(&options.socket, simulation.pages).await?;
    let asked = Counters::read(&redis).since(&before);
    cluster.stop().await;
    let measured = report::Measured {
        idle,
        writing,
        took,
        stored,
        grown: full.saturating_sub(empty),
        busy,
        asked,
        pages,
    };
    Ok(Report::new(&simulation, measured))
}
