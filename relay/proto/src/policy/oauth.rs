//! Third-party authorization (RFC 7635) as the core sees it.

use std::collections::HashMap;

use shared::{OauthAlgorithm, Realm, Secret};

/// What tokens are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthPolicy {
    /// The name that authorization servers make tokens for; `None`: the name of the realm.
    pub server_name: Option<Box<str>>,
    /// The keys shared with authorization servers, by kid.
    pub keys: HashMap<Box<str>, OauthKey>,
}

/// A key shared with an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthKey {
    /// What tokens are encrypted with.
    pub algorithm: OauthAlgorithm,
    /// The key; only the bytes that the algorithm needs count.
    pub key: Secret<[u8; 32]>,
    /// When it becomes good, in Unix seconds.
    pub since: u64,
    /// When it ends, in Unix seconds; `None`: never.
    pub until: Option<u64>,
    /// The only realm it is good for.
    pub realm: Option<Realm>,
}

impl OauthPolicy {
    /// The server name for clients of a realm: THIRD-PARTY-AUTHORIZATION, and what a token is bound
    /// to.
    #[must_use]
    pub fn server_name<'a>(&'a self, realm: &'a Realm) -> &'a str {
        self.server_name.as_deref().unwrap_or(realm.as_str())
    }

    /// The key of that name, if it is good for the realm now.
    pub(crate) fn key(&self, kid: &str, realm: &Realm, unix: u64) -> Option<&OauthKey> {
        let key = self.keys.get(kid)?;
        let fits = key.realm.as_ref().is_none_or(|own| own == realm);
        let good = key.since <= unix && key.until.is_none_or(|until| unix < until);
        (fits && good).then_some(key)
    }
}
