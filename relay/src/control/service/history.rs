//! Figures over time: asked of the nodes that have them, and added up here.

use shared::api::{ApiError, ErrorKind, HistorySample, HistoryView, MissingNode, NodeState, Role};
use shared::{NodeId, Realm, SessionId};

use super::{Caller, Service, bad, need, need_realm, not_found, unexpected};
use crate::control::clock::Moment;
use crate::control::cluster::Answers;
use crate::control::cluster::mailbox::{self, ANSWER_DEADLINE};
use crate::control::cluster::message::{History, NodeAnswer, NodeQuestion};
use crate::control::history::{HistoryOf, SECONDS, STEP_SECS, STEPS, Share, add_up};

/// Length of a step, and how many are told.
#[derive(Clone, Copy)]
struct Steps {
    secs: u32,
    count: usize,
}

const BY_STEP: Steps = Steps {
    secs: STEP_SECS,
    count: STEPS,
};
const BY_SECOND: Steps = Steps {
    secs: 1,
    count: SECONDS,
};

impl Service {
    /// The last hour of all nodes together; for callers confined to realms, of these.
    ///
    /// # Errors
    /// Denied to roles that read nothing.
    pub async fn overview_history(&self, caller: &Caller) -> Result<HistoryView, ApiError> {
        need(caller, Role::Viewer)?;
        let question = NodeQuestion::History(HistoryOf::Node);
        let asked = self.ask(caller, None, question).await;
        add("cluster".to_owned(), BY_STEP, asked)
    }

    /// The last hour of a node; for callers confined to realms, of these on that node.
    ///
    /// # Errors
    /// No such node.
    pub async fn node_history(
        &self,
        caller: &Caller,
        id: &NodeId,
    ) -> Result<HistoryView, ApiError> {
        need(caller, Role::Viewer)?;
        let state = self.node(caller, id).await?.state;
        let question = NodeQuestion::History(HistoryOf::Node);
        let asked = if state == NodeState::Gone {
            silent(id.clone(), "it has stopped".to_owned())
        } else {
            self.ask_for_history(caller, id.clone(), question).await?
        };
        add(format!("node/{id}"), BY_STEP, asked)
    }

    /// The last hour of a realm over all nodes.
    ///
    /// # Errors
    /// No such realm, or one outside the caller's scope.
    pub async fn realm_history(
        &self,
        caller: &Caller,
        realm: &Realm,
    ) -> Result<HistoryView, ApiError> {
        need(caller, Role::Viewer)?;
        need_realm(caller, realm)?;
        let known = self.hub.keeper.realm(realm);
        known.ok_or_else(|| not_found(format!("realm {realm}")))?;
        let question = NodeQuestion::History(HistoryOf::Realm(realm.clone()));
        let asked = self.ask(caller, None, question).await;
        add(format!("realm/{realm}"), BY_STEP, asked)
    }

    /// The last hour of a user over all nodes. Nodes keep those with most traffic: one that has
    /// sessions of the user and no figures is named as missing.
    ///
    /// # Errors
    /// A realm outside the caller's scope.
    pub async fn user_history(
        &self,
        caller: &Caller,
        realm: &Realm,
        user: &str,
    ) -> Result<HistoryView, ApiError> {
        need(caller, Role::Viewer)?;
        need_realm(caller, realm)?;
        let of = HistoryOf::User(realm.clone(), user.to_owned());
        let asked = self.ask(caller, None, NodeQuestion::History(of)).await;
        add(super::users::target(realm, user), BY_STEP, asked).map(|view| HistoryView {
            subject: format!("user/{}", view.subject),
            ..view
        })
    }

    /// The last two minutes of a session, as far as somebody watched; watches it for thirty seconds.
    ///
    /// # Errors
    /// No such session; its node does not answer.
    pub async fn session_history(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<HistoryView, ApiError> {
        need(caller, Role::Viewer)?;
        let full = id.parse::<SessionId>();
        let full = full.map_err(|_| bad("a session is named by all 16 hex digits here"))?;
        let missing = || not_found(format!("session {full}"));
        let node = match self.owner(Some(full)) {
            Some(node) => node,
            None => self.find_session(caller, id, false).await?.session.node,
        };
        let question = NodeQuestion::History(HistoryOf::Session(full));
        let asked = self.ask_for_history(caller, node, question).await?;
        if let [(_, NodeAnswer::History(answer))] = asked.answers.as_slice()
            && **answer == History::None
        {
            return Err(missing());
        }
        add(format!("session/{full}"), BY_SECOND, asked)
    }

    /// Asks one node; a silent one is named.
    async fn ask_for_history(
        &self,
        caller: &Caller,
        node: NodeId,
        question: NodeQuestion,
    ) -> Result<Answers, ApiError> {
        if node != self.hub.node {
            self.need_gateway()?;
        }
        let answer = mailbox::ask_one(&self.hub, caller, &node, question, ANSWER_DEADLINE).await;
        Ok(match answer {
            Ok(answer) => Answers {
                answers: vec![(node, answer)],
                missing: Vec::new(),
            },
            Err(silence) => silent(node, silence.reason),
        })
    }
}

fn silent(node: NodeId, reason: String) -> Answers {
    Answers {
        answers: Vec::new(),
        missing: vec![MissingNode { node, reason }],
    }
}

/// Adds the shares of the nodes up, and names those that left theirs out.
fn add(subject: String, steps: Steps, asked: Answers) -> Result<HistoryView, ApiError> {
    let now = Moment::now();
    let mut missing = asked.missing;
    let mut shares: Vec<Share> = Vec::new();
    for (node, answer) in asked.answers {
        let answer = match answer {
            NodeAnswer::History(answer) => *answer,
            NodeAnswer::Failed(error) if error.error == ErrorKind::Denied => return Err(error),
            other => History::Left(unexpected(&other).message),
        };
        match answer {
            History::Kept(share) => shares.push(share),
            History::Left(reason) => missing.push(MissingNode { node, reason }),
            History::None => {}
        }
    }
    if shares.is_empty() {
        shares.push(Share {
            end: now.unix_secs() / u64::from(steps.secs),
            samples: Vec::new(),
        });
    }
    let sum = add_up(shares, steps.count);
    let samples = sum.samples.into_iter().map(|sample| {
        sample.map(|(sessions, rate_in_bps, rate_out_bps)| HistorySample {
            sessions,
            rate_in_bps,
            rate_out_bps,
        })
    });
    Ok(HistoryView {
        schema: "history/1".to_owned(),
        as_of_ms: now.unix_ms,
        subject,
        step_secs: steps.secs,
        end_at_ms: sum.end.saturating_mul(u64::from(steps.secs) * 1000),
        samples: samples.collect(),
        missing,
    })
}
