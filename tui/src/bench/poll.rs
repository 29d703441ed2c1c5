//! Which of many sockets have something.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::epoll;

/// Sockets told of at once.
const EVENTS: usize = 256;

/// Tells which of many sockets have something.
pub(super) struct Poll {
    fd: OwnedFd,
    events: Vec<epoll::Event>,
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

impl Poll {
    /// Of no socket.
    pub(super) fn new() -> io::Result<Self> {
        let fd = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let events = Vec::with_capacity(EVENTS);
        Ok(Self { fd, events })
    }

    /// Watches one more; it is forgotten when it is closed.
    pub(super) fn add(&self, socket: BorrowedFd<'_>, number: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        Ok(epoll::add(&self.fd, socket, data, epoll::EventFlags::IN)?)
    }

    /// Watches a stream, which is told of once when it becomes readable or writable.
    pub(super) fn add_stream(&self, socket: BorrowedFd<'_>, number: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number as u64);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        Ok(epoll::add(&self.fd, socket, data, flags)?)
    }

    /// Looks without waiting; answers whether there is something.
    pub(super) fn look(&mut self) -> io::Result<bool> {
        self.events.clear();
        let now = rustix::event::Timespec::default();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        epoll::wait(&self.fd, room, Some(&now))?;
        Ok(!self.events.is_empty())
    }

    /// How many were told.
    pub(super) fn count(&self) -> usize {
        self.events.len()
    }

    /// The number of one of them.
    pub(super) fn number(&self, index: usize) -> usize {
        self.events[index].data.u64() as usize
    }

    /// Whether there may be more than were told.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() == self.events.capacity()
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
