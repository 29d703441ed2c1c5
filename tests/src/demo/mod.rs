//! The demo: three nodes, calls through all of them, and the console on top.
//!
//! [`nodes`] starts the nodes, [`people`] creates realms, users and calls over the admin API as any
//! operator would, [`pages`] lets browsers in. Leaving the demo stops everything it started.

mod nodes;
mod pages;
mod people;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};
use relayctl::client::{Address, AdminApi, ConnectOptions, HttpAdmin};
use relayctl::configuration::{Configuration, Looks};
use relayctl::console::ConsoleOptions;
use relayctl::guardrails::Guardrails;
use shared::api::ListQuery;

use crate::traffic::Calls;
use tokio_util::sync::CancellationToken;

use nodes::Nodes;
use pages::Pages;

/// What to do.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Nodes are processes of their own around this Redis instead of one process on SQLite.
    pub redis: Option<String>,
    /// Calls per pair of nodes.
    pub calls: usize,
    /// The address of all nodes, in place of loopback addresses.
    pub address: Option<IpAddr>,
    /// Where to serve pages to browsers.
    pub pages: Option<SocketAddr>,
    /// Called with their URL when they are served and no console tells it.
    pub told: fn(&str),
    /// Run for so long without a console, and say what was seen.
    pub headless: Option<Duration>,
}

/// What a demo without console saw.
#[derive(Clone, Debug)]
pub struct DemoReport {
    /// Per node: id, sessions, bits per second of all of them.
    pub nodes: Vec<(String, u64, u64)>,
    /// Datagrams that the clients sent.
    pub sent: u64,
    /// Datagrams that the clients received.
    pub received: u64,
}

/// Where the demo's files are.
#[derive(Debug)]
pub struct DemoFolder {
    path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl DemoFolder {
    /// Creates the folder.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create(state: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(path) = state {
            std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
            let path = path.canonicalize()?;
            return Ok(Self {
                path,
                _temporary: None,
            });
        }
        let temporary = tempfile::Builder::new().prefix("relayd-demo-").tempdir()?;
        Ok(Self {
            path: temporary.path().to_owned(),
            _temporary: Some(temporary),
        })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Where the demo and its nodes log: the screen is the console's.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("demo.log")
    }
}

/// Runs the demo to its end.
///
/// # Errors
/// A node does not start, or the console cannot run.
pub async fn run(options: &DemoOptions, folder: &DemoFolder) -> anyhow::Result<Option<DemoReport>> {
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            told_to_stop().await;
            stop.cancel();
        }
    });
    let nodes = tokio::select! {
        nodes = Nodes::start(options.redis.as_deref(), options.address, folder.path()) => nodes?,
        () = stop.cancelled() => return Ok(None),
    };
    let mut calls = Calls::new();
    let admin = admin(&nodes)?;
    let outcome = tokio::select! {
        outcome = on_top(options, &nodes, &admin, &mut calls, &stop) => outcome,
        () = stop.cancelled(), if options.headless.is_none() => Ok(None),
    };
    // Hanging up joins threads that wait for sockets: not on the runtime's own thread.
    tokio::task::spawn_blocking(move || drop(calls)).await?;
    if options.redis.is_some() {
        people::remove(&admin).await;
    }
    nodes.stop().await;
    outcome
}

/// Everything that happens while the nodes run.
async fn on_top(
    options: &DemoOptions,
    nodes: &Nodes,
    client: &HttpAdmin,
    calls: &mut Calls,
    stop: &CancellationToken,
) -> anyhow::Result<Option<DemoReport>> {
    let cast = people::create(client)
        .await
        .context("create realms and users")?;
    people::call_everybody(calls, nodes.listeners(), &cast, options.calls);
    let pages = match options.pages {
        Some(address) => Some(Pages::start(address, admin(nodes)?).await?),
        None => None,
    };
    let outcome = match options.headless {
        Some(time) => {
            if let Some(pages) = &pages {
                (options.told)(&pages.url());
            }
            watch(client, calls, time, stop).await.map(Some)
        }
        None => console(admin(nodes)?, pages.as_ref()).await.map(|()| None),
    };
    if let Some(pages) = pages {
        pages.stop().await;
    }
    outcome
}

/// The admin API of the first node.
fn admin(nodes: &Nodes) -> anyhow::Result<HttpAdmin> {
    let socket = Address::Unix(nodes.socket().to_owned());
    Ok(HttpAdmin::new(socket, ConnectOptions::default())?)
}

/// Runs the console, which says where the pages are.
async fn console(admin: HttpAdmin, pages: Option<&Pages>) -> anyhow::Result<()> {
    let configuration = Configuration::default();
    let looks = Looks::new(&configuration, None, false, &|name| std::env::var_os(name))
        .map_err(anyhow::Error::msg)?;
    let options = ConsoleOptions {
        api: Arc::new(admin),
        context: pages.map_or_else(|| "demo".to_owned(), Pages::url),
        rw: false,
        configuration,
        looks,
        confirm_typed: false,
        guardrails: Guardrails::default(),
        switchboard: None,
    };
    Ok(relayctl::console::run(options).await?)
}

/// Waits, then asks the cluster what it relayed.
async fn watch(
    admin: &HttpAdmin,
    calls: &Calls,
    time: Duration,
    stop: &CancellationToken,
) -> anyhow::Result<DemoReport> {
    tokio::select! {
        () = clock(time) => {}
        () = stop.cancelled() => {}
    }
    let page = admin.nodes(&ListQuery::default()).await?;
    if let Some(missing) = page.missing.first() {
        bail!("{} did not answer: {}", missing.node, missing.reason);
    }
    let row = |node: &shared::api::NodeView| {
        (
            node.id.to_string(),
            node.sessions,
            node.rate_in_bps + node.rate_out_bps,
        )
    };
    Ok(DemoReport {
        nodes: page.items.iter().map(row).collect(),
        sent: calls.totals().sent.load(Ordering::Relaxed),
        received: calls.totals().received.load(Ordering::Relaxed),
    })
}

/// Returns after `time`.
async fn clock(time: Duration) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + time, time);
    ticks.tick().await;
}

/// Returns when the process is asked to end.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
}
