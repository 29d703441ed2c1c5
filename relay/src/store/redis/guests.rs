//! Servers of a cluster that others name and that have no slots: those that slots are on their way to,
//! until the first has arrived. Nobody tells of them otherwise.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Inner;
use super::discovery::begin;
use super::link::{Link, stopping};
use super::options::Address;
use super::shards::Shard;
use crate::store::StoreError;

/// The most of them at a time.
const MAX_GUESTS: usize = 32;
/// How long one is kept that nobody is sent to any more.
const KEPT: Duration = Duration::from_secs(30);

/// The servers that were named.
#[derive(Debug, Default)]
pub(super) struct Guests {
    /// The store that they are of, and what ends it.
    store: OnceLock<(Weak<Inner>, CancellationToken)>,
    known: Mutex<Vec<Guest>>,
}

#[derive(Debug)]
struct Guest {
    shard: Arc<Shard>,
    /// When somebody was sent there last.
    asked: Instant,
}

impl Guests {
    /// Their connections are the store's, and end with it.
    pub(super) fn belong_to(&self, inner: &Arc<Inner>, stop: &CancellationToken) {
        // Once, when the store is made.
        let _ = self.store.set((Arc::downgrade(inner), stop.clone()));
    }

    fn known(&self) -> MutexGuard<'_, Vec<Guest>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link to one, made at the first time.
    ///
    /// # Errors
    /// [`StoreError::NotNow`] where there are too many, [`StoreError::Refused`] where the options do
    /// not allow it.
    pub(super) fn link(&self, address: &Address) -> Result<Arc<Link>, StoreError> {
        let mut known = self.known();
        let guest = known
            .iter_mut()
            .find(|guest| guest.shard.link.address == *address);
        if let Some(guest) = guest {
            guest.asked = Instant::now();
            return Ok(Arc::clone(&guest.shard.link));
        }
        if known.len() >= MAX_GUESTS {
            return Err(StoreError::NotNow(
                "the cluster has too many servers that are not known yet".to_owned(),
            ));
        }
        let (inner, stop) = self.store.get().ok_or_else(stopping)?;
        let inner = inner.upgrade().ok_or_else(stopping)?;
        let shard = Arc::new(begin(&inner, stop, address.clone(), true)?);
        let link = Arc::clone(&shard.link);
        known.push(Guest {
            shard,
            asked: Instant::now(),
        });
        Ok(link)
    }

    /// One that has slots now, if it was a guest.
    pub(super) fn find(&self, address: &Address) -> Option<Arc<Shard>> {
        let known = self.known();
        let guest = known
            .iter()
            .find(|guest| guest.shard.link.address == *address);
        guest.map(|guest| Arc::clone(&guest.shard))
    }

    /// Where they are.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let known = self.known();
        let addresses = known.iter().map(|guest| guest.shard.link.address.clone());
        addresses.collect()
    }

    /// Forgets those that nobody was sent to for a while, or that `is_master` says have slots now.
    pub(super) fn forget(&self, is_master: impl Fn(&Address) -> bool) {
        self.known()
            .retain(|guest| guest.asked.elapsed() < KEPT && !is_master(&guest.shard.link.address));
    }
}
