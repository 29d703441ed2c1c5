//! Kill jobs: many sessions, resolved once, ended at a bounded rate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::api::{
    ApiError, BlockRequest, ErrorKind, EventKind, ItemOutcome, JobItem, JobState, JobView,
    ListQuery, MissingNode, Page, Role, SessionView, SessionsKill, Severity,
};
use shared::{NodeId, SessionId};
use tokio_util::sync::CancellationToken;

use super::{Caller, Service, bad, need, not_found};
use crate::control::clock::Moment;
use crate::control::cluster::mailbox::{self, ANSWER_DEADLINE};
use crate::control::cluster::message::{MAX_KILLS, NodeAnswer, NodeQuestion};
use crate::control::keys;

/// Jobs kept; a new one replaces the oldest that has ended.
const MAX_JOBS: usize = 16;
/// Sessions in one job.
const MAX_TARGETS: usize = 100_000;
/// Items kept per job.
const MAX_ITEMS: usize = 10_000;
/// Kills per second and node when none is given.
const DEFAULT_RATE: u32 = 100;
/// The fastest.
const MAX_RATE: u32 = 10_000;
/// Kill messages per second and node, at most.
const MESSAGES_PER_SECOND: u32 = 20;

/// The jobs that this node runs or ran.
#[derive(Debug, Default)]
pub(crate) struct Jobs(Mutex<VecDeque<Arc<Job>>>);

#[derive(Debug)]
struct Job {
    view: Mutex<JobView>,
    stop: CancellationToken,
}

impl Job {
    fn view(&self) -> MutexGuard<'_, JobView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self, items: Vec<JobItem>) {
        let mut view = self.view();
        for item in items {
            view.done += 1;
            let good = matches!(item.outcome, ItemOutcome::Killed | ItemOutcome::WouldKill);
            view.failed += u64::from(!good);
            if view.items.len() < MAX_ITEMS {
                view.items.push(item);
            }
        }
    }
}

impl Jobs {
    fn list(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One job with its items, or all without.
    #[must_use]
    pub(crate) fn views(&self, id: Option<&str>) -> Vec<JobView> {
        let list = self.list();
        let views = list.iter().map(|job| job.view());
        match id {
            Some(id) => views
                .filter(|view| view.id == id)
                .map(|view| view.clone())
                .collect(),
            None => views.map(|view| head(&view)).collect(),
        }
    }

    /// Stops a job; `None` when there is none of that id.
    pub(crate) fn stop(&self, id: &str) -> Option<JobView> {
        let list = self.list();
        let job = list.iter().find(|job| job.view().id == id)?;
        job.stop.cancel();
        let mut view = job.view();
        if view.state == JobState::Running {
            view.state = JobState::Stopped;
        }
        Some(view.clone())
    }

    fn add(&self, view: JobView) -> Result<Arc<Job>, ApiError> {
        let mut list = self.list();
        if list.len() >= MAX_JOBS {
            let ended = list
                .iter()
                .position(|job| job.view().state != JobState::Running);
            let Some(ended) = ended else {
                let message = format!("{MAX_JOBS} jobs are running: stop one or wait");
                return Err(ApiError::new(ErrorKind::Unavailable, message));
            };
            list.remove(ended);
        }
        let job = Arc::new(Job {
            view: Mutex::new(view),
            stop: CancellationToken::new(),
        });
        list.push_back(Arc::clone(&job));
        Ok(job)
    }
}

/// Whom a job ends.
type Targets = BTreeMap<NodeId, Vec<Target>>;

/// What a request names, as far as it is known.
#[derive(Debug, Default)]
struct Resolved {
    sessions: Vec<SessionView>,
    missing: Vec<MissingNode>,
}

impl Resolved {
    fn add(&mut self, page: Page<SessionView>) {
        let live = page.items.into_iter().filter(|session| !session.stale);
        self.sessions.extend(live);
        for node in page.missing {
            if !self.missing.iter().any(|known| known.node == node.node) {
                self.missing.push(node);
            }
        }
    }
}

#[derive(Debug)]
struct Target {
    id: SessionId,
    user: String,
}

impl Service {
    /// Starts a job that ends many sessions: a frozen list, or what a filter matches now.
    ///
    /// # Errors
    /// More sessions than expected (409); nothing to do; too many jobs.
    pub async fn start_kill_job(
        &self,
        caller: &Caller,
        request: SessionsKill,
    ) -> Result<JobView, ApiError> {
        // It ends nothing: in the audit it could not be told from a job that did.
        if request.dry_run {
            return self.start_job(caller, request).await;
        }
        let target = match &request.filter {
            Some(filter) => filter.clone(),
            None => format!("{} sessions", request.ids.len()),
        };
        let reason = request.reason.clone();
        let work = self.start_job(caller, request);
        self.audited(caller, "sessions.kill", target, &reason, work)
            .await
    }

    async fn start_job(&self, caller: &Caller, request: SessionsKill) -> Result<JobView, ApiError> {
        need(caller, Role::Operator)?;
        let rate = if request.rate == 0 {
            DEFAULT_RATE
        } else {
            request.rate
        };
        if rate > MAX_RATE {
            return Err(bad(format!(
                "rate: kills per second and node, 1 to {MAX_RATE}"
            )));
        }
        let Resolved { sessions, missing } = self.resolve(caller, &request).await?;
        let users: BTreeSet<_> = sessions
            .iter()
            .filter(|session| !session.user.is_empty())
            .map(|session| (session.realm.clone(), session.user.clone()))
            .collect();
        let mut targets = Targets::new();
        for SessionView { id, node, user, .. } in sessions {
            targets.entry(node).or_default().push(Target { id, user });
        }
        let total = targets.values().map(Vec::len).sum::<usize>();
        let verb = if request.dry_run {
            "would kill"
        } else {
            "kill"
        };
        let job = self.hub.jobs.add(JobView {
            id: keys::hex(&keys::random::<4>()),
            node: self.hub.node.clone(),
            title: format!("{verb} {total} sessions"),
            actor: caller.actor.clone(),
            state: JobState::Running,
            total: total as u64,
            done: 0,
            failed: 0,
            items: Vec::new(),
            missing,
        })?;
        if request.dry_run {
            let all = targets.into_values().flatten();
            job.done(
                all.map(|target| item(target, ItemOutcome::WouldKill))
                    .collect(),
            );
            job.view().state = JobState::Done;
            return Ok(job.view().clone());
        }
        if let Some(secs) = request.block_secs {
            let block = BlockRequest {
                secs,
                reason: request.reason.clone(),
            };
            let users: Vec<_> = users.into_iter().collect();
            if let Err(error) = self.block_all(caller, &users, &block).await {
                let id = job.view().id.clone();
                self.hub.jobs.stop(&id);
                return Err(error);
            }
        }
        let view = job.view().clone();
        self.announce(&view, "started");
        let service = self.clone();
        let caller = caller.clone();
        tokio::spawn(async move { service.run_job(&caller, &job, targets, rate).await });
        Ok(view)
    }

    /// The sessions that are meant, each of them seen once.
    async fn resolve(&self, caller: &Caller, request: &SessionsKill) -> Result<Resolved, ApiError> {
        let filter = match (&request.filter, request.ids.is_empty()) {
            (Some(filter), true) => filter,
            (None, false) => return self.resolve_ids(caller, request).await,
            _ => return Err(bad("give either ids or a filter")),
        };
        let mut query = ListQuery {
            filter: Some(filter.clone()),
            limit: Some(ListQuery::MAX_LIMIT),
            ..ListQuery::default()
        };
        let mut resolved = Resolved::default();
        loop {
            let page = self.sessions(caller, &query).await?;
            if page.matched > request.expected {
                let message = format!(
                    "{} sessions match, more than the {} expected: look again",
                    page.matched, request.expected
                );
                return Err(ApiError::new(ErrorKind::Conflict, message));
            }
            if page.matched > MAX_TARGETS as u64 {
                return Err(too_many());
            }
            query.cursor.clone_from(&page.next);
            resolved.add(page);
            if resolved.sessions.len() as u64 > request.expected {
                let message = "more sessions match than expected: look again";
                return Err(ApiError::new(ErrorKind::Conflict, message));
            }
            if query.cursor.is_none() {
                return Ok(resolved);
            }
        }
    }

    /// The listed sessions that still exist, with their users; those that are gone are not named.
    async fn resolve_ids(
        &self,
        caller: &Caller,
        request: &SessionsKill,
    ) -> Result<Resolved, ApiError> {
        let ids: BTreeSet<_> = request.ids.iter().copied().collect();
        if ids.len() > MAX_ITEMS {
            return Err(too_many());
        }
        let mut resolved = Resolved::default();
        // As many alternatives as a filter may have.
        let ids: Vec<_> = ids.into_iter().collect();
        for chunk in ids.chunks(shared::filter::MAX_ALTERNATIVES.min(200)) {
            let names: Vec<_> = chunk.iter().map(SessionId::to_string).collect();
            let query = ListQuery {
                filter: Some(format!("id={}", names.join("|"))),
                limit: Some(ListQuery::MAX_LIMIT),
                ..ListQuery::default()
            };
            resolved.add(self.sessions(caller, &query).await?);
        }
        Ok(resolved)
    }

    async fn run_job(&self, caller: &Caller, job: &Arc<Job>, targets: Targets, rate: u32) {
        let nodes = targets.into_iter().map(|(node, targets)| async move {
            self.run_on_node(caller, job, &node, targets, rate).await;
        });
        futures_util::future::join_all(nodes).await;
        let view = {
            let mut view = job.view();
            if view.state == JobState::Running {
                view.state = JobState::Done;
            }
            view.clone()
        };
        self.announce(&view, "ended");
    }

    async fn run_on_node(
        &self,
        caller: &Caller,
        job: &Job,
        node: &NodeId,
        targets: Vec<Target>,
        rate: u32,
    ) {
        let per_message = rate.div_ceil(MESSAGES_PER_SECOND).min(MAX_KILLS as u32);
        let pause = Duration::from_secs_f64(f64::from(per_message) / f64::from(rate));
        let mut ticks = tokio::time::interval(pause);
        let mut targets = targets.into_iter().peekable();
        while targets.peek().is_some() {
            tokio::select! {
                () = job.stop.cancelled() => return,
                () = self.hub.cancel.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let chunk: Vec<_> = targets.by_ref().take(per_message as usize).collect();
            let ids = chunk.iter().map(|target| target.id).collect();
            let killed = self.kill_on(caller, node, ids).await.unwrap_or_default();
            let items = chunk.into_iter().map(|target| {
                let found = killed.iter().find(|one| one.id == target.id);
                let outcome = found.map_or(ItemOutcome::Unconfirmed, |one| one.outcome);
                item(target, outcome)
            });
            job.done(items.collect());
        }
    }

    fn announce(&self, view: &JobView, word: &str) {
        let JobView {
            id,
            title,
            done,
            total,
            failed,
            actor,
            ..
        } = view;
        let text = format!(
            "job {id} ({title}) by {actor} {word}: {done} of {total} done, {failed} failed"
        );
        self.hub.event(EventKind::Job, Severity::Notice, text);
    }

    /// The jobs of all nodes, without their items. A caller confined to realms sees its own.
    ///
    /// # Errors
    /// Denied below viewers.
    pub async fn jobs(&self, caller: &Caller) -> Result<Page<JobView>, ApiError> {
        let (items, missing) = self.find_jobs(caller, None).await?;
        let count = items.len() as u64;
        Ok(Page {
            schema: "jobs/1".to_owned(),
            as_of_ms: Moment::now().unix_ms,
            items,
            next: None,
            matched: count,
            total: count,
            missing,
        })
    }

    /// One job with its items.
    ///
    /// # Errors
    /// No such job.
    pub async fn job(&self, caller: &Caller, id: &str) -> Result<JobView, ApiError> {
        let (jobs, _) = self.find_jobs(caller, Some(id)).await?;
        jobs.into_iter()
            .next()
            .ok_or_else(|| not_found(format!("job {id}")))
    }

    async fn find_jobs(
        &self,
        caller: &Caller,
        id: Option<&str>,
    ) -> Result<(Vec<JobView>, Vec<MissingNode>), ApiError> {
        need(caller, Role::Viewer)?;
        let question = NodeQuestion::Jobs {
            id: id.map(str::to_owned),
        };
        let asked = self.ask(caller, None, question).await;
        let jobs = asked
            .answers
            .into_iter()
            .filter_map(|(_, answer)| match answer {
                NodeAnswer::Jobs(jobs) => Some(jobs),
                _ => None,
            });
        Ok((jobs.flatten().collect(), asked.missing))
    }

    /// Stops a job; what it has done stays done.
    ///
    /// # Errors
    /// No such job.
    pub async fn stop_job(&self, caller: &Caller, id: &str) -> Result<JobView, ApiError> {
        let work = async {
            need(caller, Role::Operator)?;
            let job = self.job(caller, id).await?;
            if job.node == self.hub.node {
                return self
                    .hub
                    .jobs
                    .stop(id)
                    .ok_or_else(|| not_found(format!("job {id}")));
            }
            let question = NodeQuestion::StopJob { id: id.to_owned() };
            match mailbox::ask_one(&self.hub, caller, &job.node, question, ANSWER_DEADLINE).await {
                Ok(NodeAnswer::Jobs(jobs)) => jobs
                    .into_iter()
                    .next()
                    .ok_or_else(|| not_found(format!("job {id}"))),
                Ok(other) => Err(super::unexpected(&other)),
                Err(silence) => Err(super::kill::silent(&job.node, &silence)),
            }
        };
        self.audited(caller, "job.stop", id.to_owned(), "", work)
            .await
    }
}

/// A job without its items.
fn head(view: &JobView) -> JobView {
    let JobView {
        id,
        node,
        title,
        actor,
        state,
        total,
        done,
        failed,
        items: _,
        missing,
    } = view;
    JobView {
        id: id.clone(),
        node: node.clone(),
        title: title.clone(),
        actor: actor.clone(),
        state: *state,
        total: *total,
        done: *done,
        failed: *failed,
        items: Vec::new(),
        missing: missing.clone(),
    }
}

fn item(target: Target, outcome: ItemOutcome) -> JobItem {
    JobItem {
        id: target.id,
        user: target.user,
        outcome,
    }
}

fn too_many() -> ApiError {
    bad(format!(
        "a job takes at most {MAX_ITEMS} ids or {MAX_TARGETS} matching sessions"
    ))
}
