//! The last known rows of nodes, shown marked stale while a node does not answer.

use std::collections::HashMap;

use shared::api::SessionView;
use shared::filter::{Filter, LabelledSession, SortKey, SortSpec};
use shared::{NodeId, Realm, SessionId};

use crate::control::directory::query::{SessionAnswer, position_order, sort_key};

/// Rows kept per node.
const MAX_ROWS: usize = 2000;
/// Nodes whose rows are kept.
const MAX_NODES: usize = 256;

/// Rows by node.
#[derive(Debug, Default)]
pub(crate) struct KnownRows {
    nodes: HashMap<NodeId, HashMap<SessionId, SessionView>>,
}

impl KnownRows {
    /// Keeps what a node answered. An answer that is all it has replaces what was kept.
    pub(crate) fn learn(&mut self, node: &NodeId, answer: &SessionAnswer) {
        if !self.nodes.contains_key(node) && self.nodes.len() >= MAX_NODES {
            return;
        }
        let rows = self.nodes.entry(node.clone()).or_default();
        let complete = answer.rows.len() as u64 >= answer.total;
        if complete || rows.len() + answer.rows.len() > MAX_ROWS {
            rows.clear();
        }
        for (_, row) in answer.rows.iter().take(MAX_ROWS) {
            rows.insert(row.id, row.clone());
        }
    }

    /// Forgets nodes that are not among these.
    pub(crate) fn retain(&mut self, nodes: &[NodeId]) {
        self.nodes.retain(|node, _| nodes.contains(node));
    }

    /// What is known of a silent node, as it would have answered.
    #[must_use]
    pub(crate) fn page(
        &self,
        node: &NodeId,
        filter: &Filter,
        sort: &SortSpec,
        after: Option<&(SortKey, SessionId)>,
        realms: &[Realm],
        limit: usize,
    ) -> SessionAnswer {
        let mut answer = SessionAnswer::default();
        let labels = std::collections::BTreeMap::new();
        for row in self.nodes.get(node).into_iter().flat_map(HashMap::values) {
            if !realms.is_empty() && !realms.contains(&row.realm) {
                continue;
            }
            let row = SessionView {
                stale: true,
                rate_in_bps: 0,
                rate_out_bps: 0,
                ..row.clone()
            };
            answer.total += 1;
            let labelled = LabelledSession {
                session: &row,
                labels: &labels,
            };
            if !filter.matches(&labelled) {
                continue;
            }
            answer.matched += 1;
            let key = sort_key(sort, &labelled);
            let beyond = after.is_none_or(|(after, id)| {
                position_order(sort, (&key, row.id), (after, *id)).is_gt()
            });
            if beyond {
                answer.rows.push((key, row));
            }
        }
        answer
            .rows
            .sort_by(|a, b| position_order(sort, (&a.0, a.1.id), (&b.0, b.1.id)));
        answer.more = answer.rows.len() > limit;
        answer.rows.truncate(limit);
        answer
    }
}
