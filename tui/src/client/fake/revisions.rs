//! Revisions of realms in the double.

use shared::Realm;
use shared::api::{
    RealmApplied, RealmDiff, RealmDiffQuery, RealmDocument, RealmRevision, RealmView, realm_changes,
};

use super::state::State;
use super::{bad_request, not_found};
use crate::client::ClientResult;

impl State {
    /// The revisions of a realm, newest first.
    pub(super) fn revisions_of(&self, name: &Realm) -> ClientResult<Vec<RealmRevision>> {
        let of_realm = self.revisions.iter().filter(|(realm, _)| realm == name);
        let found: Vec<_> = of_realm.map(|(_, revision)| revision.clone()).collect();
        match found.is_empty() {
            true => Err(not_found("revision of the realm")),
            false => Ok(found),
        }
    }

    /// The document that an undo brings back.
    pub(super) fn undo_target(
        &self,
        name: &Realm,
        revision: Option<u64>,
    ) -> ClientResult<RealmDocument> {
        let all = self.revisions_of(name)?;
        let wanted = revision.unwrap_or(all.get(1).map_or(0, |one| one.revision));
        let back = all.into_iter().find(|one| one.revision == wanted);
        let back = back.ok_or_else(|| not_found("such revision"))?;
        back.document
            .ok_or_else(|| bad_request("it was deleted".into()))
    }

    /// A realm with the revisions that the nodes apply: the last of them is behind.
    pub(super) fn with_applied(&self, realm: &RealmView) -> RealmView {
        let nodes = self.nodes.iter().enumerate();
        let applied = nodes.map(|(i, node)| RealmApplied {
            node: node.id.clone(),
            revision: realm.revision - u64::from(i + 1 == self.nodes.len()),
            heartbeat_age_secs: 0,
        });
        RealmView {
            applied: applied.collect(),
            ..realm.clone()
        }
    }

    /// Makes a document the next revision of a realm.
    pub(super) fn write_realm(
        &mut self,
        at: usize,
        document: RealmDocument,
        reason: &str,
    ) -> RealmView {
        let now_ms = self.now_ms;
        let realm = &mut self.realms[at];
        let before = std::mem::replace(&mut realm.document, document.clone());
        realm.revision += 1;
        realm.changed_at_ms = now_ms;
        realm.changed_by = "unix:0".into();
        let changes = realm_changes(Some(&before), Some(&document));
        let revision = RealmRevision {
            revision: realm.revision,
            changed_at_ms: now_ms,
            changed_by: "unix:0".into(),
            reason: reason.into(),
            deleted: false,
            changed: changes.into_iter().map(|change| change.field).collect(),
            document: Some(document),
        };
        let realm = realm.clone();
        self.revisions.insert(0, (realm.name.clone(), revision));
        self.count();
        realm
    }

    /// What differs between two revisions.
    pub(super) fn diff_of(&self, name: &Realm, query: &RealmDiffQuery) -> ClientResult<RealmDiff> {
        let all = self.revisions_of(name)?;
        let at = |revision| {
            let position = all.iter().position(|one| one.revision == revision);
            position.ok_or_else(|| not_found("such revision"))
        };
        let to = query.to.map_or(Ok(0), at)?;
        let from = query.from.map_or(Ok(to + 1), at)?;
        let before = all.get(from);
        let document = before.and_then(|one| one.document.as_ref());
        Ok(RealmDiff {
            schema: "realm-diff/1".into(),
            realm: name.clone(),
            from: before.map_or(0, |one| one.revision),
            to: all[to].revision,
            changes: realm_changes(document, all[to].document.as_ref()),
        })
    }
}
