//! Users and secrets of a realm in bulk, keys and values with them.

use std::collections::BTreeMap;
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
use crate::store::{StoredSecret, StoredUser, USERS_AT_ONCE, UserKeys};

/// Users of one page with their keys.
const PAGE: usize = 1000;
/// The longest value of a secret, in bytes.
const MAX_VALUE: usize = 256;

/// How far an import came.
#[derive(Debug, Default)]
struct Progress {
    result: ImportResult,
    /// Users of whom nobody knows: the store went away while it wrote them, and may go on.
    doubtful: usize,
}

impl Progress {
    /// What a failure says of it.
    fn told(&self) -> String {
        let (users, secrets) = (written(&self.result.users), written(&self.result.secrets));
        let doubtful = match self.doubtful {
            0 => String::new(),
            more => format!("; up to {more} more users may have been, or be written yet"),
        };
        format!(" ({users} users, {secrets} secrets were written{doubtful})")
    }
}

impl Service {
    /// Adds users by their keys, and secrets; tells what came of each. One that is refused keeps the
    /// others from nothing.
    ///
    /// # Errors
    /// Too many at once; the store is away, maybe in the middle: what was written before stays and is
    /// counted in the message, with what may have been, and the same call goes on from there.
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
            let mut progress = Progress::default();
            progress.result.dry_run = dry_run;
            let done = self.import_users(realm, &users, &mut progress).await;
            let done = match done {
                Ok(()) => {
                    let result = &mut progress.result;
                    self.import_secrets(realm, &secrets, result).await
                }
                failed => failed,
            };
            if !dry_run {
                self.imported(caller, realm, &progress).await;
            }
            match done {
                Ok(()) => Ok(progress.result),
                Err(error) if dry_run => Err(error),
                Err(mut error) => {
                    error.message.push_str(&progress.told());
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
        progress: &mut Progress,
    ) -> Result<(), ApiError> {
        let mut before: BTreeMap<&str, UserKeys> = BTreeMap::new();
        for users in users.chunks(USERS_AT_ONCE) {
            let mut outcomes = Vec::with_capacity(users.len());
            let mut wanted = Vec::new();
            for user in users {
                let looked = self.look_at_user(realm, user).await;
                let (mut outcome, keys) = match looked {
                    Err(error) if error.error == ErrorKind::Unavailable => return Err(error),
                    Err(error) => {
                        outcomes.push(ImportOutcome::Refused(error.message));
                        continue;
                    }
                    Ok(looked) => looked,
                };
                match before.get(user.name.as_str()) {
                    Some(first) if *first == keys => outcome = ImportOutcome::Same,
                    Some(_) => {
                        let twice = "named before with another key: leave one of them out";
                        outcome = ImportOutcome::Refused(twice.to_owned());
                    }
                    None => {
                        if outcome != ImportOutcome::Same {
                            wanted.push((outcomes.len(), (user.name.clone(), keys.clone())));
                        }
                        before.insert(&user.name, keys);
                    }
                }
                outcomes.push(outcome);
            }
            let mut written = Ok(());
            if !progress.result.dry_run && !wanted.is_empty() {
                let doubtful = &mut progress.doubtful;
                written = self
                    .put_imported(realm, wanted, &mut outcomes, doubtful)
                    .await;
            }
            progress.result.users.extend(outcomes);
            written?;
        }
        Ok(())
    }

    /// Writes users; `wanted` says, too, where the outcome of each is. After an error those that are not
    /// surely written count as refused, and as `doubtful`.
    async fn put_imported(
        &self,
        realm: &Realm,
        wanted: Vec<(usize, (String, UserKeys))>,
        outcomes: &mut [ImportOutcome],
        doubtful: &mut usize,
    ) -> Result<(), ApiError> {
        let (places, users): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
        let at_once = self.hub.store.put_users(realm, &users).await;
        let mut left = places.iter().copied().zip(&users).peekable();
        let failed = match at_once {
            Ok(()) => None,
            Err(error) if error.may_pass() => Some(error),
            // Which of them it is about shows one by one.
            Err(_) => loop {
                let Some((place, (name, keys))) = left.peek() else {
                    break None;
                };
                match self.hub.store.put_user(realm, name, keys).await {
                    Ok(()) => {}
                    Err(error) if error.may_pass() => break Some(error),
                    Err(error) => outcomes[*place] = ImportOutcome::Refused(error.to_string()),
                }
                left.next();
            },
        };
        for (name, _) in &users {
            credentials::forget_user(&self.hub, realm, name);
        }
        let Some(failed) = failed else {
            return Ok(());
        };
        // It may have taken some of them before it went away, and an edit that came too late may go on.
        let mut is_back = true;
        for (place, (name, keys)) in left {
            let known = match is_back {
                true => self.hub.store.user(realm, name).await,
                false => Ok(None),
            };
            is_back &= known.is_ok();
            let is_written = |user: StoredUser| user.keys.md5 == keys.md5;
            if !known.ok().flatten().is_some_and(is_written) {
                outcomes[place] = ImportOutcome::Refused(failed.to_string());
                *doubtful += 1;
            }
        }
        self.store(Err(failed))
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
    async fn imported(&self, caller: &Caller, realm: &Realm, progress: &Progress) {
        let result = &progress.result;
        let (users, secrets) = (written(&result.users), written(&result.secrets));
        if users + progress.doubtful > 0 {
            self.hub.user_index.forget();
            credentials::meet_realm(&self.hub, realm);
            let note = self.note_of_refusal(CredentialKinds::Users);
            let mut text = format!("{users} users of {realm} were imported by {}", caller.actor);
            if progress.doubtful > 0 {
                let _ = write!(text, ", and up to {} more", progress.doubtful);
            }
            text += &note;
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
