//! Revisions of realms: who changed what and why, and the way back.

use shared::Realm;
use shared::api::{
    ApiError, Page, RealmDiff, RealmDiffQuery, RealmRevision, RealmUndo, RealmView, Role,
    realm_changes,
};

use super::{Caller, MAX_TEXT, Service, bad, need, need_realm, not_found, store_error};
use crate::control::clock::Moment;
use crate::store::{StoreError, StoredRevision};

impl Service {
    /// The revisions of a realm that are kept, newest first; those of a deleted one too.
    ///
    /// # Errors
    /// There never was such a realm; the store is away.
    pub async fn realm_revisions(
        &self,
        caller: &Caller,
        name: &Realm,
    ) -> Result<Page<RealmRevision>, ApiError> {
        let revisions = self.read_revisions(caller, name).await?;
        let before = revisions.iter().skip(1).map(Some).chain([None]);
        let items: Vec<_> = revisions
            .iter()
            .zip(before)
            .map(|(revision, before)| view(revision, before))
            .collect();
        let count = items.len() as u64;
        Ok(Page {
            schema: "realm-revisions/1".to_owned(),
            as_of_ms: Moment::now().unix_ms,
            items,
            next: None,
            matched: count,
            total: count,
            missing: Vec::new(),
        })
    }

    /// One revision of a realm, with its document.
    ///
    /// # Errors
    /// No such revision, or one that is kept no more; the store is away.
    pub async fn realm_revision(
        &self,
        caller: &Caller,
        name: &Realm,
        revision: u64,
    ) -> Result<RealmRevision, ApiError> {
        let revisions = self.read_revisions(caller, name).await?;
        let at = position(&revisions, name, revision)?;
        Ok(RealmRevision {
            document: revisions[at].document.clone(),
            ..view(&revisions[at], revisions.get(at + 1))
        })
    }

    /// What differs between two revisions of a realm.
    ///
    /// # Errors
    /// As for one revision.
    pub async fn realm_diff(
        &self,
        caller: &Caller,
        name: &Realm,
        query: &RealmDiffQuery,
    ) -> Result<RealmDiff, ApiError> {
        let revisions = self.read_revisions(caller, name).await?;
        let to = match query.to {
            Some(to) => position(&revisions, name, to)?,
            None => 0,
        };
        let from = match query.from {
            Some(from) => Some(position(&revisions, name, from)?),
            None => Some(to + 1).filter(|before| *before < revisions.len()),
        };
        let before = from.and_then(|from| revisions[from].document.as_ref());
        Ok(RealmDiff {
            schema: "realm-diff/1".to_owned(),
            realm: name.clone(),
            from: from.map_or(0, |from| revisions[from].revision),
            to: revisions[to].revision,
            changes: realm_changes(before, revisions[to].document.as_ref()),
        })
    }

    /// Brings the document of an earlier revision back, as a new one, if nobody changed the realm
    /// since `expected`; 0: the realm is deleted.
    ///
    /// # Errors
    /// A lost race (412); nothing to go back to; a document that other realms or this release do
    /// not allow any more.
    pub async fn undo_realm(
        &self,
        caller: &Caller,
        name: &Realm,
        expected: u64,
        undo: RealmUndo,
    ) -> Result<RealmView, ApiError> {
        let reason = undo.reason.clone();
        let work = async {
            need(caller, Role::Admin)?;
            self.need_gateway()?;
            let revisions = self.read_revisions(caller, name).await?;
            let current = match &revisions[0] {
                deleted if deleted.document.is_none() => 0,
                latest => latest.revision,
            };
            if current != expected {
                return Err(store_error(&StoreError::RevisionConflict { current }));
            }
            let back = target(&revisions, name, undo.revision)?;
            let document = back.document.as_ref();
            let document = document.ok_or_else(|| nothing_there(name, back.revision))?;
            let mut words = format!("undo to revision {}", back.revision);
            if !undo.reason.is_empty() {
                words = format!("{words}: {}", undo.reason);
            }
            words.truncate(words.floor_char_boundary(MAX_TEXT));
            self.write_realm(caller, name, expected, document, &words)
                .await
        };
        self.audited(
            caller,
            "realm.undo",
            name.as_str().to_owned(),
            &reason,
            work,
        )
        .await
    }

    async fn read_revisions(
        &self,
        caller: &Caller,
        name: &Realm,
    ) -> Result<Vec<StoredRevision>, ApiError> {
        need(caller, Role::Viewer)?;
        need_realm(caller, name)?;
        let read = self.hub.store.realm_revisions(name).await;
        let revisions = self.store(read)?;
        if revisions.is_empty() {
            return Err(not_found(format!(
                "revision of the realm {name}: it was never stored"
            )));
        }
        Ok(revisions)
    }
}

/// The revision to go back to.
fn target<'r>(
    revisions: &'r [StoredRevision],
    name: &Realm,
    asked: Option<u64>,
) -> Result<&'r StoredRevision, ApiError> {
    let at = match asked {
        Some(revision) => position(revisions, name, revision)?,
        None if revisions.len() == 1 => {
            let only = revisions[0].revision;
            return Err(bad(format!(
                "revision {only} is the only one that is kept of the realm {name}: delete the realm, \
                 or edit it"
            )));
        }
        None => 1,
    };
    if asked == Some(revisions[0].revision) {
        return Err(bad(format!(
            "revision {} is in force: name an earlier one",
            revisions[0].revision
        )));
    }
    Ok(&revisions[at])
}

fn nothing_there(name: &Realm, revision: u64) -> ApiError {
    bad(format!(
        "with revision {revision} the realm {name} was deleted: delete it again, or name another \
         revision"
    ))
}

fn position(revisions: &[StoredRevision], name: &Realm, revision: u64) -> Result<usize, ApiError> {
    let at = revisions.iter().position(|one| one.revision == revision);
    at.ok_or_else(|| {
        let oldest = revisions.last().map_or(0, |one| one.revision);
        not_found(format!(
            "revision {revision} of the realm {name}: from {oldest} to {} are kept",
            revisions[0].revision
        ))
    })
}

fn view(revision: &StoredRevision, before: Option<&StoredRevision>) -> RealmRevision {
    let document = revision.document.as_ref();
    let changes = match before.map(|before| before.document.as_ref()) {
        // A realm that comes or goes changes all of it.
        Some(Some(before)) if document.is_some() => realm_changes(Some(before), document),
        _ => Vec::new(),
    };
    RealmRevision {
        revision: revision.revision,
        changed_at_ms: revision.changed_at_ms,
        changed_by: revision.changed_by.clone(),
        reason: revision.reason.clone(),
        deleted: document.is_none(),
        changed: changes.into_iter().map(|change| change.field).collect(),
        document: None,
    }
}
