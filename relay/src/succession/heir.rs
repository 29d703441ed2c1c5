//! The side that takes over.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use shared::{NodeId, WorkerId};

use super::wire::Wire;
use super::{Estate, GroupCopies, Hello, Inherited, Offer, VERSION, Word, door_of};
use crate::worker::Inheritance;

/// How long the process that runs may take for an answer.
const ANSWER: Duration = Duration::from_secs(15);

/// A process that takes over from one that runs.
#[derive(Debug)]
pub struct Heir {
    wire: Wire,
    offer: Offer,
    inherited: Inherited,
    pid_file: Option<OwnedFd>,
}

/// Sessions and connections of the process that ran.
#[derive(Debug)]
pub struct Bequest {
    /// Session records as the store has them, with the worker that had each.
    pub records: Vec<(WorkerId, Vec<u8>)>,
    /// Relay sockets by local address.
    pub relays: HashMap<SocketAddr, UdpSocket>,
    /// What else workers take up.
    pub inheritance: Vec<Inheritance>,
}

impl Heir {
    /// Knocks at the door of the node that runs; `None`: none does.
    ///
    /// # Errors
    /// One that runs and cannot pass anything on to this one.
    pub fn knock(state_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = door_of(state_dir);
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be reached", path.display()));
            }
        };
        Self::introduce(stream).map(Some).with_context(|| {
            format!(
                "the node that runs (at {}) passes nothing on",
                path.display()
            )
        })
    }

    fn introduce(stream: UnixStream) -> anyhow::Result<Self> {
        let mut wire = Wire::new(stream)?;
        wire.set_patience(ANSWER)?;
        let hello = Hello {
            version: VERSION,
            release: env!("CARGO_PKG_VERSION").to_owned(),
        };
        wire.send(&hello, &[])?;
        let (offer, mut descriptors) = wire.receive::<Offer>()?;
        anyhow::ensure!(
            offer.version == VERSION,
            "its release {} speaks version {} of the protocol, and this one {VERSION}: stop it and \
             start this one; UDP sessions come back from the store",
            offer.release,
            offer.version
        );
        let pid_file = match offer.pid_file {
            true => descriptors.pop(),
            false => None,
        };
        let inherited = sort(&offer, descriptors).context("listeners are missing")?;
        Ok(Self {
            wire,
            offer,
            inherited,
            pid_file,
        })
    }

    /// The file with its process id, for this one's.
    pub fn pid_file(&mut self) -> Option<OwnedFd> {
        self.pid_file.take()
    }

    /// The node that runs.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.offer.node
    }

    /// Its workers: this process gets as many, since listeners come in groups of that size.
    #[must_use]
    pub fn workers(&self) -> u16 {
        self.offer.workers
    }

    /// Whether a new session could get an id of its sessions under that base.
    #[must_use]
    pub fn has_base(&self, base: u32) -> bool {
        self.offer.bases.contains(&base)
    }

    /// Its listening sockets.
    pub fn inherited(&mut self) -> Inherited {
        std::mem::take(&mut self.inherited)
    }

    /// Everything is prepared: has the other process stand still and pass on what it has. From now on
    /// every millisecond is one without packets.
    ///
    /// # Errors
    /// The other process goes on.
    pub fn take(&mut self) -> anyhow::Result<Bequest> {
        self.wire.send(&Word::Ready, &[])?;
        let (mut estate, descriptors) = self.wire.receive::<Estate>()?;
        let elders = std::mem::take(&mut estate.elders);
        let mut descriptors = descriptors.into_iter();
        let mut bequest = estate.with(self.offer.workers, &mut descriptors)?;
        for one in &mut bequest.inheritance {
            let doorway = descriptors.next().context("descriptors are missing")?;
            one.doorways.push(UnixDatagram::from(doorway));
        }
        for worker in elders {
            let doorway = descriptors.next().context("descriptors are missing")?;
            let one = bequest.inheritance.get_mut(usize::from(worker.0));
            let one = one.context("a worker is missing")?;
            one.doorways.push(UnixDatagram::from(doorway));
        }
        Ok(bequest)
    }

    /// This process serves: waits until the other one writes nothing any more.
    ///
    /// # Errors
    /// The other process is gone, which changes nothing.
    pub fn serving(mut self) -> io::Result<()> {
        self.wire.send(&Word::Serving, &[])?;
        self.wire.receive::<()>()?;
        Ok(())
    }
}

impl Estate {
    /// Puts sessions, connections and their sockets together; what follows them is left.
    pub(super) fn with(
        self,
        workers: u16,
        sockets: &mut impl Iterator<Item = OwnedFd>,
    ) -> io::Result<Bequest> {
        let missing = || io::Error::other("sockets are missing");
        let mut next = || sockets.next().ok_or_else(missing);
        let mut relays = HashMap::with_capacity(self.relays.len());
        for local in self.relays {
            relays.insert(local, UdpSocket::from(next()?));
        }
        let mut inheritance: Vec<_> = (0..workers).map(|_| Inheritance::default()).collect();
        for will in self.streams {
            let socket = next()?;
            let heir = inheritance.get_mut(usize::from(will.worker.0));
            heir.ok_or_else(missing)?.streams.push(will.with(socket));
        }
        Ok(Bequest {
            records: self.records,
            relays,
            inheritance,
        })
    }
}

/// Puts descriptors in the places that the offer names.
pub(super) fn sort(offer: &Offer, descriptors: Vec<OwnedFd>) -> Option<Inherited> {
    let mut descriptors = descriptors.into_iter();
    let mut some =
        |count: u16| -> Option<Vec<OwnedFd>> { (0..count).map(|_| descriptors.next()).collect() };
    let mut groups = Vec::new();
    for group in &offer.groups {
        groups.push(GroupCopies {
            address: group.address,
            udp: some(group.udp)?,
            tcp: some(group.tcp)?,
        });
    }
    let socket = some(1)?.pop();
    let admin = some(offer.admin.into())?.pop();
    let metrics = some(offer.metrics.into())?.pop();
    Some(Inherited {
        groups,
        socket,
        admin,
        metrics,
    })
}
