//! A supervisor that speaks systemd's protocol: it is told how a program is, and keeps descriptors for it
//! from one start to the next.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tempfile::TempDir;

/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// Descriptors in one message.
const LOT: usize = 250;
const LIST: &str = "relayd-list";

#[derive(Debug, Default)]
struct State {
    kept: Vec<(String, OwnedFd)>,
    said: Vec<String>,
}

/// A supervisor. Dropping it closes what it keeps.
#[derive(Debug)]
pub struct Supervisor {
    folder: TempDir,
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Listens.
    ///
    /// # Panics
    /// When a socket cannot be made.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(LOOK)).expect("a socket");
        let (state, ends) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let (shared, end) = (Arc::clone(&state), Arc::clone(&ends));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                hear(&socket, &shared);
            }
        });
        Self {
            folder,
            state,
            ends,
            thread: Some(thread),
        }
    }

    /// The socket to tell it on, for NOTIFY_SOCKET.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was told that.
    #[must_use]
    pub fn heard(&self, words: &str) -> bool {
        self.state().said.iter().any(|said| said == words)
    }

    /// How many descriptors it keeps.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.state().kept.len()
    }

    /// The command that starts a program with what is kept, in any order.
    ///
    /// # Panics
    /// When a socket cannot be made.
    #[must_use]
    pub fn starter(&self) -> Command {
        let path = self.folder.path().join("start");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let mut kept = Vec::new();
        for (name, descriptor) in self.state().kept.iter().rev() {
            let copy = descriptor.try_clone().expect("a descriptor");
            kept.push((name == LIST, copy));
        }
        std::thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            for (is_list, descriptor) in kept {
                hand(&stream, is_list, &descriptor);
            }
        });
        let mut command = Command::new("python3");
        command
            .args(["-c", include_str!("supervised.py")])
            .arg(path);
        command
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes one message.
fn hear(socket: &UnixDatagram, state: &Mutex<State>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LOT))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 4096];
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    );
    let Ok(received) = received else { return };
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(lot) = message {
            descriptors.extend(lot);
        }
    }
    let text = String::from_utf8_lossy(&buffer[..received.bytes]).into_owned();
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME="));
    let name = name.unwrap_or("stored").to_owned();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    for line in text.lines() {
        match line {
            "FDSTORE=1" => {
                let named = descriptors.drain(..).map(|one| (name.clone(), one));
                state.kept.extend(named);
            }
            "FDSTOREREMOVE=1" => state.kept.retain(|(known, _)| *known != name),
            words => state.said.push(words.to_owned()),
        }
    }
}

/// Hands one descriptor to the starter.
fn hand(stream: &UnixStream, is_list: bool, descriptor: &OwnedFd) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let one = [descriptor.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&one)));
    let name = if is_list { b"l" } else { b"r" };
    let _ = sendmsg(
        stream,
        &[IoSlice::new(name)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
}
