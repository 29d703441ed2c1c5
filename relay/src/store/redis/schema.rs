//! The names of all keys, coturn's and ours: nothing else in the program spells one.
//!
//! Ours carry one hash tag per realm or node, so that on a cluster what belongs together lies in
//! one slot. Realm and user names are base64url in them: whatever a name holds, it stays one key.
//! Node ids stand as they are, since their alphabet never needs quoting, and ACL rules name them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::{NodeId, Realm};

use crate::store::Mailbox;
use crate::store::coturn::{self, PeerList};
use crate::store::oauth::is_kid;

/// Where coturn keeps realms; client tracking follows it.
pub(super) const COTURN_PREFIX: &str = "turn/realm/";
/// Where coturn keeps to which realm an origin belongs; client tracking follows it too.
pub(super) const ORIGIN_PREFIX: &str = "turn/origin/";
/// Where coturn keeps keys of third-party authorization; client tracking follows it too.
pub(super) const OAUTH_PREFIX: &str = "turn/oauth/kid/";
/// What all of the above begin with.
pub(super) const COTURN_KEYS: &str = "turn/*";
/// The sorted set of node ids, scored by their last heartbeat in Unix milliseconds and parts of them.
pub(super) const NODES: &str = "relay:nodes";
/// Those whose record changed lately in what others act on, scored by when; in the slot of the key above.
pub(super) const NODES_CHANGED: &str = "relay:{relay:nodes}:changed";
/// The set of all realm names.
pub(super) const REALMS: &str = "relay:realms";
/// The set of the kids that coturn's keys of third-party authorization have.
pub(super) const OAUTH_KIDS: &str = "relay:oauth";
/// The sorted set of blocks, scored by their end in Unix milliseconds.
pub(super) const BANS: &str = "relay:bans";
/// Their records, in the slot of the key above.
pub(super) const BAN_RECORDS: &str = "relay:{relay:bans}:records";
/// The set of token ids.
pub(super) const TOKENS: &str = "relay:tokens";
/// The live tail.
pub(super) const EVENTS: &str = "relay:events";
/// The audit record.
pub(super) const AUDIT: &str = "relay:audit";
/// The channel that tells changes.
pub(super) const CHANGES: &str = "relay:changes";
/// Held by the gateway that looks for users other tools wrote while nobody listened.
pub(super) const HEAL_LEASE: &str = "relay:heal";
/// The layout that this version writes, in the field `v` of every hash.
pub(super) const VERSION: u32 = 1;

fn encoded(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

/// coturn's key of a user.
pub(super) fn coturn_user(realm: &Realm, name: &str) -> String {
    format!("{COTURN_PREFIX}{}/user/{name}/key", realm.as_str())
}

/// coturn's set of shared secrets.
pub(super) fn coturn_secret(realm: &Realm) -> String {
    format!("{COTURN_PREFIX}{}/secret", realm.as_str())
}

/// One of coturn's three options.
pub(super) fn coturn_option(realm: &Realm, option: &str) -> String {
    format!("{COTURN_PREFIX}{}/{option}", realm.as_str())
}

/// One of coturn's two lists of peers.
pub(super) fn coturn_peers(realm: &Realm, list: PeerList) -> String {
    let name = match list {
        PeerList::Allowed => "allowed-peer-ip",
        PeerList::Denied => "denied-peer-ip",
    };
    format!("{COTURN_PREFIX}{}/{name}", realm.as_str())
}

/// coturn's key of a key of third-party authorization.
pub(super) fn coturn_oauth(kid: &str) -> String {
    format!("{OAUTH_PREFIX}{kid}")
}

/// coturn's key of an origin.
pub(super) fn coturn_origin(origin: &str) -> String {
    format!("{ORIGIN_PREFIX}{origin}")
}

/// The set of origins, as coturn's keys spell them, that a realm has or had: which of these it has
/// is what the keys say.
pub(super) fn origins(realm: &Realm) -> String {
    format!("relay:origins:{{{}}}", encoded(realm.as_str()))
}

/// What one of coturn's keys is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum CoturnKey {
    /// A user's key.
    User(Realm, String),
    /// The secrets of a realm.
    Secrets(Realm),
    /// An option or a peer list.
    Options(Realm),
    /// To which realm an origin belongs.
    Origin(String),
    /// A key of third-party authorization.
    Oauth(String),
}

/// Reads a key's name; `None` for keys that mean nothing to us.
pub(super) fn parse_coturn(key: &[u8]) -> Option<CoturnKey> {
    let key = std::str::from_utf8(key).ok()?;
    if let Some(origin) = key.strip_prefix(ORIGIN_PREFIX) {
        let known = coturn::whole_origin(origin).is_some();
        return known.then(|| CoturnKey::Origin(origin.to_owned()));
    }
    if let Some(kid) = key.strip_prefix(OAUTH_PREFIX) {
        return is_kid(kid).then(|| CoturnKey::Oauth(kid.to_owned()));
    }
    let (realm, what) = key.strip_prefix(COTURN_PREFIX)?.split_once('/')?;
    let realm = coturn::realm(realm)?;
    if let Some(name) = what
        .strip_prefix("user/")
        .and_then(|rest| rest.strip_suffix("/key"))
    {
        return coturn::is_user_name(name).then(|| CoturnKey::User(realm, name.to_owned()));
    }
    match what {
        "secret" => Some(CoturnKey::Secrets(realm)),
        coturn::MAX_BPS
        | coturn::TOTAL_QUOTA
        | coturn::USER_QUOTA
        | "allowed-peer-ip"
        | "denied-peer-ip" => Some(CoturnKey::Options(realm)),
        _ => None,
    }
}

/// The record of a user, beside coturn's key.
pub(super) fn user(realm: &Realm, name: &str) -> String {
    format!(
        "relay:user:{{{}}}:{}",
        encoded(realm.as_str()),
        encoded(name)
    )
}

/// The names of a realm's users by their USERHASH.
pub(super) fn userhashes(realm: &Realm) -> String {
    format!("relay:userhashes:{{{}}}", encoded(realm.as_str()))
}

/// The sorted index of a realm's users.
pub(super) fn users(realm: &Realm) -> String {
    format!("relay:users:{{{}}}", encoded(realm.as_str()))
}

/// The document of a realm.
pub(super) fn realm(realm: &Realm) -> String {
    format!("relay:realm:{{{}}}", encoded(realm.as_str()))
}

/// Its revisions, newest first.
pub(super) fn realm_history(name: &Realm) -> String {
    format!("{}:history", realm(name))
}

/// The label of a shared secret.
pub(super) fn secret(realm: &Realm, fingerprint: [u8; 16]) -> String {
    let id = URL_SAFE_NO_PAD.encode(fingerprint);
    format!("relay:secret:{{{}}}:{id}", encoded(realm.as_str()))
}

/// The secrets of a realm that are not accepted, by [`secret_field`]: coturn's set must not have them.
pub(super) fn secrets_aside(realm: &Realm) -> String {
    format!("relay:secrets:{{{}}}", encoded(realm.as_str()))
}

/// What names a secret in [`secrets_aside`].
pub(super) fn secret_field(fingerprint: [u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(fingerprint)
}

/// A document. Its names never need quoting.
pub(super) fn document(name: &str) -> String {
    format!("relay:document:{{{name}}}")
}

/// A word that tells whether its server was emptied.
pub(super) fn mark(number: u32) -> String {
    format!("relay:mark:{number}")
}

/// A token.
pub(super) fn token(id: &str) -> String {
    format!("relay:token:{}", encoded(id))
}

/// What names a block in [`BANS`] and [`BAN_RECORDS`].
pub(super) fn ban(realm: &Realm, user: &str) -> String {
    format!("{}:{}", encoded(realm.as_str()), encoded(user))
}

/// The record of a node.
pub(super) fn node(node: &NodeId) -> String {
    format!("relay:node:{{{}}}", node.as_str())
}

/// The count of its starts; stays when the node is forgotten.
pub(super) fn node_epoch(node: &NodeId) -> String {
    format!("relay:node:{{{}}}:epoch", node.as_str())
}

/// Its sessions.
pub(super) fn node_sessions(node: &NodeId) -> String {
    format!("relay:node:{{{}}}:sessions", node.as_str())
}

/// Until when the sessions of holders count.
pub(super) fn quota_leases(realm: &Realm) -> String {
    format!("relay:quota:{{{}}}:leases", encoded(realm.as_str()))
}

/// How many sessions of a user each holder has; of the realm for the empty one.
pub(super) fn quota_sessions(realm: &Realm, user: &str) -> String {
    let realm = encoded(realm.as_str());
    format!("relay:quota:{{{realm}}}:sessions:{}", encoded(user))
}

/// Until when the shares of holders count.
pub(super) fn quota_rate_leases(realm: &Realm) -> String {
    format!("relay:quota:{{{}}}:rate-leases", encoded(realm.as_str()))
}

/// Which shares of a user's rate each holder has; of the realm's for `None`.
pub(super) fn quota_rate(realm: &Realm, user: Option<&str>) -> String {
    let realm = encoded(realm.as_str());
    let user = user.map(encoded).unwrap_or_default();
    format!("relay:quota:{{{realm}}}:rate:{user}")
}

/// The budgets of a realm that somebody wants more of, by their keys, and since when.
pub(super) fn quota_rate_asked(realm: &Realm) -> String {
    format!("relay:quota:{{{}}}:rate-asked", encoded(realm.as_str()))
}

/// Whose budget has this key of [`quota_rate`]; `None`: it is none of the realm's.
pub(super) fn quota_rate_user(realm: &Realm, key: &str) -> Option<Option<String>> {
    let name = key.strip_prefix(&quota_rate(realm, None))?;
    if name.is_empty() {
        return Some(None);
    }
    let user = URL_SAFE_NO_PAD.decode(name).ok()?;
    String::from_utf8(user).ok().map(Some)
}

/// A mailbox. Both of a node share one slot.
pub(super) fn mailbox(mailbox: &Mailbox) -> String {
    match mailbox {
        Mailbox::Node(node) => format!("relay:node:{{{}}}:mailbox", node.as_str()),
        Mailbox::Reply(node) => format!("relay:reply:{{{}}}", node.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coturn_keys_are_read_back() {
        let realm: Realm = "north.gov".parse().unwrap();
        for name in ["gorst", "a/b", "%s", "{x}", "key", "a b\n"] {
            let key = coturn_user(&realm, name);
            let read = parse_coturn(key.as_bytes());
            assert_eq!(read, Some(CoturnKey::User(realm.clone(), name.to_owned())));
        }
        assert_eq!(
            parse_coturn(coturn_oauth("a/b").as_bytes()),
            Some(CoturnKey::Oauth("a/b".to_owned()))
        );
        assert_eq!(
            parse_coturn(coturn_secret(&realm).as_bytes()),
            Some(CoturnKey::Secrets(realm.clone()))
        );
        for list in [PeerList::Allowed, PeerList::Denied] {
            assert_eq!(
                parse_coturn(coturn_peers(&realm, list).as_bytes()),
                Some(CoturnKey::Options(realm.clone()))
            );
        }
    }

    #[test]
    fn foreign_keys_mean_nothing() {
        for key in [
            "turn/realm/x",
            "turn/realm//user/a/key",
            "turn/realm/r/user/a/allocation/1/status",
            "turn/realm/r/user//key",
            "turn/origin/x",
            "turn/oauth/kid/",
            "turn/oauth/other",
            "turn/origin/",
            "turn/origin/null",
            "other",
        ] {
            assert_eq!(parse_coturn(key.as_bytes()), None, "{key}");
        }
        assert_eq!(parse_coturn(b"turn/realm/\xff/secret"), None);
    }

    #[test]
    fn hostile_names_keep_one_hash_tag() {
        let realm: Realm = "a}b{c".parse().unwrap();
        let key = user(&realm, "}{ \n%s/");
        assert_eq!((key.matches('{').count(), key.matches('}').count()), (1, 1));
        assert!(key.bytes().all(|b| b.is_ascii_graphic()));
    }
}
