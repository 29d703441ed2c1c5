//! The latest refusals of the cluster, one by one.

use shared::api::{ApiError, ErrorKind, ListQuery, MissingNode, Page, RefusalView, Role};
use shared::filter::RECENT_REFUSAL_COLUMNS;

use super::list::ListOf;
use super::{Caller, Service, need, unexpected};
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::control::hub::Hub;

/// What a node's part and the merged page have in common.
fn list(rows: Vec<RefusalView>, query: &ListQuery) -> ListOf<'_, RefusalView> {
    ListOf {
        schema: "refusals-recent/1",
        columns: RECENT_REFUSAL_COLUMNS,
        default_sort: "time:desc",
        rows,
        missing: Vec::new(),
        query,
    }
}

/// This node's part of a page.
///
/// # Errors
/// A filter, order or cursor that makes no sense.
pub(in crate::control) fn own_page(
    hub: &Hub,
    caller: &Caller,
    query: &ListQuery,
) -> Result<Page<RefusalView>, ApiError> {
    let visible = |row: &&RefusalView| {
        caller.realms.is_empty() || row.realm.as_ref().is_some_and(|realm| caller.sees(realm))
    };
    let rows = hub.refusals().rows().filter(visible).cloned().collect();
    list(rows, query).page(|row| row.id.clone())
}

impl Service {
    /// A page of the latest refusals, filtered and sorted in the nodes that refused.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense.
    pub async fn recent_refusals(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<RefusalView>, ApiError> {
        need(caller, Role::Viewer)?;
        let question = NodeQuestion::RecentRefusals(query.clone());
        let asked = self.ask(caller, query.scope, question).await;
        let mut parts = Vec::new();
        let mut missing = asked.missing;
        for (node, answer) in asked.answers {
            match answer {
                NodeAnswer::RecentRefusals(page) => parts.push(page),
                NodeAnswer::Failed(error) if error.error == ErrorKind::BadRequest => {
                    return Err(error);
                }
                other => {
                    let reason = unexpected(&other).message;
                    missing.push(MissingNode { node, reason });
                }
            }
        }
        let mut page = list(Vec::new(), query).merged(parts, |row| row.id.clone())?;
        page.missing = missing;
        Ok(page)
    }
}
