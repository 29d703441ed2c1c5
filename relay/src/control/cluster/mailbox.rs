//! Asks other nodes, and serves what they ask.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shared::NodeId;
use shared::api::{MissingNode, NodeRole, Role};
use tokio::sync::{Semaphore, mpsc};

use super::message::{self, Header, Ignored, NodeAnswer, NodeQuestion};
use super::{Answers, answer};
use crate::control::clock::Moment;
use crate::control::hub::Hub;
use crate::control::keys;
use crate::control::service::Caller;
use crate::store::Mailbox;

/// How long the nodes have to answer a question.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_millis(300);
/// How long one receive waits.
const RECEIVE_WAIT: Duration = Duration::from_secs(2);
/// How long to wait after the store failed.
const RETRY: Duration = Duration::from_millis(500);
/// Questions answered at the same time.
const CONCURRENCY: usize = 64;
/// Questions that may be under way at the same time.
const MAX_ASKED: usize = 1024;

/// How often a log tells of messages that do not open. A node with another cluster key sends several
/// a second for as long as somebody looks at its console.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Counts messages that were ignored, to tell of them once per [`COMPLAIN`].
#[derive(Debug, Default)]
struct Complaints {
    last: Option<Instant>,
    since: u64,
}

impl Complaints {
    /// Counts one more; how many there were since the last time, when it is time to tell.
    fn next(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        if self.last.is_some_and(|last| now < last + COMPLAIN) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.since))
    }

    /// Opens a message; one that cannot be opened is complained of.
    fn open<'m>(&mut self, hub: &Hub, message: &'m [u8]) -> Option<(Header, &'m [u8])> {
        open(hub, message)
            .inspect_err(|error| {
                if let Some(ignored) = self.next(Instant::now()) {
                    tracing::warn!(%error, ignored, "a mailbox message is ignored");
                }
            })
            .ok()
    }
}

/// Answers questions until the node stops.
pub(crate) async fn serve(hub: Arc<Hub>) {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let mailbox = Mailbox::Node(hub.node.clone());
    let mut complaints = Complaints::default();
    while let Some(messages) = receive(&hub, &mailbox).await {
        for message in messages {
            let Some((header, body)) = complaints.open(&hub, &message) else {
                continue;
            };
            if let Err(error) = check_question(&hub, &header) {
                tracing::warn!(%error, from = %header.from, "a mailbox question is ignored");
                continue;
            }
            let Ok(question) = serde_json::from_slice::<NodeQuestion>(body) else {
                tracing::warn!(from = %header.from, "a mailbox question is of an unknown kind");
                continue;
            };
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let hub = Arc::clone(&hub);
            tokio::spawn(async move {
                let _permit = permit;
                reply(&hub, &header, question).await;
            });
        }
    }
}

/// Hands answers to whoever asked, until the node stops.
pub(crate) async fn collect_replies(hub: Arc<Hub>) {
    let mailbox = Mailbox::Reply(hub.node.clone());
    let mut complaints = Complaints::default();
    while let Some(messages) = receive(&hub, &mailbox).await {
        for message in messages {
            let Some((header, body)) = complaints.open(&hub, &message) else {
                continue;
            };
            let Some(asker) = hub.cluster.asked().get(&header.id).cloned() else {
                continue;
            };
            if let (true, Ok(answer)) = (header.answer, serde_json::from_slice(body)) {
                // An asker that gave up needs no answer.
                let _ = asker.try_send((header.from, answer));
            }
        }
    }
}

async fn receive(hub: &Hub, mailbox: &Mailbox) -> Option<Vec<Vec<u8>>> {
    loop {
        let received = tokio::select! {
            () = hub.cancel.cancelled() => return None,
            received = hub.store.receive(mailbox, RECEIVE_WAIT) => received,
        };
        match received {
            Ok(messages) => return Some(messages),
            Err(error) => {
                tracing::debug!(%error, "a mailbox cannot be read");
                tokio::select! {
                    () = hub.cancel.cancelled() => return None,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    }
}

fn open<'m>(hub: &Hub, message: &'m [u8]) -> Result<(Header, &'m [u8]), Ignored> {
    let own = (&hub.node, hub.epoch.load(Ordering::Relaxed));
    message::open(hub.mailbox_key.expose(), own, message, Moment::now())
}

/// Only gateways may ask, and each question once.
fn check_question(hub: &Hub, header: &Header) -> Result<(), Ignored> {
    if header.answer {
        return Err(Ignored::Malformed);
    }
    let registry = hub.cluster.registry();
    let relay_only = registry
        .get(&header.from)
        .is_some_and(|view| !view.roles.contains(&NodeRole::Gateway));
    if relay_only {
        return Err(Ignored::NotForUs);
    }
    drop(registry);
    hub.cluster.replay().admit(header, Instant::now())
}

async fn reply(hub: &Arc<Hub>, header: &Header, question: NodeQuestion) {
    let answer = answer::answer(hub, &header.caller(), question).await;
    let back = Header {
        answer: true,
        from: hub.node.clone(),
        from_epoch: header.to_epoch,
        to: header.from.clone(),
        to_epoch: header.from_epoch,
        actor: String::new(),
        role: Role::Viewer,
        realms: Vec::new(),
        at_ms: Moment::now().unix_ms,
        ..header.clone()
    };
    let Some(message) = message::seal(hub.mailbox_key.expose(), &back, &answer) else {
        tracing::warn!(op = header.op, "an answer is too large for a mailbox");
        return;
    };
    let posted = hub
        .store
        .post(&Mailbox::Reply(header.from.clone()), message)
        .await;
    if let Err(error) = posted {
        tracing::debug!(%error, "an answer cannot be posted");
    }
}

/// Asks one node.
///
/// # Errors
/// Why there is no answer.
pub(crate) async fn ask_one(
    hub: &Arc<Hub>,
    caller: &Caller,
    node: &NodeId,
    question: NodeQuestion,
    deadline: Duration,
) -> Result<NodeAnswer, Silence> {
    if *node == hub.node {
        return Ok(answer::answer(hub, caller, question).await);
    }
    let epoch = hub.cluster.registry().get(node).map(|view| view.epoch);
    let Some(epoch) = epoch else {
        return Err(Silence {
            reason: "it is not in the registry".to_owned(),
            sent: false,
        });
    };
    let nodes = vec![(node.clone(), epoch)];
    let asked = ask(hub, caller, nodes, &question, deadline).await;
    if let Some((_, answer)) = asked.answers.into_iter().next() {
        return Ok(answer);
    }
    let reason = asked
        .missing
        .into_iter()
        .next()
        .map_or_else(String::new, |m| m.reason);
    Err(Silence {
        sent: reason == late(deadline),
        reason,
    })
}

/// Why a node did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    /// In words for an operator.
    pub(crate) reason: String,
    /// Whether the question reached its mailbox, so that it may have been obeyed.
    pub(crate) sent: bool,
}

fn late(deadline: Duration) -> String {
    format!("no answer within {} ms", deadline.as_millis())
}

/// Asks every live node, this one included; names those that are silent.
pub(crate) async fn ask_all(
    hub: &Arc<Hub>,
    caller: &Caller,
    question: NodeQuestion,
    deadline: Duration,
) -> Answers {
    let now = Instant::now();
    let (others, stale) = {
        let registry = hub.cluster.registry();
        (registry.live(now), registry.stale(now))
    };
    let others: Vec<_> = others
        .into_iter()
        .filter(|(node, _)| *node != hub.node)
        .collect();
    // The others are asked first: they look while this node does.
    let (mut asked, own) = tokio::join!(
        ask(hub, caller, others, &question, deadline),
        answer::answer(hub, caller, question.clone()),
    );
    asked.answers.insert(0, (hub.node.clone(), own));
    let silent = stale.into_iter().filter(|(node, _)| *node != hub.node);
    asked.missing.extend(silent.map(|(node, age)| MissingNode {
        node,
        reason: format!("no heartbeat for {} s", age.as_secs()),
    }));
    asked
}

/// Asks these nodes and waits for all answers or the deadline.
async fn ask(
    hub: &Hub,
    caller: &Caller,
    nodes: Vec<(NodeId, u64)>,
    question: &NodeQuestion,
    deadline: Duration,
) -> Answers {
    let mut result = Answers::default();
    if nodes.is_empty() {
        return result;
    }
    let missing = |node: &NodeId, reason: &str| MissingNode {
        node: node.clone(),
        reason: reason.to_owned(),
    };
    let epoch = hub.epoch.load(Ordering::Relaxed);
    let busy = hub.cluster.asked().len() >= MAX_ASKED;
    if epoch == 0 || !hub.health.connected() || busy {
        let reason = if busy {
            "too many questions are under way"
        } else {
            "the store is away"
        };
        result.missing = nodes
            .iter()
            .map(|(node, _)| missing(node, reason))
            .collect();
        return result;
    }
    let id = keys::hex(&keys::random::<16>());
    let (sender, mut answers) = mpsc::channel(nodes.len());
    hub.cluster.asked().insert(id.clone(), sender);
    let _forget = Forget { hub, id: &id };
    let mut waiting: Vec<NodeId> = Vec::new();
    let posts = nodes.iter().map(|(node, to_epoch)| {
        let header = Header {
            id: id.clone(),
            answer: false,
            from: hub.node.clone(),
            from_epoch: epoch,
            to: node.clone(),
            to_epoch: *to_epoch,
            actor: caller.actor.clone(),
            role: caller.role,
            realms: caller.realms.clone(),
            op: question.op().to_owned(),
            at_ms: Moment::now().unix_ms,
        };
        post(hub, header, question, deadline)
    });
    let end = tokio::time::Instant::now() + deadline;
    let posted = futures_util::future::join_all(posts).await;
    for ((node, _), outcome) in nodes.iter().zip(posted) {
        match outcome {
            Ok(()) => waiting.push(node.clone()),
            Err(reason) => result.missing.push(missing(node, reason)),
        }
    }
    while !waiting.is_empty() {
        let Ok(Some((node, answer))) = tokio::time::timeout_at(end, answers.recv()).await else {
            break;
        };
        if let Some(at) = waiting.iter().position(|waited| *waited == node) {
            waiting.swap_remove(at);
            result.answers.push((node, answer));
        }
    }
    let late = late(deadline);
    result
        .missing
        .extend(waiting.iter().map(|node| missing(node, &late)));
    result
}

/// Puts a question into a mailbox.
async fn post(
    hub: &Hub,
    header: Header,
    question: &NodeQuestion,
    deadline: Duration,
) -> Result<(), &'static str> {
    let message = message::seal(hub.mailbox_key.expose(), &header, question);
    let Some(message) = message else {
        return Err("the question is too large");
    };
    let mailbox = Mailbox::Node(header.to);
    match tokio::time::timeout(deadline, hub.store.post(&mailbox, message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err("its mailbox cannot be reached"),
    }
}

/// Takes a question off the list when its asker is done or dropped.
struct Forget<'a> {
    hub: &'a Hub,
    id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.hub.cluster.asked().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_once_a_minute_with_their_number() {
        let (mut complaints, start) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.next(start), Some(1));
        assert_eq!(complaints.next(start), None);
        assert_eq!(complaints.next(start + COMPLAIN / 2), None);
        assert_eq!(complaints.next(start + COMPLAIN), Some(3));
    }
}
