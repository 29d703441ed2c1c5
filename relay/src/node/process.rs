//! A node as a process: signals, reloads, and the process after it.

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::pid_file::PidFile;
use super::{CONTROL_THREADS, Circumstances, LEFTOVERS, Node, detach, prepare_state_dir};
use crate::config::{Args, Config};
use crate::succession::{Elder, Heir, Kept, Knock, Supervisor};
use crate::telemetry::log::Log;
use crate::worker::Frozen;
use turn_udp::sys;

/// How often a node that ends with its last session looks whether that is gone.
const EMPTY_LOOK: Duration = Duration::from_millis(500);
/// Exit status of a process that passed everything on and could not keep the rest.
const RETIRED_BADLY: i32 = 1;

/// Runs the node of `config` until SIGTERM or SIGINT; a second one ends it at once. SIGHUP loads
/// the configuration again as `args` say and applies what can change while serving. As coturn's, SIGUSR2
/// reads certificates alone, and SIGUSR1 drains the node, whose process ends with its last session.
///
/// # Errors
/// Whatever keeps the node from starting.
pub fn run(config: Config, args: &Args, log: &Log) -> anyhow::Result<()> {
    // Before anything else opens descriptors.
    let kept = Kept::find();
    let limit = sys::raise_descriptor_limit().context("the descriptor limit cannot be raised")?;
    sys::forbid_core_dumps().context("core dumps cannot be forbidden")?;
    tracing::debug!(limit, "Descriptors.");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("the control threads cannot be started")?;
    let result = runtime.block_on(serve_until_told(config, args, log, kept));
    runtime.shutdown_timeout(LEFTOVERS);
    result
}

async fn serve_until_told(
    config: Config,
    args: &Args,
    log: &Log,
    kept: Option<Kept>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut certificates = signal(SignalKind::user_defined2())?;
    let mut drain = signal(SignalKind::user_defined1())?;
    let mut leaves_empty = false;
    let mut looks = tokio::time::interval(EMPTY_LOOK);
    let mut heir = match args.upgrade {
        true => find_running(&config)?,
        false => None,
    };
    let supervisor = Supervisor::of_process();
    let pid_file = open_pid_file(&config, heir.as_mut())?;
    let circumstances = Circumstances {
        log: Some(log.level()),
        heir,
        kept,
        has_door: true,
        pid_file,
    };
    let leaves = config.descriptor_store;
    let output = config.log.output.clone();
    let mut node = Box::pin(Node::start_in(config, None, circumstances)).await?;
    if detach::is_detached() && !args.upgrade {
        detach::serving(&output).context("the background cannot be reached")?;
    }
    if let Some(supervisor) = &supervisor {
        supervisor.forget();
        supervisor.say("READY=1");
    }
    loop {
        tokio::select! {
            knock = node.knock() => match pass_on(node, knock).await {
                Ok((elder, heir)) => {
                    if let Some(supervisor) = &supervisor {
                        supervisor.say(&format!("MAINPID={heir}"));
                    }
                    return elder.live().await;
                }
                Err(still) => node = *still,
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                log.reopen();
                reload(&node, args).await;
            }
            _ = certificates.recv() => node.service().reload_certificates(),
            _ = drain.recv() => leaves_empty = node.service().drain_at_signal().await,
            _ = looks.tick(), if leaves_empty => if has_nobody_left(&node, &mut leaves_empty) {
                break;
            },
        }
    }
    tracing::info!("Stopping; a second signal ends the node at once.");
    let mut left = None;
    if let Some(supervisor) = &supervisor {
        supervisor.say("STOPPING=1");
        if leaves {
            left = leave(&node, supervisor).await;
        }
    }
    tokio::select! {
        () = node.stop_with(left) => Ok(()),
        _ = terminate.recv() => anyhow::bail!("ended by a second signal"),
        _ = interrupt.recv() => anyhow::bail!("ended by a second signal"),
    }
}

/// As root, if that is who starts: rights are given up on the way to serving. A process that is to take over
/// may have none, and gets the file of the one that runs.
fn open_pid_file(config: &Config, heir: Option<&mut Heir>) -> anyhow::Result<Option<PidFile>> {
    // It may lie there.
    prepare_state_dir(config)?;
    let Some(path) = config.process.pid_file.as_deref() else {
        return Ok(None);
    };
    let passed_on = heir.and_then(Heir::pid_file);
    let passed_on = passed_on.and_then(|file| PidFile::passed_on(path, file));
    Ok(passed_on.or_else(|| PidFile::open(path)))
}

/// Whether the last session of a node that `leaves_empty` is gone; the next start takes sessions again then.
/// A node that was undrained does not leave.
fn has_nobody_left(node: &Node, leaves_empty: &mut bool) -> bool {
    *leaves_empty = node.service().is_drained();
    let is_empty = *leaves_empty && node.service().is_empty();
    if is_empty {
        tracing::info!("Drained, and nobody is left.");
        node.service().forget_drain();
    }
    is_empty
}

/// The process that is to be taken over from.
fn find_running(config: &Config) -> anyhow::Result<Option<Heir>> {
    let heir = Heir::knock(&config.state_dir)?;
    if heir.is_none() {
        tracing::warn!(
            state_dir = %config.state_dir.display(),
            "No relayd runs here: this is a start like any other."
        );
    }
    Ok(heir)
}

/// Leaves sockets and sessions with the supervisor.
async fn leave(node: &Node, supervisor: &Supervisor) -> Option<Frozen> {
    match node.leave(supervisor).await {
        Ok(frozen) => {
            tracing::info!("Sockets and sessions are left for the start after this stop.");
            Some(frozen)
        }
        Err(error) => {
            let error = format!("{error:#}");
            tracing::warn!(error, "Nothing is left with the supervisor.");
            None
        }
    }
}

/// Lets another process take over; the node itself where that did not come about.
async fn pass_on(mut node: Node, knock: Knock) -> Result<(Elder, u32), Box<Node>> {
    let pid = knock.pid;
    let farewell = match node.hand_over(knock).await {
        Ok(farewell) => farewell,
        Err(error) => {
            let error = format!("{error:#}");
            tracing::warn!(
                error,
                pid,
                "Nothing was passed on: everything goes on here."
            );
            node.write_pid_file();
            return Err(Box::new(node));
        }
    };
    tracing::info!(pid, "Another process serves now.");
    match node.retire(farewell).await {
        Ok(elder) => Ok((elder, pid)),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "What could not move ends.");
            std::process::exit(RETIRED_BADLY);
        }
    }
}

/// An invalid configuration changes nothing and is reported in full. What waits for a restart is told
/// at every reload until the layers say again what the node was started with.
async fn reload(node: &Node, args: &Args) {
    node.service().reload_certificates();
    let reloaded = match Config::load(args) {
        Ok(config) => {
            for warning in &config.warnings {
                tracing::warn!("{warning}");
            }
            node.service().reload_config(&config).await
        }
        Err(errors) => Err(errors),
    };
    let change = match reloaded {
        Ok(change) => change,
        Err(errors) => {
            for error in errors.as_slice() {
                tracing::error!("{error}");
            }
            tracing::error!("The configuration is invalid; the one in force stays.");
            return;
        }
    };
    for key in &change.restart {
        tracing::warn!(
            key,
            "Differs from what runs, and takes effect at the next start only."
        );
    }
    tracing::info!(changed = ?change.live, "Configuration reloaded.");
}
