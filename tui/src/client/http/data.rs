//! [`DataApi`]: one HTTP request per call.

use async_trait::async_trait;
use reqwest::Method;
use shared::Realm;
use shared::api::{ImportResult, RealmImport, RevealRequest, Revealed, route};

use super::HttpAdmin;
use crate::client::{ClientResult, DataApi};

#[async_trait]
impl DataApi for HttpAdmin {
    async fn import_realm(
        &self,
        realm: &Realm,
        import: &RealmImport,
    ) -> ClientResult<ImportResult> {
        self.write(Method::POST, &route::realm_import(realm), import)
            .await
    }

    async fn reveal_realm(&self, realm: &Realm, request: &RevealRequest) -> ClientResult<Revealed> {
        self.write(Method::POST, &route::realm_reveal(realm), request)
            .await
    }
}
