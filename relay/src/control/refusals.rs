//! The latest refusals of this node, one by one.
//!
//! Workers tell them once a second, a bounded number each; a run of equal ones is one row. What
//! counts refusals by user, realm or network walks [`RecentRefusals::rows`]: they are at most
//! [`MAX_ROWS`], so that needs no index. Each node counts its own; sums over the cluster are made
//! where the answers of the nodes meet.

use std::collections::VecDeque;
use std::net::SocketAddr;

use shared::api::RefusalView;
use shared::{NodeId, SessionId};
use turn_proto::server::Refused;

use super::clock::Moment;

/// Rows kept.
const MAX_ROWS: usize = 1000;
/// Rows in which an equal one is looked for: what interleaves with others is still one run.
const LOOK_BACK: usize = 64;

/// The rows, the oldest first.
#[derive(Debug)]
pub(super) struct RecentRefusals {
    node: NodeId,
    rows: VecDeque<RefusalView>,
    next: u64,
}

impl RecentRefusals {
    /// None yet. Ids sort by time over restarts, too: they count on from the clock.
    #[must_use]
    pub(super) fn new(node: NodeId, started: Moment) -> Self {
        Self {
            node,
            rows: VecDeque::new(),
            next: started.unix_ms << 20,
        }
    }

    /// Takes what a worker told.
    pub(super) fn add(&mut self, refused: &[Refused], now: Moment) {
        for one in refused {
            let view = self.view(one, now);
            let mut newest = self.rows.iter_mut().rev().take(LOOK_BACK);
            if let Some(row) = newest.find(|row| are_equal(row, &view)) {
                row.count += view.count;
                row.source = view.source;
                row.at_ms = row.at_ms.max(view.at_ms);
                continue;
            }
            if self.rows.len() == MAX_ROWS {
                self.rows.pop_front();
            }
            self.next += 1;
            self.rows.push_back(view);
        }
    }

    /// All rows, the newest first by when they began.
    pub(super) fn rows(&self) -> impl Iterator<Item = &RefusalView> {
        self.rows.iter().rev()
    }

    /// The newest rows of a session.
    #[must_use]
    pub(super) fn of_session(&self, id: SessionId, limit: usize) -> Vec<RefusalView> {
        let rows = self.rows().filter(|row| row.session == Some(id));
        rows.take(limit).cloned().collect()
    }

    fn view(&self, one: &Refused, now: Moment) -> RefusalView {
        // A time-limited name may be an expiry time and nothing else.
        let user = one.user.as_deref().filter(|user| !user.is_empty());
        let user = user.or(one.username.as_ref().map(|name| name.as_str()));
        RefusalView {
            id: format!("{}.{:016x}", self.node, self.next),
            at_ms: now.wall_ms(one.at),
            node: self.node.clone(),
            source: one.client,
            realm: Some(one.realm.clone()),
            user: user.map(str::to_owned),
            session: one.session,
            peer: one.peer.map(show_peer),
            reason: one.reason.as_str().to_owned(),
            code: one.reason.code().map(|code| code.get()),
            count: one.count,
        }
    }
}

fn are_equal(a: &RefusalView, b: &RefusalView) -> bool {
    (a.source.ip(), a.session, a.code) == (b.source.ip(), b.session, b.code)
        && (&a.reason, &a.user, &a.realm, &a.peer) == (&b.reason, &b.user, &b.realm, &b.peer)
}

/// A peer as it was asked for: an address where no port was named.
fn show_peer(peer: SocketAddr) -> String {
    if peer.port() == 0 {
        peer.ip().to_string()
    } else {
        peer.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused(user: &str, now: Moment) -> Refused {
        Refused {
            session: Some(SessionId(7)),
            peer: Some("198.51.100.1:0".parse().unwrap()),
            ..crate::control::testing::refused(user, "acme", now.mono)
        }
    }

    #[test]
    fn a_run_of_equal_ones_is_one_row_even_when_it_interleaves() {
        let now = Moment::now();
        let mut recent = RecentRefusals::new("n1".parse().unwrap(), now);
        for round in 0..10_u64 {
            let now = Moment {
                mono: now.mono + Duration::from_secs(round),
                unix_ms: now.unix_ms + 1000 * round,
            };
            let port = 4000 + round as u16;
            let mut alice = refused("alice", now);
            alice.client.set_port(port);
            recent.add(&[alice, refused("bob", now)], now);
        }
        let rows: Vec<_> = recent.rows().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].user.as_deref(), Some("alice"));
        assert_eq!((rows[1].count, rows[1].source.port()), (10, 4009));
        assert_eq!(rows[1].at_ms, now.unix_ms + 9000);
        assert_eq!(rows[1].peer.as_deref(), Some("198.51.100.1"));
        assert_eq!(
            (rows[1].code, rows[1].reason.as_str()),
            (Some(486), "user_quota")
        );
        assert!(rows[0].id > rows[1].id);
    }

    #[test]
    fn the_oldest_of_a_thousand_makes_room() {
        let now = Moment::now();
        let mut recent = RecentRefusals::new("n1".parse().unwrap(), now);
        for count in 0..MAX_ROWS + 5 {
            recent.add(&[refused(&format!("user{count}"), now)], now);
        }
        let users: Vec<_> = recent.rows().filter_map(|row| row.user.clone()).collect();
        assert_eq!(users.len(), MAX_ROWS);
        assert_eq!(users[0], "user1004");
        assert_eq!(users[MAX_ROWS - 1], "user5");
        let of_session = recent.of_session(SessionId(7), 20);
        assert_eq!(of_session.len(), 20);
        assert_eq!(of_session[0].user.as_deref(), Some("user1004"));
        assert!(recent.of_session(SessionId(8), 20).is_empty());
    }
}
