//! Bearer tokens: verified from memory, kept on disk so that a dead store locks nobody out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use shared::Secret;
use tokio::sync::Notify;

use super::clock::Moment;
use super::hub::Hub;
use super::{files, keys};
use crate::store::{StoreError, StoredToken};

/// How often the store's tokens are compared, so that a lost message heals.
const COMPARE: Duration = Duration::from_secs(10);
/// What every token begins with.
const PREFIX: &str = "rct_";
/// Tokens that are kept at most.
pub(super) const MAX_TOKENS: usize = 10_000;

/// The tokens as last read.
#[derive(Debug)]
pub(super) struct Tokens {
    file: PathBuf,
    known: ArcSwap<Vec<StoredToken>>,
    used: Mutex<HashMap<String, u64>>,
    /// Wakes the task that reads them again.
    pub stale: Notify,
    refreshing: tokio::sync::Mutex<()>,
}

impl Tokens {
    /// Tokens that are cached in `file`.
    #[must_use]
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            known: ArcSwap::default(),
            used: Mutex::default(),
            stale: Notify::new(),
            refreshing: tokio::sync::Mutex::default(),
        }
    }

    /// Reads the cache of an earlier run.
    pub(super) fn load(&self) {
        if let Some(tokens) = files::read_json(&self.file) {
            self.known.store(Arc::new(tokens));
        }
    }

    /// Takes the store's tokens over, and caches them on disk if they changed.
    fn replace(&self, mut tokens: Vec<StoredToken>) {
        tokens.truncate(MAX_TOKENS);
        tokens.sort_by(|a, b| a.view.id.cmp(&b.view.id));
        if **self.known.load() == tokens {
            return;
        }
        self.used()
            .retain(|id, _| tokens.iter().any(|token| token.view.id == *id));
        if let Err(error) = files::write_private(&self.file, &tokens) {
            tracing::warn!(%error, "the token cache cannot be written");
        }
        self.known.store(Arc::new(tokens));
    }

    /// All tokens, with the last use that this node saw.
    #[must_use]
    pub(super) fn all(&self) -> Vec<StoredToken> {
        let mut tokens = (**self.known.load()).clone();
        let used = self.used();
        for token in &mut tokens {
            let seen = used.get(&token.view.id).copied();
            token.view.last_used_at_ms = token.view.last_used_at_ms.max(seen);
        }
        tokens
    }

    /// The token that `bearer` is, if it is one and has not ended. The secret part is compared in
    /// constant time.
    #[must_use]
    pub(super) fn verify(&self, bearer: &str, now: Moment) -> Option<StoredToken> {
        let (id, secret) = bearer.strip_prefix(PREFIX)?.split_once('_')?;
        let hash = keys::sha256_hex(secret.as_bytes());
        let known = self.known.load();
        let token = known.iter().find(|token| token.view.id == id)?;
        if !keys::same(hash.as_bytes(), token.hash.as_bytes()) {
            return None;
        }
        if token
            .view
            .expires_at_ms
            .is_some_and(|end| end <= now.unix_ms)
        {
            return None;
        }
        let minute = now.unix_ms / 60_000 * 60_000;
        self.used().insert(id.to_owned(), minute);
        Some(token.clone())
    }

    fn used(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new token: its id, the whole of it, and the hash of its secret part.
#[must_use]
pub(super) fn generate() -> (String, Secret<String>, String) {
    let id = keys::hex(&keys::random::<6>());
    let secret = keys::base64url(&keys::random::<32>());
    let hash = keys::sha256_hex(secret.as_bytes());
    let token = format!("{PREFIX}{id}_{secret}");
    (id, Secret::new(token), hash)
}

/// Reads them from the store.
///
/// # Errors
/// What the store said; what was known is kept then.
pub(super) async fn refresh(hub: &Hub) -> Result<(), StoreError> {
    // One at a time: an older reading never overwrites a newer one.
    let _turn = hub.tokens.refreshing.lock().await;
    let tokens = hub.noted(hub.store.tokens().await)?;
    hub.tokens.replace(tokens);
    Ok(())
}

/// Keeps the tokens current until the node stops. A relay without the gateway role has no business
/// with them.
pub(super) async fn keep_current(hub: Arc<Hub>) {
    if !hub.config().is_gateway() {
        return;
    }
    loop {
        if let Err(error) = refresh(&hub).await {
            tracing::debug!(%error, "the tokens stay as they were");
        }
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = hub.tokens.stale.notified() => {}
            () = tokio::time::sleep(COMPARE) => {}
        }
    }
}
