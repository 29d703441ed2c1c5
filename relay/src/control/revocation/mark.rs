//! Whether an absence in the store means anything.
//!
//! A store that was emptied, or another one in its place, knows nobody, and that is no revocation.
//! So a gateway leaves a mark in it, a random word that is written once. As long as the mark is the
//! one that was there before, who is not there was removed. When it is another one, whoever has
//! sessions at that moment is unknown rather than removed, until the store has had them again.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use serde_json::{Value, json};
use shared::Realm;

use super::verdict::Verdicts;
use crate::control::hub::Hub;
use crate::control::keys;
use crate::store::StoreError;
use crate::store::document::MARK;

/// What is remembered of the store.
#[derive(Debug, Default)]
pub(super) struct Mark {
    known: Option<String>,
    /// When that changed last: what was read before says nothing about the store of now.
    changed: Option<Instant>,
    /// Who had sessions when the mark changed, and was not seen since.
    users: HashMap<Realm, HashSet<Box<str>>>,
    secrets: HashMap<Realm, HashSet<Box<str>>>,
}

/// What an absence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// What is not there was removed, unless the mark knows better.
    Good,
    /// Nothing: the store does not answer, or has no mark yet.
    None,
}

impl Mark {
    /// The store had this user, in a reading that began then.
    pub(super) fn saw_user(&mut self, realm: &Realm, name: &str, read: Instant) {
        if self.is_of_now(read) {
            saw(&mut self.users, realm, name);
        }
    }

    /// The store had this secret, in a reading that began then, or the config file has it.
    pub(super) fn saw_secret(&mut self, realm: &Realm, id: &str, read: Instant) {
        if self.is_of_now(read) {
            saw(&mut self.secrets, realm, id);
        }
    }

    fn is_of_now(&self, read: Instant) -> bool {
        self.changed.is_none_or(|changed| read > changed)
    }

    /// Leaves out who is gone together with the store that knew them.
    pub(super) fn believe(&self, mut verdicts: Verdicts) -> Verdicts {
        verdicts.retain(
            |realm, name| !has(&self.users, realm, name),
            |realm, id| !has(&self.secrets, realm, id),
        );
        verdicts
    }

    /// The store's mark as it is now; `true` when it is another one than before.
    fn note(&mut self, mark: &str) -> bool {
        let other = self.known.as_deref().is_some_and(|known| known != mark);
        self.known = Some(mark.to_owned());
        if other {
            self.changed = Some(Instant::now());
        }
        other
    }

    fn forgive(&mut self, hub: &Hub) {
        for (realm, name) in hub.quota.users() {
            let names = self.users.entry(realm).or_default();
            names.insert(name.into_boxed_str());
        }
        for (realm, id) in hub.books().secrets_in_use() {
            let ids = self.secrets.entry(realm.clone()).or_default();
            ids.insert(Box::from(&**id));
        }
    }
}

fn saw(unseen: &mut HashMap<Realm, HashSet<Box<str>>>, realm: &Realm, name: &str) {
    if let Some(names) = unseen.get_mut(realm) {
        names.remove(name);
        if names.is_empty() {
            unseen.remove(realm);
        }
    }
}

fn has(unseen: &HashMap<Realm, HashSet<Box<str>>>, realm: &Realm, name: &str) -> bool {
    unseen.get(realm).is_some_and(|names| names.contains(name))
}

/// Looks at the store's mark, after what is to be believed was read.
pub(super) async fn look(hub: &Hub) -> Evidence {
    if hub.keeper.revoke_rules().is_empty() && hub.revocation.mark().known.is_some() {
        // Nobody asks; should somebody, the next look tells.
        return Evidence::None;
    }
    read_now(hub).await
}

/// The same, whether or not any realm ends sessions so far.
pub(super) async fn read_now(hub: &Hub) -> Evidence {
    let mark = match read(hub).await {
        Ok(mark) => mark,
        Err(error) => {
            tracing::debug!(%error, "whether users and secrets were removed cannot be told");
            return Evidence::None;
        }
    };
    let Some(word) = mark else {
        // An emptied store: it will have another mark, written by a gateway.
        return Evidence::None;
    };
    let mut mark = hub.revocation.mark();
    if mark.note(&word) {
        tracing::warn!(
            "the store was emptied or replaced: sessions of users and secrets that it does not have go on"
        );
        mark.forgive(hub);
    }
    Evidence::Good
}

/// The mark, written if there is none and this node may.
async fn read(hub: &Hub) -> Result<Option<String>, StoreError> {
    let Some(word) = read_document(hub).await? else {
        return Ok(None);
    };
    let servers = hub.store.marks(hub.config().is_gateway()).await;
    Ok(hub.noted(servers)?.map(|marks| word + &marks))
}

async fn read_document(hub: &Hub) -> Result<Option<String>, StoreError> {
    for _ in 0..2 {
        if let Some(document) = hub.noted(hub.store.document(MARK).await)? {
            let word = document.body.get("mark").and_then(Value::as_str);
            return Ok(word.map(str::to_owned));
        }
        if !hub.config().is_gateway() {
            return Ok(None);
        }
        let body = json!({ "mark": keys::hex(&keys::random::<16>()) });
        match hub.store.put_document(MARK, &body, 0, "relayd").await {
            // Another gateway was faster.
            Ok(_) | Err(StoreError::RevisionConflict { .. }) => {}
            Err(error) => return hub.noted(Err(error)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::verdict::UserVerdict;
    use super::*;

    fn acme() -> Realm {
        "acme".parse().unwrap()
    }

    fn gone(name: &str) -> Verdicts {
        let mut verdicts = Verdicts::default();
        verdicts.add_user(&acme(), name, UserVerdict::Gone);
        verdicts.add_secret(&acme(), &"s1".into());
        verdicts
    }

    #[test]
    fn the_first_mark_is_no_other_one_and_the_next_is() {
        let mut mark = Mark::default();
        assert!(!mark.note("a") && !mark.note("a"));
        assert!(mark.note("b") && !mark.note("b"));
    }

    #[test]
    fn who_vanished_with_the_store_is_believed_gone_only_after_being_seen_again() {
        let mut mark = Mark::default();
        let names = |name: &str| HashMap::from([(acme(), HashSet::from([Box::from(name)]))]);
        (mark.users, mark.secrets) = (names("alice"), names("s1"));
        assert!(mark.believe(gone("alice")).is_empty());
        assert!(!mark.believe(gone("bob")).is_empty());
        let before = Instant::now();
        assert!(!mark.note("a") && mark.note("b"));
        mark.saw_user(&acme(), "alice", before);
        assert!(mark.believe(gone("alice")).is_empty(), "read before");
        mark.saw_user(&acme(), "alice", Instant::now());
        assert!(!mark.believe(gone("alice")).is_empty());
        mark.saw_secret(&acme(), "s1", Instant::now());
        assert!(mark.users.is_empty() && mark.secrets.is_empty());
    }

    #[test]
    fn what_the_store_says_positively_needs_no_mark() {
        let mark = Mark {
            users: HashMap::from([(acme(), HashSet::from([Box::from("alice")]))]),
            ..Mark::default()
        };
        for verdict in [UserVerdict::Disabled, UserVerdict::Has { key_id: 7 }] {
            let mut verdicts = Verdicts::default();
            verdicts.add_user(&acme(), "alice", verdict);
            let mut kept = mark.believe(verdicts);
            assert!(!kept.is_empty());
            assert!(kept.take_absent().is_empty() && !kept.is_empty());
        }
    }
}
