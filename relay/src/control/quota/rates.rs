//! Shares of rates that all nodes have together. Twice per second a node says what its sessions wanted
//! of each limit and leases a share of it, of what no other node has leased: so all shares together never
//! are more than the limit, whatever clients do. Without the store a node keeps what it has.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::Realm;
use shared::api::{NodeRole, NodeState};
use tokio::time::MissedTickBehavior;
use turn_proto::policy::{Budget, Lane};

use super::Name;
use crate::control::hub::Hub;
use crate::store::quota::{QUOTA_TURN, RateShare, RateTurn, RateWish, WHOLE};

/// How often shares are leased.
const INTERVAL: Duration = Duration::from_millis(500);
/// What a node wants of a limit before its sessions have said anything.
const FIRST_WISH: u32 = WHOLE / 10;
/// In so many turns a budget that nobody uses is spoken of once.
const IDLE_TURNS: u64 = 120;
/// In so many turns leases are renewed, whether or not there is anything to say.
const RENEWAL_TURNS: u64 = 6;

const LANES: [Lane; 2] = [Lane::ToPeer, Lane::ToClient];

/// A budget that has a share, or is to have one.
#[derive(Debug)]
struct Shared {
    budget: Arc<Budget>,
    /// Millionths of the limit that were wanted last.
    wanted: RateShare,
    /// The turn in which it was seen last.
    seen: u64,
}

#[derive(Debug)]
struct Memory {
    /// Who leases. A process that passed its sessions on does so under the name that it has then: what it
    /// leased before is over.
    holder: String,
    /// How many of the nodes whose leases are over each realm was told.
    replaced: HashMap<Realm, usize>,
    shared: HashMap<Name, Shared>,
    turns: u64,
    /// When demands were read last.
    read: Instant,
}

/// Leases shares until the node stops.
pub(in crate::control) async fn share(hub: Arc<Hub>) {
    if !hub.quota.shares_rates() {
        return;
    }
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = hub.quota.holder.rsplit('/').next().unwrap_or_default();
    let mut memory = Memory {
        holder: format!("{}/{start}", hub.node),
        replaced: HashMap::new(),
        shared: HashMap::new(),
        turns: 0,
        read: Instant::now(),
    };
    loop {
        let wishes = tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = hub.quota.shareless.notified() => memory.begun(&hub),
            _ = interval.tick() => memory.wishes(&hub),
        };
        for (realm, wishes) in wishes {
            if wishes.is_empty() {
                lease(&hub, &mut memory, &realm, &[]).await;
            }
            for chunk in wishes.chunks(QUOTA_TURN) {
                lease(&hub, &mut memory, &realm, chunk).await;
            }
        }
    }
}

impl Memory {
    /// Wishes of budgets that were made just now, where there is a limit.
    fn begun(&mut self, hub: &Hub) -> BTreeMap<Realm, Vec<RateWish>> {
        let fresh = std::mem::take(&mut *hub.quota.fresh());
        if fresh.is_empty() {
            return BTreeMap::new();
        }
        let (policy, own) = (hub.keeper.current(), hub.quota.own_rates().clone());
        let fair = fair(hub);
        let mut wishes: BTreeMap<Realm, Vec<RateWish>> = BTreeMap::new();
        hub.quota.each_named(&fresh, |realm, user, budget| {
            let name = (realm.clone(), user.map(Box::from));
            let rules = policy.realms.get(realm);
            let is_limited = rules.is_some_and(|rules| match user {
                Some(_) => rules.max_user_rate_bps.is_some(),
                None => rules.max_realm_rate_bps.is_some(),
            });
            if !is_limited && !own.contains(&name) {
                // There may be a limit one day, and somebody who has not been asked about may have one now.
                LANES.iter().for_each(|lane| budget.set_share(*lane, fair));
                return;
            }
            let shared = Shared {
                budget: Arc::clone(budget),
                wanted: [FIRST_WISH; 2],
                seen: self.turns,
            };
            self.shared.insert(name, shared);
            wishes.entry(realm.clone()).or_default().push(RateWish {
                user: user.map(str::to_owned),
                wanted: Some([FIRST_WISH; 2]),
            });
        });
        wishes
    }

    /// Wishes of budgets that were used, are to be spoken of again, or are gone.
    fn wishes(&mut self, hub: &Hub) -> BTreeMap<Realm, Vec<RateWish>> {
        let now = Instant::now();
        let secs = now.saturating_duration_since(self.read).as_secs_f64();
        self.read = now;
        self.turns += 1;
        let turns = self.turns;
        let mut wishes: BTreeMap<Realm, Vec<RateWish>> = BTreeMap::new();
        if turns.is_multiple_of(RENEWAL_TURNS) {
            let names = self.shared.keys();
            wishes.extend(names.map(|(realm, _)| (realm.clone(), Vec::new())));
        }
        let mut wish = |realm: &Realm, user: Option<&str>, wanted| {
            wishes.entry(realm.clone()).or_default().push(RateWish {
                user: user.map(str::to_owned),
                wanted,
            });
        };
        let shared = &mut self.shared;
        let policy = hub.keeper.current();
        let limits_users = |realm: &Realm| {
            let rules = policy.realms.get(realm);
            rules.is_some_and(|rules| rules.max_user_rate_bps.is_some())
        };
        let mut see = |realm: &Realm, user: Option<&str>, budget: &Arc<Budget>| {
            let wanted = wanted(budget, secs);
            let name = (realm.clone(), user.map(Box::from));
            let known = shared
                .get_mut(&name)
                .filter(|known| Arc::ptr_eq(&known.budget, budget));
            if wanted.is_none() && known.is_none() {
                return;
            }
            // Who asked for a first share and met no limit since wants nothing.
            let wanted = wanted.unwrap_or_default();
            let is_new = known.is_none();
            let was_used = known.as_ref().is_some_and(|known| known.wanted != [0; 2]);
            match known {
                Some(known) => (known.wanted, known.seen) = (wanted, turns),
                None => {
                    let budget = Arc::clone(budget);
                    let seen = turns;
                    shared.insert(
                        name,
                        Shared {
                            budget,
                            wanted,
                            seen,
                        },
                    );
                }
            }
            let is_due = turns.is_multiple_of(IDLE_TURNS);
            if wanted != [0; 2] || was_used || is_new || is_due {
                wish(realm, user, Some(wanted));
            }
        };
        // Not all users of a node: they are many, and few have a limit of their own.
        let own = hub.quota.own_rates().clone();
        let own: HashSet<_> = own
            .into_iter()
            .filter(|(realm, _)| !limits_users(realm))
            .collect();
        hub.quota.each_budget(limits_users, &mut see);
        hub.quota.each_named(&own, &mut see);
        shared.retain(|(realm, user), known| {
            let is_there = known.seen == turns || Arc::strong_count(&known.budget) > 1;
            if !is_there {
                wish(realm, user.as_deref(), None);
            }
            is_there
        });
        wishes
    }
}

/// Millionths of the limit that were wanted in that time; `None` where no limit was met.
fn wanted(budget: &Budget, secs: f64) -> Option<RateShare> {
    let demands = LANES.map(|lane| budget.take_demand(lane));
    let is_limited = demands.iter().any(|demand| demand.per_second > 0);
    is_limited.then(|| {
        demands.map(|demand| {
            let limit = demand.per_second.max(1) as f64 * secs.max(0.001);
            let part = demand.amount as f64 / limit * f64::from(WHOLE);
            part.ceil().min(f64::from(WHOLE)) as u32
        })
    })
}

async fn lease(hub: &Hub, memory: &mut Memory, realm: &Realm, wishes: &[RateWish]) {
    // An earlier start of this node leases nothing any more, and what it leased is this one's to use.
    let mut over = vec![hub.node.as_str().to_owned()];
    over.extend(hub.quota.replaces().iter().cloned());
    let told = memory.replaced.get(realm).copied().unwrap_or_default();
    let turn = RateTurn {
        realm: realm.clone(),
        holder: memory.holder.clone(),
        replaces: over.get(told..).unwrap_or_default().to_vec(),
        wishes: wishes.to_vec(),
    };
    let answer = match hub.health.is_lost() || hub.fenced() {
        true => None,
        false => hub.noted(hub.store.share_rates(&turn).await).ok(),
    };
    if answer.is_some() {
        memory.replaced.insert(realm.clone(), over.len());
    }
    let fair = fair(hub);
    for (number, wish) in wishes.iter().enumerate() {
        let name = (realm.clone(), wish.user.as_deref().map(Box::from));
        let Some(known) = memory.shared.get(&name) else {
            continue;
        };
        let leased = answer.as_ref().and_then(|shares| shares.get(number));
        for (lane, number) in LANES.into_iter().zip(0..) {
            match leased {
                Some(share) => known.budget.set_share(lane, share[number]),
                None if known.budget.share(lane) == 0 => known.budget.set_share(lane, fair),
                None => {}
            }
        }
    }
}

/// What each of the nodes that relay may have.
fn fair(hub: &Hub) -> u32 {
    WHOLE / relays(hub).max(1)
}

/// Nodes that relay, as far as is known.
fn relays(hub: &Hub) -> u32 {
    let views = hub.cluster.registry().views(Instant::now());
    let relays = views
        .iter()
        .filter(|view| view.roles.contains(&NodeRole::Relay) && view.state != NodeState::Gone);
    relays.count() as u32
}
