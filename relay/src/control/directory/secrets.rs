//! Which shared secrets are in use: counted as sessions begin and end, so that nobody has to look
//! for them among a million.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::Realm;
use turn_proto::server::SessionSnapshot;

/// Secrets of one realm that are remembered after their last session; the one used longest ago
/// makes room.
const MAX_UNUSED: usize = 64;

/// How much a secret is used on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretUse {
    /// Live sessions whose credential it signed.
    pub sessions: u64,
    /// When the last session with it began, in Unix milliseconds.
    pub last_used_at_ms: u64,
}

/// The secrets of all sessions, and those of sessions that ended.
#[derive(Debug, Default)]
pub(super) struct SecretsInUse(HashMap<Realm, HashMap<Arc<str>, SecretUse>>);

impl SecretsInUse {
    /// A session began, or goes on with another credential.
    pub(super) fn enter(&mut self, session: &SessionSnapshot) {
        let Some(id) = &session.secret_id else {
            return;
        };
        let of_realm = self.0.entry(session.realm.clone()).or_default();
        if !of_realm.contains_key(id) {
            make_room(of_realm);
        }
        let used = of_realm.entry(Arc::clone(id)).or_default();
        used.sessions += 1;
        let began = session.created_unix.saturating_mul(1000);
        used.last_used_at_ms = used.last_used_at_ms.max(began);
    }

    /// A session ended, or goes on with another credential.
    pub(super) fn leave(&mut self, realm: &Realm, id: Option<&str>) {
        let of_realm = self.0.get_mut(realm);
        let used = id.and_then(|id| of_realm?.get_mut(id));
        if let Some(used) = used {
            used.sessions = used.sessions.saturating_sub(1);
        }
    }

    /// Those of live sessions.
    pub(super) fn in_use(&self) -> impl Iterator<Item = (&Realm, &Arc<str>)> {
        let all = self.0.iter();
        all.flat_map(|(realm, ids)| {
            let live = ids.iter().filter(|(_, used)| used.sessions > 0);
            live.map(move |(id, _)| (realm, id))
        })
    }

    /// Those of a realm, ended sessions included.
    pub(super) fn of_realm(&self, realm: &Realm) -> BTreeMap<String, SecretUse> {
        let ids = self.0.get(realm).into_iter().flatten();
        ids.map(|(id, used)| (id.as_ref().to_owned(), *used))
            .collect()
    }
}

/// Forgets what was used longest ago when too many are remembered without a session.
fn make_room(ids: &mut HashMap<Arc<str>, SecretUse>) {
    let unused = |used: &SecretUse| used.sessions == 0;
    if ids.values().filter(|used| unused(used)).count() < MAX_UNUSED {
        return;
    }
    let unused = ids.iter().filter(|(_, used)| unused(used));
    let oldest = unused.min_by_key(|(_, used)| used.last_used_at_ms);
    if let Some(oldest) = oldest.map(|(id, _)| Arc::clone(id)) {
        ids.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::snapshot;
    use shared::SessionId;

    fn session(number: u64, secret: &str) -> SessionSnapshot {
        SessionSnapshot {
            secret_id: Some(secret.into()),
            created_unix: number,
            ..snapshot(SessionId(number), "alice", "acme")
        }
    }

    #[test]
    fn sessions_are_counted_and_the_last_use_is_remembered_without_end() {
        let (mut secrets, realm) = (SecretsInUse::default(), "acme".parse().unwrap());
        for number in [3, 7, 5] {
            secrets.enter(&session(number, "a"));
        }
        secrets.leave(&realm, Some("a"));
        secrets.leave(&realm, None);
        let of = |secrets: &SecretsInUse, id: &str| secrets.of_realm(&realm).get(id).copied();
        let used = SecretUse {
            sessions: 2,
            last_used_at_ms: 7000,
        };
        assert_eq!(of(&secrets, "a"), Some(used));
        for number in 0..1000 {
            let id = format!("s{number}");
            secrets.enter(&session(number, &id));
            secrets.leave(&realm, Some(&id));
        }
        assert_eq!(secrets.in_use().count(), 1);
        assert_eq!(secrets.of_realm(&realm).len(), MAX_UNUSED + 1);
        assert!(of(&secrets, "s0").is_none() && of(&secrets, "s999").is_some());
    }
}
