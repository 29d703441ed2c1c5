//! Sums over sessions: of users, realms, secrets and the node.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use shared::{Realm, Transport};

use super::distinct::Distinct;
use super::{Directory, Row, current_report};
use crate::control::clock::Moment;
use crate::control::cluster::message::SecretUsers;

/// Sessions and rates of whatever they are summed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Live sessions.
    pub sessions: u64,
    /// Bits per second from clients.
    pub rate_in_bps: u64,
    /// Bits per second to clients.
    pub rate_out_bps: u64,
}

impl Load {
    /// One session's.
    #[must_use]
    pub(crate) fn of(row: &Row<'_>) -> Self {
        let (rate_in_bps, rate_out_bps) = row.rates();
        Self {
            sessions: 1,
            rate_in_bps,
            rate_out_bps,
        }
    }

    /// Adds another sum.
    pub(crate) fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.rate_in_bps += other.rate_in_bps;
        self.rate_out_bps += other.rate_out_bps;
    }
}

/// A user's load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserLoad {
    /// The realm.
    pub realm: Realm,
    /// The user; may be empty.
    pub user: String,
    /// The sums.
    pub load: Load,
}

/// A realm's load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RealmLoad {
    /// The realm.
    pub realm: Realm,
    /// The sums.
    pub load: Load,
    /// Users with at least one session.
    #[serde(default)]
    pub users: Distinct,
    /// Refusals since the node's start.
    pub refusals: u64,
}

impl Directory {
    /// The node as a whole, and its sessions by transport: from counters, without a look at any
    /// session.
    #[must_use]
    pub(crate) fn node_load(&self, now: Moment) -> (Load, BTreeMap<String, u64>) {
        let mut sum = Load {
            sessions: self.entries.len() as u64,
            ..Load::default()
        };
        for (worker, books) in &self.workers {
            if current_report(&self.workers, *worker, now).is_some() {
                sum.rate_in_bps += books.rates.0;
                sum.rate_out_bps += books.rates.1;
            }
        }
        let named = Transport::ALL.iter().zip(self.transports);
        let named = named.filter(|(_, count)| *count > 0);
        let named = named.map(|(name, count)| (name.as_str().to_owned(), count));
        (sum, named.collect())
    }

    /// The users with sessions, of these realms (empty: all), those with most sessions first, at
    /// most `limit` of them; and how many there are.
    pub(crate) fn user_loads(
        &self,
        realms: &[Realm],
        limit: usize,
        now: Moment,
    ) -> (Vec<UserLoad>, u64) {
        let mut sums: HashMap<(&Realm, &str), Load> = HashMap::new();
        for row in self.rows(now) {
            if realms.is_empty() || realms.contains(row.realm()) {
                sums.entry((row.realm(), row.user()))
                    .or_default()
                    .add(Load::of(&row));
            }
        }
        let count = sums.len() as u64;
        let mut sums: Vec<_> = sums.into_iter().collect();
        let order = |a: &((&Realm, &str), Load), b: &((&Realm, &str), Load)| {
            b.1.sessions.cmp(&a.1.sessions).then(a.0.cmp(&b.0))
        };
        if sums.len() > limit && limit > 0 {
            sums.select_nth_unstable_by(limit, order);
        }
        sums.truncate(limit);
        sums.sort_unstable_by(order);
        let loads = sums.into_iter().map(|((realm, user), load)| UserLoad {
            realm: realm.clone(),
            user: user.to_owned(),
            load,
        });
        (loads.collect(), count)
    }

    /// The realms with sessions or refusals.
    #[must_use]
    pub(crate) fn realm_loads(&self, now: Moment) -> Vec<RealmLoad> {
        let mut sums: BTreeMap<Realm, (Load, std::collections::HashSet<&str>)> = BTreeMap::new();
        for row in self.rows(now) {
            if !sums.contains_key(row.realm()) {
                sums.insert(row.realm().clone(), Default::default());
            }
            if let Some((load, users)) = sums.get_mut(row.realm()) {
                load.add(Load::of(&row));
                users.insert(row.user());
            }
        }
        let mut refusals: BTreeMap<Realm, u64> = BTreeMap::new();
        for ((realm, ..), count) in self.refusals() {
            if let Some(realm) = realm {
                *refusals.entry(realm).or_default() += count;
            }
        }
        for realm in refusals.keys() {
            if !sums.contains_key(realm) {
                sums.insert(realm.clone(), Default::default());
            }
        }
        let realms = sums.len();
        let loads = sums.into_iter().map(|(realm, (load, users))| RealmLoad {
            refusals: refusals.get(&realm).copied().unwrap_or(0),
            users: Distinct::of(users.into_iter(), realms),
            realm,
            load,
        });
        loads.collect()
    }

    /// Who uses which secret of a realm: at most `limit` users of each, those with most sessions.
    #[must_use]
    pub(crate) fn secret_users(&self, realm: &Realm, limit: usize) -> Vec<SecretUsers> {
        let mut users: HashMap<&str, HashMap<&str, u64>> = HashMap::new();
        for entry in self.entries.iter().filter(|entry| entry.realm == *realm) {
            if let Some(id) = entry.kept.secret_id() {
                *users.entry(id).or_default().entry(&entry.user).or_default() += 1;
            }
        }
        let used = self.secret_use(realm).into_iter().map(|(id, used)| {
            let of_secret = users.remove(id.as_str()).unwrap_or_default();
            let mut users: Vec<_> = of_secret
                .into_iter()
                .map(|(user, sessions)| (user.to_owned(), sessions))
                .collect();
            users.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
            let complete = users.len() <= limit;
            users.truncate(limit);
            SecretUsers {
                id,
                used,
                users,
                complete,
            }
        });
        used.collect()
    }
}
