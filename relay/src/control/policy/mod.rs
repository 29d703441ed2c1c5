//! The policy that the workers judge by: where it comes from, and how it is kept current.

mod build;
mod sources;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::{StreamExt, TryStreamExt, stream};
use shared::api::{BlockView, EventKind, RealmDocument, Severity};
use shared::{IpRange, Realm};
use turn_proto::policy::{Drain, Policy, RealmPolicy, Redirect, RelayEndpoint};
use turn_proto::server::Command;

use super::bans::BannedNets;
use super::clock::Moment;
use super::credentials;
use super::hub::Hub;
use super::keys::ClusterKey;
use super::local;
use super::parts::ControlParts;
use crate::config::Config;
use crate::store::{Store, StoreError};

pub(super) use build::{RealmRules, RevokeRules};
pub(super) use sources::{RealmEntry, SecretEntry, Sources};

/// How often everything is compared, so that a lost message heals.
const COMPARE: Duration = Duration::from_secs(5);
/// How long changes are gathered before they are applied.
const GATHER: Duration = Duration::from_millis(10);
/// How long to wait before a worker that was too busy is told again.
const RETELL: Duration = Duration::from_millis(200);
/// Realms whose secrets are read at the same time.
const CONCURRENCY: usize = 16;
/// Blocks that wait at most for the store to come back.
const MAX_PENDING_BLOCKS: usize = 1000;

/// Keeps the sources of the policy and the policy itself.
#[derive(Debug)]
pub(super) struct PolicyKeeper {
    key: ClusterKey,
    own: build::Own,
    config: ArcSwap<Config>,
    current: ArcSwap<Policy>,
    /// What the workers were told last.
    applied: ArcSwap<Policy>,
    revoke: ArcSwap<RevokeRules>,
    was_read: AtomicBool,
    state: Mutex<State>,
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    sources: Sources,
    /// What the current policy was built from.
    built: Option<build::Inputs>,
    /// When the last reading of everything began; and that which the current policy rests on.
    read: Option<Instant>,
    rests_on: Option<Instant>,
    wanted: Wanted,
}

/// What is to be read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    everything: bool,
    realms: bool,
    blocks: bool,
    oauth_keys: bool,
    secrets: BTreeSet<Realm>,
    forgetting: bool,
}

impl PolicyKeeper {
    /// A keeper that knows the config file.
    #[must_use]
    pub(super) fn new(parts: &ControlParts) -> Self {
        let own = build::Own::new(parts);
        let sources = Sources::default();
        let inputs = build::Inputs::gather(&parts.config, &own, &sources, 0);
        let policy = build::policy(&inputs, &own, &parts.config, &parts.cluster_key, 1);
        let policy = Arc::new(policy);
        Self {
            key: parts.cluster_key.clone(),
            own,
            config: ArcSwap::new(Arc::clone(&parts.config)),
            current: ArcSwap::new(Arc::clone(&policy)),
            applied: ArcSwap::new(policy),
            revoke: ArcSwap::default(),
            was_read: AtomicBool::new(false),
            state: Mutex::new(State {
                sources,
                built: None,
                read: None,
                rests_on: None,
                wanted: Wanted::default(),
            }),
            refreshing: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force.
    #[must_use]
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Replaces the configuration after a reload.
    pub(super) fn set_config(&self, config: Arc<Config>) {
        self.config.store(config);
    }

    /// The policy in force.
    #[must_use]
    pub(super) fn current(&self) -> Arc<Policy> {
        self.current.load_full()
    }

    /// The revision of a realm that the workers were told last; 0: none.
    #[must_use]
    pub(super) fn applied_revision(&self, name: &Realm) -> u64 {
        let applied = self.applied.load();
        applied.realms.get(name).map_or(0, |realm| realm.revision)
    }

    /// The revisions of all realms that the workers were told last.
    #[must_use]
    pub(super) fn applied_revisions(&self) -> BTreeMap<String, u64> {
        let applied = self.applied.load();
        let realms = applied.realms.values();
        realms
            .map(|realm| (realm.name.as_str().to_owned(), realm.revision))
            .collect()
    }

    /// A realm as the workers would see it with this document. It has no secrets.
    #[must_use]
    pub(super) fn realm_under(&self, name: &Realm, document: &RealmDocument) -> RealmPolicy {
        let entry = RealmEntry {
            name: name.clone(),
            revision: 0,
            changed_at_ms: 0,
            changed_by: String::new(),
            document: document.clone(),
            secrets: Vec::new(),
        };
        build::realm_policy(&entry, &self.key)
    }

    /// The public name of a secret.
    #[must_use]
    pub(super) fn secret_id(&self, realm: &Realm, value: &str) -> String {
        self.key.secret_id(realm, value)
    }

    /// Which key a user has: see [`ClusterKey::key_id`].
    #[must_use]
    pub(super) fn key_id(&self, key: &[u8; 16]) -> u32 {
        self.key.key_id(key)
    }

    /// What ends sessions in each realm that says so, as of the policy in force.
    #[must_use]
    pub(super) fn revoke_rules(&self) -> Arc<RevokeRules> {
        self.revoke.load_full()
    }

    /// Whether the store was read as a whole since the start: what is not known then is not there.
    #[must_use]
    pub(super) fn was_read(&self) -> bool {
        self.was_read.load(Ordering::Acquire)
    }

    /// When the reading of the whole store began that the policy in force rests on.
    #[must_use]
    pub(super) fn rests_on(&self) -> Option<Instant> {
        self.state().rests_on
    }

    /// Looks into the sources.
    pub(super) fn sources<T>(&self, look: impl FnOnce(&Sources) -> T) -> T {
        look(&self.state().sources)
    }

    /// All realms, of the store and the config file.
    #[must_use]
    pub(super) fn realms(&self) -> Vec<RealmEntry> {
        let config = self.config();
        self.sources(|sources| sources.realms(&config))
    }

    /// One realm.
    #[must_use]
    pub(super) fn realm(&self, name: &Realm) -> Option<RealmEntry> {
        self.realms().into_iter().find(|realm| realm.name == *name)
    }

    /// Everything is to be read again.
    pub(super) fn want_everything(&self) {
        self.state().wanted.everything = true;
    }

    /// Realm documents are to be read again.
    pub(super) fn want_realms(&self) {
        self.state().wanted.realms = true;
    }

    /// Blocks are to be read again.
    pub(super) fn want_blocks(&self) {
        self.state().wanted.blocks = true;
    }

    /// The keys of third-party authorization are to be read again.
    pub(super) fn want_oauth_keys(&self) {
        self.state().wanted.oauth_keys = true;
    }

    /// The secrets of a realm are to be read again.
    pub(super) fn want_secrets(&self, realm: Realm) {
        self.state().wanted.secrets.insert(realm);
    }

    /// The workers are to forget all keys: one of them was too busy to hear which.
    pub(super) fn want_forgetting(&self) {
        self.state().wanted.forgetting = true;
    }

    /// A block that counts as soon as the policy is refreshed, before the store has it; `false`
    /// when too many wait for the store already.
    pub(super) fn block_locally(&self, block: BlockView) -> bool {
        let mut state = self.state();
        let blocks = &mut state.sources.pending_blocks;
        blocks.retain(|known| (&known.realm, &known.user) != (&block.realm, &block.user));
        let room = blocks.len() < MAX_PENDING_BLOCKS;
        if room {
            blocks.push(block);
        }
        room
    }

    /// Forgets a local block: the store has it, or it was taken back.
    pub(super) fn unblock_locally(&self, realm: &Realm, user: &str) -> bool {
        let mut state = self.state();
        let before = state.sources.pending_blocks.len();
        state
            .sources
            .pending_blocks
            .retain(|b| (&b.realm, b.user.as_str()) != (realm, user));
        before != state.sources.pending_blocks.len()
    }

    /// The blocks that the store has not yet.
    #[must_use]
    pub(super) fn waiting_blocks(&self) -> Vec<BlockView> {
        self.state().sources.pending_blocks.clone()
    }

    /// The realms that have a document in the store.
    fn stored_documents(&self) -> Vec<Realm> {
        let names = |sources: &Sources| {
            let stored = sources.realms.values().filter(|realm| realm.revision > 0);
            stored.map(|realm| realm.name.clone()).collect()
        };
        self.sources(names)
    }

    /// The relay endpoints and listeners of the other nodes; `true` when they changed.
    pub(super) fn set_others(
        &self,
        relays: Vec<RelayEndpoint>,
        listeners: Vec<SocketAddr>,
    ) -> bool {
        let mut state = self.state();
        let changed = state.sources.relays != relays || state.sources.other_listeners != listeners;
        state.sources.relays = relays;
        state.sources.other_listeners = listeners;
        changed
    }

    /// Where the servers of the store are; `true` when that changed.
    pub(super) fn set_store_servers(&self, servers: Vec<SocketAddr>) -> bool {
        let mut state = self.state();
        let changed = state.sources.store_servers != servers;
        state.sources.store_servers = servers;
        changed
    }

    /// Where new allocations are sent; `true` when that changed.
    pub(super) fn set_redirects(&self, redirects: Vec<Redirect>) -> bool {
        let mut state = self.state();
        let changed = state.sources.redirects != redirects;
        state.sources.redirects = redirects;
        changed
    }

    /// The networks that are banned; `true` when they changed.
    pub(super) fn set_bans(&self, bans: BannedNets) -> bool {
        let mut state = self.state();
        let changed = state.sources.bans != bans;
        state.sources.bans = bans;
        changed
    }

    /// The networks whose clients are banned.
    #[must_use]
    pub(super) fn banned_clients(&self) -> Vec<IpRange> {
        self.state().sources.bans.clients.clone()
    }

    /// Notes whether the store answers; `true` when that changed.
    pub(super) fn set_store_away(&self, away: bool) -> bool {
        std::mem::replace(&mut self.state().sources.store_away, away) != away
    }

    /// Takes no new allocations from here on.
    pub(super) fn refuse_allocations(&self) {
        self.state().sources.refusing = true;
    }

    /// Begins, changes or ends the drain of the node with the next policy.
    pub(super) fn set_drain(&self, drain: Option<Drain>) {
        self.state().sources.drain = drain;
    }

    /// Reads everything.
    ///
    /// # Errors
    /// What the store said; what was known is kept then.
    pub(super) async fn read_store(&self, store: &dyn Store) -> Result<(), StoreError> {
        let everything = Wanted {
            everything: true,
            ..Wanted::default()
        };
        self.read_again(store, everything).await
    }

    /// Takes what is to be read again; `None`: nothing is.
    fn take_wanted(&self) -> Option<Wanted> {
        let mut state = self.state();
        let forgetting = std::mem::take(&mut state.wanted.forgetting);
        let wanted = std::mem::take(&mut state.wanted);
        state.wanted.forgetting = forgetting;
        (wanted != Wanted::default()).then_some(wanted)
    }

    /// Reads what is wanted. On an error it stays wanted.
    async fn read_again(&self, store: &dyn Store, wanted: Wanted) -> Result<(), StoreError> {
        let result = self.read(store, &wanted).await;
        if result.is_err() {
            let mut state = self.state();
            state.wanted.everything |= wanted.everything;
            state.wanted.realms |= wanted.realms;
            state.wanted.blocks |= wanted.blocks;
            state.wanted.oauth_keys |= wanted.oauth_keys;
            state.wanted.secrets.extend(wanted.secrets);
        }
        result
    }

    async fn read(&self, store: &dyn Store, wanted: &Wanted) -> Result<(), StoreError> {
        let begun = Instant::now();
        let mut names = wanted.secrets.clone();
        if wanted.everything || wanted.realms {
            let realms = store.realms().await?;
            let mut state = self.state();
            let before = &state.sources.realms;
            let new = realms
                .iter()
                .filter(|realm| !before.contains_key(&realm.name));
            names.extend(new.map(|realm| realm.name.clone()));
            state.sources.realms = realms
                .into_iter()
                .map(|realm| (realm.name.clone(), realm))
                .collect();
            if wanted.everything {
                names.extend(state.sources.realms.keys().cloned());
                names.extend(self.config().realms.iter().map(|realm| realm.name.clone()));
            }
        }
        if wanted.everything || wanted.blocks {
            let blocks = store.blocks().await?;
            self.state().sources.blocks = blocks;
        }
        if wanted.everything || wanted.oauth_keys {
            match store.oauth_keys().await {
                Ok(keys) => self.state().sources.oauth_keys = keys,
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => tracing::warn!(%error, "the OAuth keys stay as they were"),
            }
        }
        let secrets: Vec<_> = stream::iter(names)
            .map(|realm| async move {
                match store.secrets(&realm).await {
                    Err(error) if error.may_pass() => Err(error),
                    // One unreadable record does not hold up all other realms.
                    Err(error) => {
                        tracing::warn!(%realm, %error, "the secrets of a realm stay as they were");
                        Ok(None)
                    }
                    Ok(secrets) => Ok(Some((realm, secrets))),
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        let mut state = self.state();
        for (realm, secrets) in secrets.into_iter().flatten() {
            if secrets.is_empty() {
                state.sources.secrets.remove(&realm);
            } else {
                state.sources.secrets.insert(realm, secrets);
            }
        }
        if wanted.everything {
            state.read = Some(begun);
            self.was_read.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Builds the policy anew if anything in it changed; `true` when it did.
    pub(super) fn rebuild(&self) -> bool {
        let config = self.config();
        let now = Moment::now().unix_ms;
        let mut state = self.state();
        let inputs = build::Inputs::gather(&config, &self.own, &state.sources, now);
        if state.built.as_ref() == Some(&inputs) {
            state.rests_on = state.read;
            return false;
        }
        let revision = self.current.load().revision + 1;
        let policy = build::policy(&inputs, &self.own, &config, &self.key, revision);
        self.current.store(Arc::new(policy));
        self.revoke.store(Arc::new(inputs.revoke_rules()));
        state.built = Some(inputs);
        state.rests_on = state.read;
        true
    }
}

/// Keeps the policy current until the node stops.
pub(super) async fn keep_current(hub: Arc<Hub>) {
    let mut compare = tokio::time::interval(COMPARE);
    compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = true;
    loop {
        let again = if told { COMPARE } else { RETELL };
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            _ = compare.tick() => hub.keeper.want_everything(),
            () = hub.policy_stale.notified() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(again) => {}
        }
        told = refresh(&hub).await;
    }
}

/// Reads what is wanted, and tells the workers if the policy changed; `false` when one was too busy
/// to hear it and is to be told again.
pub(super) async fn refresh(hub: &Hub) -> bool {
    // One at a time: an older reading never overwrites a newer one.
    let _turn = hub.keeper.refreshing.lock().await;
    // Before anything is read: a store that is away may take its time to say so.
    if hub.keeper.set_store_away(hub.health.is_lost()) {
        hub.keeper.rebuild();
        tell(hub);
    }
    if let Some(wanted) = hub.keeper.take_wanted() {
        let before = hub.keeper.stored_documents();
        let read = hub.keeper.read_again(&*hub.store, wanted).await;
        if let Err(error) = hub.noted(read) {
            tracing::debug!(%error, "realms, secrets and blocks stay as they were");
        }
        if hub.keeper.stored_documents().is_empty() {
            tell_if_emptied(hub, &before).await;
        }
    }
    flush_blocks(hub).await;
    local::keep(hub);
    if hub.keeper.rebuild() {
        hub.revocation.look();
    }
    tell(hub)
}

/// Says that the documents of all realms are gone with the store that had them. One that somebody
/// deleted leaves its revisions.
async fn tell_if_emptied(hub: &Hub, before: &[Realm]) {
    let Some(any) = before.first() else { return };
    let revisions = hub.noted(hub.store.realm_revisions(any).await);
    if !revisions.is_ok_and(|revisions| revisions.is_empty()) {
        return;
    }
    let documents = before.len();
    tracing::warn!(
        documents,
        "the store was emptied or replaced, and has no realm any more: bring it back from a backup, or \
         the realms with `relayctl realm apply -f`"
    );
    let text = format!(
        "the store was emptied or replaced: {documents} realms are as the config file says, or gone"
    );
    hub.event(EventKind::StoreChanged, Severity::Crit, text);
}

/// Reads everything, and tells the workers; `false` when the store did not answer, or one was too
/// busy.
pub(super) async fn read_all(hub: &Hub) -> bool {
    let _turn = hub.keeper.refreshing.lock().await;
    let read = hub.keeper.read_store(&*hub.store).await;
    if hub.noted(read).is_err() {
        return false;
    }
    hub.keeper.rebuild();
    tell(hub)
}

/// Gives the workers the policy in force unless they have it, and lets them forget keys if that
/// is wanted; `false` when one was too busy.
fn tell(hub: &Hub) -> bool {
    if std::mem::take(&mut hub.keeper.state().wanted.forgetting) && !credentials::forget_all(hub) {
        hub.keeper.want_forgetting();
        return false;
    }
    let policy = hub.keeper.current();
    if hub.keeper.state().sources.told == policy.revision {
        return true;
    }
    if !hub
        .workers
        .broadcast(&|| Command::SetPolicy(Arc::clone(&policy)))
    {
        return false;
    }
    hub.keeper.state().sources.told = policy.revision;
    let before = hub.keeper.applied_revisions();
    hub.keeper.applied.store(policy);
    if before != hub.keeper.applied_revisions() {
        // The other nodes see at once which of them are behind.
        hub.cluster.beat_soon.notify_one();
    }
    true
}

/// Writes blocks that the store has not yet, and forgets those that have ended meanwhile.
async fn flush_blocks(hub: &Hub) {
    let now = Moment::now().unix_ms;
    let pending = {
        let mut state = hub.keeper.state();
        let pending = &mut state.sources.pending_blocks;
        pending.retain(|block| block.until_ms > now);
        pending.clone()
    };
    for block in pending {
        if let Err(error) = hub.noted(hub.store.put_block(&block).await) {
            tracing::debug!(%error, "a block holds on this node only");
            return;
        }
        hub.keeper.state().sources.blocks.push(block.clone());
        hub.keeper.unblock_locally(&block.realm, &block.user);
    }
}
