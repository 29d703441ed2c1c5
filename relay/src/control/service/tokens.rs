//! Tokens of the admin API.

use shared::api::{ApiError, EventKind, Page, Severity, TokenCreate, TokenCreated, TokenView};

use super::access::{check_ttl, whole};
use super::{Caller, MAX_TEXT, Service, bad, not_found, store_error};
use crate::control::clock::Moment;
use crate::control::tokens::{self, MAX_TOKENS};
use crate::store::StoredToken;

/// Realms that a token can be confined to.
const MAX_REALMS: usize = 100;

impl Service {
    /// Whose token this is; `None` when it is none, or has ended. Works from memory, and from the
    /// disk after a start, so that a dead store locks nobody out.
    #[must_use]
    pub fn authenticate(&self, bearer: &str) -> Option<Caller> {
        let token = self.hub.tokens.verify(bearer, Moment::now())?;
        // Figures of realms are added up: one that is named twice would count twice.
        let mut realms = token.view.realms;
        realms.sort_unstable();
        realms.dedup();
        Some(Caller {
            actor: format!("token:{}", token.view.id),
            role: token.view.role,
            realms,
        })
    }

    /// All tokens, without their secret parts.
    ///
    /// # Errors
    /// Denied to anyone but admins of the whole cluster.
    pub async fn tokens(&self, caller: &Caller) -> Result<Page<TokenView>, ApiError> {
        self.may_manage_access(caller)?;
        self.reload_tokens().await?;
        let all = self.hub.tokens.all().into_iter();
        Ok(whole("tokens/1", all.map(|token| token.view).collect()))
    }

    /// Creates a token. Its text is answered this once and kept nowhere.
    ///
    /// # Errors
    /// Too many of them; the store is away.
    pub async fn create_token(
        &self,
        caller: &Caller,
        request: TokenCreate,
    ) -> Result<TokenCreated, ApiError> {
        let target = format!("{} {}", request.role.as_str(), request.label);
        let reason = request.reason.clone();
        let work = async {
            self.may_manage_access(caller)?;
            if request.label.len() > MAX_TEXT || request.realms.len() > MAX_REALMS {
                return Err(bad(format!(
                    "label, realms: at most {MAX_TEXT} bytes and {MAX_REALMS} realms"
                )));
            }
            check_ttl(request.ttl_secs)?;
            if self.hub.tokens.all().len() >= MAX_TOKENS {
                return Err(bad(format!("there are {MAX_TOKENS} tokens already")));
            }
            let now = Moment::now().unix_ms;
            let (id, token, hash) = tokens::generate();
            let view = TokenView {
                id,
                label: request.label,
                role: request.role,
                realms: request.realms,
                created_at_ms: now,
                created_by: caller.actor.clone(),
                expires_at_ms: request.ttl_secs.map(|ttl| now + ttl * 1000),
                last_used_at_ms: None,
            };
            let stored = StoredToken {
                view: view.clone(),
                hash,
            };
            self.store(self.hub.store.put_token(&stored).await)?;
            self.reload_tokens().await?;
            self.token_event(caller, &view.id, "was created");
            Ok(TokenCreated {
                view,
                token: token.expose().clone(),
            })
        };
        self.audited(caller, "token.create", target, &reason, work)
            .await
    }

    /// Revokes a token, on every node within a second.
    ///
    /// # Errors
    /// No such token; the store is away.
    pub async fn delete_token(
        &self,
        caller: &Caller,
        id: &str,
        reason: &str,
    ) -> Result<(), ApiError> {
        let work = async {
            self.may_manage_access(caller)?;
            if !self.store(self.hub.store.delete_token(id).await)? {
                return Err(not_found(format!("token {id}")));
            }
            self.reload_tokens().await?;
            self.token_event(caller, id, "was revoked");
            Ok(())
        };
        self.audited(caller, "token.delete", id.to_owned(), reason, work)
            .await
    }

    async fn reload_tokens(&self) -> Result<(), ApiError> {
        let read = tokens::refresh(&self.hub).await;
        read.map_err(|error| store_error(&error))
    }

    fn token_event(&self, caller: &Caller, id: &str, word: &str) {
        let text = format!("token {id} {word} by {}", caller.actor);
        self.hub
            .event(EventKind::TokenChanged, Severity::Notice, text);
    }
}
