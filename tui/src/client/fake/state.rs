//! What the double holds, and how lists are made of it.

use std::cmp::Ordering;

use shared::api::{
    AlertRules, AlertView, AuditView, BanView, BlockView, ConfigOverrides, DrainEstimate,
    DrainRequest, DrainView, EventView, ItemOutcome, JobItem, JobState, JobView, ListQuery,
    MissingNode, NodeState, NodeView, OauthKeyCreated, OauthKeyPut, OauthKeyView, Page,
    RealmRevision, RealmView, RedirectView, RefusalView, Role, SecretView, SessionView,
    SessionsKill, TokenView, UserView,
};
use shared::filter::{Column, Direction, Filter, Row, SESSION_COLUMNS, SortSpec};
use shared::{NodeId, Realm};

use super::data::{self, START_MS};
use super::fleet;
use super::{bad_request, not_found, seconds};
use crate::client::{ClientError, ClientResult};

#[derive(Debug)]
pub(super) struct State {
    pub(super) now_ms: u64,
    pub(super) nodes: Vec<NodeView>,
    pub(super) sessions: Vec<SessionView>,
    pub(super) users: Vec<UserView>,
    pub(super) realms: Vec<RealmView>,
    /// Newest first.
    pub(super) revisions: Vec<(Realm, RealmRevision)>,
    pub(super) secrets: Vec<SecretView>,
    /// Keys of stored users, and values of secrets, that were imported.
    pub(super) imported: super::bulk::Imported,
    pub(super) blocks: Vec<BlockView>,
    pub(super) tokens: Vec<TokenView>,
    pub(super) oauth_keys: Vec<OauthKeyView>,
    pub(super) events: Vec<EventView>,
    pub(super) audit: Vec<AuditView>,
    pub(super) jobs: Vec<JobView>,
    pub(super) recent_refusals: Vec<RefusalView>,
    pub(super) overrides: Vec<ConfigOverrides>,
    pub(super) alerts: Vec<AlertView>,
    pub(super) alert_rules: AlertRules,
    pub(super) redirects: Vec<RedirectView>,
    pub(super) bans: Vec<BanView>,
    pub(super) calls: Vec<String>,
    pub(super) missing: Vec<MissingNode>,
    pub(super) unreachable: bool,
    pub(super) fail_next: Option<ClientError>,
    pub(super) fail_next_change: Option<ClientError>,
    pub(super) hold_jobs: bool,
    pub(super) role: Role,
}

impl State {
    /// Takes a key in, in place of one of that name.
    pub(super) fn put_oauth_key(&mut self, kid: &str, put: &OauthKeyPut) -> OauthKeyCreated {
        let view = OauthKeyView {
            kid: kid.into(),
            algorithm: put.algorithm,
            realm: put.realm.clone(),
            since_ms: put.ttl_secs.map(|_| self.now_ms),
            until_ms: put.ttl_secs.map(|secs| self.now_ms + secs * 1000),
        };
        self.oauth_keys.retain(|key| key.kid != kid);
        self.oauth_keys.push(view.clone());
        let key = put.key.is_none().then(|| "ZmFrZQ==".to_owned());
        OauthKeyCreated { view, key }
    }

    /// Forgets a key; whether there was one.
    pub(super) fn delete_oauth_key(&mut self, kid: &str) -> bool {
        let before = self.oauth_keys.len();
        self.oauth_keys.retain(|key| key.kid != kid);
        self.oauth_keys.len() < before
    }

    /// Begins a drain.
    pub(super) fn drain(&mut self, id: &NodeId, request: &DrainRequest) -> ClientResult<DrainView> {
        let (now_ms, mut nodes) = (self.now_ms, self.nodes.iter_mut());
        let node = nodes.find(|n| n.id == *id);
        let node = node.ok_or_else(|| not_found("such node"))?;
        let view = DrainView {
            started_at_ms: now_ms,
            by: "unix:0".into(),
            reason: request.reason.clone(),
            deadline_at_ms: request.deadline_secs.map(|secs| now_ms + secs * 1000),
            refuse_refresh: request.refuse_refresh,
            sessions_at_start: node.sessions,
            estimate: DrainEstimate {
                half_secs: Some(240),
                latest_secs: request.deadline_secs,
                observed: 900,
                ..DrainEstimate::default()
            },
        };
        (node.state, node.drain) = (NodeState::Draining, Some(view.clone()));
        Ok(view)
    }

    pub(super) fn new(sessions: usize) -> Self {
        let mut state = Self {
            now_ms: START_MS,
            nodes: (0..data::NODES.len()).map(data::node).collect(),
            sessions: (0..sessions).map(data::session).collect(),
            users: data::users(),
            realms: data::realms(),
            revisions: data::revisions(),
            secrets: data::secrets(),
            imported: super::bulk::Imported::default(),
            blocks: Vec::new(),
            tokens: Vec::new(),
            oauth_keys: data::oauth_keys(),
            events: data::events(),
            audit: fleet::audit(),
            jobs: Vec::new(),
            recent_refusals: fleet::recent_refusals(),
            overrides: Vec::new(),
            alerts: fleet::alerts(),
            alert_rules: fleet::alert_rules(),
            redirects: fleet::redirects(),
            bans: fleet::bans(),
            calls: Vec::new(),
            missing: Vec::new(),
            unreachable: false,
            fail_next: None,
            fail_next_change: None,
            hold_jobs: false,
            role: Role::Admin,
        };
        state.count();
        state
    }

    pub(super) fn tick(&mut self) {
        self.now_ms += 1000;
        let second = seconds(self);
        for (index, session) in self.sessions.iter_mut().enumerate() {
            let swing = (second * 31 + index as u64 * 17) % 20;
            let rate = data::base_rate(index) * (90 + swing) / 100;
            session.rate_in_bps = rate;
            session.rate_out_bps = rate / 2;
            session.in_bytes += rate / 8;
            session.out_bytes += rate / 16;
            session.in_packets += rate / 8 / 160;
            session.out_packets += rate / 16 / 160;
            session.age_secs += 1;
            session.ttl_secs = if session.ttl_secs <= 1 {
                600
            } else {
                session.ttl_secs - 1
            };
        }
        self.count();
    }

    /// Brings the figures of nodes, users and realms in line with the sessions.
    pub(super) fn count(&mut self) {
        fn tally(sessions: &[SessionView], of: impl Fn(&SessionView) -> bool) -> (u64, u64, u64) {
            sessions
                .iter()
                .filter(|s| of(s))
                .fold((0, 0, 0), |(n, i, o), s| {
                    (
                        n + 1,
                        i.saturating_add(s.rate_in_bps),
                        o.saturating_add(s.rate_out_bps),
                    )
                })
        }
        let sessions = &self.sessions;
        for node in &mut self.nodes {
            let figures = tally(sessions, |s| s.node == node.id);
            (node.sessions, node.rate_in_bps, node.rate_out_bps) = figures;
            node.transports = [("udp".to_owned(), node.sessions)].into();
        }
        for user in &mut self.users {
            let figures = tally(sessions, |s| s.user == user.name && s.realm == user.realm);
            (user.sessions, user.rate_in_bps, user.rate_out_bps) = figures;
        }
        for realm in &mut self.realms {
            let figures = tally(sessions, |s| s.realm == realm.name);
            (realm.sessions, realm.rate_in_bps, realm.rate_out_bps) = figures;
            let of_realm = self
                .users
                .iter()
                .filter(|u| u.realm == realm.name && u.sessions > 0);
            realm.users = of_realm.count() as u64;
            realm.secrets = self
                .secrets
                .iter()
                .filter(|s| s.realm == realm.name)
                .count() as u32;
        }
        for secret in &mut self.secrets {
            let signed = sessions
                .iter()
                .filter(|s| s.secret_id.as_ref() == Some(&secret.id));
            secret.sessions = signed.count() as u64;
        }
    }

    /// A whole list as one page.
    pub(super) fn whole<T>(&self, schema: &str, items: Vec<T>) -> Page<T> {
        let count = items.len() as u64;
        Page {
            schema: schema.into(),
            as_of_ms: self.now_ms,
            items,
            next: None,
            matched: count,
            total: count,
            missing: self.missing.clone(),
        }
    }

    /// The page that `query` asks for; the cursor is the index of its first row.
    pub(super) fn page<T: Row + Clone>(
        &self,
        schema: &str,
        rows: &[T],
        columns: &'static [Column],
        query: &ListQuery,
    ) -> ClientResult<Page<T>> {
        let filter = Filter::parse(query.filter.as_deref().unwrap_or(""), columns)
            .map_err(|e| bad_request(e.to_string()))?;
        let mut rows_left: Vec<&T> = rows.iter().filter(|row| filter.matches(*row)).collect();
        if let Some(sort) = &query.sort {
            let sort = SortSpec::parse(sort, columns).map_err(|e| bad_request(e.to_string()))?;
            // The opposite order is the same list from its end, equal keys included.
            rows_left.sort_by(|a, b| -> Ordering { sort.key(*b).cmp(&sort.key(*a)) });
            if sort.direction == Direction::Ascending {
                rows_left.reverse();
            }
        }
        let start: usize = query
            .cursor
            .as_deref()
            .map_or(Ok(0), str::parse)
            .map_err(|_| bad_request("the cursor is none of ours".to_owned()))?;
        let end = (start + query.page_size()).min(rows_left.len());
        let mut page = self.whole(schema, Vec::new());
        page.matched = rows_left.len() as u64;
        page.total = rows.len() as u64;
        page.next = (end < rows_left.len()).then(|| end.to_string());
        page.items = rows_left
            .get(start..end)
            .unwrap_or_default()
            .iter()
            .copied()
            .cloned()
            .collect();
        Ok(page)
    }

    /// The position of the session with that id or unique prefix.
    pub(super) fn find_session(&self, id: &str) -> ClientResult<usize> {
        let prefix: shared::SessionIdPrefix = id
            .parse()
            .map_err(|e: shared::id::InvalidId| bad_request(e.to_string()))?;
        let mut hits = (0..self.sessions.len()).filter(|i| prefix.matches(self.sessions[*i].id));
        match (hits.next(), hits.next()) {
            (Some(hit), None) => Ok(hit),
            (None, _) => Err(not_found("such session")),
            (Some(_), Some(_)) => Err(bad_request("several sessions begin so".to_owned())),
        }
    }

    /// Blocks a user until `secs` from now.
    pub(super) fn block(
        &mut self,
        realm: &Realm,
        user: &str,
        secs: u64,
        reason: &str,
    ) -> BlockView {
        let until_ms = self.now_ms + secs * 1000;
        let block = BlockView {
            realm: realm.clone(),
            user: user.into(),
            until_ms,
            reason: reason.into(),
            by: "unix:0".into(),
        };
        self.blocks.retain(|b| b.realm != *realm || b.user != user);
        self.blocks.push(block.clone());
        let hit = |u: &&mut UserView| u.realm == *realm && u.name == user;
        self.users
            .iter_mut()
            .filter(hit)
            .for_each(|u| u.blocked_until_ms = Some(until_ms));
        block
    }

    /// Runs a kill job to its end at once.
    pub(super) fn kill_job(&mut self, request: &SessionsKill) -> ClientResult<JobView> {
        let targets = match &request.filter {
            Some(filter) => {
                let filter = Filter::parse(filter, SESSION_COLUMNS)
                    .map_err(|e| bad_request(e.to_string()))?;
                self.sessions
                    .iter()
                    .filter(|s| filter.matches(*s))
                    .map(|s| s.id)
                    .collect()
            }
            None => request.ids.clone(),
        };
        if targets.len() as u64 > request.expected {
            let message = format!("{} sessions match, not {}", targets.len(), request.expected);
            return Err(
                shared::api::ApiError::new(shared::api::ErrorKind::Conflict, message).into(),
            );
        }
        let mut items = Vec::new();
        for id in targets {
            let at = self.sessions.iter().position(|s| s.id == id);
            let user = at
                .map(|at| self.sessions[at].user.clone())
                .unwrap_or_default();
            let outcome = match at {
                None => ItemOutcome::NotFound,
                Some(_) if request.dry_run => ItemOutcome::WouldKill,
                Some(at) => {
                    let session = self.sessions.remove(at);
                    if let Some(secs) = request.block_secs {
                        self.block(&session.realm, &session.user, secs, &request.reason);
                    }
                    ItemOutcome::Killed
                }
            };
            items.push(JobItem { id, user, outcome });
        }
        self.count();
        let failed = items
            .iter()
            .filter(|i| i.outcome == ItemOutcome::NotFound)
            .count() as u64;
        let job = JobView {
            id: format!("job-{}", self.jobs.len() + 1),
            node: data::node_id("fra1"),
            title: format!("kill {} sessions", items.len()),
            actor: "unix:0".into(),
            state: if self.hold_jobs {
                JobState::Running
            } else {
                JobState::Done
            },
            total: items.len() as u64,
            done: items.len() as u64,
            failed,
            items,
            missing: self.missing.clone(),
        };
        self.jobs.push(job.clone());
        Ok(job)
    }
}
