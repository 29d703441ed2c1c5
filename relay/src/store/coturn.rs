//! What coturn keeps of a realm, and how it maps to our document.
//!
//! The document is ours; coturn's options and peer-ip lists are its projection. Whatever differs
//! from the projection was changed by another tool, and becomes the next revision.

use std::collections::BTreeSet;

use shared::api::RealmDocument;
use shared::{IpRange, Realm, Secret, Username, WebOrigin};

use super::StoredKey;

/// Bytes per second of one session.
pub(crate) const MAX_BPS: &str = "max-bps";
/// Sessions in the realm.
pub(crate) const TOTAL_QUOTA: &str = "total-quota";
/// Sessions per user.
pub(crate) const USER_QUOTA: &str = "user-quota";
/// Who stands as the author of a change made by another tool.
pub(crate) const EXTERNAL: &str = "external";

/// coturn's options and peer-ip lists of one realm, as far as they can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoturnOptions {
    max_bps: Option<u64>,
    total_quota: Option<u32>,
    user_quota: Option<u32>,
    allowed: BTreeSet<IpRange>,
    denied: BTreeSet<IpRange>,
    /// As coturn keeps them: with the port spelt out.
    origins: BTreeSet<String>,
}

/// One of the two lists of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerList {
    /// `allowed-peer-ip`
    Allowed,
    /// `denied-peer-ip`
    Denied,
}

impl CoturnOptions {
    /// What coturn is to see of `document`.
    pub(crate) fn projection(document: &RealmDocument) -> Self {
        Self {
            max_bps: document.max_rate_bps.map(|bits| (bits / 8).max(1)),
            total_quota: document.max_sessions.filter(|&limit| limit > 0),
            user_quota: document.max_sessions_per_user.filter(|&limit| limit > 0),
            allowed: document.allowed_peers.iter().copied().collect(),
            denied: document.denied_peers.iter().copied().collect(),
            origins: document.whole_origins().collect(),
        }
    }

    /// Reads one option as coturn does: `0` and what is no number mean "no limit". Values beyond
    /// our range are read as its end, so that reading what was imported finds no difference.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let number = value.trim().parse::<u64>().ok().filter(|&n| n > 0);
        let quota = number.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        match name {
            MAX_BPS => self.max_bps = number.map(|n| n.min(u64::MAX / 8)),
            TOTAL_QUOTA => self.total_quota = quota,
            USER_QUOTA => self.user_quota = quota,
            _ => {}
        }
    }

    /// Reads one entry of a list; what is no range is left out.
    pub(crate) fn add_peer(&mut self, list: PeerList, text: &str) {
        let Ok(range) = text.trim().parse() else {
            return;
        };
        match list {
            PeerList::Allowed => self.allowed.insert(range),
            PeerList::Denied => self.denied.insert(range),
        };
    }

    /// Reads an origin that belongs to the realm; what is no origin is left out.
    pub(crate) fn add_origin(&mut self, text: &str) {
        self.origins.extend(whole_origin(text));
    }

    /// The origins, as coturn stores them.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &str> {
        self.origins.iter().map(String::as_str)
    }

    /// The options by name, as coturn stores them; `None`: absent.
    pub(crate) fn options(&self) -> [(&'static str, Option<String>); 3] {
        [
            (MAX_BPS, self.max_bps.map(|n| n.to_string())),
            (TOTAL_QUOTA, self.total_quota.map(|n| n.to_string())),
            (USER_QUOTA, self.user_quota.map(|n| n.to_string())),
        ]
    }

    /// A list, as coturn stores it.
    pub(crate) fn peers(&self, list: PeerList) -> Vec<String> {
        let ranges = match list {
            PeerList::Allowed => &self.allowed,
            PeerList::Denied => &self.denied,
        };
        ranges.iter().map(IpRange::to_coturn).collect()
    }

    /// `document` with what another tool changed, or `None` where nothing differs from its
    /// projection. Fields that did not change keep what the projection cannot carry (bits below a
    /// byte, the order of ranges).
    pub(crate) fn import(&self, document: &RealmDocument) -> Option<RealmDocument> {
        let ours = Self::projection(document);
        if *self == ours {
            return None;
        }
        let mut next = document.clone();
        if self.max_bps != ours.max_bps {
            next.max_rate_bps = self.max_bps.map(|bytes| bytes.saturating_mul(8));
        }
        if self.total_quota != ours.total_quota {
            next.max_sessions = self.total_quota;
        }
        if self.user_quota != ours.user_quota {
            next.max_sessions_per_user = self.user_quota;
        }
        if self.allowed != ours.allowed {
            next.allowed_peers = self.allowed.iter().copied().collect();
        }
        if self.denied != ours.denied {
            next.denied_peers = self.denied.iter().copied().collect();
        }
        if self.origins != ours.origins {
            // Those that stay keep their order and spelling.
            let mut new = self.origins.clone();
            next.origins.retain(|text| {
                let whole = whole_origin(text);
                whole.is_none_or(|whole| new.remove(&whole))
            });
            next.origins
                .extend(new.iter().filter_map(|whole| short_origin(whole)));
        }
        Some(next)
    }

    /// The document of a realm that has none of ours: the default with coturn's options applied.
    pub(crate) fn without_document(&self) -> RealmDocument {
        let default = RealmDocument::default();
        RealmDocument {
            max_rate_bps: self.max_bps.map(|bytes| bytes.saturating_mul(8)),
            max_sessions: self.total_quota,
            max_sessions_per_user: self.user_quota.or(default.max_sessions_per_user),
            allowed_peers: self.allowed.iter().copied().collect(),
            denied_peers: self.denied.iter().copied().collect(),
            origins: self
                .origins
                .iter()
                .filter_map(|whole| short_origin(whole))
                .collect(),
            ..default
        }
    }
}

/// An origin as coturn stores it, whoever wrote it.
pub(crate) fn whole_origin(text: &str) -> Option<String> {
    Some(WebOrigin::parse_foreign(text)?.with_port())
}

/// An origin as a document shows it.
fn short_origin(whole: &str) -> Option<String> {
    Some(WebOrigin::parse_foreign(whole)?.as_str().to_owned())
}

/// A key as coturn stores it: the first 32 characters of what is there, hex.
pub(crate) fn parse_key(text: &[u8]) -> Option<StoredKey> {
    let hex = text.get(..32)?;
    let mut key = [0; 16];
    for (byte, pair) in key.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(Secret::new(key))
}

/// A key as coturn writes it: 32 lower-case hex digits.
pub(crate) fn format_key(key: &StoredKey) -> Secret<String> {
    use std::fmt::Write;
    let mut hex = String::with_capacity(32);
    for byte in key.expose() {
        let _ = write!(hex, "{byte:02x}");
    }
    Secret::new(hex)
}

/// A foreign realm name that we can serve.
pub(crate) fn realm(name: &str) -> Option<Realm> {
    name.parse().ok()
}

/// Whether a foreign user name is one that STUN can carry.
pub(crate) fn is_user_name(name: &str) -> bool {
    (1..=Username::MAX_LEN).contains(&name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> CoturnOptions {
        let mut options = CoturnOptions::default();
        for (name, value) in pairs {
            options.set(name, value);
        }
        options
    }

    #[test]
    fn what_was_projected_is_no_foreign_edit() {
        let document = RealmDocument {
            max_rate_bps: Some(8001),
            max_sessions: Some(7),
            denied_peers: vec!["10.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            ..RealmDocument::default()
        };
        let mut read = CoturnOptions::default();
        let projection = CoturnOptions::projection(&document);
        for (name, value) in projection.options() {
            value.iter().for_each(|value| read.set(name, value));
        }
        for range in projection.peers(PeerList::Denied) {
            assert!(!range.contains('/'), "coturn refuses CIDR");
            read.add_peer(PeerList::Denied, &range);
        }
        assert_eq!(read.import(&document), None);
    }

    #[test]
    fn origins_are_stored_with_their_port_and_keep_their_spelling_here() {
        let mut document = RealmDocument {
            origins: vec!["https://b.example".into(), "http://a.example:80".into()],
            ..RealmDocument::default()
        };
        let mut read = CoturnOptions::projection(&document);
        let stored: Vec<_> = read.origins().collect();
        assert_eq!(stored, ["http://a.example:80", "https://b.example:443"]);
        assert_eq!(read.import(&document), None);
        for foreign in [
            "HTTPS://C.example",
            "https://b.example",
            "null",
            "c.example",
            "file://",
        ] {
            read.add_origin(foreign);
        }
        let next = read.import(&document).unwrap();
        let known = [
            "https://b.example",
            "http://a.example:80",
            "https://c.example",
        ];
        assert_eq!(next.origins, known);
        assert_eq!(read.import(&next), None);
        document.origins.clear();
        let next = CoturnOptions::projection(&document).import(&next).unwrap();
        assert_eq!(next.origins, [""; 0]);
    }

    #[test]
    fn a_foreign_edit_changes_its_field_only() {
        let document = RealmDocument {
            max_rate_bps: Some(8001),
            ..RealmDocument::default()
        };
        let read = options(&[(MAX_BPS, "1000"), (USER_QUOTA, "0"), (TOTAL_QUOTA, "5")]);
        let next = read.import(&document).unwrap();
        assert_eq!(next.max_rate_bps, Some(8001));
        assert_eq!(next.max_sessions_per_user, None);
        assert_eq!(next.max_sessions, Some(5));
    }

    #[test]
    fn importing_is_stable_for_any_value() {
        for value in ["18446744073709551615", "4294967296", "-1", "x", "", "1"] {
            let read = options(&[(MAX_BPS, value), (USER_QUOTA, value), (TOTAL_QUOTA, value)]);
            let document = RealmDocument::default();
            let next = read.import(&document).unwrap_or(document);
            assert_eq!(read.import(&next), None, "{value}");
        }
    }

    #[test]
    fn keys_are_read_as_coturn_reads_them() {
        let key = parse_key(b"7da2270ccfa49786e0115366d3a3d14dtrailing").unwrap();
        assert_eq!(
            format_key(&key).expose(),
            "7da2270ccfa49786e0115366d3a3d14d"
        );
        assert!(parse_key(b"7da2").is_none());
        assert!(parse_key(b"0x7da2270ccfa49786e0115366d3a3d14d").is_none());
    }
}
