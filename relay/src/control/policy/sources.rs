//! What the policy is made of, as last read.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use shared::api::{BlockView, RealmDocument, SecretState};
use shared::{Realm, Secret};
use turn_proto::policy::{Drain, Redirect, RelayEndpoint};

use crate::config::Config;
use crate::control::bans::BannedNets;
use crate::store::{StoredOauthKey, StoredRealm, StoredSecret};

/// What was read from the store and heard from other nodes.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Realm documents.
    pub realms: BTreeMap<Realm, StoredRealm>,
    /// Shared secrets.
    pub secrets: BTreeMap<Realm, Vec<StoredSecret>>,
    /// Keys of third-party authorization.
    pub oauth_keys: Vec<StoredOauthKey>,
    /// Blocks of the store.
    pub blocks: Vec<BlockView>,
    /// Blocks that the store has not yet.
    pub pending_blocks: Vec<BlockView>,
    /// Banned networks.
    pub bans: BannedNets,
    /// Where the other nodes relay.
    pub relays: Vec<RelayEndpoint>,
    /// Where the other nodes listen.
    pub other_listeners: Vec<SocketAddr>,
    /// Where the servers of the store are.
    pub store_servers: Vec<SocketAddr>,
    /// Where new allocations are sent.
    pub redirects: Vec<Redirect>,
    /// The store does not answer.
    pub store_away: bool,
    /// No new allocations are taken.
    pub refusing: bool,
    /// The node is drained.
    pub drain: Option<Drain>,
    /// The revision that the workers have.
    pub told: u64,
}

/// A realm, wherever it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RealmEntry {
    /// The name.
    pub name: Realm,
    /// The revision in the store; 0: of the config file, or other tools' options only.
    pub revision: u64,
    /// When it changed last; 0: never.
    pub changed_at_ms: u64,
    /// By whom.
    pub changed_by: String,
    /// The settings in force.
    pub document: RealmDocument,
    /// Its secrets: of the store first, then of the config file.
    pub secrets: Vec<SecretEntry>,
}

/// A secret, wherever it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretEntry {
    /// The value.
    pub value: Secret<String>,
    /// For operators.
    pub label: String,
    /// When it was added; 0 where that is not known.
    pub created_at_ms: u64,
    /// Where it is in its life; one of the config file is active.
    pub state: SecretState,
    /// Whether it stands in the config file and not in the store.
    pub configured: bool,
}

impl Sources {
    /// All realms, in the order of their names. A stored document wins over the config file;
    /// without one (only users, secrets or options of other tools) the file wins.
    #[must_use]
    pub(crate) fn realms(&self, config: &Config) -> Vec<RealmEntry> {
        let mut realms: BTreeMap<Realm, RealmEntry> = BTreeMap::new();
        for realm in &config.realms {
            let entry = RealmEntry {
                name: realm.name.clone(),
                revision: 0,
                changed_at_ms: 0,
                changed_by: "config file".to_owned(),
                document: realm.document.clone(),
                secrets: Vec::new(),
            };
            realms.insert(realm.name.clone(), entry);
        }
        for stored in self.realms.values() {
            if stored.revision == 0 && realms.contains_key(&stored.name) {
                continue;
            }
            let entry = RealmEntry {
                name: stored.name.clone(),
                revision: stored.revision,
                changed_at_ms: stored.changed_at_ms,
                changed_by: stored.changed_by.clone(),
                document: stored.document.clone(),
                secrets: Vec::new(),
            };
            realms.insert(stored.name.clone(), entry);
        }
        for entry in realms.values_mut() {
            entry.secrets = self.secrets_of(config, &entry.name);
        }
        realms.into_values().collect()
    }

    /// The secrets of a realm, the newest first.
    fn secrets_of(&self, config: &Config, realm: &Realm) -> Vec<SecretEntry> {
        let stored = self.secrets.get(realm).into_iter().flatten();
        let mut secrets: Vec<_> = stored
            .map(|secret| SecretEntry {
                value: secret.value.clone(),
                label: secret.label.clone(),
                created_at_ms: secret.created_at_ms,
                state: secret.state,
                configured: false,
            })
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.created_at_ms));
        let of_file = config
            .realms
            .iter()
            .filter(|of_file| of_file.name == *realm);
        for value in of_file.flat_map(|of_file| &of_file.secrets) {
            if secrets.iter().all(|known| known.value != *value) {
                secrets.push(SecretEntry {
                    value: value.clone(),
                    label: "config file".to_owned(),
                    created_at_ms: 0,
                    state: SecretState::Active,
                    configured: true,
                });
            }
        }
        secrets
    }

    /// All blocks that have not ended, those that the store has not yet included.
    #[must_use]
    pub(crate) fn blocks(&self, now_ms: u64) -> Vec<BlockView> {
        let mut blocks = BTreeMap::new();
        for block in self.blocks.iter().chain(&self.pending_blocks) {
            if block.until_ms > now_ms {
                blocks.insert((block.realm.clone(), block.user.clone()), block.clone());
            }
        }
        blocks.into_values().collect()
    }

    /// Until when a user is blocked.
    #[must_use]
    pub(crate) fn blocked_until(&self, realm: &Realm, user: &str, now_ms: u64) -> Option<u64> {
        let of_user = |block: &&BlockView| block.realm == *realm && block.user == user;
        let blocks = self.pending_blocks.iter().chain(&self.blocks);
        blocks
            .filter(of_user)
            .map(|block| block.until_ms)
            .find(|until| *until > now_ms)
    }
}
