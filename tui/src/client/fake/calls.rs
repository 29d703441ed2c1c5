//! [`AdminApi`] of the double.

use async_trait::async_trait;
use futures_util::stream;
use serde_json::json;
use shared::api::{
    BlockRequest, BlockView, Credential, DrainRequest, DrainView, EventView, IceServer, JobView,
    KillRequest, KillResult, ListQuery, MintRequest, NodeState, NodeView, OauthKeyCreated,
    OauthKeyPut, OauthKeyView, Overview, Page, RealmPut, RealmView, RefusalCount, Role,
    SecretCreate, SecretCreated, SecretPatch, SecretState, SecretUsage, SecretView, SessionDetail,
    SessionView, SessionsKill, TokenCreate, TokenCreated, TokenView, UpgradeRequest, UpgradeView,
    UserPatch, UserPut, UserView, WhoAmI,
};
use shared::filter::{
    BLOCK_COLUMNS, NODE_COLUMNS, REALM_COLUMNS, REFUSAL_COLUMNS, SESSION_COLUMNS, USER_COLUMNS,
};
use shared::{NodeId, PasswordAlgorithm, Realm};

use super::places::{query_text, realm_at, user_at};
use super::session_detail::detail;
use super::{FakeAdmin, bad_request, not_found};
use crate::client::{AdminApi, ClientError, ClientResult, EventStream};

#[async_trait]
impl AdminApi for FakeAdmin {
    fn address(&self) -> String {
        "fake:".into()
    }

    async fn whoami(&self) -> ClientResult<WhoAmI> {
        let role = self.state().role;
        let state = self.enter(role, "whoami".into())?;
        Ok(WhoAmI {
            actor: "unix:0".into(),
            role: state.role,
            realms: Vec::new(),
            node: state.nodes[0].id.clone(),
            cluster: "fake".into(),
            version: "0.1.0".into(),
        })
    }

    async fn overview(&self) -> ClientResult<Overview> {
        let state = self.enter(Role::Viewer, "overview".into())?;
        let sum =
            |of: fn(&NodeView) -> u64| state.nodes.iter().map(of).fold(0, u64::saturating_add);
        Ok(Overview {
            schema: "overview/1".into(),
            as_of_ms: state.now_ms,
            cluster: "fake".into(),
            nodes_live: (state.nodes.len() - state.missing.len()) as u32,
            nodes_total: state.nodes.len() as u32,
            sessions: state.sessions.len() as u64,
            created_per_sec: 4.5,
            ended_per_sec: 3.0,
            rate_in_bps: sum(|n| n.rate_in_bps),
            rate_out_bps: sum(|n| n.rate_out_bps),
            packets_per_sec: sum(|n| n.packets_per_sec),
            transports: [("udp".to_owned(), state.sessions.len() as u64)].into(),
            refusals_per_sec: [("401".to_owned(), 6.0), ("486".to_owned(), 0.3)].into(),
            missing: state.missing.clone(),
        })
    }

    async fn nodes(&self, query: &ListQuery) -> ClientResult<Page<NodeView>> {
        let state = self.enter(Role::Viewer, format!("nodes{}", query_text(query)))?;
        state.page("nodes/1", &state.nodes, NODE_COLUMNS, query)
    }

    async fn node(&self, id: &NodeId) -> ClientResult<NodeView> {
        let state = self.enter(Role::Viewer, format!("node {id}"))?;
        state
            .nodes
            .iter()
            .find(|n| n.id == *id)
            .cloned()
            .ok_or_else(|| not_found("such node"))
    }

    async fn forget_node(&self, id: &NodeId, reason: &str) -> ClientResult<()> {
        let call = format!("forget_node {id} reason={reason}");
        let mut state = self.enter(Role::Admin, call)?;
        let before = state.nodes.len();
        state.nodes.retain(|n| n.id != *id);
        if state.nodes.len() < before {
            Ok(())
        } else {
            Err(not_found("such node"))
        }
    }

    async fn drain_node(&self, id: &NodeId, request: &DrainRequest) -> ClientResult<DrainView> {
        let deadline = request.deadline_secs;
        let deadline = deadline.map_or(String::new(), |secs| format!(" deadline={secs}"));
        let (refuse, reason) = (request.refuse_refresh, &request.reason);
        let call = format!("drain_node {id}{deadline} refuse_refresh={refuse} reason={reason}");
        let mut state = self.enter(Role::Operator, call)?;
        state.drain(id, request)
    }

    async fn undrain_node(&self, id: &NodeId, reason: &str) -> ClientResult<()> {
        let call = format!("undrain_node {id} reason={reason}");
        let mut state = self.enter(Role::Operator, call)?;
        let mut nodes = state.nodes.iter_mut();
        let node = nodes.find(|n| n.id == *id && n.drain.is_some());
        let node = node.ok_or_else(|| not_found("such drain"))?;
        (node.drain, node.state) = (None, NodeState::Ready);
        Ok(())
    }

    async fn upgrade_node(
        &self,
        id: &NodeId,
        request: &UpgradeRequest,
    ) -> ClientResult<UpgradeView> {
        let call = format!("upgrade_node {id} reason={}", request.reason);
        let mut state = self.enter(Role::Admin, call)?;
        let mut nodes = state.nodes.iter_mut();
        let node = nodes.find(|n| n.id == *id);
        let node = node.ok_or_else(|| not_found("such node"))?;
        node.epoch += 1;
        Ok(UpgradeView {
            started_at_ms: 0,
            pid: 4711,
            failed: None,
        })
    }

    async fn sessions(&self, query: &ListQuery) -> ClientResult<Page<SessionView>> {
        let state = self.enter(Role::Viewer, format!("sessions{}", query_text(query)))?;
        state.page("sessions/1", &state.sessions, SESSION_COLUMNS, query)
    }

    async fn session(&self, id: &str) -> ClientResult<SessionDetail> {
        let state = self.enter(Role::Viewer, format!("session {id}"))?;
        let at = state.find_session(id)?;
        Ok(detail(&state, &state.sessions[at]))
    }

    async fn kill_session(&self, id: &str, request: &KillRequest) -> ClientResult<KillResult> {
        let secs = request.block_secs;
        let block = secs.map_or(String::new(), |secs| format!(" block={secs}"));
        let call = format!("kill_session {id}{block} reason={}", request.reason);
        let mut state = self.enter(Role::Operator, call)?;
        let at = state.find_session(id)?;
        let session = state.sessions.remove(at);
        let (realm, user) = (&session.realm, &session.user);
        let block = |secs| state.block(realm, user, secs, &request.reason).until_ms;
        let blocked = request.block_secs.map(block);
        state.count();
        Ok(KillResult {
            id: session.id,
            node: session.node,
            user: session.user,
            realm: session.realm,
            blocked_until_ms: blocked,
        })
    }

    async fn start_kill_job(&self, request: &SessionsKill) -> ClientResult<JobView> {
        let call = format!(
            "start_kill_job ids={} filter={:?} expected={} rate={} block={:?} dry_run={} reason={}",
            request
                .ids
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(","),
            request.filter,
            request.expected,
            request.rate,
            request.block_secs,
            request.dry_run,
            request.reason
        );
        self.enter(Role::Operator, call)?.kill_job(request)
    }

    async fn jobs(&self) -> ClientResult<Page<JobView>> {
        let state = self.enter(Role::Viewer, "jobs".into())?;
        Ok(state.whole("jobs/1", state.jobs.clone()))
    }

    async fn job(&self, id: &str) -> ClientResult<JobView> {
        let state = self.enter(Role::Viewer, format!("job {id}"))?;
        state
            .jobs
            .iter()
            .find(|j| j.id == id)
            .cloned()
            .ok_or_else(|| not_found("such job"))
    }

    async fn stop_job(&self, id: &str) -> ClientResult<JobView> {
        let state = self.enter(Role::Operator, format!("stop_job {id}"))?;
        state
            .jobs
            .iter()
            .find(|j| j.id == id)
            .cloned()
            .ok_or_else(|| not_found("such job"))
    }

    async fn users(&self, query: &ListQuery) -> ClientResult<Page<UserView>> {
        let state = self.enter(Role::Viewer, format!("users{}", query_text(query)))?;
        state.page("users/1", &state.users, USER_COLUMNS, query)
    }

    async fn user(&self, realm: &Realm, name: &str) -> ClientResult<UserView> {
        let state = self.enter(Role::Viewer, format!("user {realm}/{name}"))?;
        user_at(&state, realm, name).map(|at| state.users[at].clone())
    }

    async fn put_user(&self, realm: &Realm, name: &str, put: &UserPut) -> ClientResult<UserView> {
        let call = format!("put_user {realm}/{name} reason={}", put.reason);
        let mut state = self.enter(Role::Admin, call)?;
        if put.password.is_empty() {
            return Err(bad_request("password: 1 to 508 bytes".into()));
        }
        if let Ok(at) = user_at(&state, realm, name) {
            state.users[at].stored = true;
            state.users[at].algorithms = PasswordAlgorithm::ALL.to_vec();
            return Ok(state.users[at].clone());
        }
        let user = UserView {
            realm: realm.clone(),
            name: name.into(),
            stored: true,
            disabled: false,
            max_sessions: None,
            max_rate_bps: None,
            rate_limit_bps: None,
            limit: Some(12),
            note: String::new(),
            algorithms: PasswordAlgorithm::ALL.to_vec(),
            blocked_until_ms: None,
            sessions: 0,
            rate_in_bps: 0,
            rate_out_bps: 0,
        };
        state.users.push(user.clone());
        Ok(user)
    }

    async fn patch_user(
        &self,
        realm: &Realm,
        name: &str,
        patch: &UserPatch,
    ) -> ClientResult<UserView> {
        let call = format!(
            "patch_user {realm}/{name} disabled={:?} max_sessions={:?} max_rate_bps={:?} note={:?} reason={}",
            patch.disabled, patch.max_sessions, patch.max_rate_bps, patch.note, patch.reason
        );
        let mut state = self.enter(Role::Admin, call)?;
        let at = user_at(&state, realm, name)?;
        let user = &mut state.users[at];
        user.disabled = patch.disabled.unwrap_or(user.disabled);
        if let Some(limit) = patch.max_sessions {
            user.max_sessions = (limit > 0).then_some(limit);
            user.limit = user.max_sessions.or(Some(12));
        }
        if let Some(limit) = patch.max_rate_bps {
            user.max_rate_bps = (limit > 0).then_some(limit);
            user.rate_limit_bps = user.max_rate_bps;
        }
        if let Some(note) = &patch.note {
            user.note.clone_from(note);
        }
        Ok(user.clone())
    }

    async fn delete_user(&self, realm: &Realm, name: &str, reason: &str) -> ClientResult<()> {
        let call = format!("delete_user {realm}/{name} reason={reason}");
        let mut state = self.enter(Role::Admin, call)?;
        let at = user_at(&state, realm, name)?;
        state.users.remove(at);
        Ok(())
    }

    async fn blocks(&self, query: &ListQuery) -> ClientResult<Page<BlockView>> {
        let state = self.enter(Role::Viewer, format!("blocks{}", query_text(query)))?;
        state.page("blocks/1", &state.blocks, BLOCK_COLUMNS, query)
    }

    async fn put_block(
        &self,
        realm: &Realm,
        user: &str,
        request: &BlockRequest,
    ) -> ClientResult<BlockView> {
        let call = format!(
            "put_block {realm}/{user} {} reason={}",
            request.secs, request.reason
        );
        let mut state = self.enter(Role::Operator, call)?;
        Ok(state.block(realm, user, request.secs, &request.reason))
    }

    async fn delete_block(&self, realm: &Realm, user: &str, reason: &str) -> ClientResult<()> {
        let call = format!("delete_block {realm}/{user} reason={reason}");
        let mut state = self.enter(Role::Operator, call)?;
        let before = state.blocks.len();
        state.blocks.retain(|b| b.realm != *realm || b.user != user);
        if let Ok(at) = user_at(&state, realm, user) {
            state.users[at].blocked_until_ms = None;
        }
        if state.blocks.len() < before {
            Ok(())
        } else {
            Err(not_found("such block"))
        }
    }

    async fn realms(&self, query: &ListQuery) -> ClientResult<Page<RealmView>> {
        let state = self.enter(Role::Viewer, format!("realms{}", query_text(query)))?;
        state.page("realms/1", &state.realms, REALM_COLUMNS, query)
    }

    async fn realm(&self, name: &Realm) -> ClientResult<RealmView> {
        let state = self.enter(Role::Viewer, format!("realm {name}"))?;
        let realm = state.realms.iter().find(|r| r.name == *name);
        let realm = realm.ok_or_else(|| not_found("such realm"))?;
        Ok(state.with_applied(realm))
    }

    async fn put_realm(
        &self,
        name: &Realm,
        expected: u64,
        put: &RealmPut,
    ) -> ClientResult<RealmView> {
        let call = format!(
            "put_realm {name} expected={expected} document={} reason={}",
            json!(put.document),
            put.reason
        );
        let mut state = self.enter(Role::Admin, call)?;
        put.document
            .validate()
            .map_err(|errors| bad_request(errors.join("; ")))?;
        if expected == 0 && !state.realms.iter().any(|r| r.name == *name) {
            let new = RealmView {
                name: name.clone(),
                revision: 0,
                ..state.realms[0].clone()
            };
            state.realms.push(new);
        }
        let at = realm_at(&state, name, expected)?;
        Ok(state.write_realm(at, put.document.clone(), &put.reason))
    }

    async fn delete_realm(&self, name: &Realm, expected: u64, reason: &str) -> ClientResult<()> {
        let call = format!("delete_realm {name} expected={expected} reason={reason}");
        let mut state = self.enter(Role::Admin, call)?;
        let at = realm_at(&state, name, expected)?;
        state.realms.remove(at);
        Ok(())
    }

    async fn secrets(&self, realm: &Realm) -> ClientResult<Page<SecretView>> {
        let state = self.enter(Role::Viewer, format!("secrets {realm}"))?;
        let items = state
            .secrets
            .iter()
            .filter(|s| s.realm == *realm)
            .cloned()
            .collect();
        Ok(state.whole("secrets/1", items))
    }

    async fn create_secret(
        &self,
        realm: &Realm,
        create: &SecretCreate,
    ) -> ClientResult<SecretCreated> {
        let call = format!(
            "create_secret {realm} label={} given={} reason={}",
            create.label,
            create.value.is_some(),
            create.reason
        );
        let mut state = self.enter(Role::Admin, call)?;
        let secret = SecretView {
            id: format!("{:012x}", 0xab00 + state.secrets.len()),
            realm: realm.clone(),
            label: create.label.clone(),
            created_at_ms: state.now_ms,
            state: match create.pending {
                true => SecretState::Pending,
                false => SecretState::Active,
            },
            sessions: 0,
        };
        state.secrets.push(secret.clone());
        state.count();
        let value = create
            .value
            .is_none()
            .then(|| "generated-secret-value".to_owned());
        Ok(SecretCreated { secret, value })
    }

    async fn secret_usage(&self, realm: &Realm) -> ClientResult<Page<SecretUsage>> {
        let state = self.enter(Role::Viewer, format!("secret_usage {realm}"))?;
        let secrets = state.secrets.iter().filter(|s| s.realm == *realm);
        let items = secrets.map(super::data::secret_usage).collect();
        Ok(state.whole("secret-usage/1", items))
    }

    async fn patch_secret(
        &self,
        realm: &Realm,
        id: &str,
        patch: &SecretPatch,
    ) -> ClientResult<SecretView> {
        let next = patch.state.map_or("same", SecretState::as_str);
        let call = format!(
            "patch_secret {realm}/{id} state={next} reason={}",
            patch.reason
        );
        let mut state = self.enter(Role::Admin, call)?;
        let mut secrets = state.secrets.iter_mut();
        let secret = secrets.find(|s| s.realm == *realm && s.id == id);
        let secret = secret.ok_or_else(|| not_found("such secret"))?;
        secret.state = patch.state.unwrap_or(secret.state);
        if let Some(label) = &patch.label {
            secret.label.clone_from(label);
        }
        Ok(secret.clone())
    }

    async fn delete_secret(&self, realm: &Realm, id: &str, reason: &str) -> ClientResult<()> {
        let call = format!("delete_secret {realm}/{id} reason={reason}");
        let mut state = self.enter(Role::Admin, call)?;
        let before = state.secrets.len();
        state.secrets.retain(|s| s.realm != *realm || s.id != id);
        state.count();
        if state.secrets.len() < before {
            Ok(())
        } else {
            Err(not_found("such secret"))
        }
    }

    async fn mint(&self, realm: &Realm, request: &MintRequest) -> ClientResult<Credential> {
        let state = self.enter(Role::Mint, format!("mint {realm} user={}", request.user))?;
        let (username, credential) = (
            format!("1767355200:{}", request.user),
            "bWludGVkLWNyZWRlbnRpYWw=".to_owned(),
        );
        let urls = vec!["turn:192.0.2.10:3478?transport=udp".to_owned()];
        Ok(Credential {
            ttl_secs: request.ttl_secs.unwrap_or(86_400),
            nodes: vec![state.nodes[0].id.clone()],
            ice_servers: vec![IceServer {
                urls: urls.clone(),
                username: username.clone(),
                credential: credential.clone(),
            }],
            username,
            credential,
            urls,
        })
    }

    async fn events(&self, after: Option<&str>, limit: u32) -> ClientResult<Page<EventView>> {
        let state = self.enter(Role::Viewer, format!("events limit={limit}"))?;
        let after = after.unwrap_or("");
        let mut items: Vec<_> = state
            .events
            .iter()
            .filter(|e| e.id.as_str() > after)
            .cloned()
            .collect();
        items.drain(..items.len().saturating_sub(limit as usize));
        Ok(state.whole("events/1", items))
    }

    /// The events so far, and then the end of the connection.
    async fn follow_events(&self, after: Option<&str>) -> ClientResult<EventStream> {
        let state = self.enter(Role::Viewer, "follow_events".into())?;
        let after = after.unwrap_or("");
        let lost = ClientError::Unreachable {
            address: "fake:".into(),
            reason: "the node ended the stream".into(),
        };
        let mut items: Vec<ClientResult<EventView>> = state
            .events
            .iter()
            .filter(|e| e.id.as_str() > after)
            .cloned()
            .map(Ok)
            .collect();
        items.push(Err(lost));
        Ok(Box::pin(stream::iter(items)))
    }

    async fn refusals(&self, query: &ListQuery) -> ClientResult<Page<RefusalCount>> {
        let state = self.enter(Role::Viewer, format!("refusals{}", query_text(query)))?;
        let rows: Vec<_> = state
            .nodes
            .iter()
            .map(|node| RefusalCount {
                node: node.id.clone(),
                realm: Some(super::data::realm_name("acme")),
                reason: "user_quota".into(),
                code: Some(486),
                count: 4,
            })
            .collect();
        state.page("refusals/1", &rows, REFUSAL_COLUMNS, query)
    }

    async fn oauth_keys(&self) -> ClientResult<Page<OauthKeyView>> {
        let state = self.enter(Role::Admin, "oauth_keys".into())?;
        Ok(state.whole("oauth-keys/1", state.oauth_keys.clone()))
    }

    async fn put_oauth_key(&self, kid: &str, put: &OauthKeyPut) -> ClientResult<OauthKeyCreated> {
        let call = format!(
            "put_oauth_key {kid} algorithm={} realm={:?} ttl={:?} given={} reason={}",
            put.algorithm,
            put.realm.as_ref().map(Realm::as_str),
            put.ttl_secs,
            put.key.is_some(),
            put.reason
        );
        let mut state = self.enter(Role::Admin, call)?;
        Ok(state.put_oauth_key(kid, put))
    }

    async fn delete_oauth_key(&self, kid: &str, reason: &str) -> ClientResult<()> {
        let call = format!("delete_oauth_key {kid} reason={reason}");
        let mut state = self.enter(Role::Admin, call)?;
        if state.delete_oauth_key(kid) {
            Ok(())
        } else {
            Err(not_found("such key"))
        }
    }

    async fn tokens(&self) -> ClientResult<Page<TokenView>> {
        let state = self.enter(Role::Admin, "tokens".into())?;
        Ok(state.whole("tokens/1", state.tokens.clone()))
    }

    async fn create_token(&self, create: &TokenCreate) -> ClientResult<TokenCreated> {
        let call = format!(
            "create_token role={} realms={:?} label={} reason={}",
            create.role.as_str(),
            create.realms,
            create.label,
            create.reason
        );
        let mut state = self.enter(Role::Admin, call)?;
        let view = TokenView {
            id: format!("{:012x}", 0xcafe + state.tokens.len()),
            label: create.label.clone(),
            role: create.role,
            realms: create.realms.clone(),
            created_at_ms: state.now_ms,
            created_by: "unix:0".into(),
            expires_at_ms: create.ttl_secs.map(|secs| state.now_ms + secs * 1000),
            last_used_at_ms: None,
        };
        state.tokens.push(view.clone());
        let token = format!("relayd_{}_fake", view.id);
        Ok(TokenCreated { view, token })
    }

    async fn delete_token(&self, id: &str, reason: &str) -> ClientResult<()> {
        let call = format!("delete_token {id} reason={reason}");
        let mut state = self.enter(Role::Admin, call)?;
        let before = state.tokens.len();
        state.tokens.retain(|t| t.id != id);
        if state.tokens.len() < before {
            Ok(())
        } else {
            Err(not_found("such token"))
        }
    }
}
