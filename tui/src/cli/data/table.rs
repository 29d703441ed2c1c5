//! The tables of coturn's databases, and their rows: what is imported and exported.

use std::net::IpAddr;

use clap::ValueEnum;
use shared::api::RealmDocument;
use shared::{IpRange, Realm, Secret, WebOrigin};

/// A table of coturn's SQL databases, or a collection of its MongoDB, in the order of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Table {
    /// Users with their keys: realm, name, hmackey
    #[value(alias = "turnusers_lt")]
    Users,
    /// Shared secrets: realm, value
    #[value(alias = "turn_secret")]
    Secrets,
    /// Limits of realms: realm, opt (max-bps, total-quota, user-quota), value
    #[value(alias = "turn_realm_option")]
    RealmOptions,
    /// Web origins of realms: origin, realm
    #[value(alias = "turn_origin_to_realm")]
    Origins,
    /// Peers that are allowed: realm, ip_range
    #[value(alias = "allowed_peer_ip")]
    AllowedPeers,
    /// Peers that are denied: realm, ip_range
    #[value(alias = "denied_peer_ip")]
    DeniedPeers,
}

impl Table {
    /// All of them, in the order in which they are written.
    pub(super) const ALL: [Self; 6] = [
        Self::RealmOptions,
        Self::Origins,
        Self::AllowedPeers,
        Self::DeniedPeers,
        Self::Secrets,
        Self::Users,
    ];

    /// The word of the command line.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Secrets => "secrets",
            Self::RealmOptions => "realm-options",
            Self::Origins => "origins",
            Self::AllowedPeers => "allowed-peers",
            Self::DeniedPeers => "denied-peers",
        }
    }

    /// The names of its columns, as coturn has them.
    pub(super) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Users => &["realm", "name", "hmackey"],
            Self::Secrets => &["realm", "value"],
            Self::RealmOptions => &["realm", "opt", "value"],
            Self::Origins => &["origin", "realm"],
            Self::AllowedPeers | Self::DeniedPeers => &["realm", "ip_range"],
        }
    }

    /// Whether these values, in the order of its columns, can be nothing but a row: not names of columns.
    pub(super) fn is_surely(self, values: &[String], default: Option<&Realm>) -> bool {
        // Any text may be a secret.
        self != Self::Secrets
            && values.len() == self.columns().len()
            && self.read(values, default).is_ok()
    }

    /// Reads a row from the values of its columns.
    pub(super) fn read(self, values: &[String], default: Option<&Realm>) -> Result<Row, String> {
        let of = |name: &str| {
            let at = self.columns().iter().position(|column| *column == name);
            at.and_then(|at| values.get(at)).map_or("", String::as_str)
        };
        let realm = match (of("realm"), default) {
            ("", Some(realm)) => realm.clone(),
            ("", None) => {
                return Err(
                    "no realm, as in rows of coturn's default realm: name it with --realm"
                        .to_owned(),
                );
            }
            (text, _) => text.parse().map_err(|error| format!("realm: {error}"))?,
        };
        let what = match self {
            Self::Users => user(of("name"), of("hmackey"))?,
            Self::Secrets if of("value").is_empty() => return Err("value: empty".to_owned()),
            Self::Secrets => What::Secret(Secret::new(of("value").to_owned())),
            Self::RealmOptions => What::Limit(Limit::read(of("opt"))?, limit(of("value"))?),
            Self::Origins => {
                let origin = WebOrigin::parse_foreign(of("origin"));
                What::Origin(origin.ok_or("origin: scheme://host or scheme://host:port")?)
            }
            Self::AllowedPeers => What::Peer(true, range(of("ip_range"))?),
            Self::DeniedPeers => What::Peer(false, range(of("ip_range"))?),
        };
        Ok(Row { realm, what })
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) realm: Realm,
    pub(super) what: What,
}

/// What a row says of its realm.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A user and its key in hex.
    User(String, Secret<String>),
    /// A shared secret.
    Secret(Secret<String>),
    /// A limit; `None`: there is none.
    Limit(Limit, Option<u64>),
    /// A web origin.
    Origin(WebOrigin),
    /// A rule for peers; `true`: they are allowed.
    Peer(bool, IpRange),
}

impl What {
    /// Changes what a document says of it; users and secrets are not in documents.
    pub(super) fn apply(&self, document: &mut RealmDocument) {
        match self {
            Self::User(..) | Self::Secret(_) => {}
            Self::Limit(limit, value) => limit.set(document, *value),
            Self::Origin(origin) => {
                let whole = origin.with_port();
                if !document.whole_origins().any(|known| known == whole) {
                    document.origins.push(origin.as_str().to_owned());
                }
            }
            Self::Peer(allowed, range) => {
                let ranges = match allowed {
                    true => &mut document.allowed_peers,
                    false => &mut document.denied_peers,
                };
                if !ranges.contains(range) {
                    ranges.push(*range);
                }
            }
        }
    }
}

/// A limit that coturn knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// Of a session, in bytes per second.
    MaxBps,
    /// Sessions of the realm.
    TotalQuota,
    /// Sessions of a user.
    UserQuota,
}

impl Limit {
    pub(super) const ALL: [(&'static str, Self); 3] = [
        ("max-bps", Self::MaxBps),
        ("total-quota", Self::TotalQuota),
        ("user-quota", Self::UserQuota),
    ];

    fn read(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        let found = found.map(|(_, limit)| *limit);
        found.ok_or_else(|| "opt: max-bps, total-quota or user-quota".to_owned())
    }

    /// In a document rates are bits.
    pub(super) fn set(self, document: &mut RealmDocument, value: Option<u64>) {
        let count = value.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        match self {
            Self::MaxBps => document.max_rate_bps = value.map(|bytes| bytes.saturating_mul(8)),
            Self::TotalQuota => document.max_sessions = count,
            Self::UserQuota => document.max_sessions_per_user = count,
        }
    }

    /// What a document says, in coturn's unit.
    pub(super) fn get(self, document: &RealmDocument) -> Option<u64> {
        let value = match self {
            Self::MaxBps => document.max_rate_bps.map(|bits| (bits / 8).max(1)),
            Self::TotalQuota => document.max_sessions.map(u64::from),
            Self::UserQuota => document.max_sessions_per_user.map(u64::from),
        };
        value.filter(|value| *value > 0)
    }
}

fn user(name: &str, key: &str) -> Result<What, String> {
    if name.is_empty() {
        return Err("name: empty".to_owned());
    }
    // PostgreSQL fills `char(128)` up with spaces.
    let key = key.trim();
    let digits = key.strip_prefix("0x").unwrap_or(key);
    let is_key = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    match is_key {
        true => Ok(What::User(
            name.to_owned(),
            Secret::new(digits.to_ascii_lowercase()),
        )),
        false if key.is_empty() => {
            Err("hmackey: empty; relayctl export has keys with --with-secrets only".to_owned())
        }
        false => Err("hmackey: 32 hex digits, MD5 of name:realm:password".to_owned()),
    }
}

fn limit(text: &str) -> Result<Option<u64>, String> {
    let value: u64 = text
        .trim()
        .parse()
        .map_err(|_| "value: a number from 0 on")?;
    Ok((value > 0).then_some(value))
}

/// coturn writes ranges as first-last; one whose ends are the same is one address.
fn range(text: &str) -> Result<IpRange, String> {
    let rule = "ip_range: an address, address/prefix or first-last";
    if let Ok(address) = text.trim().parse::<IpAddr>() {
        return IpRange::new(address, address).ok_or_else(|| rule.to_owned());
    }
    text.trim().parse().map_err(|_| rule.to_owned())
}
