//! Shared secrets, and the time-limited credentials that are made with them.

use std::collections::{BTreeMap, HashMap};

use shared::api::{
    ApiError, Credential, CredentialKinds, ErrorKind, EventKind, MintRequest, MissingNode, Page,
    Role, SecretCreate, SecretCreated, SecretPatch, SecretState, SecretUsage, SecretUser,
    SecretView, Severity,
};
use shared::{Realm, Secret, Username, display_safe};
use turn_proto::auth::rest;

use super::{Caller, MAX_TEXT, Service, bad, need, need_realm, not_found};
use crate::control::clock::Moment;
use crate::control::cluster::message::{NodeAnswer, NodeQuestion, SecretUsers};
use crate::control::keys;
use crate::control::policy::{self, SecretEntry};
use crate::store::StoredSecret;

/// Secrets of one realm at most.
pub(super) const MAX_SECRETS: usize = 16;
/// Users named of each secret's.
const TOP_USERS: usize = 20;
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
        self.secret_page("secrets/1", realm, asked.missing, |view| SecretView {
            sessions: uses.get(&view.id).copied().unwrap_or(0),
            ..view
        })
    }

    /// All secrets of a realm, each with what `row` adds to it.
    fn secret_page<T>(
        &self,
        schema: &str,
        realm: &Realm,
        missing: Vec<MissingNode>,
        mut row: impl FnMut(SecretView) -> T,
    ) -> Result<Page<T>, ApiError> {
        let entries = self.secret_entries(realm)?.into_iter();
        let items: Vec<T> = entries
            .map(|entry| row(self.secret_view(realm, &entry)))
            .collect();
        let count = items.len() as u64;
        Ok(Page {
            schema: schema.to_owned(),
            as_of_ms: Moment::now().unix_ms,
            items,
            next: None,
            matched: count,
            total: count,
            missing,
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
            pending,
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
            let state = match pending {
                true => SecretState::Pending,
                false => SecretState::Active,
            };
            let secret = StoredSecret {
                value,
                label: label.clone(),
                created_at_ms,
                state,
            };
            self.store(self.hub.store.put_secret(realm, &secret).await)?;
            self.secret_changed(caller, realm, "was given a secret")
                .await;
            let entry = SecretEntry {
                value: secret.value.clone(),
                label,
                created_at_ms,
                state,
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

    /// Removes a secret: what it signed is refused from now on. Running sessions go on, unless the
    /// realm has `revoke_on_secret_removal`.
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
            let entry = self.stored_secret(realm, id)?;
            let deleted = self
                .hub
                .store
                .delete_secret(realm, entry.value.expose())
                .await;
            if !self.store(deleted)? {
                return Err(no_secret(realm, id));
            }
            self.secret_changed(caller, realm, "lost a secret").await;
            Ok(())
        };
        let target = format!("{}/{id}", realm.as_str());
        self.audited(caller, "secret.delete", target, reason, work)
            .await
    }

    /// Changes the state or the label of a secret.
    ///
    /// # Errors
    /// No such secret; one of the config file; the store is away.
    pub async fn patch_secret(
        &self,
        caller: &Caller,
        realm: &Realm,
        id: &str,
        patch: SecretPatch,
    ) -> Result<SecretView, ApiError> {
        let work = async {
            need(caller, Role::Admin)?;
            need_realm(caller, realm)?;
            self.need_gateway()?;
            let mut entry = self.stored_secret(realm, id)?;
            let before = entry.state;
            entry.state = patch.state.unwrap_or(before);
            entry.label = patch.label.clone().unwrap_or(entry.label);
            if entry.label.len() > MAX_TEXT {
                return Err(bad(format!("label: at most {MAX_TEXT} bytes")));
            }
            let secret = StoredSecret {
                value: entry.value.clone(),
                label: entry.label.clone(),
                created_at_ms: entry.created_at_ms,
                state: entry.state,
            };
            self.store(self.hub.store.put_secret(realm, &secret).await)?;
            let word = match entry.state == before {
                true => format!("has another label on secret {id}"),
                false => format!(
                    "has secret {id} {}, which was {}",
                    entry.state.as_str(),
                    before.as_str()
                ),
            };
            self.secret_changed(caller, realm, &word).await;
            let all = self.secrets(caller, realm).await?.items.into_iter();
            all.into_iter()
                .find(|secret| secret.id == id)
                .ok_or_else(|| no_secret(realm, id))
        };
        let target = format!("{}/{id}", realm.as_str());
        self.audited(caller, "secret.patch", target, &patch.reason, work)
            .await
    }

    /// Who uses which secret, over the cluster.
    ///
    /// # Errors
    /// No such realm.
    pub async fn secret_usage(
        &self,
        caller: &Caller,
        realm: &Realm,
    ) -> Result<Page<SecretUsage>, ApiError> {
        need(caller, Role::Viewer)?;
        need_realm(caller, realm)?;
        let question = NodeQuestion::SecretUsage {
            realm: realm.clone(),
        };
        let asked = self.ask(caller, None, question).await;
        let mut uses: BTreeMap<String, UsageSum> = BTreeMap::new();
        for (_, answer) in asked.answers {
            if let NodeAnswer::SecretUsage(of_node) = answer {
                for one in of_node {
                    uses.entry(one.id.clone()).or_default().add(one);
                }
            }
        }
        self.secret_page("secret-usage/1", realm, asked.missing, |view| {
            let used = uses.remove(&view.id).unwrap_or_default();
            used.of(view)
        })
    }

    /// Makes a time-limited credential with the newest active secret of the realm, for the best nodes.
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
        if let Some(why) = self.refused_everywhere(CredentialKinds::Secrets) {
            return Err(ApiError::new(ErrorKind::Conflict, why));
        }
        let entry = self.hub.keeper.realm(realm);
        let entry = entry.ok_or_else(|| not_found(format!("realm {realm}")))?;
        let mut active = entry.secrets.iter();
        let Some(secret) = active.find(|secret| secret.state == SecretState::Active) else {
            let message = format!("{realm} has no active shared secret: add or activate one first");
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

    /// A secret that can be changed.
    fn stored_secret(&self, realm: &Realm, id: &str) -> Result<SecretEntry, ApiError> {
        let mut entries = self.secret_entries(realm)?.into_iter();
        let entry =
            entries.find(|entry| self.hub.keeper.secret_id(realm, entry.value.expose()) == id);
        let entry = entry.ok_or_else(|| no_secret(realm, id))?;
        if entry.configured {
            let message = "this secret stands in the node's config file: change it there";
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        Ok(entry)
    }

    fn secret_view(&self, realm: &Realm, entry: &SecretEntry) -> SecretView {
        SecretView {
            id: self.hub.keeper.secret_id(realm, entry.value.expose()),
            realm: realm.clone(),
            label: entry.label.clone(),
            created_at_ms: entry.created_at_ms,
            state: entry.state,
            sessions: 0,
        }
    }

    /// Takes effect here at once; the other nodes hear it from the store.
    pub(super) async fn secret_changed(&self, caller: &Caller, realm: &Realm, word: &str) {
        self.hub.keeper.want_secrets(realm.clone());
        policy::refresh(&self.hub).await;
        let note = match word.starts_with("was given") {
            true => self.note_of_refusal(CredentialKinds::Secrets),
            false => String::new(),
        };
        let text = format!("realm {realm} {word}, by {}{note}", caller.actor);
        let mut event = self
            .hub
            .new_event(EventKind::SecretChanged, Severity::Notice, text);
        event.realm = Some(realm.clone());
        self.hub.recorder.event(event);
    }
}

fn no_secret(realm: &Realm, id: &str) -> ApiError {
    not_found(format!("secret {} in {realm}", display_safe(id)))
}

/// What nodes say about the use of one secret, put together.
#[derive(Debug, Default)]
struct UsageSum {
    sessions: u64,
    last_used_at_ms: u64,
    users: HashMap<String, u64>,
    untold: bool,
}

impl UsageSum {
    fn add(&mut self, one: SecretUsers) {
        self.sessions += one.used.sessions;
        self.last_used_at_ms = self.last_used_at_ms.max(one.used.last_used_at_ms);
        self.untold |= !one.complete;
        for (user, sessions) in one.users {
            *self.users.entry(user).or_default() += sessions;
        }
    }

    fn of(self, mut secret: SecretView) -> SecretUsage {
        secret.sessions = self.sessions;
        let users = self.users.len() as u64;
        let named = self.users.into_iter();
        let named = named.map(|(user, sessions)| SecretUser { user, sessions });
        let mut top_users: Vec<_> = named.collect();
        top_users.sort_by(|a, b| (b.sessions, &a.user).cmp(&(a.sessions, &b.user)));
        top_users.truncate(TOP_USERS);
        SecretUsage {
            secret,
            users,
            users_complete: !self.untold,
            top_users,
            last_used_at_ms: self.last_used_at_ms,
        }
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
