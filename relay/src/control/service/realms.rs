//! Realms: documents with revisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use shared::Realm;
use shared::api::{
    ApiError, ErrorKind, EventKind, ListQuery, MissingNode, NodeState, NodeView, Page,
    RealmApplied, RealmDocument, RealmPreview, RealmPut, RealmView, Role, Severity,
};
use shared::filter::REALM_COLUMNS;

use super::list::ListOf;
use super::{
    Caller, MAX_TEXT, Service, bad, need, need_all_realms, need_realm, not_found, unexpected,
};
use crate::control::clock::Moment;
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::control::directory::aggregate::RealmLoad;
use crate::control::policy::{self, RealmEntry};
use crate::store::Author;

/// How long the nodes have to look at all sessions of a realm.
const PREVIEW_DEADLINE: Duration = Duration::from_secs(3);

impl Service {
    /// A page of realms with their live figures.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense.
    pub async fn realms(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<RealmView>, ApiError> {
        need(caller, Role::Viewer)?;
        let asked = self.ask(caller, query.scope, NodeQuestion::Realms).await;
        let loads = sums(asked.answers.into_iter().map(|(_, answer)| answer));
        let realms = self.hub.keeper.realms().into_iter();
        let rows = realms
            .filter(|realm| caller.sees(&realm.name))
            .map(|realm| view(realm, &loads))
            .collect();
        let list = ListOf {
            schema: "realms/1",
            columns: REALM_COLUMNS,
            default_sort: "realm:asc",
            rows,
            missing: asked.missing,
            query,
        };
        list.page(|realm| realm.name.as_str().to_owned())
    }

    /// One realm.
    ///
    /// # Errors
    /// No such realm.
    pub async fn realm(&self, caller: &Caller, name: &Realm) -> Result<RealmView, ApiError> {
        need(caller, Role::Viewer)?;
        need_realm(caller, name)?;
        let entry = self.hub.keeper.realm(name);
        let entry = entry.ok_or_else(|| not_found(format!("realm {name}")))?;
        let (asked, applied) = tokio::join!(
            self.ask(caller, None, NodeQuestion::Realms),
            self.applied(name)
        );
        let loads = sums(asked.answers.into_iter().map(|(_, answer)| answer));
        Ok(RealmView {
            applied,
            ..view(entry, &loads)
        })
    }

    /// Which revision of a realm each node applies: this one now, the others as of the last
    /// heartbeat that the store has. Nodes that stopped are left out.
    async fn applied(&self, name: &Realm) -> Vec<RealmApplied> {
        let hub = &self.hub;
        let mut applied = vec![RealmApplied {
            node: hub.node.clone(),
            revision: hub.keeper.applied_revision(name),
            heartbeat_age_secs: 0,
        }];
        if !hub.config().is_gateway() {
            return applied;
        }
        let views: Vec<NodeView> = match hub.noted(hub.store.nodes().await) {
            Ok(nodes) => {
                let aged = nodes.into_iter().map(|(view, age)| NodeView {
                    heartbeat_age_secs: age.as_secs(),
                    ..view
                });
                aged.collect()
            }
            Err(_) => hub.cluster.registry().views(Instant::now()),
        };
        let others = views.into_iter();
        let others = others.filter(|view| view.id != hub.node && view.state != NodeState::Gone);
        applied.extend(others.map(|view| {
            let revision = view.realm_revisions.get(name.as_str());
            RealmApplied {
                revision: revision.copied().unwrap_or(0),
                heartbeat_age_secs: view.heartbeat_age_secs,
                node: view.id,
            }
        }));
        applied.sort_by(|a, b| a.node.cmp(&b.node));
        applied
    }

    /// Replaces the document of a realm if nobody else did since `expected`; 0 creates it.
    ///
    /// # Errors
    /// A document that is not valid; a lost race (412, with the revision that is there).
    pub async fn put_realm(
        &self,
        caller: &Caller,
        name: &Realm,
        expected: u64,
        put: RealmPut,
    ) -> Result<RealmView, ApiError> {
        let RealmPut { document, reason } = put;
        let work = async {
            need(caller, Role::Admin)?;
            need_realm(caller, name)?;
            self.need_gateway()?;
            self.write_realm(caller, name, expected, &document, &reason)
                .await
        };
        self.audited(caller, "realm.put", name.as_str().to_owned(), &reason, work)
            .await
    }

    /// Writes a document that is good, and has it applied.
    pub(super) async fn write_realm(
        &self,
        caller: &Caller,
        name: &Realm,
        expected: u64,
        document: &RealmDocument,
        reason: &str,
    ) -> Result<RealmView, ApiError> {
        document
            .validate()
            .map_err(|errors| bad(errors.join("; ")))?;
        if let Some(message) = self.taken_claim(name, document) {
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        let author = Author {
            actor: caller.actor.clone(),
            reason: reason.to_owned(),
        };
        let store = &self.hub.store;
        let put = store.put_realm(name, document, expected, &author).await;
        let revision = self.store(put)?;
        self.realm_changed(caller, name, &format!("is at revision {revision}"))
            .await;
        self.realm(caller, name).await
    }

    /// Removes the document of a realm if nobody changed it since `expected`. Users and secrets stay.
    ///
    /// # Errors
    /// No such document, as of a realm that is in the configuration only; a lost race.
    pub async fn delete_realm(
        &self,
        caller: &Caller,
        name: &Realm,
        expected: u64,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            need(caller, Role::Admin)?;
            need_all_realms(caller)?;
            self.need_gateway()?;
            let known = self.hub.keeper.realm(name);
            let known = known.ok_or_else(|| not_found(format!("realm {name}")))?;
            if known.revision == 0 && expected == 0 {
                return Err(bad(format!(
                    "the realm {name} has no document in the store that could be deleted: it is there \
                     by the configuration file, or by users and secrets in the database; take it out \
                     of the file, or delete those"
                )));
            }
            let author = Author {
                actor: caller.actor.clone(),
                reason: reason.to_owned(),
            };
            let store = &self.hub.store;
            self.store(store.delete_realm(name, expected, &author).await)?;
            self.realm_changed(caller, name, "was deleted").await;
            Ok(())
        };
        self.audited(
            caller,
            "realm.delete",
            name.as_str().to_owned(),
            reason,
            work,
        )
        .await
    }

    /// What a document would do, everywhere; nothing is written.
    ///
    /// # Errors
    /// None about the document: what is wrong with it is part of the answer.
    pub async fn preview_realm(
        &self,
        caller: &Caller,
        name: &Realm,
        put: RealmPut,
    ) -> Result<RealmPreview, ApiError> {
        need(caller, Role::Admin)?;
        need_realm(caller, name)?;
        self.need_gateway()?;
        let RealmPut { document, reason } = put;
        let mut errors = document.validate().err().unwrap_or_default();
        errors.extend(self.taken_claim(name, &document));
        if reason.len() > MAX_TEXT {
            errors.push(format!("reason: at most {MAX_TEXT} bytes"));
        }
        let question = NodeQuestion::Preview {
            realm: name.clone(),
            document: Box::new(document),
        };
        let asked = self
            .ask_within(caller, None, question, PREVIEW_DEADLINE)
            .await;
        let mut preview = RealmPreview {
            schema: "realm-preview/1".to_owned(),
            as_of_ms: Moment::now().unix_ms,
            revision: self
                .hub
                .keeper
                .realm(name)
                .map_or(0, |realm| realm.revision),
            errors,
            nodes: 0,
            sessions: 0,
            sessions_over_rate: 0,
            sessions_with_denied_peers: 0,
            users_over_limit: 0,
            nodes_over_limit: 0,
            sessions_revoked: 0,
            sessions_unjudged: 0,
            missing: asked.missing,
        };
        let mut users: BTreeSet<String> = BTreeSet::new();
        for (node, answer) in asked.answers {
            let effect = match answer {
                NodeAnswer::Preview(effect) => *effect,
                other => {
                    let reason = unexpected(&other).message;
                    preview.missing.push(MissingNode { node, reason });
                    continue;
                }
            };
            preview.nodes += u32::from(effect.relays);
            preview.sessions += effect.sessions;
            preview.sessions_over_rate += effect.over_rate;
            preview.sessions_with_denied_peers += effect.denied_peers;
            preview.nodes_over_limit += u32::from(effect.over_sessions);
            preview.users_over_limit += effect.more_users;
            preview.sessions_revoked += effect.revoked;
            preview.sessions_unjudged += effect.unjudged;
            users.extend(effect.users);
        }
        if !users.is_empty() {
            // A limit of their own stands above the realm's.
            let own = self.hub.user_index.with_own_limit(&self.hub, name).await;
            users.retain(|user| !own.contains(user));
        }
        preview.users_over_limit += users.len() as u64;
        Ok(preview)
    }

    /// What to say when another realm has one of the origins or server names of a document.
    fn taken_claim(&self, name: &Realm, document: &RealmDocument) -> Option<String> {
        let wanted: BTreeSet<_> = document.claims().collect();
        if wanted.is_empty() {
            return None;
        }
        let realms = self.hub.keeper.realms().into_iter();
        let mut others = realms.filter(|realm| realm.name != *name);
        others.find_map(|other| {
            let mut claims = other.document.claims();
            let (field, value) = claims.find(|claim| wanted.contains(claim))?;
            Some(format!(
                "{field}: {value} belongs to the realm {}",
                other.name
            ))
        })
    }

    /// Takes effect here at once; the other nodes hear it from the store.
    async fn realm_changed(&self, caller: &Caller, name: &Realm, word: &str) {
        self.hub.keeper.want_realms();
        policy::refresh(&self.hub).await;
        let text = format!("realm {name} {word}, by {}", caller.actor);
        let mut event = self
            .hub
            .new_event(EventKind::RealmChanged, Severity::Notice, text);
        event.realm = Some(name.clone());
        self.hub.recorder.event(event);
    }

    /// Live figures of the realms that a caller sees, over the cluster.
    pub(super) async fn realm_loads(
        &self,
        caller: &Caller,
    ) -> (BTreeMap<Realm, RealmLoad>, Vec<MissingNode>) {
        let asked = self.ask(caller, None, NodeQuestion::Realms).await;
        (
            sums(asked.answers.into_iter().map(|(_, answer)| answer)),
            asked.missing,
        )
    }
}

fn sums(answers: impl Iterator<Item = NodeAnswer>) -> BTreeMap<Realm, RealmLoad> {
    let mut sums: BTreeMap<Realm, RealmLoad> = BTreeMap::new();
    for answer in answers {
        let NodeAnswer::Realms(loads) = answer else {
            continue;
        };
        for load in loads {
            match sums.get_mut(&load.realm) {
                Some(sum) => {
                    sum.load.add(load.load);
                    sum.users.merge(&load.users);
                    sum.refusals += load.refusals;
                }
                None => {
                    sums.insert(load.realm.clone(), load);
                }
            }
        }
    }
    sums
}

fn view(entry: RealmEntry, loads: &BTreeMap<Realm, RealmLoad>) -> RealmView {
    let live = loads.get(&entry.name);
    let load = live.map(|live| live.load).unwrap_or_default();
    RealmView {
        revision: entry.revision,
        changed_at_ms: entry.changed_at_ms,
        changed_by: entry.changed_by,
        document: entry.document,
        secrets: u32::try_from(entry.secrets.len()).unwrap_or(u32::MAX),
        sessions: load.sessions,
        users: live.map_or(0, |live| live.users.count()),
        rate_in_bps: load.rate_in_bps,
        rate_out_bps: load.rate_out_bps,
        refusals: live.map_or(0, |live| live.refusals),
        applied: Vec::new(),
        name: entry.name,
    }
}
