//! Alerts and their rules.

use shared::api::{
    AlertRulePatch, AlertRules, AlertView, ApiError, EventKind, ListQuery, Page, Role, Severity,
};
use shared::filter::ALERT_COLUMNS;

use super::list::ListOf;
use super::{Caller, Service, bad, need, need_all_realms, not_found, store_error};
use crate::control::alerts::rules::{self, RULES};
use crate::control::documents;
use crate::store::StoreError;
use crate::store::document::ALERT_RULES;

impl Service {
    /// A page of the conditions that hold. Callers confined to realms see those of their realms, and
    /// those of nodes that tell nothing about other realms.
    ///
    /// # Errors
    /// A filter, order or cursor that makes no sense; a relay without the gateway role.
    pub async fn alerts(
        &self,
        caller: &Caller,
        query: &ListQuery,
    ) -> Result<Page<AlertView>, ApiError> {
        need(caller, Role::Viewer)?;
        self.need_gateway()?;
        let mut rows = self.hub.alerts.views();
        if !caller.realms.is_empty() {
            rows.retain(|alert| match &alert.realm {
                Some(realm) => caller.sees(realm),
                None => rules::find(&alert.rule).is_some_and(|rule| !rule.all_realms),
            });
        }
        let list = ListOf {
            schema: "alerts/1",
            columns: ALERT_COLUMNS,
            // By word, crit comes before warn, and there are no others.
            default_sort: "severity:asc",
            rows,
            missing: Vec::new(),
            query,
        };
        std::future::ready(list.page(|alert| alert.id.clone())).await
    }

    /// All rules with their thresholds.
    ///
    /// # Errors
    /// The store is away.
    pub async fn alert_rules(&self, caller: &Caller) -> Result<AlertRules, ApiError> {
        need(caller, Role::Viewer)?;
        let stored = self.store(self.hub.store.document(ALERT_RULES).await)?;
        let changes = rules::changes(stored.as_ref());
        Ok(AlertRules {
            schema: "alert-rules/1".to_owned(),
            revision: stored.as_ref().map_or(0, |stored| stored.revision),
            changed_at_ms: stored.as_ref().map_or(0, |stored| stored.changed_at_ms),
            changed_by: stored.map(|stored| stored.changed_by).unwrap_or_default(),
            rules: RULES.iter().map(|rule| rule.view(&changes)).collect(),
        })
    }

    /// Changes a rule if nobody changed any since `expected`.
    ///
    /// # Errors
    /// No such rule; thresholds that make no sense; a lost race (412, with the revision that is
    /// there).
    pub async fn patch_alert_rule(
        &self,
        caller: &Caller,
        name: &str,
        expected: u64,
        patch: AlertRulePatch,
    ) -> Result<AlertRules, ApiError> {
        let work = async {
            need(caller, Role::Admin)?;
            need_all_realms(caller)?;
            self.need_gateway()?;
            let rule = rules::find(name).ok_or_else(|| {
                let names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
                not_found(format!("rule of that name; there are {}", names.join(", ")))
            })?;
            let stored = self.store(self.hub.store.document(ALERT_RULES).await)?;
            let current = stored.as_ref().map_or(0, |stored| stored.revision);
            if current != expected {
                return Err(store_error(&StoreError::RevisionConflict { current }));
            }
            let mut changes = rules::changes(stored.as_ref());
            rule.patch(&mut changes, &patch).map_err(bad)?;
            let body = rules::body_with(stored.as_ref(), rule, &changes);
            let store = &self.hub.store;
            let put = store.put_document(ALERT_RULES, &body, expected, &caller.actor);
            let revision = self.store(put.await)?;
            documents::refresh(&self.hub).await;
            let text = format!(
                "rules of alerts are at revision {revision}, by {}: {name} changed",
                caller.actor
            );
            self.hub
                .event(EventKind::ConfigChanged, Severity::Notice, text);
            self.alert_rules(caller).await
        };
        let reason = patch.reason.clone();
        self.audited(caller, "alert.rule.set", name.to_owned(), &reason, work)
            .await
    }
}
