//! The settings in force: what the node was started with, what its layers say now, and the overrides
//! of the store between them.
//!
//! A bad override never takes a node down: it is told of, and what was in force stays. The overrides
//! that were good last are kept on disk, for a start while the store is away.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::NodeId;
use shared::api::{Applies, ConfigChange, ConfigView, EventKind, SettingSource, Severity};

use super::clock::Moment;
use super::files;
use super::hub::Hub;
use super::policy;
use super::service::config::in_scope;
use crate::config::{
    self, BesideConfig, Config, ConfigErrors, NatDiscoveryConfig, OverrideLayer, Overrides,
};
use crate::store::document::{self, CONFIG};
use crate::store::{Store, StoreError, StoredDocument};
use crate::telemetry::log::LogLevel;

/// How long a start waits for the overrides in the store.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// How often the documents are compared with what is applied, so that a lost message heals.
const COMPARE: Duration = Duration::from_secs(1);

/// The configuration in its two ages.
#[derive(Debug)]
pub(super) struct Settings {
    /// What the node was started with: in force where a change waits for a restart.
    started: Arc<Config>,
    state: Mutex<State>,
    log: Option<LogLevel>,
    file: PathBuf,
    applying: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// What the layers say now.
    loaded: Arc<Config>,
    /// Overrides that did not fit: told of once.
    refused: Option<Overrides>,
}

impl Settings {
    /// Those of a node that starts with `config`.
    #[must_use]
    pub(super) fn new(config: &Arc<Config>, log: Option<LogLevel>) -> Self {
        Self {
            started: Arc::clone(config),
            state: Mutex::new(State {
                loaded: Arc::clone(config),
                refused: None,
            }),
            log,
            file: cache(&config.state_dir),
            applying: tokio::sync::Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the layers say now.
    #[must_use]
    pub(super) fn loaded(&self) -> Arc<Config> {
        Arc::clone(&self.state().loaded)
    }

    /// Revisions of the overrides that are applied: for all nodes, for this one.
    #[must_use]
    pub(super) fn revisions(&self) -> (u64, u64) {
        let loaded = self.loaded();
        let overrides = &loaded.provenance.overrides;
        (overrides.cluster.revision, overrides.node.revision)
    }

    /// What is in force: of the layers as they are now what applies live, of the start the rest.
    fn in_force(&self, loaded: &Config) -> Config {
        let loaded = loaded.clone();
        let mut in_force = Config::clone(&self.started);
        in_force.log.level = loaded.log.level;
        Config {
            cluster: loaded.cluster,
            beside: BesideConfig {
                wishes: loaded.beside.wishes,
                ..in_force.beside
            },
            labels: loaded.labels,
            credentials: loaded.credentials,
            realms: loaded.realms,
            default_realm: loaded.default_realm,
            max_sessions_per_user: loaded.max_sessions_per_user,
            origin_realms: loaded.origin_realms,
            peers: loaded.peers,
            software: loaded.software,
            oauth: loaded.oauth,
            connections: loaded.connections,
            nonce_lifetime: loaded.nonce_lifetime,
            permission_lifetime: loaded.permission_lifetime,
            channel_lifetime: loaded.channel_lifetime,
            channel_rebind_guard: loaded.channel_rebind_guard,
            nat_discovery: NatDiscoveryConfig {
                response_port: loaded.nat_discovery.response_port,
                padding: loaded.nat_discovery.padding,
                ..in_force.nat_discovery
            },
            allocation: loaded.allocation,
            tcp_relay: loaded.tcp_relay,
            redirects: loaded.redirects,
            limits: self.started.limits.after_reload(&loaded.limits),
            warnings: loaded.warnings,
            provenance: loaded.provenance,
            ..in_force
        }
    }
}

/// Where the overrides that were good last are kept.
fn cache(state_dir: &Path) -> PathBuf {
    state_dir.join("overrides.json")
}

/// A document of overrides; what is no map of values counts as a fault of its own.
pub(super) fn layer(document: Option<&StoredDocument>) -> Result<OverrideLayer, String> {
    let Some(document) = document else {
        return Ok(OverrideLayer::default());
    };
    let settings = serde_json::from_value(document.body.clone())
        .map_err(|_| format!("revision {} holds no settings", document.revision))?;
    Ok(OverrideLayer {
        revision: document.revision,
        settings,
    })
}

/// What a reload or a change of overrides did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// In force now.
    pub live: Vec<&'static str>,
    /// Different from what runs, until the next start.
    pub restart: Vec<&'static str>,
}

/// The configuration that a node starts with: that of its file, environment and flags, and the
/// overrides of the store; of the last run where the store is away. What does not fit is told of and
/// left out.
pub async fn at_start(config: Config, store: &dyn Store, node: &NodeId) -> Config {
    let read = tokio::time::timeout(START_PATIENCE, read(store, node)).await;
    let stored = read.unwrap_or_else(|_| Err("the store does not answer".to_owned()));
    let stored = stored.and_then(|overrides| {
        let with = config.with_overrides(&overrides);
        with.map_err(|errors| shared::display_safe(&errors.to_string()).into_owned())
    });
    let reason = match stored {
        Ok(config) => return config,
        Err(reason) => reason,
    };
    let kept: Option<Overrides> = files::read_json(&cache(&config.state_dir));
    match kept.and_then(|overrides| config.with_overrides(&overrides).ok()) {
        Some(config) => {
            tracing::warn!(reason, "starting with the overrides of the last run");
            config
        }
        None => {
            tracing::warn!(reason, "starting without overrides of the configuration");
            config
        }
    }
}

async fn read(store: &dyn Store, node: &NodeId) -> Result<Overrides, String> {
    let words = |error: StoreError| error.to_string();
    let cluster = store.document(CONFIG).await.map_err(words)?;
    let own = store
        .document(&document::config_of(node))
        .await
        .map_err(words)?;
    Ok(Overrides {
        cluster: layer(cluster.as_ref())?,
        node: layer(own.as_ref())?,
    })
}

/// Follows the overrides in the store until the node stops.
pub(super) async fn keep_current(hub: Arc<Hub>) {
    let mut changed = hub.documents.subscribe();
    loop {
        apply(&hub).await;
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            // The sender lives as long as the hub.
            _ = changed.changed() => {}
            () = tokio::time::sleep(COMPARE) => {}
        }
    }
}

/// Applies the overrides as last read, if they are not applied yet.
pub(super) async fn apply(hub: &Hub) {
    if !hub.documents.were_read() {
        return;
    }
    let settings = &hub.settings;
    let _turn = settings.applying.lock().await;
    let cluster = hub.documents.get(CONFIG);
    let own = hub.documents.get(&document::config_of(&hub.node));
    let overrides = match (layer(cluster.as_deref()), layer(own.as_deref())) {
        (Ok(cluster), Ok(node)) => Overrides { cluster, node },
        (Err(reason), _) | (_, Err(reason)) => {
            let overrides = Overrides {
                cluster: bare(cluster.as_deref()),
                node: bare(own.as_deref()),
            };
            return refuse(hub, overrides, &reason);
        }
    };
    let loaded = settings.loaded();
    if loaded.provenance.overrides == overrides {
        return;
    }
    match loaded.with_overrides(&overrides) {
        Err(errors) => refuse(hub, overrides, &errors.to_string()),
        Ok(config) => {
            let revisions = (overrides.cluster.revision, overrides.node.revision);
            let change = put_in_force(hub, config).await;
            tracing::info!(?revisions, changed = ?change.live, "overrides of the configuration applied");
            for key in change.restart {
                tracing::warn!(
                    key,
                    "differs from what runs, and takes effect at the next start only"
                );
            }
        }
    }
}

/// The revision of a document whose body makes no sense.
fn bare(document: Option<&StoredDocument>) -> OverrideLayer {
    OverrideLayer {
        revision: document.map_or(0, |document| document.revision),
        ..OverrideLayer::default()
    }
}

fn refuse(hub: &Hub, overrides: Overrides, reason: &str) {
    let mut state = hub.settings.state();
    if state.refused.as_ref() == Some(&overrides) {
        return;
    }
    let text = format!(
        "{}: overrides of the configuration (revision {}, own {}) do not fit here, the ones before \
         stay: {}",
        hub.node,
        overrides.cluster.revision,
        overrides.node.revision,
        shared::display_safe(reason)
    );
    state.refused = Some(overrides);
    drop(state);
    tracing::error!("{text}");
    hub.event(EventKind::ConfigChanged, Severity::Warn, text);
}

/// Takes over what a reload read; the overrides stay between its layers.
pub(super) async fn reload(hub: &Hub, config: &Config) -> Result<SettingsChange, ConfigErrors> {
    let _turn = hub.settings.applying.lock().await;
    let overrides = hub.settings.loaded().provenance.overrides.clone();
    Ok(put_in_force(hub, config.with_overrides(&overrides)?).await)
}

async fn put_in_force(hub: &Hub, config: Config) -> SettingsChange {
    let settings = &hub.settings;
    let before = settings.loaded();
    let mut change = SettingsChange {
        live: config::changed(&before, &config, &[Applies::Live]),
        restart: config::changed(
            &settings.started,
            &config,
            &[Applies::Restart, Applies::File],
        ),
    };
    let has_new_realms = before.realms != config.realms;
    if has_new_realms {
        change.live.push("realm");
    }
    // What workers remember of names holds no more.
    let has_new_users = has_new_realms || before.credentials != config.credentials;
    let in_force = settings.in_force(&config);
    if before.log.level != config.log.level
        && let Some(log) = &settings.log
        && let Err(error) = log.set(&config.log.level)
    {
        tracing::warn!(%error, "the log level stays");
    }
    if before.provenance.overrides != config.provenance.overrides {
        let kept = files::write_private(&settings.file, &config.provenance.overrides);
        if let Err(error) = kept {
            tracing::warn!(%error, "the overrides cannot be kept for the next start");
        }
    }
    {
        let mut state = settings.state();
        state.loaded = Arc::new(config);
        state.refused = None;
    }
    hub.books().set_labels(in_force.labels.clone());
    hub.workers.set_connection_limits(&in_force.connections);
    if let Some(coturn) = hub.workers.coturn() {
        coturn.wish(&in_force.beside.wishes);
    }
    hub.keeper.set_config(Arc::new(in_force));
    if has_new_users {
        hub.keeper.want_forgetting();
    }
    hub.user_index.forget();
    if !policy::refresh(hub).await {
        hub.policy_stale.notify_one();
    }
    change
}

/// Every setting of this node, for screens.
#[must_use]
pub(super) fn view(hub: &Hub) -> ConfigView {
    let (cluster_revision, node_revision) = hub.settings.revisions();
    ConfigView {
        schema: "config/1".to_owned(),
        as_of_ms: Moment::now().unix_ms,
        node: hub.node.clone(),
        cluster_revision,
        node_revision,
        settings: config::settings(&hub.settings.started, &hub.settings.loaded()),
    }
}

/// What other overrides of one scope would change on this node, or what hides them here.
///
/// # Errors
/// They do not fit.
pub(super) fn preview(
    hub: &Hub,
    own: bool,
    new: &BTreeMap<String, serde_json::Value>,
    keys: &[String],
) -> Result<Vec<ConfigChange>, ConfigErrors> {
    let loaded = hub.settings.loaded();
    let overrides = in_scope(own, new, &loaded.provenance.overrides);
    let after = loaded.with_overrides(&overrides)?;
    let scope = if own {
        SettingSource::Node
    } else {
        SettingSource::Cluster
    };
    let differences = config::compare(&loaded, &after, keys);
    let changes = differences.into_iter().map(|difference| ConfigChange {
        node: hub.node.clone(),
        key: difference.key.to_owned(),
        old: difference.old,
        new: difference.new,
        applies: difference.applies,
        hidden_by: (difference.source > scope).then_some(difference.source),
    });
    Ok(changes
        .filter(|change| change.old != change.new || change.hidden_by.is_some())
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::api::{SettingKind, SettingView};

    use super::*;
    use crate::config::Args;

    /// Another value than the default that every check accepts.
    fn other(setting: &SettingView) -> Value {
        let key = setting.key.as_str();
        match setting.kind {
            SettingKind::Boolean => json!(setting.value != json!(true)),
            SettingKind::Integer => json!(setting.value.as_u64().unwrap_or(1) + 1),
            SettingKind::List => json!(["192.0.2.1"]),
            SettingKind::Table => json!({"ring": "7"}),
            SettingKind::Text => match key {
                "log.level" => json!("debug"),
                "limits.max_rate_bps" => json!("3M"),
                "credentials" => json!("users"),
                "redirects.to_nodes" => json!("never"),
                "cluster" | "default_realm" | "software" | "server_name" => json!("other"),
                // All others are durations.
                _ => json!("77s"),
            },
        }
    }

    #[test]
    fn what_is_said_to_apply_at_once_does_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let state = format!("--state-dir={}", folder.path().display());
        let arguments = ["relayd".to_owned(), state];
        let args = Args::new(arguments, BTreeMap::new()).unwrap();
        let started = Arc::new(Config::load(&args).unwrap());
        let all = config::settings(&started, &started);
        let of = |applies| {
            let of = all.iter().filter(move |setting| setting.applies == applies);
            of.map(|setting| setting.key.as_str()).collect::<Vec<_>>()
        };
        let live = of(Applies::Live);
        let later = [
            "limits.park_deadline_ms",
            "limits.reserved_ports",
            "workers",
        ];
        let wanted = all.iter().filter(|setting| {
            let key = setting.key.as_str();
            live.contains(&key) || later.contains(&key)
        });
        let overrides = Overrides {
            cluster: OverrideLayer {
                revision: 1,
                settings: wanted
                    .map(|setting| (setting.key.clone(), other(setting)))
                    .collect(),
            },
            ..Overrides::default()
        };
        let loaded = started.with_overrides(&overrides).unwrap();
        assert_eq!(config::changed(&started, &loaded, &[Applies::Live]), live);
        let in_force = Settings::new(&started, None).in_force(&loaded);
        let waiting = [Applies::Restart];
        let not_yet: [&str; 0] = [];
        assert_eq!(
            config::changed(&in_force, &loaded, &[Applies::Live]),
            not_yet
        );
        assert_eq!(config::changed(&started, &in_force, &waiting), not_yet);
        assert_eq!(
            config::changed(&in_force, &loaded, &waiting).len(),
            later.len()
        );
    }
}
