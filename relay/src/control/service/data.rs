//! Users and secrets of a realm in bulk, keys and values with them.

use std::fmt::Write as _;

use shared::api::{
    ApiError, CredentialKinds, ErrorKind, EventKind, ImportOutcome, ImportResult, ImportedUser,
    RealmImport, RevealRequest, Revealed, RevealedSecret, Role, SecretState, Severity,
};
use shared::{Realm, Secret};

use super::{Caller, Service, bad, need, need_realm};
use crate::config::cluster_key::parse_hex;
use crate::control::clock::Moment;
use crate::control::{credentials, policy};
use crate::store::{StoredSecret, USERS_AT_ONCE, UserKeys};

/// Users of one page with their keys.
const PAGE: usize = 1000;
/// The longest value of a secret, in bytes.
const MAX_VALUE: usize = 256;

impl Service {
    /// Adds users by their keys, and secrets; tells what came of each. One that is refused keeps the
    /// others from nothing.
    ///
    /// # Errors
    /// Too many at once; the store is away, maybe in the middle: what was written before stays and is
    /// counted in the message, and the same call goes on from there.
    pub async fn import(
        &self,
        caller: &Caller,
        realm: &Realm,
        import: RealmImport,
    ) -> Result<ImportResult, ApiError> {
        let RealmImport {
            users,
            secrets,
            dry_run,
            reason,
        } = import;
        let secrets: Vec<_> = secrets.into_iter().map(Secret::new).collect();
        let target = format!(
            "{}: {} users, {} secrets",
            realm.as_str(),
            users.len(),
            secrets.len()
        );
        let work = async {
            need(caller, Role::Admin)?;
            need_realm(caller, realm)?;
            self.need_gateway()?;
            if users.len().max(secrets.len()) > RealmImport::MAX_IMPORTED {
                let most = RealmImport::MAX_IMPORTED;
                return Err(bad(format!(
                    "at most {most} users and {most} secrets at once"
                )));
            }
            let mut result = ImportResult {
                dry_run,
                ..ImportResult::default()
            };
            let done = self.import_users(realm, &users, &mut result).await;
            let done = match done {
                Ok(()) => self.import_secrets(realm, &secrets, &mut result).await,
                failed => failed,
            };
            if !dry_run {
                self.imported(caller, realm, &result).await;
            }
            match done {
                Ok(()) => Ok(result),
                Err(error) if dry_run => Err(error),
                Err(mut error) => {
                    let (users, secrets) = (written(&result.users), written(&result.secrets));
                    let _ = write!(
                        error.message,
                        " ({users} users, {secrets} secrets were written)"
                    );
                    Err(error)
                }
            }
        };
        if dry_run {
            return work.await;
        }
        self.audited(caller, "realm.import", target, &reason, work)
            .await
    }

    async fn import_users(
        &self,
        realm: &Realm,
        users: &[ImportedUser],
        result: &mut ImportResult,
    ) -> Result<(), ApiError> {
        for users in users.chunks(USERS_AT_ONCE) {
            let mut outcomes = Vec::with_capacity(users.len());
            let mut wanted = Vec::new();
            for user in users {
                outcomes.push(match self.look_at_user(realm, user).await {
                    Err(error) if error.error == ErrorKind::Unavailable => return Err(error),
                    Err(error) => ImportOutcome::Refused(error.message),
                    Ok((ImportOutcome::Same, _)) => ImportOutcome::Same,
                    Ok((outcome, keys)) => {
                        wanted.push((outcomes.len(), (user.name.clone(), keys)));
                        outcome
                    }
                });
            }
            let mut written = Ok(());
            if !result.dry_run && !wanted.is_empty() {
                written = self.put_imported(realm, wanted, &mut outcomes).await;
            }
            result.users.extend(outcomes);
            written?;
        }
        Ok(())
    }

    /// Writes users; `wanted` says, too, where the outcome of each is. After an error those that were not
    /// reached have none.
    async fn put_imported(
        &self,
        realm: &Realm,
        wanted: Vec<(usize, (String, UserKeys))>,
        outcomes: &mut Vec<ImportOutcome>,
    ) -> Result<(), ApiError> {
        let (places, users): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
        let at_once = self.hub.store.put_users(realm, &users).await;
        for (name, _) in &users {
            credentials::forget_user(&self.hub, realm, name);
        }
        if at_once.is_ok() {
            return Ok(());
        }
        // Which of them it is about shows one by one, and a slow disk may do that.
        for (place, (name, keys)) in places.into_iter().zip(&users) {
            match self.store(self.hub.store.put_user(realm, name, keys).await) {
                Ok(()) => credentials::forget_user(&self.hub, realm, name),
                Err(error) if error.error == ErrorKind::Unavailable => {
                    outcomes.truncate(place);
                    return Err(error);
                }
                Err(error) => outcomes[place] = ImportOutcome::Refused(error.message),
            }
        }
        Ok(())
    }

    /// What is to come of a user, and its keys.
    async fn look_at_user(
        &self,
        realm: &Realm,
        user: &ImportedUser,
    ) -> Result<(ImportOutcome, UserKeys), ApiError> {
        let name = user.name.as_str();
        self.may_be_written(realm, name)?;
        // coturn's configuration writes 0x in front of a key, its databases do not.
        let digits = user.key.strip_prefix("0x").unwrap_or(&user.key);
        let key = parse_hex::<16>(digits)
            .map(Secret::new)
            .ok_or_else(|| bad("key: 32 hex digits, MD5 of name:realm:password"))?;
        let known = self.store(self.hub.store.user(realm, name).await)?;
        let outcome = match known {
            Some(known) if known.keys.md5 == key => ImportOutcome::Same,
            Some(_) => ImportOutcome::Changed,
            None => ImportOutcome::Added,
        };
        Ok((outcome, UserKeys::coturns(key)))
    }

    async fn import_secrets(
        &self,
        realm: &Realm,
        secrets: &[Secret<String>],
        result: &mut ImportResult,
    ) -> Result<(), ApiError> {
        if secrets.is_empty() {
            return Ok(());
        }
        let mut known = self.store(self.hub.store.secrets(realm).await)?;
        let entry = self.hub.keeper.realm(realm);
        let mut configured = entry.map(|entry| entry.secrets).unwrap_or_default();
        // One that is stored, too, is as the store says.
        configured.retain(|secret| {
            secret.configured && known.iter().all(|known| known.value != secret.value)
        });
        for value in secrets {
            let text = value.expose();
            let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
            let outcome = if !(1..=MAX_VALUE).contains(&text.len()) || !printable {
                let rule = "1 to 256 bytes of printable ASCII without spaces";
                ImportOutcome::Refused(rule.to_owned())
            } else if let Some(at) = known.iter().position(|known| known.value == *value) {
                match known[at].state.is_accepted() {
                    true => ImportOutcome::Same,
                    false => {
                        self.put_again(realm, &mut known[at], result.dry_run)
                            .await?
                    }
                }
            } else if configured.iter().any(|known| known.value == *value) {
                ImportOutcome::Same
            } else if known.len() + configured.len() >= super::secrets::MAX_SECRETS {
                let most = super::secrets::MAX_SECRETS;
                ImportOutcome::Refused(format!("the realm has {most} secrets, and no more"))
            } else {
                let secret = StoredSecret {
                    value: value.clone(),
                    label: String::new(),
                    created_at_ms: Moment::now().unix_ms,
                    state: SecretState::Active,
                };
                if !result.dry_run {
                    self.store(self.hub.store.put_secret(realm, &secret).await)?;
                }
                known.push(secret);
                ImportOutcome::Added
            };
            result.secrets.push(outcome);
        }
        Ok(())
    }

    /// A secret that is there and not accepted is accepted again.
    async fn put_again(
        &self,
        realm: &Realm,
        secret: &mut StoredSecret,
        dry_run: bool,
    ) -> Result<ImportOutcome, ApiError> {
        secret.state = SecretState::Active;
        if !dry_run {
            self.store(self.hub.store.put_secret(realm, secret).await)?;
        }
        Ok(ImportOutcome::Changed)
    }

    /// Takes effect here at once; the other nodes hear it from the store.
    async fn imported(&self, caller: &Caller, realm: &Realm, result: &ImportResult) {
        let (users, secrets) = (written(&result.users), written(&result.secrets));
        if users > 0 {
            self.hub.user_index.forget();
            credentials::meet_realm(&self.hub, realm);
            let note = self.note_of_refusal(CredentialKinds::Users);
            let text = format!(
                "{users} users of {realm} were imported by {}{note}",
                caller.actor
            );
            let kind = EventKind::UserChanged;
            let mut event = self.hub.new_event(kind, Severity::Notice, text);
            event.realm = Some(realm.clone());
            self.hub.recorder.event(event);
        }
        if secrets > 0 {
            if self.hub.keeper.realm(realm).is_none() {
                self.hub.keeper.want_realms();
                policy::refresh(&self.hub).await;
            }
            self.secret_changed(caller, realm, &format!("was given {secrets} secrets"))
                .await;
        }
    }

    /// The stored users of a realm with their keys, a page at a time, and its secrets with their values.
    /// Audited as a change is: whoever has them can be anybody.
    ///
    /// # Errors
    /// Denied to anyone but admins; the store is away.
    pub async fn reveal(
        &self,
        caller: &Caller,
        realm: &Realm,
        request: &RevealRequest,
    ) -> Result<Revealed, ApiError> {
        let work = async {
            need(caller, Role::Admin)?;
            need_realm(caller, realm)?;
            self.need_gateway()?;
            let after = request.after.as_deref();
            let page = match request.secrets_only {
                true => Vec::new(),
                false => {
                    let after = after.map(|name| (realm, name));
                    self.store(self.hub.store.users(Some(realm), after, PAGE).await)?
                }
            };
            let next = (page.len() == PAGE).then(|| page.last().map(|user| user.name.clone()));
            let secrets = match after {
                Some(_) => Vec::new(),
                None => self.store(self.hub.store.secrets(realm).await)?,
            };
            Ok(Revealed {
                users: page
                    .into_iter()
                    .map(|user| ImportedUser {
                        key: hex(user.keys.md5.expose()),
                        name: user.name,
                    })
                    .collect(),
                secrets: secrets
                    .into_iter()
                    .map(|secret| RevealedSecret {
                        id: self.hub.keeper.secret_id(realm, secret.value.expose()),
                        value: secret.value.expose().clone(),
                        state: secret.state,
                        label: secret.label,
                    })
                    .collect(),
                next: next.flatten(),
            })
        };
        let target = realm.as_str().to_owned();
        self.audited(caller, "realm.reveal", target, &request.reason, work)
            .await
    }
}

/// How many of these were written.
fn written(outcomes: &[ImportOutcome]) -> usize {
    let written = [ImportOutcome::Added, ImportOutcome::Changed];
    outcomes.iter().filter(|one| written.contains(one)).count()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
