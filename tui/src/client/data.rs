//! Calls that move users and secrets in bulk, their keys and values with them.

use async_trait::async_trait;
use shared::Realm;
use shared::api::{ImportResult, RealmImport, RevealRequest, Revealed};

use super::ClientResult;

/// See the module. Errors are those of [`AdminApi`](super::AdminApi).
#[async_trait]
pub trait DataApi: Send + Sync {
    /// Adds users by their keys, and secrets, or only tells what would change.
    async fn import_realm(&self, realm: &Realm, import: &RealmImport)
    -> ClientResult<ImportResult>;
    /// A page of stored users with their keys, and all secrets with their values.
    async fn reveal_realm(&self, realm: &Realm, request: &RevealRequest) -> ClientResult<Revealed>;
}
