//! Revisions of realms: who made each, why, and what it says.

use std::time::Duration;

use shared::api::RealmDocument;

/// Revisions kept of each realm, the one in force among them.
pub const REVISIONS_KEPT: u64 = 100;
/// How long those of a deleted realm are kept.
pub const DELETED_KEPT: Duration = Duration::from_secs(90 * 86_400);

/// Who changes something, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// As the audit names them.
    pub actor: String,
    /// In their words; may be empty.
    pub reason: String,
}

impl From<&str> for Author {
    /// Somebody without a reason.
    fn from(actor: &str) -> Self {
        Self {
            actor: actor.to_owned(),
            reason: String::new(),
        }
    }
}

/// One revision of a realm.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRevision {
    /// Counts the changes of the realm from 1; a deletion counts, and a realm that is made again
    /// goes on counting.
    pub revision: u64,
    /// When it was made.
    pub changed_at_ms: u64,
    /// By whom; `external` for other tools.
    pub changed_by: String,
    /// Why; may be empty.
    pub reason: String,
    /// What the realm was from then on; `None`: deleted.
    pub document: Option<RealmDocument>,
}
