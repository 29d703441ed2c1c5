//! What the control plane orders.

use std::sync::Arc;

use shared::{Realm, Username};

use super::{Command, Event, Output, RefusalReason, Server};
use crate::auth::credential::CredentialAnswer;
use crate::auth::parking::Parked;
use crate::policy::Policy;
use crate::stun::{AttributeType, Message};
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
                self.answer_lookup(now, (realm, username), &answer);
            }
            Command::ForgetCredentials { realm, username } => {
                self.credentials.forget(realm.as_ref(), username.as_ref());
            }
            Command::Describe { session } => {
                if let Some(relay) = self.table.by_session(session) {
                    self.describe(relay);
                }
            }
            Command::Snapshot => {
                let shot = |(_, allocation): (_, &crate::allocation::Allocation)| {
                    allocation.snapshot(self.config.worker, &self.links)
                };
                let sessions = self.table.iter().map(shot).collect();
                self.outputs
                    .push_back(Output::Event(Event::Snapshot(sessions)));
            }
        }
    }

    fn set_policy(&mut self, now: Now, policy: Arc<Policy>) {
        self.policy = policy;
        self.nonces.set_master(&self.policy.nonce_key);
        let lifetime = self.policy.settings.nonce_lifetime;
        self.nonces.set_lifetime(lifetime);
        for allocation in self.table.iter_mut() {
            allocation.adopt(&self.policy, now.mono);
        }
        self.judge_links(now);
    }

    fn answer_lookup(&mut self, now: Now, name: (Realm, Username), answer: &CredentialAnswer) {
        let waiting = self.parking.take(&name);
        self.credentials.put(name, answer, now.mono);
        for parked in waiting {
            if *answer == CredentialAnswer::Unavailable {
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
        self.refuse(now, &exchange, reason.into());
    }
}
