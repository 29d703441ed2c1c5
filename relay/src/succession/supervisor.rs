//! What is said to a supervisor that speaks systemd's protocol (sd_notify), and what it keeps: copies of
//! descriptors from a stop to the start after it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use turn_udp::sys;

/// Descriptors in one message; the kernel takes 253.
const LOT: usize = 200;
/// What our descriptors are called there.
const NAME: &str = "relayd";
/// What the one is called that tells what the others are.
const LIST: &str = "relayd-list";

/// A supervisor that listens.
#[derive(Debug)]
pub struct Supervisor(UnixDatagram);

impl Supervisor {
    /// The one that started this process; `None`: nobody wants to be told.
    #[must_use]
    pub fn of_process() -> Option<Self> {
        let path = std::env::var("NOTIFY_SOCKET").ok()?;
        let socket = UnixDatagram::unbound().ok()?;
        let connected = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)
                .and_then(|address| socket.connect_addr(&address)),
            None => socket.connect(&path),
        };
        if let Err(error) = connected {
            tracing::warn!(%error, path, "NOTIFY_SOCKET cannot be reached.");
            return None;
        }
        Some(Self(socket))
    }

    /// Says how this process is, as in `READY=1`.
    pub fn say(&self, words: &str) {
        if let Err(error) = self.0.send(words.as_bytes()) {
            tracing::debug!(%error, words, "The supervisor was not told.");
        }
    }

    /// Leaves copies of these there until the next start; `list` says what they are.
    ///
    /// # Errors
    /// When it takes no more.
    pub(super) fn keep(&self, list: &OwnedFd, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        use std::os::fd::AsFd as _;
        self.store(LIST, &[list.as_fd()])?;
        descriptors
            .chunks(LOT)
            .try_for_each(|lot| self.store(NAME, lot))
    }

    fn store(&self, name: &str, lot: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LOT))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(lot)) {
            return Err(io::Error::other("no room for descriptors"));
        }
        // FDPOLL=0: it would drop a socket with an error in its queue.
        let words = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}");
        sendmsg(
            &self.0,
            &[IoSlice::new(words.as_bytes())],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// What was left there is not needed any more.
    pub fn forget(&self) {
        for name in [NAME, LIST] {
            self.say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
        }
    }
}

/// Descriptors that a supervisor handed to this process: the list, and the others.
pub(super) fn handed_over() -> Option<(OwnedFd, Vec<OwnedFd>)> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID")? != std::process::id() {
        return None;
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let descriptors = sys::take_passed_descriptors(number("LISTEN_FDS")?);
    let (mut list, mut others) = (None, Vec::new());
    for (name, descriptor) in names.split(':').zip(descriptors) {
        match name {
            LIST => list = Some(descriptor),
            NAME => others.push(descriptor),
            // Somebody else's, as of socket activation.
            _ => tracing::warn!(name, "A descriptor of the supervisor is not used."),
        }
    }
    Some((list?, others))
}
