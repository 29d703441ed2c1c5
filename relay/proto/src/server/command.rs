//! What the control plane orders.

use std::collections::HashMap;
use std::sync::Arc;

use shared::{Realm, Transport, Username};

use super::{Command, Event, Output, PlaceClaim, RefusalReason, Server, SessionSnapshot};
use crate::auth::credential::{CredentialAnswer, KnownUser, UserhashAnswer};
use crate::auth::parking::{Parked, Userhash, Wanted};
use crate::five_tuple::FiveTuple;
use crate::policy::{PlaceAnswer, Policy};
use crate::stun::{AttributeType, Message, Method};
use crate::time::Now;

impl Server {
    /// Obeys the control plane.
    pub fn handle_command(&mut self, now: Now, command: Command) {
        self.catch_up(now);
        match command {
            Command::Kill { session, cause } => {
                if let Some(relay) = self.table.by_session(session) {
                    self.end(relay, cause);
                }
            }
            Command::SetPolicy(policy) => self.set_policy(now, policy),
            Command::Credential {
                realm,
                username,
                answer,
            } => {
                self.answer_lookup(now, (realm, username), answer);
            }
            Command::Userhash {
                realm,
                hash,
                answer,
            } => self.answer_userhash(now, (realm, hash), answer),
            Command::Place { claim, answer } => self.answer_place(now, claim, answer),
            Command::ForgetCredentials { realm, username } => {
                self.forget(realm.as_ref(), username.as_ref());
            }
            Command::SetUserLimits(limits) => self.set_user_limits(now, &limits),
            Command::Describe { session } => {
                if let Some(relay) = self.table.by_session(session) {
                    self.describe(relay);
                }
            }
            Command::Snapshot => {
                let sessions = self.snapshots();
                self.outputs
                    .push_back(Output::Event(Event::Snapshot(sessions)));
            }
        }
    }

    /// The session of a client.
    #[must_use]
    pub fn snapshot_of(&self, tuple: &FiveTuple) -> Option<SessionSnapshot> {
        let relay = self.table.relay_of(tuple)?;
        let allocation = self.table.get(relay)?;
        Some(allocation.snapshot(self.config.worker, &self.links))
    }

    /// All sessions as they are.
    #[must_use]
    pub fn snapshots(&self) -> Vec<SessionSnapshot> {
        let allocations = self.table.iter();
        let shot = allocations.map(|(_, a)| a.snapshot(self.config.worker, &self.links));
        shot.collect()
    }

    fn set_policy(&mut self, now: Now, policy: Arc<Policy>) {
        self.policy = policy;
        self.nonces.set_master(&self.policy.nonce_key);
        let lifetime = self.policy.settings.nonce_lifetime;
        self.nonces.set_lifetime(lifetime);
        let (mut sooner, mut without_peers) = (Vec::new(), Vec::new());
        for allocation in self.table.iter_mut() {
            allocation.adopt(&self.policy, now.mono);
            if allocation.forget_banned(&self.policy) {
                without_peers.push(allocation.first.relay);
            }
            if allocation.next_deadline() < allocation.scheduled {
                sooner.push(allocation.first.relay);
            }
        }
        for relay in sooner {
            self.reschedule(relay);
        }
        for relay in without_peers {
            self.describe(relay);
        }
        self.judge_links(now);
    }

    fn set_user_limits(&mut self, now: Now, limits: &HashMap<(Realm, Username), Option<u64>>) {
        for allocation in self.table.iter_mut() {
            let identity = &mut allocation.identity;
            if identity.credential_expiry.is_some() {
                continue;
            }
            let name = (identity.realm.name.clone(), identity.username.clone());
            if let Some(&limit) = limits.get(&name) {
                identity.max_rate_bps = limit;
                allocation.limit(&self.policy, now.mono);
            }
        }
    }

    /// Forgets one name, a realm, or everything.
    fn forget(&mut self, realm: Option<&Realm>, username: Option<&Username>) {
        let of_realm = |other: &Realm| realm.is_none_or(|realm| realm == other);
        self.credentials.forget(|(realm, name)| {
            of_realm(realm) && username.is_none_or(|username| username == name)
        });
        // Which name a hash belongs to never changes; that it had no user may.
        if username.is_none() {
            self.usernames.forget(|(realm, _)| of_realm(realm));
        }
    }

    fn answer_lookup(&mut self, now: Now, name: (Realm, Username), answer: CredentialAnswer) {
        let waiting = self
            .parking
            .take(&Wanted::Credential(name.0.clone(), name.1.clone()));
        let away = answer == CredentialAnswer::Unavailable;
        match answer {
            CredentialAnswer::Known(user) => {
                let user = Arc::new(KnownUser::new(name.1.clone(), &user));
                self.credentials.put(name, Some(user), now.mono);
            }
            CredentialAnswer::Unknown => self.credentials.put(name, None, now.mono),
            CredentialAnswer::Unavailable => {}
        }
        self.resume(now, waiting, away);
    }

    fn answer_userhash(&mut self, now: Now, asked: (Realm, Userhash), answer: UserhashAnswer) {
        let waiting = self
            .parking
            .take(&Wanted::Username(asked.0.clone(), asked.1));
        let away = answer == UserhashAnswer::Unavailable;
        match answer {
            UserhashAnswer::Known(name) => self.usernames.put(asked, Some(name), now.mono),
            UserhashAnswer::Unknown => self.usernames.put(asked, None, now.mono),
            UserhashAnswer::Unavailable => {}
        }
        self.resume(now, waiting, away);
    }

    /// Goes on with the request that waited for a place. It proves itself once more, so that the answer
    /// is signed.
    fn answer_place(&mut self, now: Now, claim: Box<PlaceClaim>, answer: PlaceAnswer) {
        let waiting = self.parking.take(&Wanted::Place(claim.tuple));
        self.place = Some((claim, answer));
        self.resume(now, waiting, false);
        if let Some((claim, PlaceAnswer::Granted)) = self.place.take() {
            self.quota.give_back(&claim.realm, &claim.user);
        }
    }

    /// Goes on with requests that waited for an answer, which `away` says nobody had.
    fn resume(&mut self, now: Now, waiting: Vec<Parked>, away: bool) {
        for parked in waiting {
            let tuple = &parked.tuple;
            if tuple.transport != Transport::Udp && !self.connections.contains_key(tuple) {
                // The client is gone, or with another worker.
                continue;
            }
            if away {
                self.give_up(now, &parked, RefusalReason::LookupUnavailable);
            } else if let Ok(message) = Message::parse(&parked.bytes) {
                self.request(now, parked.tuple, &message);
            }
        }
    }

    /// Answers a parked request whose user nobody could look up.
    pub(super) fn give_up(&mut self, now: Now, parked: &Parked, reason: RefusalReason) {
        let Ok(message) = Message::parse(&parked.bytes) else {
            return;
        };
        let mut exchange = self.exchange(parked.tuple, &message);
        exchange.genuine = true;
        let username = message.attribute(AttributeType::USERNAME);
        exchange.username = username.and_then(|name| std::str::from_utf8(name).ok()?.parse().ok());
        let realm = self.policy.realms.get(&exchange.realm);
        let needs_store = realm.is_some_and(|realm| realm.needs_store);
        let is_new = exchange.method == Method::Allocate;
        let reason = match reason {
            // A client that is told 508 tries another server.
            _ if is_new && needs_store && self.policy.store_away => RefusalReason::StoreAway,
            reason => reason,
        };
        self.refuse(now, &exchange, reason.into());
    }
}
