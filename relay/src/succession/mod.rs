//! A planned restart: one process of a node passes what it has to the next one, and no call is lost.
//!
//! The process that runs opens a [`Door`] in its state directory. The one that starts
//! (`relayd --upgrade`, an [`Heir`]) knocks, gets the listeners, and prepares everything else. Then the
//! first one stands still for a moment and passes on sessions, relay sockets and plain connections by
//! descriptor, with all that the kernel keeps in them. Until the second one serves, the first one has
//! everything still: whatever fails, it goes on. Afterwards it is an [`Elder`]: a node of its own name in the
//! registry that keeps what cannot move, TLS and DTLS clients, until they end or a deadline.
//!
//! Under a supervisor with a descriptor store (systemd) a stop leaves the same things there ([`Kept`]), for
//! the start after it; TLS and DTLS clients end then.

mod door;
mod elder;
mod heir;
mod kept;
mod supervisor;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::{NodeId, WorkerId};

use crate::listener::{ListenerGroup, StreamEstate};

pub use door::{Door, Farewell, Household, Knock};
pub use elder::{Elder, ElderParts};
pub use heir::{Bequest, Heir};
pub use kept::Kept;
pub use supervisor::Supervisor;

/// What both processes must speak.
const VERSION: u32 = 1;

/// Where the door is.
fn door_of(state_dir: &Path) -> PathBuf {
    state_dir.join("upgrade.sock")
}

/// What the process that starts says first.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    version: u32,
    /// The release, for the log.
    release: String,
}

/// What the process that runs offers at once; descriptors follow in this order: of each group those
/// of UDP, then those of TCP; then the Unix socket, TCP and metrics of the admin plane, and the pid file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Offer {
    version: u32,
    release: String,
    node: NodeId,
    workers: u16,
    /// Upper halves of ids of its sessions.
    bases: Vec<u32>,
    groups: Vec<OfferedGroup>,
    /// Whether TCP and metrics listeners of the admin plane are among the descriptors.
    admin: bool,
    metrics: bool,
    /// Whether the pid file is the last one. It is no socket, and never left with a supervisor.
    #[serde(default)]
    pid_file: bool,
}

impl Offer {
    /// How many sockets follow.
    fn descriptors(&self) -> usize {
        let groups = self.groups.iter();
        let groups: usize = groups
            .map(|g| usize::from(g.udp) + usize::from(g.tcp))
            .sum();
        groups + 1 + usize::from(self.admin) + usize::from(self.metrics)
    }
}

/// Listeners of one address.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct OfferedGroup {
    address: SocketAddr,
    udp: u16,
    tcp: u16,
}

/// What the process that starts says then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    /// Everything is prepared: pass it on.
    Ready,
    /// It serves.
    Serving,
}

/// Sessions and connections; descriptors follow in this order: relay sockets, connections, one doorway
/// per worker, and the doorways of earlier processes.
#[derive(Debug, Serialize, Deserialize)]
struct Estate {
    /// Session records, as the store has them, with the worker that has each.
    records: Vec<(WorkerId, Vec<u8>)>,
    /// Local addresses of relay sockets.
    relays: Vec<SocketAddr>,
    streams: Vec<StreamWill>,
    /// The workers to whom doors of still earlier processes belong, which come last.
    #[serde(default)]
    elders: Vec<WorkerId>,
}

/// A connection without its socket.
#[derive(Debug, Serialize, Deserialize)]
struct StreamWill {
    worker: WorkerId,
    client: SocketAddr,
    server: SocketAddr,
    has_begun: bool,
    spoke: bool,
    session: bool,
    claimed: bool,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

impl StreamWill {
    fn new(worker: WorkerId, stream: &StreamEstate) -> Self {
        Self {
            worker,
            client: stream.client,
            server: stream.server,
            has_begun: stream.has_begun,
            spoke: stream.spoke,
            session: stream.session,
            claimed: stream.claimed,
            partial: stream.partial.clone(),
            unsent: stream.unsent.clone(),
        }
    }

    fn with(self, socket: OwnedFd) -> StreamEstate {
        StreamEstate {
            socket,
            client: self.client,
            server: self.server,
            has_begun: self.has_begun,
            spoke: self.spoke,
            session: self.session,
            claimed: self.claimed,
            partial: self.partial,
            unsent: self.unsent,
        }
    }
}

/// The listening sockets of a process, kept to be passed on.
#[derive(Debug)]
pub struct Listeners {
    /// Of TURN.
    pub groups: Vec<GroupCopies>,
    /// The Unix socket of the admin API.
    pub socket: OwnedFd,
    /// Its TCP listener.
    pub admin: Option<OwnedFd>,
    /// That of metrics and health.
    pub metrics: Option<OwnedFd>,
}

/// The sockets of a [`ListenerGroup`].
#[derive(Debug)]
pub struct GroupCopies {
    address: SocketAddr,
    udp: Vec<OwnedFd>,
    tcp: Vec<OwnedFd>,
}

impl GroupCopies {
    /// Copies of these.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn of(group: &ListenerGroup) -> io::Result<Self> {
        let copy = |socket: BorrowedFd<'_>| socket.try_clone_to_owned();
        let udp = group.udp.iter().map(|socket| copy(socket.as_fd()));
        let tcp = group.tcp.iter().map(|socket| copy(socket.as_fd()));
        Ok(Self {
            address: group.address,
            udp: udp.collect::<Result<_, _>>()?,
            tcp: tcp.collect::<Result<_, _>>()?,
        })
    }
}

/// Listening sockets that the process before this one passed on, to be taken instead of binding.
#[derive(Debug, Default)]
pub struct Inherited {
    groups: Vec<GroupCopies>,
    socket: Option<OwnedFd>,
    admin: Option<OwnedFd>,
    metrics: Option<OwnedFd>,
}

/// Sockets for UDP and TCP, one of each per worker, or none of one.
pub type GroupSockets = (SocketAddr, Vec<UdpSocket>, Vec<TcpListener>);

impl Inherited {
    /// The sockets of that address, or of the first of its IP where the port is not given (0).
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn group(&self, address: SocketAddr) -> io::Result<Option<GroupSockets>> {
        let fits = |group: &&GroupCopies| {
            let port = address.port();
            group.address.ip() == address.ip() && (port == 0 || group.address.port() == port)
        };
        let Some(group) = self.groups.iter().find(fits) else {
            return Ok(None);
        };
        let udp = group.udp.iter().map(|fd| fd.try_clone().map(Into::into));
        let tcp = group.tcp.iter().map(|fd| fd.try_clone().map(Into::into));
        Ok(Some((
            group.address,
            udp.collect::<io::Result<_>>()?,
            tcp.collect::<io::Result<_>>()?,
        )))
    }

    /// The Unix socket of the admin API.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn socket(&self) -> io::Result<Option<OwnedFd>> {
        self.socket.as_ref().map(OwnedFd::try_clone).transpose()
    }

    /// Its TCP listener, where it listens there.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn admin(&self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        listening_at(self.admin.as_ref(), address)
    }

    /// That of metrics and health, where it listens there.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn metrics(&self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        listening_at(self.metrics.as_ref(), address)
    }
}

fn listening_at(socket: Option<&OwnedFd>, address: SocketAddr) -> io::Result<Option<TcpListener>> {
    let Some(socket) = socket else {
        return Ok(None);
    };
    let listener = TcpListener::from(socket.try_clone()?);
    let bound = listener.local_addr()?;
    let port = address.port();
    let is_it = bound.ip() == address.ip() && (port == 0 || bound.port() == port);
    Ok(Some(listener).filter(|_| is_it))
}
