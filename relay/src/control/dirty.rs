//! Which sessions the store does not know as they are.

use std::collections::{HashMap, HashSet};

use shared::SessionId;

use super::directory::IdHash;

/// Removals remembered one by one; beyond that the store's list is compared with ours.
const MAX_DELETES: usize = 100_000;

/// The difference between the books and the store.
#[derive(Debug)]
pub(super) struct Dirty {
    /// With whether the store has never heard of it.
    upserts: HashMap<SessionId, bool, IdHash>,
    deletes: HashSet<SessionId, IdHash>,
    /// How many are being written.
    taken: usize,
    /// Sessions whose totals are due, after everything else.
    totals: Vec<SessionId>,
    /// Records of the store that are not in the books are to be removed: at the start those of
    /// the incarnation before, later those whose removal was not remembered.
    sweep: bool,
    /// Removals that were written may be lost: a master of Redis that is replaced takes them along.
    doubt: bool,
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
            upserts: HashMap::default(),
            deletes: HashSet::default(),
            taken: 0,
            totals: Vec::new(),
            sweep: true,
            doubt: false,
        }
    }

    /// A session was created that the store has never heard of.
    pub(super) fn created(&mut self, id: SessionId) {
        self.upserts.entry(id).or_insert(true);
    }

    /// A session changed.
    pub(super) fn changed(&mut self, id: SessionId) {
        self.upserts.entry(id).or_insert(false);
    }

    /// A session ended. One that was never offered to the store costs it nothing.
    pub(super) fn ended(&mut self, id: SessionId) {
        if self.upserts.remove(&id) == Some(true) {
            return;
        }
        if self.deletes.len() < MAX_DELETES {
            self.deletes.insert(id);
        } else {
            self.sweep = true;
        }
    }

    /// The store may have lost anything.
    pub(super) fn everything(&mut self, ids: impl Iterator<Item = SessionId>) {
        ids.for_each(|id| self.changed(id));
        self.sweep = true;
    }

    /// The totals of these sessions are due.
    pub(super) fn totals(&mut self, ids: Vec<SessionId>) {
        self.totals = ids;
    }

    /// Takes at most `limit` of those.
    pub(super) fn take_totals(&mut self, limit: usize) -> Vec<SessionId> {
        let left = self.totals.len().saturating_sub(limit);
        let mut taken = self.totals.split_off(left);
        if left == 0 {
            self.totals = Vec::new();
        }
        // Those are written anyway; and what the store has never heard of must not get there
        // unnoticed, or nobody would remove it.
        taken.retain(|id| !self.upserts.contains_key(id));
        taken
    }

    /// Takes at most `limit` changes and removals each.
    pub(super) fn take(&mut self, limit: usize) -> Batch {
        let upserts: Vec<_> = self.upserts.keys().take(limit).copied().collect();
        let deletes: Vec<_> = self.deletes.iter().take(limit).copied().collect();
        upserts.iter().for_each(|id| {
            self.upserts.remove(id);
        });
        deletes.iter().for_each(|id| {
            self.deletes.remove(id);
        });
        if self.upserts.is_empty() {
            self.upserts.shrink_to_fit();
        }
        if self.deletes.is_empty() {
            self.deletes.shrink_to_fit();
        }
        self.taken = upserts.len() + deletes.len();
        Batch { upserts, deletes }
    }

    /// What was taken last is written, or never will be, but for what is `left`: it waits again.
    pub(super) fn settle(&mut self, left: Option<Batch>) {
        self.taken = 0;
        let Batch { upserts, deletes } = left.unwrap_or_default();
        upserts.into_iter().for_each(|id| self.changed(id));
        self.deletes.extend(deletes);
    }

    /// How many sessions the store does not know as they are.
    #[must_use]
    pub(super) fn unwritten(&self) -> usize {
        self.upserts.len() + self.deletes.len() + self.taken
    }

    /// Those of these sessions that ended and of whom the store may still have a record.
    pub(super) fn ended_of(&self, ids: &[SessionId]) -> Vec<SessionId> {
        let ended = ids.iter().filter(|id| self.deletes.contains(id));
        ended.copied().collect()
    }

    /// The store has no record of these any more.
    pub(super) fn removed(&mut self, ids: &[SessionId]) {
        ids.iter().for_each(|id| {
            self.deletes.remove(id);
        });
    }

    /// Whether nothing changed.
    pub(super) fn is_clean(&self) -> bool {
        self.upserts.is_empty() && self.deletes.is_empty()
    }

    /// Whether a sweep is wanted; asking takes the wish.
    pub(super) fn take_sweep(&mut self) -> bool {
        std::mem::take(&mut self.sweep)
    }

    /// The store may have lost what it had taken.
    pub(super) fn doubt(&mut self) {
        self.doubt = true;
    }

    /// Turns a doubt into the wish for a sweep; `false`: there was none.
    pub(super) fn settle_doubt(&mut self) -> bool {
        let doubted = std::mem::take(&mut self.doubt);
        self.sweep |= doubted;
        doubted
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

    #[test]
    fn a_session_that_the_store_never_heard_of_leaves_nothing_to_remove() {
        let mut dirty = Dirty::new();
        dirty.created(SessionId(1));
        dirty.changed(SessionId(1));
        dirty.ended(SessionId(1));
        assert_eq!(dirty.take(10), Batch::default());
        // Offered once, it may be there, whether or not the store answered.
        dirty.created(SessionId(2));
        let batch = dirty.take(10);
        assert_eq!(batch.upserts, [SessionId(2)]);
        dirty.settle(Some(batch));
        dirty.ended(SessionId(2));
        assert_eq!(dirty.take(10).deletes, [SessionId(2)]);
        dirty.created(SessionId(3));
        let _ = dirty.take(10);
        dirty.changed(SessionId(3));
        dirty.ended(SessionId(3));
        assert_eq!(dirty.take(10).deletes, [SessionId(3)]);
    }

    #[test]
    fn what_the_store_did_not_take_counts_as_unwritten_until_it_does() {
        let mut dirty = Dirty::new();
        dirty.changed(SessionId(1));
        dirty.ended(SessionId(2));
        for _ in 0..2 {
            assert_eq!(dirty.unwritten(), 2);
            let batch = dirty.take(10);
            assert_eq!(dirty.unwritten(), 2, "on its way");
            dirty.settle(Some(batch));
        }
        let _ = dirty.take(10);
        dirty.settle(None);
        assert_eq!(dirty.unwritten(), 0);
    }

    #[test]
    fn totals_wait_for_changes_and_leave_new_sessions_alone() {
        let mut dirty = Dirty::new();
        dirty.totals((1..=5).map(SessionId).collect());
        dirty.created(SessionId(4));
        assert_eq!(dirty.take(10).upserts, [SessionId(4)]);
        dirty.created(SessionId(5));
        assert_eq!(dirty.take_totals(2), [SessionId(4)]);
        assert_eq!(dirty.take_totals(10).len(), 3);
        assert_eq!(dirty.totals.capacity(), 0);
    }

    #[test]
    fn a_doubt_is_one_sweep() {
        let mut dirty = Dirty::new();
        assert!(dirty.take_sweep(), "of the start before");
        assert!(!dirty.settle_doubt() && !dirty.take_sweep());
        dirty.doubt();
        dirty.doubt();
        assert!(dirty.settle_doubt() && dirty.take_sweep());
        assert!(!dirty.settle_doubt() && !dirty.take_sweep());
    }

    #[test]
    fn memory_comes_back_when_all_is_written() {
        let mut dirty = Dirty::new();
        for id in (0..10_000).map(SessionId) {
            dirty.created(id);
            dirty.ended(SessionId(id.0 + 20_000));
        }
        while dirty.take(500) != Batch::default() {}
        assert_eq!((dirty.upserts.capacity(), dirty.deletes.capacity()), (0, 0));
    }
}
