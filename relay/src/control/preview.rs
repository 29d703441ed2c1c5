//! What a realm's document would do to the sessions of this node. Nothing is changed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::api::{NodeRole, RealmDocument};
use shared::{Realm, SessionId};
use turn_proto::policy::{AddressVerdict, PeerRules, RealmPolicy};

use super::clock::Moment;
use super::directory::Kept;
use super::hub::Hub;
use super::policy::RealmRules;
use super::revocation::foresee::{self, Sessions};

/// Sessions looked at before the books are let go.
const SLICE: usize = 1000;
/// Addresses whose verdict is remembered: clients of one service share their peers.
const MAX_VERDICTS: usize = 100_000;
/// Users over the limit that are named, so that the asking node can tell which of them are the same
/// as another node's.
const MAX_NAMED: usize = 10_000;
/// What their names may take in a message, in bytes.
const MAX_NAMES: usize = 2 * 1024 * 1024;

/// What would happen on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Effect {
    /// Whether the node relays at all.
    pub relays: bool,
    /// Sessions of the realm.
    pub sessions: u64,
    /// Of these: faster than the new limit, in either direction.
    pub over_rate: u64,
    /// Of these: with a permission or channel for a peer that the new rules deny.
    pub denied_peers: u64,
    /// Users with more sessions than the realm's new limit.
    pub users: Vec<String>,
    /// How many more there are.
    pub more_users: u64,
    /// Whether there are more sessions than the new limit of the realm.
    pub over_sessions: bool,
    /// Sessions that a new `revoke_on_...` rule ends.
    #[serde(default)]
    pub revoked: u64,
    /// Sessions of which that cannot be told.
    #[serde(default)]
    pub unjudged: u64,
}

/// Judges the sessions of a realm as the new document would.
pub(super) async fn effect(hub: &Hub, name: &Realm, document: &RealmDocument) -> Effect {
    let policy = hub.keeper.current();
    let mut judge = Judge {
        rules: &policy.peers,
        realm: hub.keeper.realm_under(name, document),
        verdicts: HashMap::new(),
    };
    let mut effect = Effect {
        relays: hub.config().roles.contains(&NodeRole::Relay),
        ..Effect::default()
    };
    let mut users: HashMap<Arc<str>, u32> = HashMap::new();
    let mut revoked = Revoked::new(hub, name, document);
    let ids: Vec<SessionId> = hub.books().ids().collect();
    for slice in ids.chunks(SLICE) {
        let seen = look(hub, name, slice);
        for session in seen {
            effect.sessions += 1;
            let limit = document.max_rate_bps;
            effect.over_rate += u64::from(limit.is_some_and(|limit| session.rate > limit));
            effect.denied_peers += u64::from(judge.denies_one_of(&session));
            effect.revoked += u64::from(revoked.ends(&session));
            if document.max_sessions_per_user.is_some() && !session.user.is_empty() {
                *users.entry(session.user).or_default() += 1;
            }
        }
        tokio::task::yield_now().await;
    }
    let limit = document.max_sessions.map(u64::from);
    effect.over_sessions = limit.is_some_and(|limit| effect.sessions > limit);
    if let Some(limit) = document.max_sessions_per_user {
        let over = users.into_iter().filter(|(_, count)| *count > limit);
        name_users(&mut effect, over.map(|(user, _)| user.as_ref().to_owned()));
    }
    let foreseen = foresee::judge(hub, name, &revoked.sessions, revoked.rules).await;
    effect.revoked += foreseen.revoked;
    effect.unjudged = foreseen.unjudged;
    effect
}

/// What is judged of a session.
struct Seen {
    rate: u64,
    user: Arc<str>,
    key_id: u32,
    secret_id: Option<Box<str>>,
    /// In Unix seconds.
    credential_expiry: Option<u64>,
    /// Peers with the port last seen, or bound.
    peers: Vec<(IpAddr, Option<u16>)>,
}

fn look(hub: &Hub, name: &Realm, ids: &[SessionId]) -> Vec<Seen> {
    let now = Moment::now();
    let books = hub.books();
    let rows = ids.iter().filter_map(|id| books.row(*id, now));
    let of_realm = rows.filter(|row| row.realm() == name);
    let seen = of_realm.map(|row| {
        let (rate_in, rate_out) = row.rates();
        Seen {
            rate: rate_in.max(rate_out),
            user: Arc::clone(row.user()),
            key_id: row.kept().key_id,
            secret_id: row.kept().secret_id().map(Box::from),
            credential_expiry: row.kept().credential_expiry(),
            peers: peers(row.kept()),
        }
    });
    seen.collect()
}

fn peers(kept: &Kept) -> Vec<(IpAddr, Option<u16>)> {
    let permitted = kept.permissions.iter();
    let permitted = permitted.map(|permission| (permission.peer, permission.last_port));
    let bound = kept.channels.iter();
    let bound = bound.map(|channel| (channel.peer.ip(), Some(channel.peer.port())));
    permitted.chain(bound).collect()
}

/// The node's rules with those of the realm as it would be: what the workers judge by.
struct Judge<'p> {
    rules: &'p PeerRules,
    realm: RealmPolicy,
    verdicts: HashMap<IpAddr, AddressVerdict>,
}

impl Judge<'_> {
    fn denies_one_of(&mut self, session: &Seen) -> bool {
        session.peers.iter().any(|(peer, port)| {
            let verdict = self.verdict(*peer);
            let by_port = |port: &u16| {
                !self
                    .rules
                    .allows(&self.realm, SocketAddr::new(*peer, *port))
            };
            match verdict {
                AddressVerdict::Denied => true,
                AddressVerdict::Allowed => false,
                AddressVerdict::ByPort => port.as_ref().is_some_and(by_port),
            }
        })
    }

    fn verdict(&mut self, peer: IpAddr) -> AddressVerdict {
        if let Some(verdict) = self.verdicts.get(&peer) {
            return *verdict;
        }
        if self.verdicts.len() >= MAX_VERDICTS {
            self.verdicts.clear();
        }
        let verdict = self.rules.judge_address(&self.realm, peer);
        self.verdicts.insert(peer, verdict);
        verdict
    }
}

/// The rules that would begin to end sessions: what ended by those that hold is no news.
struct Revoked {
    rules: RealmRules,
    at_expiry: bool,
    now: u64,
    accepted: Vec<Arc<str>>,
    /// Those that only the store can tell about.
    sessions: Sessions,
}

impl Revoked {
    fn new(hub: &Hub, name: &Realm, document: &RealmDocument) -> Self {
        let before = hub.keeper.realm(name).map(|realm| realm.document);
        let before = before.unwrap_or_default();
        let policy = hub.keeper.current();
        let realm = policy.realms.get(name);
        let secrets = realm.into_iter().flat_map(|realm| &realm.secrets);
        Self {
            rules: RealmRules::of(document).without(RealmRules::of(&before)),
            at_expiry: document.revoke_on_credential_expiry && !before.revoke_on_credential_expiry,
            now: Moment::now().unix_ms / 1000,
            accepted: secrets.map(|secret| Arc::clone(&secret.id)).collect(),
            sessions: Sessions::default(),
        }
    }

    /// Whether a session ends by itself; one that the store has to judge is kept for later.
    fn ends(&mut self, session: &Seen) -> bool {
        if let Some(id) = &session.secret_id {
            let expired = session.credential_expiry.is_some_and(|end| end <= self.now);
            if self.at_expiry && expired {
                return true;
            }
            let is_accepted = self.accepted.iter().any(|known| **known == **id);
            if self.rules.secret_removal && !is_accepted && !id.starts_with("oauth:") {
                let of_secrets = &mut self.sessions.of_secrets;
                *of_secrets.entry(Arc::from(&**id)).or_default() += 1;
            }
            return false;
        }
        let asks = self.rules.user_removal || self.rules.password_change;
        if asks && session.key_id != 0 {
            let by_key = self
                .sessions
                .of_users
                .entry(Arc::clone(&session.user))
                .or_default();
            *by_key.entry(session.key_id).or_default() += 1;
        }
        false
    }
}

fn name_users(effect: &mut Effect, over: impl Iterator<Item = String>) {
    let mut room = MAX_NAMES;
    for user in over {
        // JSON writes a byte as six at most.
        let takes = user.len() * 6 + 3;
        if effect.users.len() < MAX_NAMED && takes <= room {
            room -= takes;
            effect.users.push(user);
        } else {
            effect.more_users += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_a_message_and_the_rest_is_counted() {
        let mut effect = Effect::default();
        let names = (0..20_000).map(|n| format!("{n:05}{}", "\u{1}".repeat(500)));
        name_users(&mut effect, names);
        assert!(!effect.users.is_empty());
        assert_eq!(effect.users.len() as u64 + effect.more_users, 20_000);
        let size = serde_json::to_vec(&effect).unwrap().len();
        assert!(size <= MAX_NAMES + 1000, "{size}");
        let mut effect = Effect::default();
        name_users(&mut effect, (0..20_000).map(|n| n.to_string()));
        assert_eq!((effect.users.len(), effect.more_users), (MAX_NAMED, 10_000));
    }
}
