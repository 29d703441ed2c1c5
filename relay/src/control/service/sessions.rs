//! Sessions of the cluster: pages and details.

use shared::api::{
    ApiError, ErrorKind, ListQuery, MissingNode, Page, Role, SessionDetail, SessionView,
};
use shared::filter::{Filter, SESSION_COLUMNS, SortKey, SortSpec};
use shared::{NodeId, SessionId, SessionIdPrefix};

use super::list::{Cursor, fingerprint};
use super::{Caller, Service, bad, need, not_found, unexpected};
use crate::control::clock::Moment;
use crate::control::cluster::Answers;
use crate::control::cluster::mailbox::{self, ANSWER_DEADLINE};
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::control::directory::query::{
    SessionAnswer, SessionQuestion, needs_ranking, position_order,
};
use crate::control::keys;

/// The order when none is asked for: cheap, and the same on every page.
const DEFAULT_SORT: &str = "id:asc";

/// A question for a page, parsed.
struct PageQuestion {
    filter: Filter,
    sort: SortSpec,
    fingerprint: String,
    question: SessionQuestion,
}

impl Service {
    /// A page of sessions, filtered and sorted in the nodes that have them.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense; an expired ranking.
    pub async fn sessions(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<SessionView>, ApiError> {
        need(caller, Role::Viewer)?;
        let parsed = parse(query)?;
        let question = NodeQuestion::Sessions(parsed.question.clone());
        let asked = self.ask(caller, query.scope, question).await;
        let (parts, missing) = self.gather(caller, &parsed, asked)?;
        Ok(merge(parts, missing, &parsed))
    }

    /// The answers of the nodes, and for those that are silent what was known last.
    fn gather(
        &self,
        caller: &Caller,
        parsed: &PageQuestion,
        asked: Answers,
    ) -> Result<(Vec<SessionAnswer>, Vec<MissingNode>), ApiError> {
        let mut parts = Vec::new();
        let mut missing = asked.missing;
        let mut known = self.hub.cluster.known();
        for (node, answer) in asked.answers {
            let answer = match answer {
                NodeAnswer::Sessions(answer) => answer,
                NodeAnswer::Failed(error) if is_callers_fault(&error) => return Err(error),
                other => {
                    let reason = unexpected(&other).message;
                    missing.push(MissingNode { node, reason });
                    continue;
                }
            };
            // What a confined caller sees is not all that the node has.
            if node != self.hub.node && caller.realms.is_empty() {
                known.learn(&node, &answer);
            }
            parts.push(answer);
        }
        for silent in &missing {
            parts.push(known.page(
                &silent.node,
                &parsed.filter,
                &parsed.sort,
                parsed.question.after.as_ref(),
                &caller.realms,
                parsed.question.limit,
            ));
        }
        Ok((parts, missing))
    }

    /// Everything about one session, by id or unique prefix, fresh from its worker.
    ///
    /// # Errors
    /// No such session; a prefix that several share.
    pub async fn session(&self, caller: &Caller, id: &str) -> Result<SessionDetail, ApiError> {
        need(caller, Role::Viewer)?;
        let mut detail = self.find_session(caller, id, true).await?;
        let of_time_limited = detail.credential_expires_at_ms.is_some();
        if !of_time_limited && self.hub.health.connected() {
            let stored = self
                .hub
                .store
                .user(&detail.session.realm, &detail.session.user)
                .await;
            let own = self.hub.noted(stored).ok().flatten();
            detail.user_limit = own
                .and_then(|user| user.record.max_sessions)
                .or(detail.user_limit);
        }
        Ok(detail)
    }

    /// Finds a session on whichever node has it; with the rates of its permissions where these are
    /// wanted.
    pub(super) async fn find_session(
        &self,
        caller: &Caller,
        id: &str,
        rates: bool,
    ) -> Result<SessionDetail, ApiError> {
        let prefix: SessionIdPrefix = id.parse().map_err(|error| bad(format!("{error}")))?;
        let question = NodeQuestion::Session {
            prefix: id.to_owned(),
            rates,
        };
        let deadline = ANSWER_DEADLINE * if rates { 2 } else { 1 };
        let asked = match self.owner(prefix.exact()) {
            Some(node) => {
                let answer = mailbox::ask_one(&self.hub, caller, &node, question, deadline).await;
                match answer {
                    Ok(answer) => Answers {
                        answers: vec![(node, answer)],
                        missing: Vec::new(),
                    },
                    Err(silence) => Answers {
                        answers: Vec::new(),
                        missing: vec![MissingNode {
                            node,
                            reason: silence.reason,
                        }],
                    },
                }
            }
            None => self.ask(caller, None, question).await,
        };
        let mut found = None;
        let mut count = 0;
        for (_, answer) in asked.answers {
            let NodeAnswer::Session { detail, matches } = answer else {
                return Err(unexpected(&answer));
            };
            count += matches;
            found = found.or(detail);
        }
        if count > 1 {
            let message = format!("{count} sessions begin with {id}: give more digits");
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        match (found, asked.missing.first()) {
            (Some(detail), _) => Ok(*detail),
            (None, None) => Err(not_found(format!("session {id}"))),
            (None, Some(MissingNode { node, reason })) => Err(ApiError::new(
                ErrorKind::Unavailable,
                format!("session {id} was not found, but {node} did not answer: {reason}"),
            )),
        }
    }

    /// The node that a full id names.
    pub(super) fn owner(&self, id: Option<SessionId>) -> Option<NodeId> {
        let id = id?;
        let base = id.base();
        // A session of an earlier start has kept its id.
        let is_here = || self.hub.books().row(id, Moment::now()).is_some();
        if base == self.hub.parts.session_base || is_here() {
            return Some(self.hub.node.clone());
        }
        self.hub
            .cluster
            .registry()
            .owner(base, Moment::now().mono)
            .filter(|_| self.hub.config().is_gateway())
    }
}

/// Whether asking another node would not help.
fn is_callers_fault(error: &ApiError) -> bool {
    matches!(
        error.error,
        ErrorKind::BadRequest | ErrorKind::CursorExpired | ErrorKind::Denied
    )
}

fn parse(query: &ListQuery) -> Result<PageQuestion, ApiError> {
    let filter_text = query.filter.as_deref().unwrap_or("");
    let sort_text = query.sort.as_deref().unwrap_or(DEFAULT_SORT);
    let filter =
        Filter::parse(filter_text, SESSION_COLUMNS).map_err(|error| bad(error.to_string()))?;
    let sort =
        SortSpec::parse(sort_text, SESSION_COLUMNS).map_err(|error| bad(error.to_string()))?;
    let fingerprint = fingerprint(filter_text, &sort.to_string());
    let cursor = query.cursor.as_deref();
    let cursor = cursor
        .map(|text| Cursor::decode(text, &fingerprint))
        .transpose()?;
    let ranked = needs_ranking(&sort.column);
    let (after, ranking) = match cursor {
        None => (
            None,
            ranked.then(|| u64::from_be_bytes(keys::random::<8>())),
        ),
        Some(cursor) => {
            let lost = || bad("cursor: not one of this list; start again without it");
            let id: SessionId = cursor.id.parse().map_err(|_| lost())?;
            let ranking = cursor.ranking.as_deref();
            let ranking = ranking
                .map(|text| u64::from_str_radix(text, 16))
                .transpose();
            let ranking = ranking.map_err(|_| lost())?;
            if ranked != ranking.is_some() {
                return Err(lost());
            }
            (Some((cursor.key, id)), ranking)
        }
    };
    let question = SessionQuestion {
        filter: filter_text.to_owned(),
        sort: sort.to_string(),
        after,
        ranking,
        limit: query.page_size(),
        realms: Vec::new(),
    };
    Ok(PageQuestion {
        filter,
        sort,
        fingerprint,
        question,
    })
}

/// Merges sorted pages of nodes into one.
fn merge(
    parts: Vec<SessionAnswer>,
    missing: Vec<MissingNode>,
    parsed: &PageQuestion,
) -> Page<SessionView> {
    let (mut matched, mut total, mut more) = (0, 0, false);
    let mut rows: Vec<(SortKey, SessionView)> = Vec::new();
    for part in parts {
        matched += part.matched;
        total += part.total;
        more |= part.more;
        rows.extend(part.rows);
    }
    rows.sort_by(|a, b| position_order(&parsed.sort, (&a.0, a.1.id), (&b.0, b.1.id)));
    let size = parsed.question.limit;
    more |= rows.len() > size;
    rows.truncate(size);
    let next = rows.last().filter(|_| more).map(|(key, row)| {
        let cursor = Cursor {
            question: parsed.fingerprint.clone(),
            key: key.clone(),
            id: row.id.to_string(),
            ranking: parsed.question.ranking.map(|id| format!("{id:x}")),
        };
        cursor.encode()
    });
    Page {
        schema: "sessions/1".to_owned(),
        as_of_ms: Moment::now().unix_ms,
        items: rows.into_iter().map(|(_, row)| row).collect(),
        next,
        matched,
        total,
        missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, rate: u64) -> (SortKey, SessionView) {
        let view = crate::control::testing::session_view(SessionId(id), rate);
        (SortKey::Number(rate as f64), view)
    }

    #[test]
    fn pages_of_nodes_are_merged_by_value_then_id_in_one_direction() {
        let query = ListQuery {
            sort: Some("rate:desc".into()),
            limit: Some(3),
            ..ListQuery::default()
        };
        let parsed = parse(&query).unwrap();
        let part = |rows: Vec<_>| SessionAnswer {
            matched: rows.len() as u64,
            total: 10,
            rows,
            more: false,
        };
        let parts = vec![
            part(vec![row(4, 90), row(2, 50)]),
            part(vec![row(1, 90), row(3, 50)]),
        ];
        let page = merge(parts, Vec::new(), &parsed);
        let ids: Vec<_> = page.items.iter().map(|row| row.id.0).collect();
        assert_eq!(ids, [4, 1, 3]);
        assert_eq!((page.matched, page.total), (4, 20));
        let again = ListQuery {
            cursor: page.next,
            ..query
        };
        let next = parse(&again).unwrap();
        assert_eq!(
            next.question.after,
            Some((SortKey::Number(50.0), SessionId(3)))
        );
        assert_eq!(next.question.ranking, parsed.question.ranking);
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let query = ListQuery {
            sort: Some("rate".into()),
            limit: Some(1),
            ..ListQuery::default()
        };
        let parsed = parse(&query).unwrap();
        let part = SessionAnswer {
            rows: vec![row(1, 5), row(2, 4)],
            matched: 2,
            total: 2,
            more: true,
        };
        let page = merge(vec![part], Vec::new(), &parsed);
        let other = ListQuery {
            sort: Some("user".into()),
            cursor: page.next,
            ..query
        };
        assert_eq!(parse(&other).err().unwrap().error, ErrorKind::BadRequest);
        let garbage = ListQuery {
            cursor: Some("x!".into()),
            ..ListQuery::default()
        };
        assert_eq!(parse(&garbage).err().unwrap().error, ErrorKind::BadRequest);
    }
}
