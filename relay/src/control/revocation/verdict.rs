//! What became of users and secrets, and which sessions that ends.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use shared::Realm;
use turn_proto::server::Revocation as Why;

use crate::control::directory::Row;

/// What became of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserVerdict {
    /// The store has no such user.
    Gone,
    /// Switched off.
    Disabled,
    /// There, with this key: sessions of another key end.
    Has { key_id: u32 },
}

/// Users and secrets that somebody judged.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdicts {
    users: HashMap<Realm, HashMap<Box<str>, UserVerdict>>,
    secrets: HashMap<Realm, HashSet<Arc<str>>>,
}

impl Verdicts {
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.secrets.is_empty()
    }

    pub(super) fn add_user(&mut self, realm: &Realm, name: &str, verdict: UserVerdict) {
        let users = self.users.entry(realm.clone()).or_default();
        users.insert(name.into(), verdict);
    }

    pub(super) fn add_secret(&mut self, realm: &Realm, id: &Arc<str>) {
        let secrets = self.secrets.entry(realm.clone()).or_default();
        secrets.insert(Arc::clone(id));
    }

    /// Both together; what is judged twice is as the later ones say.
    pub(super) fn and(mut self, later: &Self) -> Self {
        for (realm, users) in &later.users {
            let known = self.users.entry(realm.clone()).or_default();
            known.extend(users.iter().map(|(name, verdict)| (name.clone(), *verdict)));
        }
        for (realm, secrets) in &later.secrets {
            let known = self.secrets.entry(realm.clone()).or_default();
            known.extend(secrets.iter().cloned());
        }
        self
    }

    /// Whether the credential of a session is worth nothing any more, why, and whose it is.
    pub(super) fn of(&self, row: &Row<'_>) -> Option<(Why, Arc<str>)> {
        let kept = row.kept();
        if let Some(id) = kept.secret_id() {
            let id = self.secrets.get(row.realm())?.get(id)?;
            return Some((Why::SecretRetired, Arc::clone(id)));
        }
        if kept.key_id == 0 {
            return None;
        }
        let why = match self.on_user(row.realm(), row.user())? {
            UserVerdict::Gone => Why::UserRemoved,
            UserVerdict::Disabled => Why::UserDisabled,
            UserVerdict::Has { key_id } if key_id != kept.key_id => Why::PasswordChanged,
            UserVerdict::Has { .. } => return None,
        };
        Some((why, Arc::clone(row.user())))
    }

    /// What became of a user.
    pub(super) fn on_user(&self, realm: &Realm, name: &str) -> Option<UserVerdict> {
        self.users.get(realm)?.get(name).copied()
    }

    /// Whether a secret is accepted no more.
    pub(super) fn on_secret(&self, realm: &Realm, id: &str) -> bool {
        let secrets = self.secrets.get(realm);
        secrets.is_some_and(|secrets| secrets.contains(id))
    }

    /// Keeps of users that are gone, and of secrets, those that are to be believed.
    pub(super) fn retain(
        &mut self,
        user: impl Fn(&Realm, &str) -> bool,
        secret: impl Fn(&Realm, &str) -> bool,
    ) {
        for (realm, users) in &mut self.users {
            users.retain(|name, verdict| *verdict != UserVerdict::Gone || user(realm, name));
        }
        for (realm, secrets) in &mut self.secrets {
            secrets.retain(|id| secret(realm, id));
        }
        self.users.retain(|_, users| !users.is_empty());
        self.secrets.retain(|_, secrets| !secrets.is_empty());
    }

    /// Forgets who is gone, since nobody knows whether they were ever there, and answers the users:
    /// they are to be read again later.
    pub(super) fn take_absent(&mut self) -> Vec<(Realm, String)> {
        let mut absent = Vec::new();
        for (realm, users) in &self.users {
            let gone = users
                .iter()
                .filter(|(_, verdict)| **verdict == UserVerdict::Gone);
            absent.extend(gone.map(|(name, _)| (realm.clone(), name.to_string())));
        }
        self.retain(|_, _| false, |_, _| false);
        absent
    }
}
