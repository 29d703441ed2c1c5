//! `relayctl session kill`: one by a call, several or a filter by a job.

use std::time::Duration;

use shared::api::{
    GroupBy, GroupQuery, ItemOutcome, JobState, JobView, KillRequest, ListQuery, MissingNode,
    SessionDetail, SessionsKill,
};
use shared::filter::{Filter, SESSION_COLUMNS};
use shared::units::grouped;
use shared::{SessionId, display_safe};

use super::App;
use super::app::{describe_missing, now_ms};
use super::exit::Failure;
use super::output::{KillRow, ListWriter, Summary};
use super::permit::Ask;
use super::session::KillArgs;
use crate::client::{ClientError, ClientResult};
use crate::guardrails::{Deed, Names};

/// Kills per second and node, unless asked for otherwise.
const RATE: u32 = 100;
/// How often a running job is looked at.
const POLL: Duration = Duration::from_millis(200);
/// How many looks in a row may fail before the command gives up; the job itself goes on.
const MAX_FAILED_LOOKS: u32 = 10;
/// The most ids in one command line.
const MAX_IDS: usize = 10_000;

pub(super) async fn run(app: &mut App<'_, '_>, args: &KillArgs) -> Result<(), Failure> {
    match (&args.filter, args.ids.as_slice()) {
        (Some(filter), _) => by_filter(app, args, filter).await,
        (None, [id]) => one(app, args, id).await,
        (None, ids) => several(app, args, ids).await,
    }
}

async fn one(app: &mut App<'_, '_>, args: &KillArgs, id: &str) -> Result<(), Failure> {
    let session = app.api.session(id).await?;
    let mut row = KillRow {
        id: session.session.id,
        user: session.session.user.clone(),
        realm: Some(session.session.realm.clone()),
        node: Some(session.session.node.clone()),
        outcome: ItemOutcome::WouldKill,
        blocked_until_ms: None,
    };
    if !args.dry_run {
        let deed = Deed {
            realms: Names::one(&session.session.realm),
            ..Deed::of_node("session.kill", Some(&session.session.node))
        };
        app.permit(&deed, &question(&session, args.block), Ask::Yes)?;
        let request = KillRequest {
            reason: app.global.reason.clone(),
            block_secs: secs(args),
        };
        let result = app.api.kill_session(&row.id.to_string(), &request).await?;
        row.outcome = ItemOutcome::Killed;
        row.blocked_until_ms = result.blocked_until_ms;
    }
    write_rows(app, &[row], &[])
}

fn question(session: &SessionDetail, block: Option<Duration>) -> String {
    let s = &session.session;
    let what = format!(
        "Session {} of {} in {} ends: client {}, relay {} on {}.",
        s.id,
        display_safe(&s.user),
        s.realm,
        s.client,
        s.relay,
        s.node
    );
    format!("{what}\n{}", afterwards(block))
}

fn afterwards(block: Option<Duration>) -> String {
    match block {
        Some(block) => format!("Its user is refused for {} s.", block.as_secs()),
        None => "The client can come straight back; --block 10m refuses its user meanwhile.".into(),
    }
}

async fn several(app: &mut App<'_, '_>, args: &KillArgs, ids: &[String]) -> Result<(), Failure> {
    if ids.len() > MAX_IDS {
        return Err(Failure::Usage(
            "at most 10,000 ids; use --filter".to_owned(),
        ));
    }
    let mut full = Vec::with_capacity(ids.len());
    for id in ids {
        match id.parse::<SessionId>() {
            Ok(id) => full.push(id),
            Err(_) => full.push(app.api.session(id).await?.session.id),
        }
    }
    full.sort_unstable();
    full.dedup();
    let count = full.len() as u64;
    // Of many ids it is not known where they are: rules for a realm or a node hold for them.
    let deed = Deed {
        action: "sessions.kill",
        realms: Names::Unknown,
        nodes: Names::Unknown,
        count,
    };
    let rate = confirm_many(app, args, &deed)?;
    let request = SessionsKill {
        ids: full,
        expected: count,
        rate,
        ..request(app, args)
    };
    job(app, &request).await
}

async fn by_filter(app: &mut App<'_, '_>, args: &KillArgs, filter: &str) -> Result<(), Failure> {
    let parsed =
        Filter::parse(filter, SESSION_COLUMNS).map_err(|e| Failure::Usage(e.to_string()))?;
    if parsed.is_empty() {
        let what = "an empty filter would kill every session; name them all with id~\"\"";
        return Err(Failure::Usage(what.to_owned()));
    }
    let query = ListQuery {
        filter: Some(filter.to_owned()),
        limit: Some(1),
        ..ListQuery::default()
    };
    let page = app.api.sessions(&query).await?;
    let matched = page.matched;
    if matched > args.max {
        return Err(Failure::Other(format!(
            "{} sessions match, more than --max {}; nothing was done",
            grouped(matched),
            args.max
        )));
    }
    if matched == 0 {
        return Err(match describe_missing(&page.missing) {
            Some(text) => Failure::Partial(format!("no session matches; {text}")),
            None => Failure::NotFound("no session matches".to_owned()),
        });
    }
    let deed = deed_of_filter(app, filter, matched).await?;
    let rate = confirm_many(app, args, &deed)?;
    // Whoever saw a count is held to it; a script is held to the bound that it gave.
    let expected = if app.global.yes { args.max } else { matched };
    let request = SessionsKill {
        filter: Some(filter.to_owned()),
        expected,
        rate,
        ..request(app, args)
    };
    job(app, &request).await
}

/// The kill of what matches `filter`; where a guardrail looks at realms or nodes, with those that
/// the sessions are in.
async fn deed_of_filter(app: &App<'_, '_>, filter: &str, count: u64) -> Result<Deed, Failure> {
    let mut deed = Deed {
        action: "sessions.kill",
        realms: Names::Unknown,
        nodes: Names::Unknown,
        count,
    };
    if app.guardrails.look_at_places() {
        deed.realms = groups(app, filter, GroupBy::Realm).await?;
        deed.nodes = groups(app, filter, GroupBy::Node).await?;
    }
    Ok(deed)
}

async fn groups(app: &App<'_, '_>, filter: &str, by: GroupBy) -> Result<Names, Failure> {
    let query = GroupQuery {
        filter: Some(filter.to_owned()),
        limit: Some(ListQuery::MAX_LIMIT),
        ..GroupQuery::new(by)
    };
    let page = app.api.groups(&query).await?;
    // A top list that is cut off, or lacks a node, does not name them all.
    if page.matched > page.items.len() as u64 || !page.missing.is_empty() {
        return Ok(Names::Unknown);
    }
    Ok(Names::all(page.items.into_iter().map(|group| group.key)))
}

/// Asks for leave and returns the kills per second and node.
fn confirm_many(app: &mut App<'_, '_>, args: &KillArgs, deed: &Deed) -> Result<u32, Failure> {
    let count = deed.count;
    if args.dry_run {
        return Ok(args.rate.unwrap_or(RATE));
    }
    let verdict = app.judge(deed)?;
    let rate = args
        .rate
        .unwrap_or(RATE.min(verdict.max_rate.unwrap_or(RATE)));
    verdict.allows_rate(rate).map_err(Failure::Denied)?;
    let after = afterwards(args.block)
        .replace("Its user", "Each user")
        .replace("its user", "users");
    let question = format!("{} sessions end.\n{after}", grouped(count));
    app.permit(deed, &question, Ask::Type(&count.to_string()))?;
    Ok(rate)
}

fn request(app: &App<'_, '_>, args: &KillArgs) -> SessionsKill {
    SessionsKill {
        reason: app.global.reason.clone(),
        block_secs: secs(args),
        dry_run: args.dry_run,
        ..SessionsKill::default()
    }
}

fn secs(args: &KillArgs) -> Option<u64> {
    args.block.map(|block| block.as_secs())
}

async fn job(app: &mut App<'_, '_>, request: &SessionsKill) -> Result<(), Failure> {
    let mut job = app.api.start_kill_job(request).await?;
    let mut failed_looks = 0;
    if job.state == JobState::Running {
        let (id, node) = (&job.id, &job.node);
        app.terminal.note(&format!(
            "job {id} on {node}; `relayctl job stop {id}` stops it"
        ));
    }
    while job.state == JobState::Running {
        progress(app, &job);
        tokio::time::sleep(POLL).await;
        job = match look(app, &job.id).await {
            Ok(job) => {
                failed_looks = 0;
                job
            }
            Err(error) if error.is_connection() && failed_looks < MAX_FAILED_LOOKS => {
                failed_looks += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
    }
    if app.terminal.err_is_terminal {
        progress(app, &job);
        let _ = writeln!(app.terminal.err);
    }
    report(app, &job)
}

async fn look(app: &App<'_, '_>, id: &str) -> ClientResult<JobView> {
    app.api.job(id).await.map_err(|error| match error {
        // A node that restarted has forgotten its jobs: nothing more will come.
        ClientError::Api(mut api) if api.error == shared::api::ErrorKind::NotFound => {
            api.message = format!("job {id} is gone; list the sessions to see what is left");
            ClientError::Api(api)
        }
        other => other,
    })
}

fn progress(app: &mut App<'_, '_>, job: &JobView) {
    if app.terminal.err_is_terminal {
        let (done, total, failed) = (grouped(job.done), grouped(job.total), grouped(job.failed));
        let _ = write!(
            app.terminal.err,
            "\r{done} of {total} done, {failed} failed "
        );
        let _ = app.terminal.err.flush();
    }
}

fn report(app: &mut App<'_, '_>, job: &JobView) -> Result<(), Failure> {
    let row = |item: &shared::api::JobItem| KillRow {
        id: item.id,
        user: item.user.clone(),
        realm: None,
        node: None,
        outcome: item.outcome,
        blocked_until_ms: None,
    };
    let rows: Vec<_> = job.items.iter().map(row).collect();
    write_rows(app, &rows, &job.missing)?;
    let listed = job.items.len() as u64;
    if listed < job.done {
        app.terminal.note(&format!(
            "only the first {} results are kept",
            grouped(listed)
        ));
    }
    let mut short = Vec::new();
    if job.state == JobState::Stopped {
        let (done, total) = (grouped(job.done), grouped(job.total));
        short.push(format!("the job was stopped after {done} of {total}"));
    }
    let fine = |o: ItemOutcome| matches!(o, ItemOutcome::Killed | ItemOutcome::WouldKill);
    let failed = job.items.iter().filter(|item| !fine(item.outcome)).count() as u64;
    let failed = failed.max(job.failed);
    if failed > 0 {
        short.push(format!("{} were not killed", grouped(failed)));
    }
    short.extend(describe_missing(&job.missing));
    if short.is_empty() {
        return Ok(());
    }
    Err(Failure::Partial(short.join("; ")))
}

fn write_rows(
    app: &mut App<'_, '_>,
    rows: &[KillRow],
    missing: &[MissingNode],
) -> Result<(), Failure> {
    let selection = app.selection()?;
    let mut writer = ListWriter::new(app.terminal.out, &selection);
    let (as_of_ms, count) = (now_ms(), rows.len() as u64);
    writer.rows(as_of_ms, rows)?;
    let summary = Summary {
        as_of_ms,
        matched: count,
        total: count,
        missing: missing.to_vec(),
        next: None,
    };
    Ok(writer.end(&summary)?)
}
