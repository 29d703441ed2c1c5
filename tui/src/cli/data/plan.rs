//! What a file says, put together by realm.

use std::collections::BTreeMap;

use shared::api::{ImportedUser, RealmDocument, RealmImport};
use shared::{Realm, Secret};

use super::read::{Numbered, nothing_done};
use super::table::What;
use crate::cli::exit::Failure;

/// Something of a file with the line that it stands on.
pub(super) type At<T> = (u64, T);

/// What a file says of one realm.
#[derive(Clone, Debug, Default)]
pub(super) struct OfRealm {
    /// Users, by name.
    pub(super) users: BTreeMap<String, At<Secret<String>>>,
    /// Shared secrets, each once.
    pub(super) secrets: Vec<At<Secret<String>>>,
    /// What its document is to say.
    pub(super) settings: Vec<At<What>>,
}

impl OfRealm {
    /// The document with what the file says.
    pub(super) fn applied(&self, document: &RealmDocument) -> RealmDocument {
        let mut document = document.clone();
        for (_, what) in &self.settings {
            what.apply(&mut document);
        }
        document
    }

    /// Users as calls have them.
    pub(super) fn users(&self) -> Vec<At<ImportedUser>> {
        let users = self.users.iter();
        let users = users.map(|(name, (line, key))| {
            let user = ImportedUser {
                name: name.clone(),
                key: key.expose().clone(),
            };
            (*line, user)
        });
        users.collect()
    }
}

/// Puts rows together; what contradicts itself is an error.
pub(super) fn gather(name: &str, rows: Vec<Numbered>) -> Result<BTreeMap<Realm, OfRealm>, Failure> {
    let mut realms: BTreeMap<Realm, OfRealm> = BTreeMap::new();
    let mut wrong = Vec::new();
    for Numbered { line, row } in rows {
        let of_realm = realms.entry(row.realm).or_default();
        let earlier = match row.what {
            What::User(name, key) => match of_realm.users.get(&name) {
                Some((earlier, known)) if *known != key => Some((*earlier, "user")),
                Some(_) => None,
                None => {
                    of_realm.users.insert(name, (line, key));
                    None
                }
            },
            What::Secret(value) => {
                if of_realm.secrets.iter().any(|(_, known)| *known == value) {
                    continue;
                }
                if of_realm.secrets.len() == RealmImport::MAX_IMPORTED {
                    let most = RealmImport::MAX_IMPORTED;
                    wrong.push(format!(
                        "{name}:{line}: more than {most} secrets of one realm, which takes 16: is it the table \
                         of secrets?"
                    ));
                    break;
                }
                of_realm.secrets.push((line, value));
                None
            }
            What::Limit(limit, value) => {
                let earlier = of_realm.settings.iter().find_map(|(at, what)| match what {
                    What::Limit(known, other) if *known == limit && *other != value => Some(*at),
                    _ => None,
                });
                of_realm.settings.push((line, What::Limit(limit, value)));
                earlier.map(|earlier| (earlier, "limit"))
            }
            what => {
                of_realm.settings.push((line, what));
                None
            }
        };
        if let Some((earlier, what)) = earlier {
            wrong.push(format!(
                "{name}:{line}: the {what} of line {earlier} again, and not the same"
            ));
        }
    }
    match wrong.is_empty() {
        true => Ok(realms),
        false => Err(nothing_done(wrong)),
    }
}
