//! The side that passes on: a socket where the next process knocks, and what it gets there.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shared::{NodeId, WorkerId};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::kept::borrowed;
use super::wire::Wire;
use super::{Estate, Hello, Listeners, Offer, OfferedGroup, StreamWill, VERSION, Word, door_of};
use crate::control::restore;
use crate::worker::{Frozen, WorkerPool};

/// How long the next process may take for its first words.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// How long it may take to prepare: it reads its configuration and the store.
const PREPARATION: Duration = Duration::from_secs(60);
/// How long it may take to serve, while everything stands still.
const STANDSTILL: Duration = Duration::from_secs(10);

/// What the next process is told at once.
#[derive(Debug)]
pub struct Household {
    /// The node.
    pub node: NodeId,
    /// Its workers.
    pub workers: u16,
    /// Upper halves of ids of its sessions.
    pub bases: Vec<u32>,
    /// Its listening sockets.
    pub listeners: Listeners,
    /// The file with the process id, which another user than root could not open.
    pub pid_file: Option<OwnedFd>,
}

/// The socket in the state directory where the next process knocks.
#[derive(Debug)]
pub struct Door {
    knocks: mpsc::Receiver<Knock>,
    _open: DropGuard,
}

/// A process that is ready to take everything over.
#[derive(Debug)]
pub struct Knock {
    wire: Wire,
    /// Its process id.
    pub pid: u32,
}

impl Door {
    /// Opens it; only the user of this process may knock. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn open(state_dir: &Path, household: Arc<Household>) -> io::Result<Self> {
        let path = door_of(state_dir);
        // Left behind by a process that died, or that passed everything on to this one.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        // The directory is its owner's alone, too.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let (sender, knocks) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let open = cancel.clone().drop_guard();
        tokio::spawn(answer(listener, household, sender, cancel));
        Ok(Self {
            knocks,
            _open: open,
        })
    }

    /// The next process that is ready.
    pub async fn knock(&mut self) -> Knock {
        match self.knocks.recv().await {
            Some(knock) => knock,
            None => std::future::pending().await,
        }
    }
}

async fn answer(
    listener: UnixListener,
    household: Arc<Household>,
    knocks: mpsc::Sender<Knock>,
    cancel: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(stream) = stream.into_std() else {
            continue;
        };
        let household = Arc::clone(&household);
        // One after the other: there is one heir.
        let met = tokio::task::spawn_blocking(move || meet(stream, &household)).await;
        match met {
            Ok(Ok(knock)) => {
                if knocks.send(knock).await.is_err() {
                    break;
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "A process that was to take over gave up."),
            Err(_) => {}
        }
    }
}

/// Shows a process around and waits until it is ready.
fn meet(stream: std::os::unix::net::UnixStream, household: &Household) -> io::Result<Knock> {
    let mut wire = Wire::new(stream)?;
    wire.set_patience(INTRODUCTION)?;
    let (pid, uid) = wire.peer()?;
    if uid != rustix::process::geteuid().as_raw() && uid != 0 {
        return Err(io::Error::other(format!("process {pid} is of user {uid}")));
    }
    let (hello, _) = wire.receive::<Hello>()?;
    if hello.version != VERSION {
        // It says the same, with the remedy.
        let text = format!("release {} speaks another version", hello.release);
        wire.send(&offer(household), &[])?;
        return Err(io::Error::other(text));
    }
    tracing::info!(
        pid,
        release = hello.release,
        "Another process prepares to take over."
    );
    let mut all = household.listeners.all();
    all.extend(household.pid_file.as_ref().map(AsFd::as_fd));
    let whole = Offer {
        pid_file: household.pid_file.is_some(),
        ..offer(household)
    };
    wire.send(&whole, &all)?;
    wire.set_patience(PREPARATION)?;
    match wire.receive()? {
        (Word::Ready, _) => Ok(Knock { wire, pid }),
        (Word::Serving, _) => Err(io::Error::other("it serves before it took anything")),
    }
}

/// What is offered to processes and left with supervisors alike.
pub(super) fn offer(household: &Household) -> Offer {
    let groups = household.listeners.groups.iter();
    Offer {
        version: VERSION,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        node: household.node.clone(),
        workers: household.workers,
        bases: household.bases.clone(),
        groups: groups
            .map(|group| OfferedGroup {
                address: group.address,
                udp: group.udp.len() as u16,
                tcp: group.tcp.len() as u16,
            })
            .collect(),
        admin: household.listeners.admin.is_some(),
        metrics: household.listeners.metrics.is_some(),
        pid_file: false,
    }
}

impl Listeners {
    pub(super) fn all(&self) -> Vec<BorrowedFd<'_>> {
        let groups = self.groups.iter();
        let sockets = groups.flat_map(|group| group.udp.iter().chain(&group.tcp));
        let admin = [
            Some(&self.socket),
            self.admin.as_ref(),
            self.metrics.as_ref(),
        ];
        let all = sockets.chain(admin.into_iter().flatten());
        all.map(AsFd::as_fd).collect()
    }
}

impl Knock {
    /// Passes everything on. The workers stand still meanwhile; they go on as if nothing had been if the
    /// other process does not serve in time. Blocks for as long.
    ///
    /// # Errors
    /// Why nothing was passed on.
    pub fn hand_over(mut self, pool: &WorkerPool) -> io::Result<Farewell> {
        let frozen = pool.freeze()?;
        self.wire.set_patience(STANDSTILL)?;
        let (mut estate, descriptors) = bequeath(&frozen)?;
        let pairs: io::Result<Vec<_>> = frozen
            .estates
            .iter()
            .map(|_| UnixDatagram::pair())
            .collect();
        let (doorways, theirs): (Vec<_>, Vec<_>) = pairs?.into_iter().unzip();
        let mut all: Vec<_> = borrowed(&descriptors).collect();
        all.extend(theirs.iter().map(AsFd::as_fd));
        for (worker, passed) in (0..).map(WorkerId).zip(&frozen.estates) {
            estate.elders.extend(passed.doorways.iter().map(|_| worker));
            all.extend(passed.doorways.iter().map(AsFd::as_fd));
        }
        self.wire.send(&estate, &all)?;
        match self.wire.receive()? {
            (Word::Serving, _) => frozen.part(doorways),
            (Word::Ready, _) => return Err(io::Error::other("it does not serve")),
        }
        Ok(Farewell { wire: self.wire })
    }
}

/// What workers pass on, and the sockets in the order of that.
pub(super) fn bequeath(frozen: &Frozen) -> io::Result<(Estate, Vec<OwnedFd>)> {
    let estates = || (0..).map(WorkerId).zip(&frozen.estates);
    let mut estate = Estate {
        records: Vec::new(),
        relays: Vec::new(),
        streams: Vec::new(),
        elders: Vec::new(),
    };
    let mut descriptors = Vec::new();
    for (worker, passed) in estates() {
        let records = restore::records_of(&passed.sessions).map_err(io::Error::other)?;
        let records = records.into_iter().map(|record| (worker, record));
        estate.records.extend(records);
        for (local, socket) in &passed.relays {
            estate.relays.push(*local);
            descriptors.push(socket.try_clone()?);
        }
    }
    for (worker, passed) in estates() {
        for stream in &passed.streams {
            estate.streams.push(StreamWill::new(worker, stream));
            descriptors.push(stream.socket.try_clone()?);
        }
    }
    Ok((estate, descriptors))
}

/// The other process serves, and waits to be told that this one writes nothing any more.
#[derive(Debug)]
pub struct Farewell {
    wire: Wire,
}

impl Farewell {
    /// Says so.
    pub fn say(mut self) {
        if let Err(error) = self.wire.send(&(), &[]) {
            tracing::warn!(%error, "The process that took over is gone already.");
        }
    }
}
