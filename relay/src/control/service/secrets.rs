//! Shared secrets, and the time-limited credentials that are made with them.

use std::collections::BTreeMap;

use shared::api::{
    ApiError, Credential, ErrorKind, EventKind, MintRequest, Page, Role, SecretCreate,
    SecretCreated, SecretView, Severity,
};
use shared::{Realm, Secret, Username, display_safe};
use turn_proto::auth::rest;

use super::{Caller, MAX_TEXT, Service, bad, need, need_realm, not_found};
use crate::control::clock::Moment;
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::control::keys;
use crate::control::policy::{self, SecretEntry};
use crate::store::StoredSecret;

/// Secrets of one realm at most.
const MAX_SECRETS: usize = 16;
/// How long a minted credential is good when nothing is said.
const DEFAULT_TTL: u64 = 86_400;
/// The shortest and the longest.
const TTL_RANGE: std::ops::RangeInclusive<u64> = 60..=604_800;

impl Service {
    /// The secrets of a realm, without their values.
    ///
    /// # Errors
    /// No such realm.
    pub async fn secrets(
        &self,
        caller: &Caller,
        realm: &Realm,
    ) -> Result<Page<SecretView>, ApiError> {
        need(caller, Role::Viewer)?;
        need_realm(caller, realm)?;
        let question = NodeQuestion::SecretUse {
            realm: realm.clone(),
        };
        let asked = self.ask(caller, None, question).await;
        let mut uses: BTreeMap<String, u64> = BTreeMap::new();
        for (_, answer) in asked.answers {
            let NodeAnswer::SecretUse(of_node) = answer else {
                continue;
            };
            for (id, count) in of_node {
                *uses.entry(id).or_default() += count;
            }
        }
        let views = self.secret_entries(realm)?.into_iter().map(|entry| {
            let mut view = self.secret_view(realm, &entry);
            view.sessions = uses.get(&view.id).copied().unwrap_or(0);
            view
        });
        let items: Vec<_> = views.collect();
        let count = items.len() as u64;
        Ok(Page {
            schema: "secrets/1".to_owned(),
            as_of_ms: Moment::now().unix_ms,
            items,
            next: None,
            matched: count,
            total: count,
            missing: asked.missing,
        })
    }

    /// Adds a secret. A value that is not given is generated and answered this once.
    ///
    /// # Errors
    /// A value that is too short, too long, or there already; the store is away.
    pub async fn create_secret(
        &self,
        caller: &Caller,
        realm: &Realm,
        request: SecretCreate,
    ) -> Result<SecretCreated, ApiError> {
        let SecretCreate {
            value,
            label,
            reason,
        } = request;
        let given = value.map(Secret::new);
        let work = async {
            need(caller, Role::Admin)?;
            need_realm(caller, realm)?;
            self.need_gateway()?;
            if self.hub.keeper.realm(realm).is_none() {
                // Another tool, or a user added a moment ago, may just have made it.
                self.hub.keeper.want_realms();
                policy::refresh(&self.hub).await;
            }
            let known = self.secret_entries(realm)?;
            if let Some(value) = &given {
                check_value(value)?;
            }
            if label.len() > MAX_TEXT {
                return Err(bad(format!("label: at most {MAX_TEXT} bytes")));
            }
            let generated = || Secret::new(keys::base64url(&keys::random::<32>()));
            let value = given.clone().unwrap_or_else(generated);
            if known.len() >= MAX_SECRETS || known.iter().any(|entry| entry.value == value) {
                let message =
                    format!("the realm has that secret already, or {MAX_SECRETS} of them");
                return Err(ApiError::new(ErrorKind::Conflict, message));
            }
            let created_at_ms = Moment::now().unix_ms;
            let secret = StoredSecret {
                value,
                label: label.clone(),
                created_at_ms,
            };
            self.store(self.hub.store.put_secret(realm, &secret).await)?;
            self.secret_changed(caller, realm, "was given a secret")
                .await;
            let entry = SecretEntry {
                value: secret.value.clone(),
                label,
                created_at_ms,
                configured: false,
            };
            let shown = given.is_none().then(|| secret.value.expose().clone());
            Ok(SecretCreated {
                secret: self.secret_view(realm, &entry),
                value: shown,
            })
        };
        self.audited(
            caller,
            "secret.create",
            realm.as_str().to_owned(),
            &reason,
            work,
        )
        .await
    }

    /// Removes a secret: what it signed is refused from now on, running sessions go on.
    ///
    /// # Errors
    /// No such secret; one of the config file; the store is away.
    pub async fn delete_secret(
        &self,
        caller: &Caller,
        realm: &Realm,
        id: &str,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            need(caller, Role::Admin)?;
            need_realm(caller, realm)?;
            self.need_gateway()?;
            let entries = self.secret_entries(realm)?.into_iter();
            let entry = entries
                .into_iter()
                .find(|entry| self.hub.keeper.secret_id(realm, entry.value.expose()) == id);
            let missing = || not_found(format!("secret {} in {realm}", display_safe(id)));
            let entry = entry.ok_or_else(missing)?;
            if entry.configured {
                let message = "this secret stands in the node's config file: change it there";
                return Err(ApiError::new(ErrorKind::Conflict, message));
            }
            let deleted = self
                .hub
                .store
                .delete_secret(realm, entry.value.expose())
                .await;
            if !self.store(deleted)? {
                return Err(missing());
            }
            self.secret_changed(caller, realm, "lost a secret").await;
            Ok(())
        };
        let target = format!("{}/{id}", realm.as_str());
        self.audited(caller, "secret.delete", target, reason, work)
            .await
    }

    /// Makes a time-limited credential with the newest secret of the realm, for the best nodes.
    ///
    /// # Errors
    /// A realm without secrets; an impossible user or lifetime; no node that takes the client.
    pub async fn mint(
        &self,
        caller: &Caller,
        realm: &Realm,
        request: MintRequest,
    ) -> Result<Credential, ApiError> {
        let target = super::users::target(realm, &request.user);
        let work = async { self.mint_one(caller, realm, &request) };
        self.audited(caller, "credential.mint", target, "", work)
            .await
    }

    fn mint_one(
        &self,
        caller: &Caller,
        realm: &Realm,
        request: &MintRequest,
    ) -> Result<Credential, ApiError> {
        need(caller, Role::Mint)?;
        need_realm(caller, realm)?;
        let ttl_secs = request.ttl_secs.unwrap_or(DEFAULT_TTL);
        if !TTL_RANGE.contains(&ttl_secs) {
            return Err(bad("ttl_secs: 60 to 604800"));
        }
        let entry = self.hub.keeper.realm(realm);
        let entry = entry.ok_or_else(|| not_found(format!("realm {realm}")))?;
        let Some(secret) = entry.secrets.first() else {
            let message = format!("{realm} has no shared secret: add one first");
            return Err(ApiError::new(ErrorKind::Conflict, message));
        };
        let expiry = Moment::now().unix_secs() + ttl_secs;
        let username = if request.user.is_empty() {
            expiry.to_string()
        } else {
            format!("{expiry}{}{}", entry.document.rest_separator, request.user)
        };
        if username.len() > Username::MAX_LEN || request.user.chars().any(char::is_control) {
            return Err(bad("user: at most 480 bytes without control characters"));
        }
        let credential = Credential {
            credential: rest::password(secret.value.expose().as_bytes(), &username),
            username,
            ttl_secs,
            urls: Vec::new(),
            ice_servers: Vec::new(),
            nodes: Vec::new(),
        };
        self.placed(realm, request, credential)
    }

    fn secret_entries(&self, realm: &Realm) -> Result<Vec<SecretEntry>, ApiError> {
        let entry = self.hub.keeper.realm(realm);
        entry
            .map(|entry| entry.secrets)
            .ok_or_else(|| not_found(format!("realm {realm}")))
    }

    fn secret_view(&self, realm: &Realm, entry: &SecretEntry) -> SecretView {
        SecretView {
            id: self.hub.keeper.secret_id(realm, entry.value.expose()),
            realm: realm.clone(),
            label: entry.label.clone(),
            created_at_ms: entry.created_at_ms,
            sessions: 0,
        }
    }

    /// Takes effect here at once; the other nodes hear it from the store.
    async fn secret_changed(&self, caller: &Caller, realm: &Realm, word: &str) {
        self.hub.keeper.want_secrets(realm.clone());
        policy::refresh(&self.hub).await;
        let text = format!("realm {realm} {word}, by {}", caller.actor);
        let mut event = self
            .hub
            .new_event(EventKind::SecretChanged, Severity::Notice, text);
        event.realm = Some(realm.clone());
        self.hub.recorder.event(event);
    }
}

fn check_value(value: &Secret<String>) -> Result<(), ApiError> {
    let value = value.expose();
    let printable = value.bytes().all(|byte| byte.is_ascii_graphic());
    if (16..=256).contains(&value.len()) && printable {
        return Ok(());
    }
    Err(bad(
        "value: 16 to 256 bytes of printable ASCII without spaces; omit it to have one made",
    ))
}
