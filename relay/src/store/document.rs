//! Small JSON documents of ours: their names, and what every store holds them to.
//!
//! A document is replaced as a whole, by whoever knew its revision. What stands in it belongs to the
//! part of the program that named it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::NodeId;

use super::StoreError;

/// Overrides of the configuration for all nodes.
pub const CONFIG: &str = "config";
/// The operator's changes to the rules of alerts.
pub const ALERT_RULES: &str = "alert-rules";
/// Banned networks.
pub const BANS: &str = "bans";
/// A random word that tells this store from an emptied one, or from another in its place.
pub const MARK: &str = "mark";
/// Redirects (RFC 8489 §10).
pub const REDIRECTS: &str = "redirects";

/// The longest name, in bytes.
const MAX_NAME: usize = 100;
/// The longest body, in bytes of JSON: every node reads documents again every few seconds.
const MAX_BODY: usize = 256 * 1024;

/// The name of the overrides of one node's configuration.
#[must_use]
pub fn config_of(node: &NodeId) -> String {
    format!("{CONFIG}:{node}")
}

/// A document as the store holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredDocument {
    /// Counts changes from 1.
    pub revision: u64,
    /// When it changed last.
    pub changed_at_ms: u64,
    /// By whom.
    pub changed_by: String,
    /// What it says.
    pub body: Value,
}

/// Refuses names that would need quoting somewhere.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(legal) {
        return Err(StoreError::Refused(format!(
            "a document's name is 1 to {MAX_NAME} characters out of a-z A-Z 0-9 . _ - :"
        )));
    }
    Ok(())
}

/// The body as text, if it is not too long.
pub(super) fn body_text(name: &str, body: &Value) -> Result<String, StoreError> {
    let text = super::record::to_json(body)?;
    if text.len() > MAX_BODY {
        return Err(StoreError::Refused(format!(
            "the document {name} has {} bytes; at most {MAX_BODY} are kept",
            text.len()
        )));
    }
    Ok(text)
}
