//! Realm documents for commands that change a little of them, or look at all of them.

use shared::Realm;
use shared::api::{ErrorKind, ListQuery, RealmDocument, RealmPut, RealmView};

use super::App;
use super::exit::Failure;
use super::permit::Ask;
use crate::client::ClientError;
use crate::guardrails::Deed;

/// How often a change is made anew over what somebody else wrote meanwhile.
const MAX_ROUNDS: u32 = 5;

/// All realms, in the order of their names.
pub(super) async fn all(app: &App<'_, '_>) -> Result<Vec<RealmView>, Failure> {
    let mut query = ListQuery {
        sort: Some("realm:asc".to_owned()),
        limit: Some(ListQuery::MAX_LIMIT),
        ..ListQuery::default()
    };
    let mut realms = Vec::new();
    loop {
        let page = app.api.realms(&query).await?;
        let is_empty = page.items.is_empty();
        realms.extend(page.items);
        query.cursor = page.next;
        if query.cursor.is_none() || is_empty {
            return Ok(realms);
        }
    }
}

/// The realm as it is; `None`: there is none yet.
pub(super) async fn existing(
    app: &App<'_, '_>,
    name: &Realm,
) -> Result<Option<RealmView>, Failure> {
    match app.api.realm(name).await {
        Ok(realm) => Ok(Some(realm)),
        Err(ClientError::Api(error)) if error.error == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes a change over the document as it is, also where there is none yet; again over what somebody
/// else writes meanwhile. `false`: nothing had to change.
pub(super) async fn edit(
    app: &mut App<'_, '_>,
    name: &Realm,
    edit: impl Fn(&mut RealmDocument),
) -> Result<bool, Failure> {
    for _ in 0..MAX_ROUNDS {
        let before = existing(app, name).await?;
        let revision = before.as_ref().map_or(0, |view| view.revision);
        let before = before.map(|view| view.document).unwrap_or_default();
        let mut document = before.clone();
        edit(&mut document);
        if document == before {
            return Ok(false);
        }
        document
            .validate()
            .map_err(|errors| Failure::Usage(errors.join("\n")))?;
        let question = format!("Realm {name} is changed.");
        app.permit(&Deed::of_realm("realm.put", name), &question, Ask::Nothing)?;
        let put = RealmPut {
            document,
            reason: app.global.reason.clone(),
        };
        match app.api.put_realm(name, revision, &put).await {
            Ok(_) => return Ok(true),
            Err(ClientError::Api(error)) if error.error == ErrorKind::RevisionConflict => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::Other(
        "the realm changes too often; nothing was done".to_owned(),
    ))
}
