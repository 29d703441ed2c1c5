//! A test double: a small cluster in memory behind [`AdminApi`], deterministic, without a clock.
//!
//! Lists are filtered, sorted and paged by the same code as in the nodes. Rates move with
//! [`FakeAdmin::tick`]. Calls are recorded without passwords. It is compiled for tests only.

mod bulk;
mod calls;
pub mod data;
mod fleet;
mod places;
pub mod poison;
mod revisions;
mod session_detail;
mod state;

use std::sync::{Mutex, MutexGuard};

use shared::api::{
    ApiError, AuditView, ErrorKind, EventView, MissingNode, NodeView, RefusalView, Role,
    SessionView,
};

use self::data::START_MS;
use self::state::State;
use super::{ClientError, ClientResult};

/// A cluster in memory: nodes `fra1`, `ams1`, `lon1`; realms `acme`, `globex`.
#[derive(Debug)]
pub struct FakeAdmin {
    state: Mutex<State>,
}

impl Default for FakeAdmin {
    fn default() -> Self {
        Self::with_sessions(12)
    }
}

impl FakeAdmin {
    /// The cluster with that many sessions, spread over nodes, realms and users.
    #[must_use]
    pub fn with_sessions(count: usize) -> Self {
        Self {
            state: Mutex::new(State::new(count)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the cluster")
    }

    /// A second passes: rates move, ages grow, times to live shrink.
    pub fn tick(&self) {
        self.state().tick();
    }

    /// The time in the cluster, in Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.state().now_ms
    }

    /// From now on calls do not arrive, or arrive again.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.state().unreachable = unreachable;
    }

    /// Nodes that lists name as missing from now on.
    pub fn set_missing(&self, nodes: &[&str]) {
        self.state().missing = nodes
            .iter()
            .map(|name| MissingNode {
                node: data::node_id(name),
                reason: "no answer within 500 ms".into(),
            })
            .collect();
    }

    /// What the caller may do from now on.
    pub fn set_role(&self, role: Role) {
        self.state().role = role;
    }

    /// The next call, and only that one, fails so.
    pub fn fail_next(&self, error: ClientError) {
        self.state().fail_next = Some(error);
    }

    /// The calls so far, as in `kill_session 7f3a900000000001 block=600 reason=abuse`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// The calls so far that change something, or would.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        let mut calls = self.calls();
        calls.retain(|call| is_change(call));
        calls
    }

    /// The next call that changes something, and only that one, fails so.
    pub fn fail_next_change(&self, error: ClientError) {
        self.state().fail_next_change = Some(error);
    }

    /// Jobs from now on say that they still run.
    pub fn hold_jobs(&self) {
        self.state().hold_jobs = true;
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.state().calls.clear();
    }

    /// All sessions.
    #[must_use]
    pub fn all_sessions(&self) -> Vec<SessionView> {
        self.state().sessions.clone()
    }

    /// Changes the sessions at will: hostile names, extreme figures.
    pub fn edit_sessions(&self, edit: impl FnOnce(&mut Vec<SessionView>)) {
        edit(&mut self.state().sessions);
    }

    /// Changes the nodes at will.
    pub fn edit_nodes(&self, edit: impl FnOnce(&mut Vec<NodeView>)) {
        edit(&mut self.state().nodes);
    }

    /// Changes the latest refusals at will.
    pub fn edit_recent_refusals(&self, edit: impl FnOnce(&mut Vec<RefusalView>)) {
        edit(&mut self.state().recent_refusals);
    }

    /// Changes the audit record at will.
    pub fn edit_audit(&self, edit: impl FnOnce(&mut Vec<AuditView>)) {
        edit(&mut self.state().audit);
    }

    /// Something happens.
    pub fn push_event(&self, event: EventView) {
        self.state().events.push(event);
    }

    /// Records a call that needs `role`, unless it cannot arrive or is refused.
    fn enter(&self, role: Role, call: String) -> ClientResult<MutexGuard<'_, State>> {
        let mut state = self.state();
        let change = is_change(&call);
        state.calls.push(call);
        if state.unreachable {
            let address = "fake:".to_owned();
            return Err(ClientError::Unreachable {
                address,
                reason: "switched off".into(),
            });
        }
        if let Some(error) = state.fail_next.take() {
            return Err(error);
        }
        if let Some(error) = state.fail_next_change.take_if(|_| change) {
            return Err(error);
        }
        if !state.role.covers(role) {
            let message = format!("this needs the role {}", role.as_str());
            return Err(ApiError::new(ErrorKind::Denied, message).into());
        }
        Ok(state)
    }
}

/// Calls that change nothing. Whatever is new counts as a change until it is named here.
const READS: [&str; 31] = [
    "bans",
    "secret_usage",
    "oauth_keys",
    "whoami",
    "overview",
    "nodes",
    "node",
    "sessions",
    "session",
    "jobs",
    "job",
    "users",
    "user",
    "blocks",
    "realms",
    "realm",
    "secrets",
    "events",
    "follow_events",
    "refusals",
    "recent_refusals",
    "tokens",
    "audit",
    "alerts",
    "alert_rules",
    "redirects",
    "preview_realm",
    "config",
    "config_overrides",
    "history",
    "groups",
];

fn is_change(call: &str) -> bool {
    let name = call.split(' ').next().unwrap_or_default();
    !READS.contains(&name) && !call.contains(" dry_run=true")
}

fn not_found(what: &str) -> ClientError {
    ApiError::new(ErrorKind::NotFound, format!("there is no {what}")).into()
}

fn bad_request(message: String) -> ClientError {
    ApiError::new(ErrorKind::BadRequest, message).into()
}

/// Whole seconds of the cluster's time since its start.
fn seconds(state: &State) -> u64 {
    (state.now_ms - START_MS) / 1000
}
