//! What is held here of limits that count over all nodes, and what came of telling the store.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use shared::{NodeId, Realm};
use turn_proto::policy::{Budget, PlaceAnswer, QuotaExceeded};
use turn_proto::server::PlaceClaim;

use super::stale::Stale;
use super::{Count, Name, NodeQuota, Reach, RealmCount};
use crate::store::quota::{QUOTA_LEASE, QuotaAnswer, QuotaTurn, UserTurn};

/// How long it is said that a node was replaced: what it held is over by then, and it may be back.
pub(super) const REPLACED: Duration = QUOTA_LEASE.saturating_mul(2);

impl Count {
    pub(super) fn begin(&mut self, granted: bool) {
        self.sessions += 1;
        if granted {
            self.granted = self.granted.saturating_sub(1);
        }
    }
}

impl NodeQuota {
    /// Sessions that a user has on all nodes, as far as is known here.
    #[must_use]
    pub fn user_sessions_everywhere(&self, realm: &Realm, user: &str) -> u32 {
        let shard = self.realm(realm);
        let count = shard.get(realm).and_then(|count| count.users.get(user));
        count.map_or(0, |count| count.sessions + count.others)
    }

    /// Sessions of a realm that count towards its limit, as far as is known here: those on this node, and
    /// where the limit is one of all nodes, theirs.
    #[must_use]
    pub(in crate::control) fn realm_sessions_everywhere(&self, realm: &Realm) -> u32 {
        let shard = self.realm(realm);
        let count = shard.get(realm).map(|count| &count.count);
        count.map_or(0, |count| count.sessions + count.others)
    }

    /// Whether sessions of other processes count, too.
    #[must_use]
    pub(super) fn counts_together(&self) -> bool {
        self.counts_together.load(Ordering::Relaxed)
    }

    /// Whether each node has a share of every rate.
    #[must_use]
    pub(super) fn shares_rates(&self) -> bool {
        self.reach == Reach::Cluster
    }

    /// Says that an earlier process of this node goes on with a part of its sessions.
    pub fn set_elder(&self) {
        self.has_elder.store(true, Ordering::Relaxed);
    }

    /// Says that what a node held is held here by now, or over.
    pub(in crate::control) fn replace(&self, node: &NodeId) {
        let replaced = (node.as_str().to_owned(), Instant::now());
        self.replaces().push(replaced);
        self.changed.notify_one();
    }

    /// Says that all that the store had of this node's sessions is here again, or over.
    pub(in crate::control) fn is_whole(&self, node: &NodeId) {
        if !self.has_elder.load(Ordering::Relaxed) {
            self.replace(node);
        }
    }

    fn replaces(&self) -> MutexGuard<'_, Vec<(String, Instant)>> {
        self.replaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many nodes were replaced, and which after the first `told` are still to be named.
    pub(super) fn replaced_after(&self, told: usize) -> (usize, Vec<String>) {
        let all = self.replaces();
        let later = all.iter().skip(told);
        let recent = later.filter(|(_, since)| since.elapsed() < REPLACED);
        (all.len(), recent.map(|(node, _)| node.clone()).collect())
    }

    /// Takes over whether the store has other processes; from then on it hears of everything.
    pub(super) fn follow(&self, counts_together: bool) {
        let together = counts_together && self.reach != Reach::Node;
        let before = self.counts_together.swap(together, Ordering::Relaxed);
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        match (before, together) {
            (true, false) => *alone = Some(Instant::now()),
            (false, true) => *alone = None,
            (true, true) | (false, false) => {}
        }
        // What this process said before may still count until then, should there be another one again.
        let forgets = alone.take_if(|since| since.elapsed() >= REPLACED);
        drop(alone);
        if forgets.is_some() {
            self.forget_others();
        }
        if together && !before {
            self.note_all();
        }
    }

    /// Has the store told what is held of a user.
    pub(in crate::control) fn note(&self, realm: &Realm, user: &str) {
        if self.counts_together() {
            self.stale().insert(realm, user);
            self.changed.notify_one();
        }
    }

    /// Says that a user has a session limit of its own: what is held of it is told from now on, also where
    /// nobody was judged by it yet since a restore.
    pub(in crate::control) fn has_own_limit(&self, realm: &Realm, user: &str) {
        let mut shard = self.realm(realm);
        let count = shard.get_mut(realm);
        let count = count.and_then(|count| count.users.get_mut(user));
        let Some(count) = count.filter(|count| !count.is_limited) else {
            return;
        };
        count.is_limited = true;
        drop(shard);
        self.note(realm, user);
    }

    /// As [`note`](Self::note), with the next renewal at the latest.
    pub(super) fn note_later(&self, realm: &Realm, user: &str) {
        if self.counts_together() {
            self.stale().insert(realm, user);
        }
    }

    pub(super) fn stale(&self) -> MutexGuard<'_, Stale> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many users there are counts of here, and how many the store is still to be told of by name.
    #[cfg(test)]
    pub(in crate::control) fn remembered(&self) -> (usize, usize) {
        let shards = self.realms.iter().map(|shard| {
            let shard = shard.lock().expect("no test panics with it");
            shard.values().map(|count| count.users.len()).sum::<usize>()
        });
        (shards.sum(), self.stale().len())
    }

    /// What there is to say of a realm and some of its users; `asks`: who asks for how many more, and
    /// the user's limit. Users whom no limit concerns are left out.
    pub(super) fn turn(
        &self,
        realm: &Realm,
        limits: (Option<u32>, Option<u32>),
        asks: &[(Box<str>, u32, Option<u32>)],
    ) -> QuotaTurn {
        let shard = self.realm(realm);
        let of_realm = shard.get(realm);
        let (of_all, per_user) = limits;
        let is_known = |count: &Count| count.is_limited || count.confirmed > 0 || count.is_in_doubt;
        let user_turn = |(user, asked, limit): &(Box<str>, u32, Option<u32>)| {
            let count = of_realm.and_then(|count| count.users.get(user));
            let is_limited = of_all.is_some() || per_user.is_some() || count.is_some_and(is_known);
            (*asked > 0 || is_limited).then(|| UserTurn {
                user: user.to_string(),
                held: count.map_or(0, Count::held),
                asked: *asked,
                limit: *limit,
            })
        };
        let of_realm = of_realm.map(|of_realm| &of_realm.count);
        let of_realm = of_realm.filter(|count| limits != (None, None) || is_known(count));
        QuotaTurn {
            realm: realm.clone(),
            holder: self.holder.clone(),
            replaces: Vec::new(),
            sessions: of_realm.map_or(0, Count::held),
            limit: of_all,
            users: asks.iter().filter_map(user_turn).collect(),
        }
    }

    /// Keeps what the store took and granted.
    pub(super) fn settled(&self, turn: &QuotaTurn, answer: &QuotaAnswer) {
        let mut shard = self.realm(&turn.realm);
        let granted: u32 = answer.users.iter().map(|user| user.granted).sum();
        let held = turn.sessions + granted;
        if held == 0 && !shard.contains_key(&turn.realm) {
            return;
        }
        let of_realm = self.of_realm(&mut shard, &turn.realm);
        let realm = &mut of_realm.count;
        realm.granted += granted;
        (realm.confirmed, realm.others, realm.is_in_doubt) = (held, answer.others, false);
        for (said, answer) in turn.users.iter().zip(&answer.users) {
            let held = said.held + answer.granted;
            if said.user.is_empty() || held == 0 && !of_realm.users.contains_key(&*said.user) {
                continue;
            }
            let count = self.of_user(of_realm, &turn.realm, &said.user);
            count.granted += answer.granted;
            (count.confirmed, count.others, count.is_in_doubt) = (held, answer.others, false);
            if count.is_over() {
                of_realm.users.remove(&*said.user);
            }
        }
        if of_realm.count.is_over() && of_realm.users.is_empty() {
            shard.remove(&turn.realm);
        }
    }

    /// Notes that the store did not answer a turn, and may have taken it: until it answers about the
    /// same users, they are spoken about, whether or not anything is held.
    pub(super) fn doubted(&self, turn: &QuotaTurn) {
        if turn.sessions == 0 && turn.users.is_empty() {
            return;
        }
        let mut shard = self.realm(&turn.realm);
        let of_realm = self.of_realm(&mut shard, &turn.realm);
        of_realm.count.is_in_doubt = true;
        for said in turn.users.iter().filter(|said| !said.user.is_empty()) {
            let count = self.of_user(of_realm, &turn.realm, &said.user);
            count.is_in_doubt = true;
        }
    }

    /// Whether the store counts something of a realm of which nothing is held.
    pub(super) fn owes_word(&self, realm: &Realm) -> bool {
        let shard = self.realm(realm);
        let count = shard.get(realm).map(|of_realm| &of_realm.count);
        count.is_some_and(|count| count.held() == 0 && !count.is_over())
    }

    /// Decides without the store: of each user one session more may begin than the store last took as
    /// held here. A process that counts alone knows by itself.
    pub(super) fn decide(&self, claim: &PlaceClaim) -> PlaceAnswer {
        let mut shard = self.realm(&claim.realm);
        let of_realm = self.of_realm(&mut shard, &claim.realm);
        let is_alone = !self.counts_together();
        let held_in_realm = of_realm.count.held();
        let full = |held: u32, limit: Option<u32>| limit.is_some_and(|limit| held >= limit);
        let answer = if full(held_in_realm, claim.per_realm) {
            PlaceAnswer::Exceeded(QuotaExceeded::Realm)
        } else if claim.user.is_empty() {
            PlaceAnswer::Granted
        } else {
            let count = self.of_user(of_realm, &claim.realm, &claim.user);
            let known = if is_alone {
                u32::MAX
            } else {
                count.confirmed + 1
            };
            if full(count.held(), claim.per_user) || count.held() >= known {
                let which = match claim.per_user {
                    Some(_) => QuotaExceeded::User,
                    None => QuotaExceeded::Realm,
                };
                PlaceAnswer::Exceeded(which)
            } else {
                count.granted += 1;
                // Told also where the store is back before the session begins.
                count.is_limited |= claim.per_user.is_some();
                PlaceAnswer::Granted
            }
        };
        if answer == PlaceAnswer::Granted {
            of_realm.count.granted += 1;
            of_realm.count.is_limited = true;
        }
        drop(shard);
        // Entries that were made to look and count nothing go.
        self.lessen(&claim.realm, &claim.user, |_| {});
        self.note(&claim.realm, &claim.user);
        answer
    }

    /// A place that was used goes back to whoever asked for it.
    pub(super) fn keep_place(&self, realm: &Realm, user: &str) {
        self.lessen(realm, user, |count| count.granted += 1);
    }

    /// Changes the counts of a realm and a user, and lets go of those that count nothing; `false`: there
    /// was no such realm.
    pub(super) fn lessen(&self, realm: &Realm, user: &str, change: impl Fn(&mut Count)) -> bool {
        let mut shard = self.realm(realm);
        let Some(of_realm) = shard.get_mut(realm) else {
            return false;
        };
        change(&mut of_realm.count);
        if let Some(of_user) = of_realm.users.get_mut(user) {
            change(of_user);
            if of_user.is_over() {
                of_realm.users.remove(user);
            }
        }
        if of_realm.count.is_over() && of_realm.users.is_empty() {
            shard.remove(realm);
        }
        true
    }

    pub(super) fn of_realm<'s>(
        &self,
        shard: &'s mut HashMap<Realm, RealmCount>,
        realm: &Realm,
    ) -> &'s mut RealmCount {
        shard.entry(realm.clone()).or_insert_with(|| RealmCount {
            count: Count::new(self.new_budget(realm, None)),
            users: BTreeMap::new(),
        })
    }

    pub(super) fn of_user<'s>(
        &self,
        of_realm: &'s mut RealmCount,
        realm: &Realm,
        user: &str,
    ) -> &'s mut Count {
        let new = || Count::new(self.new_budget(realm, Some(user)));
        of_realm.users.entry(user.into()).or_insert_with(new)
    }

    fn new_budget(&self, realm: &Realm, user: Option<&str>) -> Budget {
        if !self.shares_rates() {
            return Budget::new(self.origin);
        }
        self.wants_share(realm, user);
        Budget::without_share(self.origin)
    }

    /// Has a share leased of a budget, where a limit is.
    pub(super) fn wants_share(&self, realm: &Realm, user: Option<&str>) {
        if self.shares_rates() {
            self.fresh().insert((realm.clone(), user.map(Box::from)));
            self.shareless.notify_one();
        }
    }

    /// Budgets that have no share yet.
    pub(super) fn fresh(&self) -> MutexGuard<'_, HashSet<Name>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a user with sessions has a rate of its own.
    pub(in crate::control) fn has_own_rate(&self, realm: &Realm, user: &str) {
        let mut shard = self.realm(realm);
        let count = shard.get_mut(realm);
        let count = count.and_then(|count| count.users.get_mut(user));
        let Some(count) = count.filter(|count| !count.has_own_rate) else {
            return;
        };
        count.has_own_rate = true;
        drop(shard);
        self.wants_share(realm, Some(user));
    }

    /// The budget of a user, or of the realm, if it is still there, and whether it is of a user with
    /// a rate of its own.
    pub(super) fn budget_of(
        &self,
        realm: &Realm,
        user: Option<&str>,
    ) -> Option<(Arc<Budget>, bool)> {
        let shard = self.realm(realm);
        let of_realm = shard.get(realm)?;
        let count = match user {
            Some(user) => of_realm.users.get(user)?,
            None => &of_realm.count,
        };
        Some((Arc::clone(&count.budget), count.has_own_rate))
    }
}
