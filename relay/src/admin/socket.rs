//! The Unix socket: who may open it, and what was left behind by a node that died.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::serve::Listening;

/// Members may open the socket, if there is such a group.
const GROUP: &str = "relayd";
/// Read and write for owner and group.
const MODE: u32 = 0o660;
const BACKLOG: i32 = 128;

/// The bound socket with its file.
#[derive(Debug)]
pub(super) struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// Removes the file of a socket when dropped, unless it is another process's by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    passed_on: PassedOn,
}

/// Whether another process has the socket now.
#[derive(Clone, Debug, Default)]
pub struct PassedOn(Arc<AtomicBool>);

impl PassedOn {
    /// It has: the file stays.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.passed_on.0.load(Ordering::Relaxed) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl AdminSocket {
    /// A copy of the socket.
    pub(super) fn copy(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// To say that another process has it.
    pub(super) fn passed_on(&self) -> PassedOn {
        self.file.passed_on.clone()
    }

    /// The listener, and the guard of its file.
    pub(super) fn listening(self) -> (Listening, SocketFile) {
        (Listening::Unix(self.listener), self.file)
    }
}

/// The socket at `path` that the process before this one had.
pub(super) fn inherit(path: &Path, socket: OwnedFd) -> io::Result<AdminSocket> {
    let listener = std::os::unix::net::UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(AdminSocket {
        listener: UnixListener::from_std(listener)?,
        file: SocketFile {
            path: path.to_owned(),
            passed_on: PassedOn::default(),
        },
    })
}

/// Binds `path`; its directory is created if absent. A socket on which nobody answers any more is
/// replaced; one that answers, or a file that is no socket, is an error.
pub(super) fn bind(path: &Path) -> io::Result<AdminSocket> {
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile {
        path: path.to_owned(),
        passed_on: PassedOn::default(),
    };
    // Nobody can connect before `listen`: the mode is right from the first moment on.
    if let Some(gid) = group_id(GROUP)
        && let Err(error) = std::os::unix::fs::chown(path, None, Some(gid))
    {
        tracing::debug!(%error, "the admin socket keeps its group");
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = UnixListener::from_std(socket.into())?;
    Ok(AdminSocket { listener, file })
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let message = "exists and is no socket: move it away or set admin.socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => {
            let message = "another relayd answers on it: take over from it with --upgrade, stop it, \
                           or give this one a state_dir of its own";
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

/// The id of a group, from `/etc/group`.
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = bind(&path).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(
            bind(&path).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn the_directory_is_made_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/relayd.sock");
        let _bound = bind(&path).unwrap();
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
}
