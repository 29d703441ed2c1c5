//! Sessions added up by user, realm, network or node.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use shared::api::{GroupBy, GroupQuery, GroupView, RefusalView};
use shared::filter::{Direction, Filter, GROUP_COLUMNS, SESSION_COLUMNS, SortSpec};
use shared::{NodeId, Realm};

use super::Directory;
use super::entry::Row;
use super::query::QueryError;
use super::scan::Scan;
use crate::control::clock::Moment;

/// The order when none is asked for.
pub(crate) const DEFAULT_SORT: &str = "rate:desc";
/// Groups that one node tells about at most.
const MAX_GROUPS: usize = 2000;
/// Bytes of names that one node tells about at most: each may be six times as long in JSON, and the
/// message has an end.
const MAX_NAMES: usize = 400_000;

/// What one node answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupAnswer {
    /// Its first groups in the order asked for; their filters are for the asker to write.
    pub groups: Vec<GroupView>,
    /// How many groups there are.
    pub count: u64,
}

/// What a group has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Group<'a> {
    User(&'a Realm, &'a str),
    Realm(&'a Realm),
    /// The first address of a /24 or /48.
    Net(IpAddr),
    Node,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    sessions: u64,
    rate_in_bps: u64,
    rate_out_bps: u64,
    in_bytes: u64,
    out_bytes: u64,
    drops: u64,
    refusals: u64,
}

type Summed<'a> = (Group<'a>, Sums);

impl Directory {
    /// The first groups of the sessions that a filter selects, in the order asked for. `refused` are
    /// the latest refusals that the caller may see.
    ///
    /// # Errors
    /// A filter or order that does not parse.
    pub(crate) fn groups(
        &self,
        query: &GroupQuery,
        realms: &[Realm],
        refused: &[RefusalView],
        now: Moment,
    ) -> Result<GroupAnswer, QueryError> {
        let invalid = |error: &dyn std::fmt::Display| QueryError::Invalid(error.to_string());
        let filter = query.filter.as_deref().unwrap_or_default();
        let filter = Filter::parse(filter, SESSION_COLUMNS).map_err(|error| invalid(&error))?;
        let sort = query.sort.as_deref().unwrap_or(DEFAULT_SORT);
        let sort = SortSpec::parse(sort, GROUP_COLUMNS).map_err(|error| invalid(&error))?;
        let mut sums = HashMap::new();
        Scan::new(self, &filter, realms).walk(self, now, |row| {
            add_session(query.by, &row, &mut sums);
        });
        for refusal in refused {
            let Some(group) = group_of(query.by, refusal) else {
                continue;
            };
            // Whom a filter selects is known of sessions only.
            if filter.is_empty() {
                sums.entry(group).or_default().refusals += refusal.count;
            } else if let Some(sum) = sums.get_mut(&group) {
                sum.refusals += refusal.count;
            }
        }
        let count = sums.len() as u64;
        let mut sums: Vec<Summed<'_>> = sums.into_iter().collect();
        let order = |a: &Summed<'_>, b: &Summed<'_>| compare(&sort, a, b);
        if sums.len() > MAX_GROUPS {
            sums.select_nth_unstable_by(MAX_GROUPS, order);
            sums.truncate(MAX_GROUPS);
        }
        sums.sort_unstable_by(order);
        let mut room = MAX_NAMES;
        let groups = sums.into_iter().map(|sum| view(&self.node, &sum));
        let groups = groups.take_while(|group| {
            let left = room.checked_sub(group.key.len());
            room = left.unwrap_or(0);
            left.is_some()
        });
        Ok(GroupAnswer {
            groups: groups.collect(),
            count,
        })
    }
}

fn add_session<'a>(by: GroupBy, row: &Row<'a>, sums: &mut HashMap<Group<'a>, Sums>) {
    let session = row.kept();
    let tally = &session.tally;
    let (rate_in_bps, rate_out_bps) = row.rates();
    let mut add = |group| {
        let sum = sums.entry(group).or_default();
        sum.sessions += 1;
        sum.rate_in_bps += rate_in_bps;
        sum.rate_out_bps += rate_out_bps;
        sum.in_bytes += tally.in_bytes;
        sum.out_bytes += tally.out_bytes;
        sum.drops += tally.drops();
    };
    match by {
        GroupBy::User => add(Group::User(row.realm(), row.user())),
        GroupBy::Realm => add(Group::Realm(row.realm())),
        GroupBy::Client => add(Group::Net(net_of(row.client().ip()))),
        GroupBy::Node => add(Group::Node),
        GroupBy::Peer => {
            let bound = session.channels.iter().map(|channel| channel.peer.ip());
            let permitted = session.permissions.iter().map(|permission| permission.peer);
            let mut nets: Vec<_> = bound.chain(permitted).map(net_of).collect();
            nets.sort_unstable();
            nets.dedup();
            nets.into_iter().for_each(|net| add(Group::Net(net)));
        }
    }
}

/// The group that a refusal counts in, where it says enough.
fn group_of(by: GroupBy, refusal: &RefusalView) -> Option<Group<'_>> {
    match by {
        GroupBy::User => Some(Group::User(
            refusal.realm.as_ref()?,
            refusal.user.as_deref()?,
        )),
        GroupBy::Realm => refusal.realm.as_ref().map(Group::Realm),
        GroupBy::Client => Some(Group::Net(net_of(refusal.source.ip()))),
        GroupBy::Node => Some(Group::Node),
        GroupBy::Peer => {
            let peer = refusal.peer.as_deref()?;
            let socket = peer.parse::<SocketAddr>().map(|socket| socket.ip());
            socket
                .or_else(|_| peer.parse())
                .ok()
                .map(net_of)
                .map(Group::Net)
        }
    }
}

/// The first address of the network: /24 of IPv4, /48 of IPv6.
fn net_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

/// The same order as that of the merged rows, without making rows of those that are left out.
fn compare(sort: &SortSpec, (a, sum_a): &Summed<'_>, (b, sum_b): &Summed<'_>) -> Ordering {
    let by_value = match sort.column.as_str() {
        "key" => name(a).cmp(&name(b)),
        "realm" => realm(a).cmp(&realm(b)),
        column => value(column, sum_a).cmp(&value(column, sum_b)),
    };
    let by_value = match sort.direction {
        Direction::Ascending => by_value,
        Direction::Descending => by_value.reverse(),
    };
    by_value.then_with(|| a.cmp(b))
}

fn value(column: &str, sums: &Sums) -> u64 {
    match column {
        "sessions" => sums.sessions,
        "in" => sums.rate_in_bps,
        "out" => sums.rate_out_bps,
        "bytes" => sums.in_bytes.saturating_add(sums.out_bytes),
        "drops" => sums.drops,
        "refusals" => sums.refusals,
        _ => sums.rate_in_bps.saturating_add(sums.rate_out_bps),
    }
}

/// What orders groups by name: text, or the address of a network.
fn name<'a>(group: &Group<'a>) -> (&'a str, Option<IpAddr>) {
    match group {
        Group::User(_, user) => (user, None),
        Group::Realm(realm) => (realm.as_str(), None),
        Group::Net(net) => ("", Some(*net)),
        Group::Node => ("", None),
    }
}

fn realm<'a>(group: &Group<'a>) -> Option<&'a Realm> {
    match group {
        Group::User(realm, _) => Some(realm),
        _ => None,
    }
}

fn view(node: &NodeId, (group, sums): &Summed<'_>) -> GroupView {
    let key = match group {
        Group::User(_, user) => (*user).to_owned(),
        Group::Realm(realm) => realm.as_str().to_owned(),
        Group::Net(net) if net.is_ipv4() => format!("{net}/24"),
        Group::Net(net) => format!("{net}/48"),
        Group::Node => node.as_str().to_owned(),
    };
    GroupView {
        key,
        realm: realm(group).cloned(),
        sessions: sums.sessions,
        rate_in_bps: sums.rate_in_bps,
        rate_out_bps: sums.rate_out_bps,
        in_bytes: sums.in_bytes,
        out_bytes: sums.out_bytes,
        drops: sums.drops,
        refusals: sums.refusals,
        approximate: false,
        filter: String::new(),
    }
}
