//! Starting the process that takes over from this one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::api::{ApiError, ErrorKind, EventKind, Severity, UpgradeView};

use super::clock::Moment;
use super::hub::Hub;

/// What the new process is told besides what this one was.
const FLAG: &str = "--upgrade";

/// The process that takes over, if one was started.
#[derive(Debug, Default)]
pub(super) struct Upgrade(Mutex<Option<UpgradeView>>);

impl Upgrade {
    fn lock(&self) -> MutexGuard<'_, Option<UpgradeView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As nodes show it.
    pub(super) fn view(&self) -> Option<UpgradeView> {
        self.lock().clone()
    }
}

/// Starts the program of this process again.
///
/// # Errors
/// One is being started already; this process cannot be taken over from; the program does not start.
pub(super) fn begin(hub: &Arc<Hub>) -> Result<UpgradeView, ApiError> {
    let conflict = |message: &str| ApiError::new(ErrorKind::Conflict, message);
    if !hub.parts.can_pass_on {
        return Err(conflict(
            "this process cannot be taken over from: it is a former one, no relay, or not relayd itself",
        ));
    }
    let mut state = hub.upgrade.lock();
    if let Some(UpgradeView {
        pid, failed: None, ..
    }) = &*state
    {
        return Err(conflict(&format!("process {pid} is about to take over")));
    }
    let (program, started) = start();
    let child = started.map_err(|error| {
        let message = format!("{} does not start: {error}", program.display());
        ApiError::new(ErrorKind::Internal, message)
    })?;
    let view = UpgradeView {
        started_at_ms: Moment::now().unix_ms,
        pid: child.id(),
        failed: None,
    };
    *state = Some(view.clone());
    drop(state);
    tracing::info!(program = %program.display(), pid = view.pid, "Starting the process that takes over.");
    watch(hub, child);
    Ok(view)
}

/// Starts the program that this process was started from: what is there now, not what was then.
fn start() -> (PathBuf, std::io::Result<Child>) {
    let program = program();
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.filter(|argument| argument != FLAG);
    let started = Command::new(&program)
        .args(arguments)
        .arg(FLAG)
        .stdin(Stdio::null())
        .spawn();
    (program, started)
}

/// Where the program is. The name that it was called by goes first: a link may lead elsewhere by now.
fn program() -> PathBuf {
    let called = std::env::args_os().next().map(PathBuf::from);
    if let Some(path) = called.filter(|path| path.components().count() > 1 && path.exists()) {
        return path;
    }
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("relayd"));
    // What the kernel says of a file that was replaced.
    let text = own.to_string_lossy();
    match text.strip_suffix(" (deleted)") {
        Some(path) => Path::new(path).to_owned(),
        None => own,
    }
}

/// Tells when the process ends before it took over. Afterwards nobody here asks any more.
fn watch(hub: &Arc<Hub>, mut child: Child) {
    let weak = Arc::downgrade(hub);
    let watcher = std::thread::Builder::new().name("upgrade".to_owned());
    let watched = watcher.spawn(move || {
        let ended = child.wait();
        let Some(hub) = weak.upgrade() else { return };
        let how = match ended {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let text = format!(
            "{}: the process that was to take over ended ({how})",
            hub.node
        );
        tracing::error!("{text}; its last words are in the log");
        if let Some(view) = &mut *hub.upgrade.lock() {
            view.failed = Some(how);
        }
        hub.event(EventKind::NodeChanged, Severity::Warn, text);
    });
    if let Err(error) = watched {
        tracing::warn!(%error, "Nobody watches the process that takes over.");
    }
}
