//! Which sessions the store does not know as they are.

use std::collections::HashSet;

use shared::SessionId;

/// Removals remembered one by one; beyond that the store's list is compared with ours.
const MAX_DELETES: usize = 100_000;

/// The difference between the books and the store.
#[derive(Debug)]
pub(super) struct Dirty {
    upserts: HashSet<SessionId>,
    deletes: HashSet<SessionId>,
    /// Records of the store that are not in the books are to be removed: at the start those of
    /// the incarnation before, later those whose removal was not remembered.
    sweep: bool,
}

/// A part of the difference, taken out to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Written anew.
    pub upserts: Vec<SessionId>,
    /// Removed.
    pub deletes: Vec<SessionId>,
}

impl Dirty {
    /// Everything of an earlier incarnation is to be swept.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            upserts: HashSet::new(),
            deletes: HashSet::new(),
            sweep: true,
        }
    }

    /// A session was created or changed.
    pub(super) fn changed(&mut self, id: SessionId) {
        self.upserts.insert(id);
    }

    /// A session ended.
    pub(super) fn ended(&mut self, id: SessionId) {
        self.upserts.remove(&id);
        if self.deletes.len() < MAX_DELETES {
            self.deletes.insert(id);
        } else {
            self.sweep = true;
        }
    }

    /// The store may have lost anything.
    pub(super) fn everything(&mut self, ids: impl Iterator<Item = SessionId>) {
        self.upserts.extend(ids);
        self.sweep = true;
    }

    /// Takes at most `limit` changes and removals each.
    pub(super) fn take(&mut self, limit: usize) -> Batch {
        let upserts: Vec<_> = self.upserts.iter().take(limit).copied().collect();
        let deletes: Vec<_> = self.deletes.iter().take(limit).copied().collect();
        upserts.iter().for_each(|id| {
            self.upserts.remove(id);
        });
        deletes.iter().for_each(|id| {
            self.deletes.remove(id);
        });
        Batch { upserts, deletes }
    }

    /// Puts a batch back that could not be written.
    pub(super) fn put_back(&mut self, batch: Batch) {
        self.upserts.extend(batch.upserts);
        self.deletes.extend(batch.deletes);
    }

    /// Whether a sweep is wanted; asking takes the wish.
    pub(super) fn take_sweep(&mut self) -> bool {
        std::mem::take(&mut self.sweep)
    }

    /// Wishes for a sweep.
    pub(super) fn want_sweep(&mut self) {
        self.sweep = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_ended_is_removed_and_not_written() {
        let mut dirty = Dirty::new();
        dirty.changed(SessionId(1));
        dirty.changed(SessionId(2));
        dirty.ended(SessionId(1));
        let batch = dirty.take(10);
        assert_eq!(batch.upserts, [SessionId(2)]);
        assert_eq!(batch.deletes, [SessionId(1)]);
        assert_eq!(dirty.take(10), Batch::default());
    }
}
