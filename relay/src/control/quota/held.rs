//! What is held here of limits that count over all nodes, and what came of telling the store.

use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use foldhash::HashMap;
use shared::{NodeId, Realm};
use turn_proto::policy::{Budget, PlaceAnswer, QuotaExceeded};
use turn_proto::server::PlaceClaim;

use super::{Count, Name, NodeQuota, Reach, RealmCount, give_back};
use crate::store::quota::{QuotaAnswer, QuotaTurn, UserTurn};

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
        self.replaces().push(node.as_str().to_owned());
        self.changed.notify_one();
    }

    /// Says that all that the store had of this node's sessions is here again, or over.
    pub(in crate::control) fn is_whole(&self, node: &NodeId) {
        if !self.has_elder.load(Ordering::Relaxed) {
            self.replace(node);
        }
    }

    pub(super) fn replaces(&self) -> MutexGuard<'_, Vec<String>> {
        self.replaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over whether the store has other processes; from then on it hears of everything.
    pub(super) fn follow(&self, counts_together: bool) {
        let together = counts_together && self.reach != Reach::Node;
        if self.counts_together.swap(together, Ordering::Relaxed) != together && together {
            self.note_all();
        }
    }

    /// Has the store told what is held of a user.
    pub(in crate::control) fn note(&self, realm: &Realm, user: &str) {
        if self.counts_together() {
            self.stale().insert((realm.clone(), user.into()));
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
            self.stale().insert((realm.clone(), user.into()));
        }
    }

    /// Has the store told everything.
    pub(in crate::control) fn note_all(&self) {
        self.note_some(|_, _| true);
    }

    /// Has the store told what is held of those that `pick` chooses.
    pub(super) fn note_some(&self, pick: impl Fn(&Realm, &str) -> bool) {
        if !self.counts_together() {
            return;
        }
        for shard in &self.realms {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let mut stale = self.stale();
            for (realm, count) in shard.iter() {
                let users = count.users.keys().map(|user| &**user);
                let picked = users.chain([""]).filter(|user| pick(realm, user));
                stale.extend(picked.map(|user| (realm.clone(), user.into())));
            }
        }
        self.changed.notify_one();
    }

    /// Has the store told about one of so many parts of what is held.
    pub(super) fn note_slice(&self, slice: u64, slices: u64) {
        self.note_some(|_, user| self.hasher.hash_one(user) % slices == slice);
    }

    pub(super) fn stale(&self) -> MutexGuard<'_, HashSet<(Realm, Box<str>)>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Realms of which something is held.
    pub(super) fn held_realms(&self) -> Vec<Realm> {
        let mut realms = Vec::new();
        for shard in &self.realms {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            realms.extend(shard.keys().cloned());
        }
        realms
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
        let user_turn = |(user, asked, limit): &(Box<str>, u32, Option<u32>)| {
            let count = of_realm.and_then(|count| count.users.get(user));
            let is_limited = of_all.is_some()
                || per_user.is_some()
                || count.is_some_and(|count| count.is_limited || count.confirmed > 0);
            (*asked > 0 || is_limited).then(|| UserTurn {
                user: user.to_string(),
                held: count.map_or(0, Count::held),
                asked: *asked,
                limit: *limit,
            })
        };
        let is_limited =
            |count: &Count| limits != (None, None) || count.is_limited || count.confirmed > 0;
        let of_realm = of_realm.map(|of_realm| &of_realm.count);
        let of_realm = of_realm.filter(|count| is_limited(count));
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
        (realm.confirmed, realm.others) = (held, answer.others);
        for (said, answer) in turn.users.iter().zip(&answer.users) {
            let held = said.held + answer.granted;
            if said.user.is_empty() || held == 0 && !of_realm.users.contains_key(&*said.user) {
                continue;
            }
            let count = self.of_user(of_realm, &turn.realm, &said.user);
            count.granted += answer.granted;
            (count.confirmed, count.others) = (held, answer.others);
            if count.is_over() {
                of_realm.users.remove(&*said.user);
                give_back(&mut of_realm.users);
            }
        }
        if of_realm.count.is_over() && of_realm.users.is_empty() {
            shard.remove(&turn.realm);
        }
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
                PlaceAnswer::Granted
            }
        };
        if answer == PlaceAnswer::Granted {
            of_realm.count.granted += 1;
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
                give_back(&mut of_realm.users);
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
            users: HashMap::default(),
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
        self.fresh().insert((realm.clone(), user.map(Box::from)));
        self.shareless.notify_one();
        Budget::without_share(self.origin)
    }

    /// Budgets that have no share yet.
    pub(super) fn fresh(&self) -> MutexGuard<'_, HashSet<Name>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Users with a rate limit of their own.
    pub(super) fn own_rates(&self) -> MutexGuard<'_, HashSet<Name>> {
        self.own_rates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a user has a rate limit of its own.
    pub(in crate::control) fn has_own_rate(&self, realm: &Realm, user: &str) {
        let name = (realm.clone(), Some(Box::from(user)));
        if self.shares_rates() && self.own_rates().insert(name.clone()) {
            self.fresh().insert(name);
            self.shareless.notify_one();
        }
    }

    /// Shows the budgets of these names that are still there.
    pub(super) fn each_named(
        &self,
        names: &HashSet<Name>,
        mut see: impl FnMut(&Realm, Option<&str>, &Arc<Budget>),
    ) {
        for (realm, user) in names {
            let shard = self.realm(realm);
            let of_realm = shard.get(realm);
            let count = of_realm.and_then(|of_realm| match user {
                Some(user) => of_realm.users.get(user),
                None => Some(&of_realm.count),
            });
            if let Some(count) = count {
                see(realm, user.as_deref(), &count.budget);
            }
        }
    }

    /// Shows the budgets of all realms, and those of the users of realms that `with_users` chooses.
    pub(super) fn each_budget(
        &self,
        with_users: impl Fn(&Realm) -> bool,
        mut see: impl FnMut(&Realm, Option<&str>, &Arc<Budget>),
    ) {
        for shard in &self.realms {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (realm, count) in shard.iter() {
                see(realm, None, &count.count.budget);
                if with_users(realm) {
                    for (user, count) in &count.users {
                        see(realm, Some(user), &count.budget);
                    }
                }
            }
        }
    }
}
