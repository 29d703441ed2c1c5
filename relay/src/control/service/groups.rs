//! Sessions of the cluster by user, realm, network or node.

use std::collections::HashMap;

use shared::Realm;
use shared::api::{ApiError, ErrorKind, GroupBy, GroupQuery, GroupView, MissingNode, Page, Role};
use shared::filter::{Filter, GROUP_COLUMNS, SESSION_COLUMNS, SortSpec, equals};

use super::{Caller, Service, bad, need, unexpected};
use crate::control::clock::Moment;
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::control::directory::groups::{DEFAULT_SORT, GroupAnswer};

impl Service {
    /// The largest groups of sessions, added up in the nodes that have them.
    ///
    /// # Errors
    /// A filter or order that makes no sense.
    pub async fn session_groups(
        &self,
        caller: &Caller,
        query: &GroupQuery,
    ) -> Result<Page<GroupView>, ApiError> {
        need(caller, Role::Viewer)?;
        let filter = query.filter.as_deref().unwrap_or_default();
        let filter =
            Filter::parse(filter, SESSION_COLUMNS).map_err(|error| bad(error.to_string()))?;
        let sort = query.sort.as_deref().unwrap_or(DEFAULT_SORT);
        let sort = SortSpec::parse(sort, GROUP_COLUMNS).map_err(|error| bad(error.to_string()))?;
        let asked = self
            .ask(caller, query.scope, NodeQuestion::Groups(query.clone()))
            .await;
        let mut parts = Vec::new();
        let mut missing = asked.missing;
        for (node, answer) in asked.answers {
            match answer {
                NodeAnswer::Groups(part) => parts.push(part),
                NodeAnswer::Failed(error) if error.error == ErrorKind::BadRequest => {
                    return Err(error);
                }
                other => {
                    let reason = unexpected(&other).message;
                    missing.push(MissingNode { node, reason });
                }
            }
        }
        let mut page = merge(parts, &sort, query.size());
        for group in &mut page.items {
            group.filter = filter_of(query.by, &filter, group);
        }
        page.missing = missing;
        Ok(page)
    }
}

/// An expression that selects exactly the sessions of a group.
fn filter_of(by: GroupBy, filter: &Filter, group: &GroupView) -> String {
    let mut terms = vec![equals(by.as_str(), &group.key)];
    terms.extend(
        group
            .realm
            .as_ref()
            .map(|realm| equals("realm", realm.as_str())),
    );
    if !filter.is_empty() {
        terms.insert(0, filter.to_string());
    }
    terms.join(" ")
}

/// Adds the parts of the nodes up. A group that a node left out of a long list is approximate.
fn merge(parts: Vec<GroupAnswer>, sort: &SortSpec, limit: usize) -> Page<GroupView> {
    let mut groups: HashMap<(String, Option<Realm>), (GroupView, usize)> = HashMap::new();
    let mut cut = 0;
    let mut most = 0;
    for part in parts {
        let is_cut = part.count > part.groups.len() as u64;
        cut += usize::from(is_cut);
        most = most.max(part.count);
        for group in part.groups {
            let key = (group.key.clone(), group.realm.clone());
            match groups.get_mut(&key) {
                Some((sum, cut_parts)) => {
                    add(sum, &group);
                    *cut_parts += usize::from(is_cut);
                }
                None => {
                    groups.insert(key, (group, usize::from(is_cut)));
                }
            }
        }
    }
    let matched = most.max(groups.len() as u64);
    let groups = groups.into_values().map(|(mut group, cut_parts)| {
        group.approximate = cut_parts < cut;
        (sort.key(&group), group)
    });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by(|(a, one), (b, other)| {
        let by_name = || (&one.key, &one.realm).cmp(&(&other.key, &other.realm));
        sort.compare(a, b).then_with(by_name)
    });
    groups.truncate(limit);
    Page {
        schema: "groups/1".to_owned(),
        as_of_ms: Moment::now().unix_ms,
        items: groups.into_iter().map(|(_, group)| group).collect(),
        next: None,
        matched,
        total: matched,
        missing: Vec::new(),
    }
}

fn add(sum: &mut GroupView, group: &GroupView) {
    sum.sessions += group.sessions;
    sum.rate_in_bps += group.rate_in_bps;
    sum.rate_out_bps += group.rate_out_bps;
    sum.in_bytes += group.in_bytes;
    sum.out_bytes += group.out_bytes;
    sum.drops += group.drops;
    sum.refusals += group.refusals;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(key: &str, sessions: u64) -> GroupView {
        GroupView {
            key: key.to_owned(),
            realm: None,
            sessions,
            rate_in_bps: sessions * 1000,
            rate_out_bps: 0,
            in_bytes: 0,
            out_bytes: 0,
            drops: 0,
            refusals: 1,
            approximate: false,
            filter: String::new(),
        }
    }

    #[test]
    fn groups_of_nodes_are_added_up_and_cut_lists_are_told() {
        let part = |groups: Vec<GroupView>, count| GroupAnswer { groups, count };
        let parts = vec![
            part(vec![group("a", 5), group("b", 4)], 7000),
            part(vec![group("b", 3), group("c", 1)], 2),
        ];
        let sort = SortSpec::parse("sessions:desc", GROUP_COLUMNS).unwrap();
        let page = merge(parts, &sort, 2);
        let rows: Vec<_> = page
            .items
            .iter()
            .map(|g| (g.key.as_str(), g.sessions, g.refusals, g.approximate))
            .collect();
        assert_eq!(rows, [("b", 7, 2, false), ("a", 5, 1, false)]);
        assert_eq!((page.matched, page.next), (7000, None));
        let sort = SortSpec::parse("sessions:asc", GROUP_COLUMNS).unwrap();
        let parts = vec![part(vec![group("a", 5)], 2), part(vec![group("c", 1)], 1)];
        let page = merge(parts, &sort, 9);
        assert!(page.items[0].key == "c" && page.items[0].approximate);
        assert!(!page.items[1].approximate);
    }
}
