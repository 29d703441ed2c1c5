//! The configuration of nodes: what is in force, and the overrides that the store holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use shared::NodeId;
use shared::api::{
    ApiError, ConfigChange, ConfigOverrides, ConfigPatch, ConfigResult, ConfigView, ErrorKind,
    EventKind, MissingNode, Role, Severity, setting_text,
};

use super::{Caller, Service, bad, need, need_all_realms, not_found, unexpected};
use crate::config::{OverrideLayer, Overrides, is_overridable, override_value};
use crate::control::cluster::message::{NodeAnswer, NodeQuestion};
use crate::control::cluster::{Answers, mailbox};
use crate::control::{documents, settings};
use crate::store::StoreError;
use crate::store::document::{CONFIG, config_of};

/// How long a node has to answer: a change waits for all nodes rather than miss one.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Settings that one call may change.
const MAX_CHANGES: usize = 100;
/// The largest overrides of one scope, in bytes of JSON.
const MAX_OVERRIDES: usize = 128 * 1024;
/// The longest description of a change in the audit and in events, in bytes.
const MAX_WORDS: usize = 400;

impl Service {
    /// Every setting of a node, with where it comes from. It names addresses, paths and the host of
    /// the store, never a secret: any viewer of the whole cluster may read it.
    ///
    /// # Errors
    /// No such node; it does not answer.
    pub async fn node_config(
        &self,
        caller: &Caller,
        node: &NodeId,
    ) -> Result<ConfigView, ApiError> {
        need(caller, Role::Viewer)?;
        need_all_realms(caller)?;
        if *node != self.hub.node {
            self.need_gateway()?;
            self.need_known(node)?;
        }
        let question = NodeQuestion::Config;
        let asked = mailbox::ask_one(&self.hub, caller, node, question, ANSWER_WAIT).await;
        match asked {
            Ok(NodeAnswer::Config(view)) => Ok(*view),
            Ok(other) => Err(unexpected(&other)),
            Err(silence) => Err(ApiError::new(
                ErrorKind::Unavailable,
                format!("{node} does not answer: {}", silence.reason),
            )),
        }
    }

    /// The overrides for all nodes, or for one.
    ///
    /// # Errors
    /// No such node; the store is away.
    pub async fn config_overrides(
        &self,
        caller: &Caller,
        node: Option<&NodeId>,
    ) -> Result<ConfigOverrides, ApiError> {
        need(caller, Role::Viewer)?;
        need_all_realms(caller)?;
        if let Some(node) = node {
            self.need_known(node)?;
        }
        self.read_overrides(node).await
    }

    /// Changes overrides if nobody else did since `expected`. Every live node is asked what the
    /// change means for it; one that it does not fit refuses it for all.
    ///
    /// # Errors
    /// A setting that does not exist, cannot be overridden or is not valid; a lost race (412, with
    /// the revision that is there).
    pub async fn patch_config(
        &self,
        caller: &Caller,
        node: Option<&NodeId>,
        expected: u64,
        patch: ConfigPatch,
    ) -> Result<ConfigResult, ApiError> {
        if patch.dry_run {
            return Box::pin(self.change_config(caller, node, expected, &patch)).await;
        }
        let scope = node.map_or_else(|| "all nodes".to_owned(), |node| format!("node {node}"));
        let target = format!("{scope}: {}", in_words(&patch));
        let work = Box::pin(self.change_config(caller, node, expected, &patch));
        self.audited(caller, "config.set", target, &patch.reason, work)
            .await
    }

    async fn change_config(
        &self,
        caller: &Caller,
        node: Option<&NodeId>,
        expected: u64,
        patch: &ConfigPatch,
    ) -> Result<ConfigResult, ApiError> {
        need(caller, Role::Admin)?;
        need_all_realms(caller)?;
        self.need_gateway()?;
        if let Some(node) = node {
            self.need_known(node)?;
        }
        let mut overrides = self.read_overrides(node).await?;
        if overrides.revision != expected {
            let current = overrides.revision;
            return Err(super::store_error(&StoreError::RevisionConflict {
                current,
            }));
        }
        let keys = patched(&mut overrides.settings, patch)?;
        self.check(node, &overrides.settings)?;
        let (changes, missing) = self
            .preview(caller, node, &overrides.settings, keys)
            .await?;
        if !patch.dry_run {
            let (name, body) = (name(node), serde_json::json!(overrides.settings));
            let put = self
                .hub
                .store
                .put_document(&name, &body, expected, &caller.actor);
            self.store(put.await)?;
            documents::refresh(&self.hub).await;
            settings::apply(&self.hub).await;
            overrides = self.read_overrides(node).await?;
            let whose = node.map_or("all nodes".to_owned(), ToString::to_string);
            let text = format!(
                "configuration of {whose} is at revision {}, by {}: {}",
                overrides.revision,
                caller.actor,
                in_words(patch)
            );
            self.hub
                .event(EventKind::ConfigChanged, Severity::Notice, text);
        }
        Ok(ConfigResult {
            schema: "config-result/1".to_owned(),
            overrides,
            changes,
            missing,
        })
    }

    pub(super) fn need_known(&self, node: &NodeId) -> Result<(), ApiError> {
        let known = *node == self.hub.node || self.hub.cluster.registry().get(node).is_some();
        known
            .then_some(())
            .ok_or_else(|| not_found(format!("node {node}")))
    }

    async fn read_overrides(&self, node: Option<&NodeId>) -> Result<ConfigOverrides, ApiError> {
        let stored = self.store(self.hub.store.document(&name(node)).await)?;
        let layer = settings::layer(stored.as_ref())
            .map_err(|reason| ApiError::new(ErrorKind::Internal, reason))?;
        Ok(ConfigOverrides {
            schema: "config-overrides/1".to_owned(),
            node: node.cloned(),
            revision: layer.revision,
            changed_at_ms: stored.as_ref().map_or(0, |stored| stored.changed_at_ms),
            changed_by: stored.map(|stored| stored.changed_by).unwrap_or_default(),
            settings: layer.settings,
        })
    }

    /// Refuses what no node could use, whichever nodes there are.
    fn check(&self, node: Option<&NodeId>, new: &BTreeMap<String, Value>) -> Result<(), ApiError> {
        let overrides = in_scope(node.is_some(), new, &Overrides::default());
        let checked = self.hub.config().check_overrides(&overrides);
        checked.map_err(|errors| bad(errors.to_string()))
    }

    /// What the change means on each node that answers.
    async fn preview(
        &self,
        caller: &Caller,
        node: Option<&NodeId>,
        new: &BTreeMap<String, Value>,
        keys: Vec<String>,
    ) -> Result<(Vec<ConfigChange>, Vec<MissingNode>), ApiError> {
        let question = NodeQuestion::ConfigPreview {
            own: node.is_some(),
            settings: new.clone(),
            keys,
        };
        let asked = match node {
            None => mailbox::ask_all(&self.hub, caller, question, ANSWER_WAIT).await,
            Some(node) => {
                let one = mailbox::ask_one(&self.hub, caller, node, question, ANSWER_WAIT).await;
                let mut asked = Answers::default();
                match one {
                    Ok(answer) => asked.answers.push((node.clone(), answer)),
                    Err(silence) => asked.missing.push(MissingNode {
                        node: node.clone(),
                        reason: silence.reason,
                    }),
                }
                asked
            }
        };
        let mut changes = Vec::new();
        for (node, answer) in asked.answers {
            match answer {
                NodeAnswer::ConfigPreview(of_node) => changes.extend(of_node),
                NodeAnswer::Failed(error) => {
                    let message = format!("on {node}: {}", error.message);
                    return Err(ApiError::new(error.error, message));
                }
                other => return Err(unexpected(&other)),
            }
        }
        changes.sort_by(|a, b| (&a.node, &a.key).cmp(&(&b.node, &b.key)));
        Ok((changes, asked.missing))
    }
}

fn name(node: Option<&NodeId>) -> String {
    node.map_or_else(|| CONFIG.to_owned(), config_of)
}

/// `present` with one of its scopes replaced.
pub(in crate::control) fn in_scope(
    own: bool,
    new: &BTreeMap<String, Value>,
    present: &Overrides,
) -> Overrides {
    let mut overrides = present.clone();
    let layer = if own {
        &mut overrides.node
    } else {
        &mut overrides.cluster
    };
    *layer = OverrideLayer {
        settings: new.clone(),
        ..layer.clone()
    };
    overrides
}

/// Applies a patch and answers the settings that it names.
fn patched(
    settings: &mut BTreeMap<String, Value>,
    patch: &ConfigPatch,
) -> Result<Vec<String>, ApiError> {
    let names: BTreeSet<&String> = patch.set.keys().chain(&patch.unset).collect();
    let count = patch.set.len() + patch.unset.len();
    if names.is_empty() {
        return Err(bad("nothing to change: name settings in set or unset"));
    }
    if names.len() != count {
        return Err(bad("a setting is named twice: keep it in set or in unset"));
    }
    if count > MAX_CHANGES {
        return Err(bad(format!("at most {MAX_CHANGES} settings in one call")));
    }
    for (name, value) in &patch.set {
        let value = override_value(name, value).map_err(bad)?;
        settings.insert(name.clone(), value);
    }
    for name in &patch.unset {
        // What is there can go, even if this version does not know it.
        if settings.remove(name).is_none() {
            override_value(name, &Value::Bool(false)).map_err(bad)?;
        }
    }
    // Every node reads them again every few seconds.
    let size = serde_json::to_vec(settings).map_or(0, |text| text.len());
    if size > MAX_OVERRIDES {
        return Err(bad(format!(
            "the overrides would have {size} bytes; at most {MAX_OVERRIDES} are kept: put long lists \
             into the files of the nodes"
        )));
    }
    Ok(names.into_iter().cloned().collect())
}

/// A patch for the audit and for events. Values of what cannot be overridden are left out: somebody
/// may have tried it with a password.
fn in_words(patch: &ConfigPatch) -> String {
    let set = patch.set.iter().map(|(name, value)| {
        if is_overridable(name) {
            format!("{name}={}", setting_text(value))
        } else {
            format!("{name}=...")
        }
    });
    let unset = patch.unset.iter().map(|name| format!("{name} unset"));
    let mut words: String = set.chain(unset).collect::<Vec<_>>().join(" ");
    while words.len() > MAX_WORDS {
        words.pop();
    }
    words
}
