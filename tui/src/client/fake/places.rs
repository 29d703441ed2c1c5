//! Where things are in the double, and what calls have in common.

use shared::Realm;
use shared::api::{ApiError, ErrorKind, ListQuery};

use super::not_found;
use super::state::State;
use crate::client::{ClientError, ClientResult};

pub(super) fn query_text(query: &ListQuery) -> String {
    let parts = [
        ("filter", &query.filter),
        ("sort", &query.sort),
        ("cursor", &query.cursor),
    ];
    let given = parts
        .iter()
        .filter_map(|(name, value)| Some(format!(" {name}={}", value.as_ref()?)));
    given.collect()
}

pub(super) fn revision_conflict(current: u64) -> ClientError {
    let message = format!("somebody else changed it; it is at revision {current} now");
    let error = ApiError::new(ErrorKind::RevisionConflict, message);
    ApiError {
        current_revision: Some(current),
        ..error
    }
    .into()
}

/// The realm at `expected`; 412 with the other revision otherwise.
pub(super) fn realm_at(state: &State, name: &Realm, expected: u64) -> ClientResult<usize> {
    let at = state.realms.iter().position(|r| r.name == *name);
    let at = at.ok_or_else(|| not_found("such realm"))?;
    let current = state.realms[at].revision;
    if current == expected {
        Ok(at)
    } else {
        Err(revision_conflict(current))
    }
}

pub(super) fn user_at(state: &State, realm: &Realm, name: &str) -> ClientResult<usize> {
    let at = state
        .users
        .iter()
        .position(|u| u.realm == *realm && u.name == name);
    at.ok_or_else(|| not_found("such user"))
}
