//! Shares of rates that all nodes have together. Twice per second a node says what its sessions wanted
//! of each limit and leases a share of it, of what no other node has leased: so all shares together never
//! are more than the limit, whatever clients do. Without the store a node keeps what it has.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashSet};
use futures_util::stream::{self, StreamExt as _};
use shared::Realm;
use shared::api::{NodeRole, NodeState};
use tokio::time::MissedTickBehavior;
use turn_proto::policy::{Budget, Lane, Policy, RealmPolicy};

use super::held::REPLACED;
use super::{Count, Name, Refusal, give_back};
use crate::control::hub::Hub;
use crate::store::quota::{QUOTA_TURN, RateAnswer, RateShare, RateTurn, RateWish, WHOLE};

/// How often shares are leased.
const INTERVAL: Duration = Duration::from_millis(500);
/// What a node wants of a limit before its sessions have said anything.
const FIRST_WISH: u32 = WHOLE / 10;
/// What a budget that nobody uses keeps where others want it.
const IDLE: u32 = WHOLE / 100;
/// In so many turns a budget that nobody uses is spoken of once.
const IDLE_TURNS: u64 = 120;
/// In so many turns leases are renewed, whether or not there is anything to say, and what others ask
/// for is heard.
const RENEWAL_TURNS: u64 = 3;
/// Conversations with the store at the same time. What began meanwhile is spoken of after so many.
const CONCURRENCY: usize = 16;

const LANES: [Lane; 2] = [Lane::ToPeer, Lane::ToClient];

/// A budget that has a share, or is to have one.
#[derive(Debug)]
struct Shared {
    budget: Arc<Budget>,
    /// Millionths of the limit that were wanted last.
    wanted: RateShare,
    /// The turn in which it was spoken of last.
    spoken: u64,
}

/// What of a realm has shares.
#[derive(Debug, Default)]
struct OfRealm {
    realm: Option<Shared>,
    users: HashMap<Box<str>, Shared>,
}

/// What is to be said about a realm; without wishes its lease is renewed.
#[derive(Debug)]
struct Word {
    realm: Realm,
    wishes: Vec<RateWish>,
}

#[derive(Debug)]
struct Memory {
    /// Who leases. A process that passed its sessions on does so under the name that it has then: what it
    /// leased before is over.
    holder: String,
    /// How many of the nodes whose leases are over each realm was told, after this one itself.
    replaced: BTreeMap<Realm, usize>,
    shared: BTreeMap<Realm, OfRealm>,
    /// The policy whose limits are followed.
    policy: Option<Arc<Policy>>,
    waiting: VecDeque<Word>,
    refusal: Refusal,
    /// What each of the nodes that relay may have of a limit.
    fair: u32,
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
        replaced: BTreeMap::new(),
        shared: BTreeMap::new(),
        policy: None,
        waiting: VecDeque::new(),
        refusal: Refusal::default(),
        fair: fair(&hub),
        turns: 0,
        read: Instant::now(),
    };
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = hub.quota.shareless.notified() => {}
            _ = interval.tick() => {
                memory.fair = fair(&hub);
                memory.follow(&hub);
                memory.look();
            }
        }
        while memory.begun(&hub) || !memory.waiting.is_empty() {
            memory.speak(&hub).await;
            if hub.cancel.is_cancelled() {
                return;
            }
            // However many new ones there are, what is shared already must not be forgotten.
            if memory.waiting.is_empty() && memory.read.elapsed() >= INTERVAL {
                memory.fair = fair(&hub);
                memory.follow(&hub);
                memory.look();
            }
        }
    }
}

impl Memory {
    /// Has shares leased of budgets that were there before there was a limit.
    fn follow(&mut self, hub: &Hub) {
        let policy = hub.keeper.current();
        let before = self.policy.replace(Arc::clone(&policy));
        if before
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, &policy))
        {
            return;
        }
        for realm in hub.quota.held_realms() {
            let was = before.as_ref().and_then(|before| before.realms.get(&realm));
            let is = policy.realms.get(&realm);
            if limits_realm(is) && !limits_realm(was) {
                hub.quota.wants_share(&realm, None);
            }
            let all = limits_users(is) && !limits_users(was);
            // Sessions that were here before this control plane.
            let own = before.is_none();
            if all || own {
                let pick = |user: &str, count: &mut Count| {
                    let is_picked = all || count.has_own_rate;
                    (is_picked && !user.is_empty()).then(|| Box::<str>::from(user))
                };
                hub.quota.walk(&realm, pick, |users| {
                    let users = users.iter();
                    users.for_each(|user| hub.quota.wants_share(&realm, Some(user)));
                });
            }
        }
    }

    /// Takes up budgets that were made just now, where there is a limit; whether there were any.
    fn begun(&mut self, hub: &Hub) -> bool {
        let fresh = std::mem::take(&mut *hub.quota.fresh());
        if fresh.is_empty() {
            return false;
        }
        let policy = hub.keeper.current();
        let mut wishes: BTreeMap<Realm, Vec<RateWish>> = BTreeMap::new();
        let mut taken: HashSet<Name> = HashSet::default();
        for (realm, user) in fresh {
            let Some((budget, has_own)) = hub.quota.budget_of(&realm, user.as_deref()) else {
                continue;
            };
            let rules = policy.realms.get(&realm);
            let is_limited = match user {
                Some(_) => has_own || limits_users(rules),
                None => limits_realm(rules),
            };
            if !is_limited {
                // There may be a limit one day.
                LANES
                    .iter()
                    .for_each(|lane| budget.set_share(*lane, self.fair));
                continue;
            }
            let shared = Shared {
                budget,
                wanted: [FIRST_WISH; 2],
                spoken: self.turns,
            };
            let of_realm = self.shared.entry(realm.clone()).or_default();
            of_realm.insert(user.as_deref(), shared);
            let of_realm = wishes.entry(realm.clone()).or_default();
            of_realm.push(wish(user.as_deref(), Some([FIRST_WISH; 2])));
            taken.insert((realm, user));
        }
        // What was to be said of a budget of that name is over.
        for word in &mut self.waiting {
            let is_over = |wish: &RateWish| {
                let name = (word.realm.clone(), wish.user.as_deref().map(Box::from));
                taken.contains(&name)
            };
            word.wishes.retain(|wish| !is_over(wish));
        }
        let first = words(wishes);
        first.rev().for_each(|word| self.waiting.push_front(word));
        true
    }

    /// Looks what was wanted of each budget, which are to be spoken of again, and which are gone.
    fn look(&mut self) {
        let now = Instant::now();
        let secs = now.saturating_duration_since(self.read).as_secs_f64();
        self.read = now;
        self.turns += 1;
        let is_renewal = self.turns.is_multiple_of(RENEWAL_TURNS);
        let (mut gone, mut wishes) = (BTreeMap::new(), BTreeMap::new());
        for (realm, of_realm) in &mut self.shared {
            let (over, wanted) = of_realm.look(secs, self.turns);
            if over.is_empty() && wanted.is_empty() && is_renewal {
                let wishes = Vec::new();
                let realm = realm.clone();
                self.waiting.push_back(Word { realm, wishes });
            }
            gone.insert(realm.clone(), over);
            wishes.insert(realm.clone(), wanted);
        }
        self.waiting.extend(words(wishes));
        // First what makes room.
        words(gone).for_each(|word| self.waiting.push_front(word));
        self.shared.retain(|_, of_realm| !of_realm.is_empty());
    }

    /// Says some of what is to be said, and takes what comes of it.
    async fn speak(&mut self, hub: &Hub) {
        let some = self.waiting.len().min(CONCURRENCY);
        let some: Vec<Word> = self.waiting.drain(..some).collect();
        let words = some.into_iter().map(|word| {
            let (replaced, turn) = self.turn(hub, word);
            async move {
                let answer = match hub.health.is_lost() || hub.fenced() {
                    true => None,
                    false => Some(hub.noted(hub.store.share_rates(&turn).await)),
                };
                (turn, replaced, answer)
            }
        });
        let words: Vec<_> = words.collect();
        let mut answers = stream::iter(words).buffer_unordered(CONCURRENCY);
        while let Some((turn, replaced, answer)) = answers.next().await {
            match &answer {
                Some(Ok(_)) => {
                    self.replaced.insert(turn.realm.clone(), replaced);
                    self.refusal.is_news(None);
                }
                Some(Err(error)) if self.refusal.is_news(Some(error)) => {
                    tracing::warn!(%error, "the store leases no shares of rates: each node keeps what it has");
                }
                Some(Err(_)) | None => {}
            }
            self.take(&turn, answer.and_then(Result::ok));
        }
    }

    /// What is said, and how many of the nodes whose leases are over the realm knows of then.
    fn turn(&self, hub: &Hub, word: Word) -> (usize, RateTurn) {
        let told = self.replaced.get(&word.realm).copied();
        let (count, mut replaces) = hub.quota.replaced_after(told.unwrap_or_default());
        // An earlier start of this node leases nothing any more, and what it leased is this one's to use.
        if told.is_none() && hub.started.mono.elapsed() < REPLACED {
            replaces.push(hub.node.as_str().to_owned());
        }
        let turn = RateTurn {
            realm: word.realm,
            holder: self.holder.clone(),
            replaces,
            wishes: word.wishes,
        };
        (count, turn)
    }

    /// Sets the shares that were leased, and speaks again of what others ask for.
    fn take(&mut self, turn: &RateTurn, answer: Option<RateAnswer>) {
        let fair = self.fair;
        let Some(of_realm) = self.shared.get_mut(&turn.realm) else {
            return;
        };
        for (number, wish) in turn.wishes.iter().enumerate() {
            let Some(known) = of_realm.get_mut(wish.user.as_deref()) else {
                continue;
            };
            let leased = answer.as_ref().and_then(|answer| answer.shares.get(number));
            for (lane, number) in LANES.into_iter().zip(0..) {
                match leased {
                    Some(share) => known.budget.set_share(lane, share[number]),
                    None if known.budget.share(lane) == 0 => known.budget.set_share(lane, fair),
                    None => {}
                }
            }
        }
        let answer = answer.unwrap_or_default();
        let wishes = match answer.is_new {
            // Others may have been given all that this node had.
            true => of_realm.idle(self.turns),
            false => of_realm.asked(&answer.asked, self.turns),
        };
        let realm = turn.realm.clone();
        self.waiting.extend(words([(realm, wishes)].into()));
    }
}

impl OfRealm {
    fn is_empty(&self) -> bool {
        self.realm.is_none() && self.users.is_empty()
    }

    fn insert(&mut self, user: Option<&str>, shared: Shared) {
        match user {
            Some(user) => drop(self.users.insert(user.into(), shared)),
            None => self.realm = Some(shared),
        }
    }

    fn get_mut(&mut self, user: Option<&str>) -> Option<&mut Shared> {
        match user {
            Some(user) => self.users.get_mut(user),
            None => self.realm.as_mut(),
        }
    }

    /// Wishes of budgets that are gone, and of those that there is something to say of.
    fn look(&mut self, secs: f64, turn: u64) -> (Vec<RateWish>, Vec<RateWish>) {
        let (mut gone, mut wishes) = (Vec::new(), Vec::new());
        if self.realm.as_ref().is_some_and(Shared::is_gone) {
            self.realm = None;
            gone.push(wish(None, None));
        }
        if let Some(known) = &mut self.realm {
            wishes.extend(
                known
                    .look(secs, turn)
                    .map(|wanted| wish(None, Some(wanted))),
            );
        }
        self.users.retain(|user, known| {
            if known.is_gone() {
                gone.push(wish(Some(user), None));
                return false;
            }
            let wanted = known.look(secs, turn);
            wishes.extend(wanted.map(|wanted| wish(Some(user), Some(wanted))));
            true
        });
        if !gone.is_empty() {
            give_back(&mut self.users);
        }
        (gone, wishes)
    }

    /// Wishes of those of these budgets that nobody uses here.
    fn asked(&mut self, asked: &[Option<String>], turn: u64) -> Vec<RateWish> {
        let asked = asked.iter().filter_map(|user| {
            let known = self.get_mut(user.as_deref())?;
            known
                .gives_way(turn)
                .then(|| wish(user.as_deref(), Some([0; 2])))
        });
        asked.collect()
    }

    /// Wishes of all budgets that nobody uses here.
    fn idle(&mut self, turn: u64) -> Vec<RateWish> {
        let users = self.users.iter_mut();
        let users = users.map(|(user, known)| (Some(&**user), known));
        let all = self
            .realm
            .iter_mut()
            .map(|known| (None, known))
            .chain(users);
        let idle =
            all.filter_map(|(user, known)| known.gives_way(turn).then(|| wish(user, Some([0; 2]))));
        idle.collect()
    }
}

impl Shared {
    /// Whether all sessions that drew from it have ended.
    fn is_gone(&self) -> bool {
        Arc::strong_count(&self.budget) == 1
    }

    /// What was wanted, where that is to be said.
    fn look(&mut self, secs: f64, turn: u64) -> Option<RateShare> {
        let wanted = wanted(&self.budget, secs);
        let before = std::mem::replace(&mut self.wanted, wanted);
        let is_due = turn >= self.spoken + IDLE_TURNS;
        let is_said = wanted != [0; 2] || before != [0; 2] || is_due;
        if is_said {
            self.spoken = turn;
        }
        is_said.then_some(wanted)
    }

    /// Whether it has more than it needs, and was not spoken of in this turn; from now on it was.
    fn gives_way(&mut self, turn: u64) -> bool {
        let has_more = LANES.iter().any(|lane| self.budget.share(*lane) > IDLE);
        let gives_way = self.wanted == [0; 2] && has_more && self.spoken != turn;
        if gives_way {
            self.spoken = turn;
        }
        gives_way
    }
}

fn limits_realm(rules: Option<&Arc<RealmPolicy>>) -> bool {
    rules.is_some_and(|rules| rules.max_realm_rate_bps.is_some())
}

fn limits_users(rules: Option<&Arc<RealmPolicy>>) -> bool {
    rules.is_some_and(|rules| rules.max_user_rate_bps.is_some())
}

fn wish(user: Option<&str>, wanted: Option<RateShare>) -> RateWish {
    RateWish {
        user: user.map(str::to_owned),
        wanted,
    }
}

/// Wishes in turns that the store takes.
fn words(wishes: BTreeMap<Realm, Vec<RateWish>>) -> impl DoubleEndedIterator<Item = Word> {
    let words = wishes.into_iter().flat_map(|(realm, mut wishes)| {
        let mut words = Vec::new();
        while !wishes.is_empty() {
            let rest = wishes.split_off(wishes.len().min(QUOTA_TURN));
            let realm = realm.clone();
            words.push(Word { realm, wishes });
            wishes = rest;
        }
        words
    });
    words.collect::<Vec<_>>().into_iter()
}

/// Millionths of the limit that were wanted in that time; none where no limit was met.
fn wanted(budget: &Budget, secs: f64) -> RateShare {
    LANES.map(|lane| {
        let demand = budget.take_demand(lane);
        let limit = demand.per_second.max(1) as f64 * secs.max(0.001);
        let part = demand.amount as f64 / limit * f64::from(WHOLE);
        match demand.per_second {
            0 => 0,
            _ => part.ceil().min(f64::from(WHOLE)) as u32,
        }
    })
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
