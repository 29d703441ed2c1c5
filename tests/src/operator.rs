//! An operator at work: looks at lists, ends sessions, edits a realm, sets limits. For tests and benchmarks
//! of what goes on beside it.

use std::net::SocketAddr;
use std::time::Duration;

use relayctl::client::{AdminApi as _, ClientResult};
use shared::Realm;
use shared::api::{KillRequest, ListQuery, RealmPut, UserPatch, UserPut};

use crate::admin::Admin;
use crate::client::TurnClient;
use crate::node::{Node, REALM, rest_login};
use crate::wait::wait_for;

/// How long a session may take until lists show it.
const SHOWN: Duration = Duration::from_secs(20);
/// Limits that nobody reaches.
const PLENTY: u64 = 100_000_000_000;
/// A user of the operator's own: those of the kit stand in a file.
const USER: &str = "somebody";
const REASON: &str = "an operator at work";

/// Works on one node. What it ends is a session of its own; the limits that it sets are out of reach.
#[derive(Debug)]
pub struct Operator {
    admin: Admin,
    turn: SocketAddr,
    rounds: u64,
}

impl Operator {
    /// An operator who has done nothing yet.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        Self {
            admin: node.admin(),
            turn: node.turn,
            rounds: 0,
        }
    }

    /// One of everything.
    ///
    /// # Errors
    /// What the node refuses.
    ///
    /// # Panics
    /// When a session is not made, or not shown.
    pub fn round(&mut self) -> ClientResult<()> {
        self.rounds += 1;
        self.end_a_session()?;
        self.edit_the_realm()?;
        let realm = realm();
        let put = UserPut {
            password: "a password of the suites".to_owned(),
            reason: REASON.to_owned(),
        };
        self.admin.call(|api| api.put_user(&realm, USER, &put))?;
        let limits = UserPatch {
            max_sessions: Some(1_000 + self.rounds as u32 % 2),
            max_rate_bps: Some(PLENTY + self.rounds),
            reason: REASON.to_owned(),
            ..UserPatch::default()
        };
        self.admin
            .call(|api| api.patch_user(&realm, USER, &limits))?;
        self.admin.call(|api| api.overview()).map(drop)
    }

    fn end_a_session(&self) -> ClientResult<()> {
        let login = rest_login(&format!("guest-{}", self.rounds));
        let mut guest = TurnClient::new(self.turn, login).expect("a socket");
        guest.allocate().expect("a session");
        let query = ListQuery {
            filter: Some(format!("user~guest-{}", self.rounds)),
            sort: Some("rate:desc".to_owned()),
            ..ListQuery::default()
        };
        let session = wait_for("the session in a list", SHOWN, || {
            let page = self.admin.call(|api| api.sessions(&query)).ok()?;
            page.items.into_iter().next()
        });
        let request = KillRequest {
            reason: REASON.to_owned(),
            block_secs: None,
        };
        let id = session.id.to_string();
        self.admin
            .call(|api| api.kill_session(&id, &request))
            .map(drop)
    }

    fn edit_the_realm(&self) -> ClientResult<()> {
        let realm = realm();
        let now = self.admin.call(|api| api.realm(&realm))?;
        let mut document = now.document;
        let limited = self.rounds % 2 == 1;
        document.max_rate_bps = limited.then_some(PLENTY);
        document.max_user_rate_bps = limited.then_some(PLENTY);
        let put = RealmPut {
            document,
            reason: REASON.to_owned(),
        };
        self.admin
            .call(|api| api.put_realm(&realm, now.revision, &put))
            .map(drop)
    }
}

fn realm() -> Realm {
    REALM.parse().expect("the kit's realm")
}
