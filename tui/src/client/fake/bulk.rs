//! [`DataApi`] of the double.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use shared::Realm;
use shared::api::{
    ImportOutcome, ImportResult, ImportedUser, RealmImport, RevealRequest, Revealed,
    RevealedSecret, Role, SecretState,
};

use super::FakeAdmin;
use crate::client::{ClientResult, DataApi};

/// What was imported: users with their keys, and secrets.
#[derive(Debug, Default)]
pub(super) struct Imported {
    users: BTreeMap<(Realm, String), String>,
    secrets: BTreeSet<(Realm, String)>,
    /// Users that are refused when they are written, and not before.
    refused: BTreeSet<String>,
}

impl Imported {
    fn user(&mut self, realm: &Realm, user: &ImportedUser, dry_run: bool) -> ImportOutcome {
        if user.key.len() != 32 {
            return ImportOutcome::Refused("key: 32 hex digits".to_owned());
        }
        if !dry_run && self.refused.contains(&user.name) {
            return ImportOutcome::Refused("in the configuration file".to_owned());
        }
        let name = (realm.clone(), user.name.clone());
        let outcome = match self.users.get(&name) {
            Some(key) if *key == user.key => ImportOutcome::Same,
            Some(_) => ImportOutcome::Changed,
            None => ImportOutcome::Added,
        };
        if !dry_run {
            self.users.insert(name, user.key.clone());
        }
        outcome
    }

    fn secret(&mut self, realm: &Realm, value: &str, dry_run: bool) -> ImportOutcome {
        let secret = (realm.clone(), value.to_owned());
        if self.secrets.contains(&secret) {
            return ImportOutcome::Same;
        }
        if !dry_run {
            self.secrets.insert(secret);
        }
        ImportOutcome::Added
    }
}

impl FakeAdmin {
    /// This user is refused when it is written, though not when it is looked at.
    pub fn refuse_when_written(&self, user: &str) {
        let mut state = self.state();
        state.imported.refused.insert(user.to_owned());
    }
}

#[async_trait]
impl DataApi for FakeAdmin {
    async fn import_realm(
        &self,
        realm: &Realm,
        import: &RealmImport,
    ) -> ClientResult<ImportResult> {
        let (users, secrets, dry_run) = (import.users.len(), import.secrets.len(), import.dry_run);
        let call = format!(
            "import_realm {realm} users={users} secrets={secrets} dry_run={dry_run} reason={}",
            import.reason
        );
        let mut state = self.enter(Role::Admin, call)?;
        let imported = &mut state.imported;
        let users = import.users.iter();
        let users = users.map(|user| imported.user(realm, user, dry_run));
        let users = users.collect();
        let secrets = import.secrets.iter();
        let secrets = secrets.map(|value| imported.secret(realm, value, dry_run));
        Ok(ImportResult {
            dry_run,
            users,
            secrets: secrets.collect(),
        })
    }

    async fn reveal_realm(&self, realm: &Realm, request: &RevealRequest) -> ClientResult<Revealed> {
        let call = format!("reveal_realm {realm} reason={}", request.reason);
        let state = self.enter(Role::Admin, call)?;
        let users = state.imported.users.iter();
        let users = users.filter(|((of, _), _)| of == realm && !request.secrets_only);
        let secrets = state.imported.secrets.iter();
        let secrets = secrets.filter(|(of, _)| of == realm);
        Ok(Revealed {
            users: users
                .map(|((_, name), key)| ImportedUser {
                    name: name.clone(),
                    key: key.clone(),
                })
                .collect(),
            secrets: secrets
                .map(|(_, value)| RevealedSecret {
                    id: format!("id-of-{value}"),
                    value: value.clone(),
                    state: SecretState::Active,
                    label: String::new(),
                })
                .collect(),
            next: None,
        })
    }
}
