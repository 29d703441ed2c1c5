//! What a process leaves with its supervisor when it stops, and the next one finds when it starts: listeners,
//! sessions and plain connections, with all that the kernel keeps in their sockets meanwhile.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::sockopt::socket_cookie;
use serde::{Deserialize, Serialize};
use shared::NodeId;

use super::door::{Household, bequeath, offer};
use super::heir::sort;
use super::supervisor::{Supervisor, handed_over};
use super::{Bequest, Estate, Inherited, Offer, VERSION};
use crate::worker::Frozen;

/// What was left longer ago is no restart: clients have given up.
const LONGEST: Duration = Duration::from_secs(120);

/// The list that lies beside the descriptors.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    offer: Offer,
    estate: Estate,
    /// The kernel's numbers of the sockets, in the order of offer and estate: descriptors come back in
    /// any order.
    cookies: Vec<u64>,
    left: SystemTime,
}

/// What the process before this one left.
#[derive(Debug)]
pub struct Kept {
    offer: Offer,
    /// Its listening sockets.
    pub inherited: Inherited,
    /// Its sessions and connections.
    pub bequest: Bequest,
}

impl Kept {
    /// Leaves all that `frozen` workers and the node have with the supervisor.
    ///
    /// # Errors
    /// When it does not take it: the store still has the sessions.
    pub fn leave(
        supervisor: &Supervisor,
        household: &Household,
        frozen: &Frozen,
    ) -> io::Result<()> {
        let (estate, descriptors) = bequeath(frozen)?;
        let mut all = household.listeners.all();
        all.extend(descriptors.iter().map(AsFd::as_fd));
        let cookies = all.iter().map(socket_cookie);
        let list = List {
            offer: offer(household),
            estate,
            cookies: cookies.collect::<Result<_, _>>()?,
            left: SystemTime::now(),
        };
        let list = rmp_serde::to_vec_named(&list).map_err(io::Error::other)?;
        let mut file = File::from(memfd_create("relayd", MemfdFlags::CLOEXEC)?);
        file.write_all(&list)?;
        supervisor.keep(&file.into(), &all)
    }

    /// What the process before this one left, if it is this node's, whole, and fresh.
    #[must_use]
    pub fn find() -> Option<Self> {
        let (list, descriptors) = handed_over()?;
        let kept = Self::read(list, descriptors);
        kept.inspect_err(|error| {
            tracing::warn!(%error, "What the process before this one left cannot be used.");
        })
        .ok()
    }

    fn read(list: OwnedFd, descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let mut file = File::from(list);
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let list: List = rmp_serde::from_slice(&bytes).map_err(io::Error::other)?;
        let age = SystemTime::now().duration_since(list.left);
        if list.offer.version != VERSION || age.is_ok_and(|age| age > LONGEST) {
            return Err(io::Error::other("it is of another release, or too old"));
        }
        let mut by_cookie = HashMap::with_capacity(descriptors.len());
        for descriptor in descriptors {
            by_cookie.insert(socket_cookie(&descriptor)?, descriptor);
        }
        let missing = || io::Error::other("sockets are missing");
        let mut sockets = Vec::with_capacity(list.cookies.len());
        for cookie in &list.cookies {
            sockets.push(by_cookie.remove(cookie).ok_or_else(missing)?);
        }
        let listeners = list.offer.descriptors();
        if sockets.len() < listeners {
            return Err(missing());
        }
        let mut others = sockets.split_off(listeners).into_iter();
        let inherited = sort(&list.offer, sockets).ok_or_else(missing)?;
        let bequest = list.estate.with(list.offer.workers, &mut others)?;
        Ok(Self {
            offer: list.offer,
            inherited,
            bequest,
        })
    }

    /// The node that left it.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.offer.node
    }

    /// Its workers.
    #[must_use]
    pub fn workers(&self) -> u16 {
        self.offer.workers
    }

    /// Whether a new session could get an id of its sessions under that base.
    #[must_use]
    pub fn has_base(&self, base: u32) -> bool {
        self.offer.bases.contains(&base)
    }
}

/// As borrowed, for those who hand them on.
pub(super) fn borrowed(descriptors: &[OwnedFd]) -> impl Iterator<Item = BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd)
}
