//! A configuration as operators see it: every setting with its value, default and source.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::api::{Applies, NodeRole, SettingKind, SettingSource, SettingView};

use super::keys::{KEYS, Kind};
use super::{
    Config, ConnectionLimits, LogFormat, LogOutput, Overrides, RedisConfig, SentinelConfig,
    StoreConfig, TlsFiles, WeakCredentials, beside, credentials, limits, listener, nat_discovery,
    oauth, process, redirects, resolve,
};

/// Every setting of a node: `started` is what it started with, `loaded` what its layers say now.
#[must_use]
pub fn settings(started: &Config, loaded: &Config) -> Vec<SettingView> {
    let layers = Arc::new(loaded.provenance.layers.bare());
    let (bare, _) = resolve::over(&layers, &Overrides::default());
    let views = KEYS.iter().map(|key| {
        let in_force = match key.applies {
            Applies::Live => loaded,
            Applies::Restart | Applies::File => started,
        };
        let value = value_of(in_force, key.name);
        let source = source_of(in_force, key.name);
        let coming = value_of(loaded, key.name);
        // What follows from another setting (a path below the state directory) is its own default.
        let default = match source {
            SettingSource::Default => value.clone(),
            _ => value_of(&bare, key.name),
        };
        let secret = key.name.ends_with(".password") || key.name == "beside.statsdb";
        SettingView {
            key: key.name.to_owned(),
            kind: key.kind.into(),
            pending: (coming != value && !secret).then_some(coming),
            value,
            default: if secret { Value::Null } else { default },
            source,
            applies: key.applies,
            secret,
            help: key.help.to_owned(),
        }
    });
    views.collect()
}

/// A setting whose value differs between two configurations of one node, or which a stronger layer
/// hides.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The setting.
    pub key: &'static str,
    /// Its value before.
    pub old: Value,
    /// Its value afterwards.
    pub new: Value,
    /// When that applies.
    pub applies: Applies,
    /// The layer that the value comes from afterwards.
    pub source: SettingSource,
}

/// The settings among `keys`, each as it is in `before` and in `after`.
#[must_use]
pub fn compare(before: &Config, after: &Config, keys: &[String]) -> Vec<Difference> {
    let asked = KEYS
        .iter()
        .filter(|key| keys.iter().any(|name| name == key.name));
    let differences = asked.map(|key| Difference {
        key: key.name,
        old: value_of(before, key.name),
        new: value_of(after, key.name),
        applies: key.applies,
        source: source_of(after, key.name),
    });
    differences.collect()
}

/// The settings that differ and apply as `applies` says.
#[must_use]
pub fn changed(before: &Config, after: &Config, applies: &[Applies]) -> Vec<&'static str> {
    let keys = KEYS.iter().filter(|key| applies.contains(&key.applies));
    keys.map(|key| key.name)
        .filter(|name| value_of(before, name) != value_of(after, name))
        .collect()
}

fn source_of(config: &Config, key: &str) -> SettingSource {
    let sources = &config.provenance.sources;
    sources.get(key).copied().unwrap_or(SettingSource::Default)
}

impl From<Kind> for SettingKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Integer => Self::Integer,
            Kind::Boolean => Self::Boolean,
            Kind::List => Self::List,
            Kind::Table => Self::Table,
        }
    }
}

/// The value of a setting, in one spelling however it was written; never a secret.
fn value_of(config: &Config, key: &str) -> Value {
    match key.split_once('.') {
        Some(("store", key)) => of_store(&config.store, key),
        Some(("statsdb", key)) => of_statsdb(config.statsdb.as_ref(), key),
        Some(("admin", key)) => of_admin(config, key),
        Some(("beside", key)) => beside::value_of(&config.beside, key),
        Some(("tls", key)) => of_tls(config, key),
        Some(("connections", key)) => of_connections(&config.connections, key),
        Some(("peers", "allowed")) => texts(&config.peers.allowed),
        Some(("peers", "denied")) => texts(&config.peers.denied),
        Some(("redirects", key)) => redirects::value_of(&config.redirects, key),
        Some(("limits", key)) => limits::value_of(&config.limits, key),
        Some(("metrics", _)) => config
            .metrics
            .map_or_else(|| json!("off"), |address| json!(address)),
        Some(("log", "level")) => json!(config.log.level),
        Some(("log", "output")) => match &config.log.output {
            LogOutput::Stderr => json!("stderr"),
            LogOutput::Stdout => json!("stdout"),
            LogOutput::Syslog => json!("syslog"),
            LogOutput::File(file) => path(file),
        },
        Some(("log", "syslog_facility")) => {
            json!(process::facility_name(config.log.syslog_facility))
        }
        Some(("log", _)) => match config.log.format {
            LogFormat::Text => json!("text"),
            LogFormat::Json => json!("json"),
        },
        Some(_) => Value::Null,
        None => of_node(config, key),
    }
}

fn of_node(config: &Config, key: &str) -> Value {
    match key {
        "node_id" => json!(config.node_id),
        "cluster" => json!(config.cluster),
        "roles" => config.roles.iter().map(role).collect(),
        "labels" => json!(config.labels),
        "state_dir" => path(&config.state_dir),
        "workers" => json!(config.workers),
        "cluster_key_file" => config.cluster_key_file.as_deref().map_or(Value::Null, path),
        "listen" => listeners(config),
        "relay_addresses" => texts::<IpAddr>(&config.relay_addresses),
        "external_ips" => external_ips(config),
        "relay_ports" => {
            let (first, last) = (config.relay_ports.start(), config.relay_ports.end());
            json!(format!("{first}-{last}"))
        }
        "default_realm" => json!(config.default_realm),
        "max_sessions_per_user" => json!(config.max_sessions_per_user),
        "origin_realms" => json!(config.origin_realms),
        "credentials" => credentials::view(config.credentials),
        "open_relay" | "accept_open_relay" => json!(config.open_relay),
        "software" => json!(config.software),
        "nonce_lifetime" => duration(config.nonce_lifetime),
        "permission_lifetime" => duration(config.permission_lifetime),
        "channel_lifetime" => duration(config.channel_lifetime),
        "channel_rebind_guard" => duration(config.channel_rebind_guard),
        "min_allocate_lifetime" => {
            let min = config.allocation.min_lifetime;
            min.map_or(Value::Null, duration)
        }
        "default_allocate_lifetime" => duration(config.allocation.default_lifetime),
        "max_allocate_lifetime" => duration(config.allocation.max_lifetime),
        "reservation_lifetime" => duration(config.reservation_lifetime),
        "adopt" => json!(config.adopt),
        "restore_wait" => duration(config.restore_wait),
        "descriptor_store" => json!(config.descriptor_store),
        "upgrade_deadline" => duration(config.upgrade_deadline),
        "mobility" => json!(config.allocation.mobility),
        "rfc5766_channel_numbers" => json!(config.allocation.rfc5766_channel_numbers),
        "fingerprint" => json!(config.allocation.fingerprint),
        "udp_relay" => json!(config.allocation.udp_relay),
        "stun" => json!(config.allocation.stun),
        "turn" => json!(config.allocation.turn),
        "weak_credentials" => match config.weak_credentials {
            WeakCredentials::Refuse => json!("refuse"),
            WeakCredentials::Warn => json!("warn"),
        },
        "copy_dscp" => json!(config.copy_dscp),
        "tcp_relay" => json!(config.tcp_relay.enabled),
        "tcp_connect_timeout" => duration(config.tcp_relay.connect_timeout),
        "tcp_bind_timeout" => duration(config.tcp_relay.bind_timeout),
        _ => nat_discovery::view(&config.nat_discovery, key)
            .or_else(|| oauth::view(&config.oauth, key))
            .or_else(|| process::view(&config.process, key))
            .unwrap_or(Value::Null),
    }
}

fn of_store(store: &StoreConfig, key: &str) -> Value {
    let redis = match store {
        StoreConfig::Sqlite { turndb, .. } => {
            return match key {
                "url" => json!("sqlite"),
                "turndb" => path(turndb),
                "insecure" => json!(false),
                _ => Value::Null,
            };
        }
        StoreConfig::Redis(redis) => redis,
    };
    match key {
        "cluster" => json!(redis.cluster),
        _ if key.starts_with("sentinel") => of_sentinels(redis.sentinels.as_deref(), key),
        _ => of_redis(redis, key),
    }
}

fn of_statsdb(redis: Option<&RedisConfig>, key: &str) -> Value {
    match redis {
        Some(redis) => of_redis(redis, key),
        None if key == "insecure" => json!(false),
        None => Value::Null,
    }
}

fn of_redis(redis: &RedisConfig, key: &str) -> Value {
    match key {
        "url" => json!(shown_url(redis)),
        "username" => json!(redis.username),
        "password_file" => redis.password_file.as_deref().map_or(Value::Null, path),
        "ca_file" => redis.ca_file.as_deref().map_or(Value::Null, path),
        "insecure" => json!(redis.insecure),
        _ => Value::Null,
    }
}

fn of_sentinels(sentinels: Option<&SentinelConfig>, key: &str) -> Value {
    match (key, sentinels) {
        ("sentinels", None) => json!([]),
        ("sentinels", Some(sentinels)) => json!(sentinels.servers),
        ("sentinel_username", Some(sentinels)) => json!(sentinels.username),
        ("sentinel_password_file", Some(sentinels)) => {
            let file = sentinels.password_file.as_deref();
            file.map_or(Value::Null, path)
        }
        _ => Value::Null,
    }
}

/// The URL without user and password.
fn shown_url(redis: &RedisConfig) -> String {
    let scheme = if redis.tls { "rediss" } else { "redis" };
    format!("{scheme}://{}/{}", redis.endpoint, redis.database)
}

fn of_tls(config: &Config, key: &str) -> Value {
    let of = |files: &Option<TlsFiles>, part: fn(&TlsFiles) -> &Path| {
        files
            .as_ref()
            .map_or(Value::Null, |files| path(part(files)))
    };
    match key {
        "certificate" => of(&config.tls, |files| &files.certificate),
        "key" => of(&config.tls, |files| &files.key),
        "ciphers" => json!(config.tls_ciphers.as_ref().map(|all| {
            let names = all.iter().map(|suite| suite.name());
            names.collect::<Vec<_>>()
        })),
        "ecdsa_certificate" => of(&config.tls_ecdsa, |files| &files.certificate),
        "ecdsa_key" => of(&config.tls_ecdsa, |files| &files.key),
        _ => Value::Null,
    }
}

fn of_connections(limits: &ConnectionLimits, key: &str) -> Value {
    match key {
        "handshake_timeout" => duration(limits.handshake_timeout),
        "first_message_timeout" => duration(limits.first_message_timeout),
        "max_allocate_timeout" => duration(limits.max_allocate_timeout),
        "max_per_source" => json!(limits.max_per_source),
        "max" => json!(limits.max),
        "write_queue_bytes" => json!(limits.write_queue_bytes),
        "tls_handshakes" => json!(limits.tls_handshakes),
        "dtls_handshakes" => json!(limits.dtls_handshakes),
        "dtls_handshakes_per_source" => json!(limits.dtls_handshakes_per_source),
        _ => Value::Null,
    }
}

fn of_admin(config: &Config, key: &str) -> Value {
    let tls = config.admin.tls.as_ref();
    match key {
        "socket" => path(&config.admin.socket),
        "listen" => json!(config.admin.listen),
        "tls_certificate" => tls.map_or(Value::Null, |tls| path(&tls.certificate)),
        "tls_key" => tls.map_or(Value::Null, |tls| path(&tls.key)),
        "max_failed_tokens" => json!(config.admin.lock.failures),
        "failed_token_lock" => duration(config.admin.lock.lock),
        _ => Value::Null,
    }
}

fn role(role: &NodeRole) -> Value {
    match role {
        NodeRole::Relay => json!("relay"),
        NodeRole::Gateway => json!("gateway"),
    }
}

/// Short where nothing but the address was given.
fn listeners(config: &Config) -> Value {
    let transports = listener::default_transports(config.tls.is_some());
    let listeners = config.listeners.iter().map(|listener| {
        let mut table = serde_json::Map::new();
        if let Some(realm) = &listener.realm {
            table.insert("realm".to_owned(), json!(realm));
        }
        if listener.transports != transports {
            table.insert("transports".to_owned(), json!(listener.transports));
        }
        if !listener.proxy_from.is_empty() {
            table.insert("proxy_from".to_owned(), texts(&listener.proxy_from));
        }
        if table.is_empty() {
            return json!(listener.address);
        }
        table.insert("address".to_owned(), json!(listener.address));
        Value::Object(table)
    });
    listeners.collect()
}

fn external_ips(config: &Config) -> Value {
    let ips = config.external_ips.iter().map(|ip| match ip.local {
        None => json!(ip.public),
        Some(local) => json!(format!("{}/{local}", ip.public)),
    });
    ips.collect()
}

fn texts<T: ToString>(items: &[T]) -> Value {
    items.iter().map(ToString::to_string).collect()
}

fn path(path: &Path) -> Value {
    json!(path.to_string_lossy())
}

pub(super) fn duration(duration: Duration) -> Value {
    let secs = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let whole = units
        .iter()
        .find(|(unit, _)| secs > 0 && secs.is_multiple_of(*unit));
    json!(match whole {
        Some((unit, name)) => format!("{}{name}", secs / unit),
        None => format!("{secs}s"),
    })
}
