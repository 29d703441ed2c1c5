//! Users already looked up, per worker and bounded.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use shared::{Realm, Username};

use super::credential::{CredentialAnswer, UserCredential};

/// How long an unknown name is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);

type Name = (Realm, Username);

/// What the cache knows about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached {
    /// The user.
    Known(UserCredential),
    /// Nobody, as of a moment ago.
    Unknown,
    /// Nothing: ask.
    Nothing,
}

#[derive(Debug)]
struct Entry {
    /// `None`: unknown until the instant.
    credential: Option<UserCredential>,
    until: Option<Instant>,
    stamp: u64,
}

/// Known users until they are forgotten, unknown ones for a second; the oldest go first.
#[derive(Debug)]
pub struct CredentialCache {
    entries: HashMap<Name, Entry>,
    order: VecDeque<(u64, Name)>,
    stamp: u64,
    capacity: usize,
}

impl CredentialCache {
    /// An empty cache for at least one name.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            stamp: 0,
            capacity,
        }
    }

    /// What is known about a name.
    #[must_use]
    pub fn get(&self, name: &Name, now: Instant) -> Cached {
        match self.entries.get(name) {
            Some(Entry {
                credential: Some(credential),
                ..
            }) => Cached::Known(credential.clone()),
            Some(Entry {
                until: Some(until), ..
            }) if now < *until => Cached::Unknown,
            _ => Cached::Nothing,
        }
    }

    /// Remembers an answer; an unavailable store changes nothing.
    pub fn put(&mut self, name: Name, answer: &CredentialAnswer, now: Instant) {
        let (credential, until) = match answer {
            CredentialAnswer::Known(credential) => (Some(credential.clone()), None),
            CredentialAnswer::Unknown => (None, Some(now + UNKNOWN_FOR)),
            CredentialAnswer::Unavailable => return,
        };
        self.stamp += 1;
        self.order.push_back((self.stamp, name.clone()));
        self.entries.insert(
            name,
            Entry {
                credential,
                until,
                stamp: self.stamp,
            },
        );
        while self.entries.len() > self.capacity {
            let Some((stamp, oldest)) = self.order.pop_front() else {
                break;
            };
            if self
                .entries
                .get(&oldest)
                .is_some_and(|entry| entry.stamp == stamp)
            {
                self.entries.remove(&oldest);
            }
        }
        if self.order.len() > 2 * self.capacity {
            let entries = &self.entries;
            let live = |(stamp, name): &(u64, Name)| {
                entries.get(name).is_some_and(|entry| entry.stamp == *stamp)
            };
            self.order.retain(live);
        }
    }

    /// Forgets one name, a realm, or everything.
    pub fn forget(&mut self, realm: Option<&Realm>, username: Option<&Username>) {
        let hit = |name: &Name| {
            realm.is_none_or(|r| *r == name.0) && username.is_none_or(|u| *u == name.1)
        };
        self.entries.retain(|name, _| !hit(name));
        self.order.retain(|(_, name)| !hit(name));
    }

    /// Names held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
