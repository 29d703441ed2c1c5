//! Whose USERHASH it is (RFC 8489 §14.4): from the config file at once, else from the store's index.

use std::sync::Arc;

use shared::{Realm, WorkerId};
use turn_proto::auth::credential::UserhashAnswer;
use turn_proto::auth::parking::Userhash;
use turn_proto::server::Command;

use super::hub::Hub;

/// Answers a worker's question. A worker asks once per hash.
pub(super) fn look_up(hub: &Arc<Hub>, worker: WorkerId, realm: Realm, hash: Userhash) {
    let config = hub.config();
    if !config.credentials.has_users() {
        return answer(hub, worker, realm, hash, UserhashAnswer::Unknown);
    }
    let configured = config.realms.iter().find(|one| one.name == realm);
    let name = configured.and_then(|realm| realm.userhashes.get(&hash));
    if let Some(name) = name.and_then(|name| name.parse().ok()) {
        return answer(hub, worker, realm, hash, UserhashAnswer::Known(name));
    }
    let Some(slot) = hub.credentials.hash_slot() else {
        return answer(hub, worker, realm, hash, UserhashAnswer::Unavailable);
    };
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        let found = hub.noted(hub.store.user_by_hash(&realm, &hash).await);
        drop(slot);
        let found = match found {
            Ok(name) => name
                .and_then(|name| name.parse().ok())
                .map_or(UserhashAnswer::Unknown, UserhashAnswer::Known),
            Err(error) => {
                tracing::debug!(%error, realm = %realm, "a USERHASH cannot be looked up");
                UserhashAnswer::Unavailable
            }
        };
        answer(&hub, worker, realm, hash, found);
    });
}

fn answer(hub: &Hub, worker: WorkerId, realm: Realm, hash: Userhash, answer: UserhashAnswer) {
    let command = Command::Userhash {
        realm,
        hash,
        answer,
    };
    // A worker whose queue is full times the parked request out by itself.
    let _ = hub.workers.send(worker, command);
}
