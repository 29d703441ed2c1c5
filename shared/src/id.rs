//! Identities of nodes, workers and sessions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The configured (or once generated and kept) name of a node.
///
/// 1 to 63 characters out of `a-z A-Z 0-9 . _ -`: it becomes part of store keys, metric labels and
/// screen columns, so it never needs quoting in any of them. Copies share the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The longest accepted name, in bytes.
    pub const MAX_LEN: usize = 63;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.chars().all(legal) {
            return Err(InvalidId(
                "a node id is 1 to 63 characters out of a-z A-Z 0-9 . _ -",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The index of a worker thread inside its node, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub u16);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a session (a TURN allocation), unique over the cluster.
///
/// The upper 32 bits are drawn at each start of a node and registered for it, so that an id names
/// its owner without a lookup; the lower 32 count. Printed as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(pub u64);

impl SessionId {
    /// Joins the base drawn by the node and a counter.
    #[must_use]
    pub fn new(base: u32, count: u32) -> Self {
        Self(u64::from(base) << 32 | u64::from(count))
    }

    /// The part that names the owner: drawn at each start of a node.
    #[must_use]
    pub fn base(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:016x}", self.0))
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const WHAT: InvalidId = InvalidId("a session id is 16 hex digits");
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(WHAT);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| WHAT)
    }
}

impl TryFrom<String> for SessionId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

/// The leading 6 to 16 hex digits of a session id, as an operator types them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionIdPrefix {
    bits: u64,
    digits: u32,
}

impl SessionIdPrefix {
    /// Whether `id` starts with these digits.
    #[must_use]
    pub fn matches(self, id: SessionId) -> bool {
        id.0 >> (64 - 4 * self.digits) == self.bits
    }

    /// The id itself when all 16 digits were given.
    #[must_use]
    pub fn exact(self) -> Option<SessionId> {
        (self.digits == 16).then_some(SessionId(self.bits))
    }
}

impl FromStr for SessionIdPrefix {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const WHAT: InvalidId = InvalidId("a session id prefix is 6 to 16 hex digits");
        let legal = text.bytes().all(|b| b.is_ascii_hexdigit());
        if !(6..=16).contains(&text.len()) || !legal {
            return Err(WHAT);
        }
        let bits = u64::from_str_radix(text, 16).map_err(|_| WHAT)?;
        Ok(Self {
            bits,
            digits: text.len() as u32,
        })
    }
}

/// A text that is not the id it was given as; says what the id looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_id_round_trips_as_sixteen_digits() {
        let id = SessionId::new(0xdead_beef, 7);
        assert_eq!(id.to_string(), "deadbeef00000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.base(), 0xdead_beef);
    }

    #[test]
    fn prefix_matches_from_six_digits() {
        let id = SessionId::new(0xdead_beef, 7);
        assert!("deadbe".parse::<SessionIdPrefix>().unwrap().matches(id));
        assert!(
            "DEADBEEF00000007"
                .parse::<SessionIdPrefix>()
                .unwrap()
                .matches(id)
        );
        assert!(!"deadbf".parse::<SessionIdPrefix>().unwrap().matches(id));
        assert!("deadb".parse::<SessionIdPrefix>().is_err());
        assert!("deadbeef000000070".parse::<SessionIdPrefix>().is_err());
    }

    #[test]
    fn node_id_refuses_what_needs_quoting() {
        assert!("fra-1.eu".parse::<NodeId>().is_ok());
        for bad in ["", "a b", "a/b", "a{b}", "ü", "a\u{1b}", &"x".repeat(64)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?}");
        }
    }
}
