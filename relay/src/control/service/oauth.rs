//! Keys of third-party authorization (RFC 7635).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::api::{
    ApiError, EventKind, OauthKeyCreated, OauthKeyPut, OauthKeyView, Page, Severity,
};
use shared::{Secret, display_safe};

use super::access::{check_ttl, whole};
use super::{Caller, Service, bad, not_found};
use crate::control::clock::Moment;
use crate::control::keys;
use crate::store::StoredOauthKey;
use crate::store::oauth::{MAX_KEYS, MAX_KID, is_kid};

/// The longest keying material, as wide as coturn's column allows.
const MAX_IKM: usize = 128;

impl Service {
    /// All keys, without their values.
    ///
    /// # Errors
    /// Denied to anyone but admins of the whole cluster; the store is away.
    pub async fn oauth_keys(&self, caller: &Caller) -> Result<Page<OauthKeyView>, ApiError> {
        self.may_manage_access(caller)?;
        let keys = self.store(self.hub.store.oauth_keys().await)?;
        Ok(whole("oauth-keys/1", keys.iter().map(view).collect()))
    }

    /// Adds or replaces a key. A generated value is answered this once.
    ///
    /// # Errors
    /// An impossible kid or key; too many of them; the store is away.
    pub async fn put_oauth_key(
        &self,
        caller: &Caller,
        kid: &str,
        put: OauthKeyPut,
    ) -> Result<OauthKeyCreated, ApiError> {
        let reason = put.reason.clone();
        let work = async {
            self.may_manage_access(caller)?;
            let (stored, generated) = checked(kid, put)?;
            let known = self.store(self.hub.store.oauth_keys().await)?;
            if known.len() >= MAX_KEYS && known.iter().all(|key| key.kid != kid) {
                return Err(bad(format!("there are {MAX_KEYS} keys already")));
            }
            self.store(self.hub.store.put_oauth_key(&stored).await)?;
            self.oauth_key_changed(caller, kid, "was set");
            Ok(OauthKeyCreated {
                view: view(&stored),
                key: generated.then(|| STANDARD.encode(stored.ikm.expose())),
            })
        };
        self.audited(caller, "oauth_key.put", kid.to_owned(), &reason, work)
            .await
    }

    /// Removes a key: tokens made with it open no allocation from then on, on every node within a
    /// second.
    ///
    /// # Errors
    /// No such key; the store is away.
    pub async fn delete_oauth_key(
        &self,
        caller: &Caller,
        kid: &str,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            self.may_manage_access(caller)?;
            if !self.store(self.hub.store.delete_oauth_key(kid).await)? {
                return Err(not_found(format!("OAuth key {}", display_safe(kid))));
            }
            self.oauth_key_changed(caller, kid, "was removed");
            Ok(())
        };
        self.audited(caller, "oauth_key.delete", kid.to_owned(), reason, work)
            .await
    }

    fn oauth_key_changed(&self, caller: &Caller, kid: &str, word: &str) {
        self.hub.keeper.want_oauth_keys();
        self.hub.policy_stale.notify_one();
        let text = format!("OAuth key {} {word} by {}", display_safe(kid), caller.actor);
        self.hub
            .event(EventKind::SecretChanged, Severity::Notice, text);
    }
}

/// The key to be stored, and whether it was generated.
fn checked(kid: &str, put: OauthKeyPut) -> Result<(StoredOauthKey, bool), ApiError> {
    if !is_kid(kid) {
        let problem = format!("kid: 1 to {MAX_KID} bytes without control characters");
        return Err(bad(problem));
    }
    check_ttl(put.ttl_secs)?;
    let given = put.key.map(Secret::new);
    let len = put.algorithm.key_len();
    let ikm = match &given {
        Some(text) => STANDARD.decode(text.expose().trim()).unwrap_or_default(),
        None => keys::random::<32>()[..len].to_vec(),
    };
    let ikm = Secret::new(ikm);
    if !(len..=MAX_IKM).contains(&ikm.expose().len()) {
        let name = put.algorithm;
        return Err(bad(format!(
            "key: base64 of {len} bytes or more for {name}"
        )));
    }
    let key = StoredOauthKey {
        kid: kid.to_owned(),
        ikm,
        algorithm: put.algorithm,
        since: put.ttl_secs.map_or(0, |_| Moment::now().unix_ms / 1000),
        lifetime_secs: put.ttl_secs.unwrap_or(0),
        realm: put.realm,
    };
    Ok((key, given.is_none()))
}

fn view(key: &StoredOauthKey) -> OauthKeyView {
    OauthKeyView {
        kid: key.kid.clone(),
        algorithm: key.algorithm,
        realm: key.realm.clone(),
        since_ms: (key.since > 0).then(|| key.since.saturating_mul(1000)),
        until_ms: key.until().map(|until| until.saturating_mul(1000)),
    }
}
