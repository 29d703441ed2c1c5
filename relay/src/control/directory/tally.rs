//! One pass over all sessions that adds them up by realm and user, a slice at a time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use shared::{Realm, SessionId};

use super::Directory;
use super::aggregate::Load;
use crate::control::clock::Moment;

/// Sums over sessions. Realms and users stand by the hash of their names under a key of this process:
/// names are long, and there may be a million of them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The node.
    pub node: Load,
    /// By [`Names::realm`].
    pub realms: HashMap<u64, Load>,
    /// By [`Names::user`].
    pub users: HashMap<u64, Load>,
}

/// How names are hashed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(RandomState);

impl Names {
    /// A realm.
    #[must_use]
    pub(crate) fn realm(&self, realm: &Realm) -> u64 {
        self.0.hash_one(realm.as_str())
    }

    /// A user.
    #[must_use]
    pub(crate) fn user(&self, realm: &Realm, user: &str) -> u64 {
        self.0.hash_one((realm.as_str(), user))
    }
}

impl Directory {
    /// Adds these sessions to the sums, as of now; those that have ended are left out.
    pub(crate) fn tally(
        &mut self,
        ids: &[SessionId],
        names: &Names,
        sums: &mut Tally,
        now: Moment,
    ) {
        for id in ids {
            if let Some(entry) = self.entries.get_mut(*id) {
                entry.forget_new_peers(now);
            }
            let Some(row) = self.row(*id, now) else {
                continue;
            };
            let load = Load::of(&row);
            sums.node.add(load);
            let realm = names.realm(row.realm());
            sums.realms.entry(realm).or_default().add(load);
            let user = names.user(row.realm(), row.user());
            sums.users.entry(user).or_default().add(load);
        }
    }
}
