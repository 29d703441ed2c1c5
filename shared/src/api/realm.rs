//! Realms: one document each, with a revision.

use serde::{Deserialize, Serialize};

use crate::{IpRange, NodeId, PasswordAlgorithm, Realm, WebOrigin};

/// The settings of a realm. Absent limits mean "no limit"; unknown fields are kept, so that an
/// older node never drops what a newer one wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RealmDocument {
    /// Sessions in the realm, over all nodes. coturn: `total-quota`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Sessions per (non-empty) user, over all nodes. coturn: `user-quota`. "No limit" is written as
    /// `null`: a missing field means the default.
    pub max_sessions_per_user: Option<u32>,
    /// Bits per second of one session in each direction. coturn: `max-bps`, in bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate_bps: Option<u64>,
    /// Bits per second of all sessions of a (non-empty) user in each direction, over all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_user_rate_bps: Option<u64>,
    /// Bits per second of all sessions of the realm in each direction, over all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_realm_rate_bps: Option<u64>,
    /// Peers that were not permitted before, per second, of one session; ten seconds' worth may
    /// come at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_peers_per_sec: Option<u32>,
    /// The same, of all sessions of a (non-empty) user, per node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_user_new_peers_per_sec: Option<u32>,
    /// The same, of all sessions of the realm, per node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_realm_new_peers_per_sec: Option<u32>,
    /// Lifetime granted when the client asks for none or less, in seconds (RFC 8656 §7.2: 600).
    pub default_lifetime_secs: u32,
    /// The longest lifetime granted, in seconds (RFC 8656 §7.2: 3600).
    pub max_lifetime_secs: u32,
    /// Peers allowed although a rule below or the special-use list denies them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_peers: Vec<IpRange>,
    /// Peers denied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied_peers: Vec<IpRange>,
    /// Web origins whose clients authenticate in this realm, as in `https://app.example.org`; an
    /// origin belongs to one realm. coturn: `turn_origin_to_realm`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Host names that TLS and DTLS clients of this realm ask for (SNI), in lower case, compared as a
    /// whole; a name belongs to one realm.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<String>,
    /// Separates expiry and user in time-limited usernames (TURN REST); one character.
    pub rest_separator: char,
    /// What clients may make their key with, in order of preference (PASSWORD-ALGORITHMS, RFC 8489
    /// §9.2.4); each once. None: nothing is offered, and all use MD5. The list goes out before a
    /// name is known: with `sha-256` first, users who have coturn's MD5 key only are refused to
    /// clients that know both.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub password_algorithms: Vec<PasswordAlgorithm>,
    /// Whether clients are told to send a hash for their name (USERHASH, RFC 8489 §14.4). Never
    /// offered while the realm has shared secrets: a time-limited name cannot be found by its hash.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub username_anonymity: bool,
    /// Whether clients of this realm may have connections relayed (TCP allocations, RFC 6062),
    /// whatever the node's `tcp_relay` says; absent: as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_relay: Option<bool>,
    /// Whether running sessions of a stored user end when the user is deleted or switched off; else
    /// they go on until their client lets them. New sessions are refused in any case.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub revoke_on_user_removal: bool,
    /// Whether running sessions that came with the password before end when a stored user gets
    /// another one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub revoke_on_password_change: bool,
    /// Whether running sessions end when the shared secret that signed their credential is removed
    /// or retired.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub revoke_on_secret_removal: bool,
    /// Whether a session ends when its time-limited credential does, and not only when its client
    /// stops refreshing it: calls longer than what their credentials were minted for are cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub revoke_on_credential_expiry: bool,
    /// What becomes of new sessions on a node that cannot reach the store.
    #[serde(skip_serializing_if = "WithoutStore::is_cached")]
    pub new_sessions_without_store: WithoutStore,
    /// For operators.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Fields of versions newer than this one.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// What becomes of new sessions on a node that cannot reach the store. Running sessions go on in any
/// case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutStore {
    /// Whoever the node knows may begin some: users whose keys it has read lately, and whoever comes
    /// with a credential of a shared secret.
    #[default]
    Cached,
    /// Nobody may (508), so that no block, ban, quota or removal of a user is missed.
    Refuse,
}

impl std::str::FromStr for WithoutStore {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "cached" => Ok(Self::Cached),
            "refuse" => Ok(Self::Refuse),
            _ => Err("cached or refuse"),
        }
    }
}

impl WithoutStore {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Refuse => "refuse",
        }
    }

    fn is_cached(&self) -> bool {
        *self == Self::Cached
    }
}

impl RealmDocument {
    /// Sessions per non-empty user unless a realm says otherwise.
    pub const DEFAULT_SESSIONS_PER_USER: u32 = 12;
    /// The least rate that can be set, in bits per second: a packet a second.
    pub const MIN_RATE_BPS: u64 = 8000;
    /// The most origins.
    pub const MAX_ORIGINS: usize = 64;
    /// The most server names.
    pub const MAX_SERVER_NAMES: usize = 64;

    /// Checks what serde cannot: ranges of lifetimes, limits and the separator.
    ///
    /// # Errors
    /// One sentence per wrong field that names it and its range.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        let (default, max) = (self.default_lifetime_secs, self.max_lifetime_secs);
        if !(1..=86_400).contains(&default) {
            errors.push("default_lifetime_secs: between 1 and 86400".to_owned());
        }
        if !(1..=86_400).contains(&max) || max < default {
            errors.push(
                "max_lifetime_secs: between 1 and 86400, and not below default_lifetime_secs"
                    .to_owned(),
            );
        }
        let rates = [
            ("max_rate_bps", self.max_rate_bps),
            ("max_user_rate_bps", self.max_user_rate_bps),
            ("max_realm_rate_bps", self.max_realm_rate_bps),
        ];
        for (name, rate) in rates {
            if rate.is_some_and(|rate| rate < Self::MIN_RATE_BPS) {
                let range = "bits per second, at least 8000; omit it for no limit";
                errors.push(format!("{name}: {range}"));
            }
        }
        let per_second = [
            ("max_new_peers_per_sec", self.max_new_peers_per_sec),
            (
                "max_user_new_peers_per_sec",
                self.max_user_new_peers_per_sec,
            ),
            (
                "max_realm_new_peers_per_sec",
                self.max_realm_new_peers_per_sec,
            ),
        ];
        for (name, _) in per_second.iter().filter(|(_, limit)| *limit == Some(0)) {
            errors.push(format!("{name}: at least 1; omit it for no limit"));
        }
        if self.max_sessions == Some(0) || self.max_sessions_per_user == Some(0) {
            errors.push(
                "max_sessions, max_sessions_per_user: at least 1; omit them for no limit"
                    .to_owned(),
            );
        }
        errors.extend(self.origin_error());
        errors.extend(self.server_name_error());
        if self.rest_separator.is_alphanumeric() || self.rest_separator.is_control() {
            errors.push("rest_separator: one punctuation character, usually ':'".to_owned());
        }
        let offered = &self.password_algorithms;
        let once = |one| offered.iter().filter(|other| *other == one).count() == 1;
        if !offered.iter().all(once) {
            errors.push("password_algorithms: md5 and sha-256, each once at most".to_owned());
        }
        if self.note.len() > 1000 {
            errors.push("note: at most 1000 bytes".to_owned());
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Its origins as they are compared: with the port of their scheme spelt out. What is no origin
    /// is left out.
    pub fn whole_origins(&self) -> impl Iterator<Item = String> {
        let origins = self.origins.iter();
        origins.filter_map(|text| Some(text.parse::<WebOrigin>().ok()?.with_port()))
    }

    /// What only one realm may have: the field and the value, as values are compared.
    pub fn claims(&self) -> impl Iterator<Item = (&'static str, String)> {
        let names = self.server_names.iter().cloned();
        let origins = self.whole_origins().map(|origin| ("origins", origin));
        origins.chain(names.map(|name| ("server_names", name)))
    }

    fn server_name_error(&self) -> Option<String> {
        if self.server_names.len() > Self::MAX_SERVER_NAMES {
            return Some(format!("server_names: at most {}", Self::MAX_SERVER_NAMES));
        }
        let mut seen = std::collections::BTreeSet::new();
        for name in &self.server_names {
            if !is_host_name(name) {
                let form = "each a host name in lower case, as in turn.example.org";
                return Some(format!("server_names: {form}"));
            }
            if !seen.insert(name) {
                return Some(format!("server_names: each once; {name} is there twice"));
            }
        }
        None
    }

    fn origin_error(&self) -> Option<String> {
        if self.origins.len() > Self::MAX_ORIGINS {
            return Some(format!("origins: at most {}", Self::MAX_ORIGINS));
        }
        let mut seen = std::collections::BTreeSet::new();
        for text in &self.origins {
            let Ok(origin) = text.parse::<WebOrigin>() else {
                let form = "each scheme://host or scheme://host:port in lower case";
                return Some(format!("origins: {form}, as in https://app.example.org"));
            };
            if !seen.insert(origin.with_port()) {
                return Some(format!("origins: each once; {origin} is there twice"));
            }
        }
        None
    }
}

/// Whether a text is a host name as clients send it (RFC 6066 §3): no address, no final dot, no
/// upper case.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let letter = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let label = |label: &str| {
        let whole = !label.is_empty() && label.len() <= 63 && label.bytes().all(letter);
        whole && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_address = text.parse::<std::net::IpAddr>().is_ok();
    !is_address && text.len() <= 253 && text.split('.').all(label)
}

impl Default for RealmDocument {
    fn default() -> Self {
        Self {
            max_sessions: None,
            max_sessions_per_user: Some(Self::DEFAULT_SESSIONS_PER_USER),
            max_rate_bps: None,
            max_user_rate_bps: None,
            max_realm_rate_bps: None,
            max_new_peers_per_sec: None,
            max_user_new_peers_per_sec: None,
            max_realm_new_peers_per_sec: None,
            default_lifetime_secs: 600,
            max_lifetime_secs: 3600,
            allowed_peers: Vec::new(),
            denied_peers: Vec::new(),
            origins: Vec::new(),
            server_names: Vec::new(),
            rest_separator: ':',
            password_algorithms: Vec::new(),
            username_anonymity: false,
            tcp_relay: None,
            revoke_on_user_removal: false,
            revoke_on_password_change: false,
            revoke_on_secret_removal: false,
            revoke_on_credential_expiry: false,
            new_sessions_without_store: WithoutStore::Cached,
            note: String::new(),
            extra: serde_json::Map::new(),
        }
    }
}

/// A realm with its revision and live figures.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct RealmView {
    /// The name.
    pub name: Realm,
    /// Counts the changes of the document; 0: only in the node's config file, never stored.
    pub revision: u64,
    /// When the document was changed last; 0 when never.
    pub changed_at_ms: u64,
    /// By whom.
    pub changed_by: String,
    /// The settings.
    pub document: RealmDocument,
    /// Shared secrets.
    pub secrets: u32,
    /// Live sessions.
    pub sessions: u64,
    /// Users with at least one session; estimated, within some percent, beyond a thousand of them.
    pub users: u64,
    /// Bits per second from clients.
    pub rate_in_bps: u64,
    /// Bits per second to clients.
    pub rate_out_bps: u64,
    /// Live refusals in this realm since the nodes' start.
    pub refusals: u64,
    /// Which revision each node applies, as of a moment ago; in answers about one realm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applied: Vec<RealmApplied>,
}

impl RealmView {
    /// The nodes that apply another revision than the one that is stored.
    pub fn lagging(&self) -> impl Iterator<Item = &RealmApplied> {
        let applied = self.applied.iter();
        applied.filter(|applied| applied.revision != self.revision)
    }
}

/// What a node applies of a realm.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct RealmApplied {
    /// The node.
    pub node: NodeId,
    /// The revision that its workers judge by; 0: it knows no document of the realm.
    pub revision: u64,
    /// For how many seconds it has been silent; a second or less is normal.
    pub heartbeat_age_secs: u64,
}

/// `POST /v1/realms/{realm}/preview` takes a [`RealmPut`] and answers what it would do, changing
/// nothing.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct RealmPreview {
    /// Name and version of this type: `realm-preview/1`.
    pub schema: String,
    /// When the answer was assembled.
    pub as_of_ms: u64,
    /// The revision that is there now; 0: the realm has no document yet.
    pub revision: u64,
    /// What is wrong with the document; it cannot be applied unless this is empty.
    pub errors: Vec<String>,
    /// Nodes that would apply it.
    pub nodes: u32,
    /// Live sessions of the realm.
    pub sessions: u64,
    /// Sessions whose rate is above the new limit now.
    pub sessions_over_rate: u64,
    /// Sessions with a permission for a peer that the new rules deny.
    pub sessions_with_denied_peers: u64,
    /// Users with more sessions on a node than the new limit; they keep them until they end.
    pub users_over_limit: u64,
    /// Nodes with more sessions of the realm than the new limit.
    pub nodes_over_limit: u32,
    /// Sessions that end at once, because one of the `revoke_on_...` rules begins to hold that their
    /// user, password, secret or credential does not pass any more.
    #[serde(default)]
    pub sessions_revoked: u64,
    /// Sessions of which that could not be told: the store was away, or there are too many users.
    #[serde(default)]
    pub sessions_unjudged: u64,
    /// Nodes that did not answer: theirs are not counted.
    #[serde(default)]
    pub missing: Vec<super::MissingNode>,
}

/// `PUT /v1/realms/{realm}` takes this body, with `If-Match: <revision>` (0 to create).
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct RealmPut {
    /// The whole new document.
    pub document: RealmDocument,
    /// Why; kept in the audit.
    #[serde(default)]
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive_a_round_trip() {
        let text = r#"{"max_sessions":5,"from_the_future":{"a":1}}"#;
        let document: RealmDocument = serde_json::from_str(text).unwrap();
        assert_eq!(document.max_sessions, Some(5));
        let again = serde_json::to_value(&document).unwrap();
        assert_eq!(again["from_the_future"]["a"], 1);
    }

    #[test]
    fn origins_are_of_one_form_and_each_there_once() {
        let with = |origins: &[&str]| RealmDocument {
            origins: origins.iter().map(|&o| o.to_owned()).collect(),
            ..RealmDocument::default()
        };
        let good = with(&[
            "https://a.example",
            "https://a.example:8443",
            "http://a.example",
        ]);
        assert!(good.validate().is_ok());
        for bad in [&["https://a.example/"][..], &["https://a", "https://a:443"]] {
            let errors = with(bad).validate().unwrap_err();
            assert!(
                errors.len() == 1 && errors[0].starts_with("origins: "),
                "{errors:?}"
            );
        }
        let many: Vec<_> = (0..65).map(|n| format!("https://a{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(with(&many[..64]).validate().is_ok());
        assert!(with(&many).validate().is_err());
    }

    #[test]
    fn server_names_are_host_names_in_lower_case_and_each_there_once() {
        let with = |names: &[&str]| RealmDocument {
            server_names: names.iter().map(|&n| n.to_owned()).collect(),
            ..RealmDocument::default()
        };
        assert!(with(&["turn.example.org", "localhost"]).validate().is_ok());
        for bad in [
            &["Turn.example.org"][..],
            &["turn.example.org."],
            &["192.0.2.1"],
            &["*.example.org"],
            &["-a.example"],
            &[""],
            &["a.example", "a.example"],
        ] {
            let errors = with(bad).validate().unwrap_err();
            assert!(
                errors[0].starts_with("server_names: "),
                "{bad:?} {errors:?}"
            );
        }
        let many: Vec<_> = (0..65).map(|n| format!("a{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(with(&many[..64]).validate().is_ok());
        assert!(with(&many).validate().is_err());
    }

    #[test]
    fn validation_names_every_wrong_field() {
        let document = RealmDocument {
            default_lifetime_secs: 0,
            max_rate_bps: Some(1),
            max_user_new_peers_per_sec: Some(0),
            max_sessions: Some(0),
            rest_separator: 'x',
            ..RealmDocument::default()
        };
        assert_eq!(document.validate().unwrap_err().len(), 5);
        assert!(RealmDocument::default().validate().is_ok());
    }
}
