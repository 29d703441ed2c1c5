//! Names that come from STUN: realms and usernames.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A STUN realm (RFC 8489 §14.9): 1 to 127 bytes of UTF-8.
///
/// Control characters and `/` are refused: coturn's store keys split at the slash, and one database
/// must be able to serve both servers. Copies share the text: there are few realms and many sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Realm(Arc<str>);

impl Realm {
    /// The longest accepted realm, in bytes (coturn's column width; RFC 8489 allows 127 characters).
    pub const MAX_LEN: usize = 127;

    /// The realm as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Realm {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bad = |c: char| c.is_control() || matches!(c, '/' | '"');
        if text.is_empty() || text.len() > Self::MAX_LEN || text.contains(bad) {
            return Err(InvalidName(
                "a realm is 1 to 127 bytes of text without '/', '\"' or control characters",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// A STUN username (RFC 8489 §14.3): 1 to 508 bytes of UTF-8 as it came from the network.
///
/// It can hold anything else, control characters included: show it through
/// [`display_safe`](crate::display_safe) only. Copies share the text: a session's name is kept by its
/// worker and in the books.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(Arc<str>);

impl Username {
    /// The longest accepted username, in bytes (RFC 8489 §14.3).
    pub const MAX_LEN: usize = 508;

    /// The username as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, which copies share.
    #[must_use]
    pub fn share(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl FromStr for Username {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(InvalidName("a username is 1 to 508 bytes of UTF-8"));
        }
        Ok(Self(text.into()))
    }
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&crate::display_safe(&self.0))
            }
        }
    )*};
}

text_conversions!(Realm, Username);

/// A text that is no realm or username; says what one looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realm_refuses_what_breaks_coturn_keys() {
        assert!("north.gov".parse::<Realm>().is_ok());
        for bad in ["", "a/b", "a\nb", "a\"b", &"x".repeat(128)] {
            assert!(bad.parse::<Realm>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn display_of_a_hostile_username_is_safe() {
        let name: Username = "a\u{1b}]0;x\u{7}".parse().unwrap();
        assert!(!name.to_string().contains('\u{1b}'));
        assert_eq!(name.as_str(), "a\u{1b}]0;x\u{7}");
    }
}
