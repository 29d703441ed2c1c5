//! From raw settings to a valid [`Config`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use shared::Realm;
use shared::api::{NodeRole, RealmDocument};

use super::args::Args;
use super::error::{ConfigError, ConfigErrors, Origin};
use super::file::{Item, Value};
use super::layers::{Layers, Overrides, Provenance};
use super::source::Reader;
use super::{
    AdminConfig, AllocationConfig, Config, ConfigRealm, ExternalIp, ListenerConfig, LogConfig,
    LogFormat, PeerConfig, StoreConfig, TokenLock, WeakCredentials, allocation, beside,
    certificates, cluster_key, connections, credentials, limits, listener, local_password,
    nat_discovery, oauth, process, realm, redirects, store, tcp_relay,
};

const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9641);
const RELAY_PORTS: RangeInclusive<u16> = 49152..=65535;
/// The longest path that fits into a socket address, its final NUL excluded.
const MAX_SOCKET_PATH: usize = 107;
/// Labels of a node, and the longest name or value.
const MAX_LABELS: usize = 32;
const MAX_LABEL_BYTES: usize = 63;

const RANGE: &str = "an address, address/prefix or first-last, as in \"10.0.0.0/8\"";

pub(super) fn load(args: &Args) -> Result<Config, ConfigErrors> {
    let mut errors = Vec::new();
    let layers = Arc::new(Layers::read(args, &mut errors));
    let (config, wrong) = over(&layers, &Overrides::default());
    errors.extend(wrong);
    ConfigErrors::check(errors)?;
    Ok(config)
}

/// What these layers and overrides say, and what is wrong with them.
pub(super) fn over(layers: &Arc<Layers>, overrides: &Overrides) -> (Config, Vec<ConfigError>) {
    let mut reader = Reader::new(layers, overrides);
    let config = resolve(&mut reader);
    reader.reject_unknown();
    let config = Config {
        provenance: Provenance {
            layers: Arc::clone(layers),
            sources: reader.sources(),
            overrides: overrides.clone(),
        },
        warnings: reader.warnings,
        ..config
    };
    (config, reader.errors)
}

fn is_flag(item: &Item) -> bool {
    matches!(item.origin, Origin::Flag(_))
}

/// How long a start waits for the sessions of the start before.
const RESTORE_WAIT: Duration = Duration::from_secs(5);
/// How long the process before an upgrade keeps what cannot move, where nothing is said: calls are
/// shorter.
const UPGRADE_DEADLINE: Duration = Duration::from_secs(86_400);

/// Reads every setting; what is wrong becomes an error and a default.
fn resolve(reader: &mut Reader<'_>) -> Config {
    let state_dir = state_dir(reader);
    let roles = roles(reader);
    let max_sessions_per_user = max_sessions_per_user(reader);
    let allocation = allocation::resolve(reader);
    let lifetimes = allocation::lifetimes(reader);
    let weak = realm::weak_credentials(reader);
    let (default_realm, realms) = realms(reader, max_sessions_per_user, &allocation, weak);
    let (tls, tls_ecdsa) = certificates::resolve(reader);
    let listeners = listener::resolve(reader, &roles, tls.is_some());
    let relay_ports = relay_ports(reader, &listeners);
    let store = store::resolve(reader, &state_dir);
    warn_of_readable_secrets(reader, &realms);
    Config {
        node_id: reader.parsed("node_id", "1 to 63 characters out of a-z A-Z 0-9 . _ -"),
        cluster: cluster(reader),
        beside: beside::resolve(reader, &roles),
        roles,
        labels: labels(reader),
        workers: workers(reader),
        nat_discovery: nat_discovery::resolve(reader, &listeners),
        listeners,
        tls,
        tls_ecdsa,
        tls_ciphers: certificates::ciphers(reader),
        connections: connections::resolve(reader),
        relay_addresses: relay_addresses(reader),
        external_ips: external_ips(reader),
        relay_ports,
        cluster_key_file: cluster_key_file(reader, &store, &state_dir),
        store,
        statsdb: store::statsdb(reader),
        admin: admin(reader, &state_dir),
        metrics: metrics(reader),
        default_realm,
        credentials: credentials::resolve(reader, &realms),
        realms,
        max_sessions_per_user,
        origin_realms: reader.boolean("origin_realms").unwrap_or(false),
        open_relay: open_relay(reader),
        peers: peers(reader),
        software: software(reader),
        nonce_lifetime: lifetimes.nonce,
        permission_lifetime: lifetimes.permission,
        channel_lifetime: lifetimes.channel,
        channel_rebind_guard: lifetimes.rebind_guard,
        reservation_lifetime: lifetimes.reservation,
        adopts_at_start: matches!(reader.list("adopt"), Some(items) if items.iter().any(is_flag)),
        adopt: reader.parsed_list("adopt", "1 to 63 characters out of a-z A-Z 0-9 . _ -"),
        restore_wait: reader
            .duration("restore_wait", 0..=60)
            .unwrap_or(RESTORE_WAIT),
        upgrade_deadline: reader
            .duration("upgrade_deadline", 0..=30 * 86_400)
            .unwrap_or(UPGRADE_DEADLINE),
        // Which systemd 254 and later sets.
        descriptor_store: reader
            .boolean("descriptor_store")
            .unwrap_or_else(|| reader.variable("FDSTORE").is_some()),
        allocation,
        copy_dscp: reader.boolean("copy_dscp").unwrap_or(false),
        limits: limits::resolve(reader),
        tcp_relay: tcp_relay::resolve(reader),
        oauth: oauth::resolve(reader),
        redirects: redirects::resolve(reader),
        log: log(reader, &state_dir),
        process: process::resolve(reader),
        weak_credentials: weak,
        state_dir,
        warnings: Vec::new(),
        provenance: Provenance::default(),
    }
}

/// An open relay is used by strangers within hours: one slip of the pen does not make one.
fn open_relay(reader: &mut Reader<'_>) -> bool {
    let is_accepted = reader.boolean("accept_open_relay").unwrap_or(false);
    let Some(item) = reader.find("open_relay") else {
        return false;
    };
    let is_open = reader.boolean("open_relay").unwrap_or(false);
    if is_open && !is_accepted {
        let problem =
            "serves everybody without a credential, as an open relay for whoever finds it";
        let remedy = "add users or secrets and remove it; or say it a second time: accept_open_relay = true \
                      (--accept-open-relay)";
        reader.error(&item.origin, "open_relay", problem, remedy);
    }
    if is_open && is_accepted {
        reader.warnings.push(
            "open_relay: clients of the default realm need no credentials: everybody who reaches this node uses it"
                .to_owned(),
        );
    }
    is_open && is_accepted
}

fn peers(reader: &mut Reader<'_>) -> PeerConfig {
    PeerConfig {
        allowed: reader.parsed_list("peers.allowed", RANGE),
        denied: reader.parsed_list("peers.denied", RANGE),
    }
}

fn state_dir(reader: &mut Reader<'_>) -> PathBuf {
    if let Some((path, origin)) = reader.text("state_dir") {
        if path.is_empty() {
            reader.error(&origin, "state_dir", "is empty", "write a directory");
        }
        return path.into();
    }
    // systemd's StateDirectory=; the first one where there are several.
    if let Some(path) = reader.variable("STATE_DIRECTORY") {
        return path.split(':').next().unwrap_or(path).into();
    }
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if is_root {
        return "/var/lib/relayd".into();
    }
    if let Some(path) = reader.variable("XDG_STATE_HOME") {
        return Path::new(path).join("relayd");
    }
    match reader.variable("HOME") {
        Some(home) => Path::new(home).join(".local/state/relayd"),
        None => "/var/lib/relayd".into(),
    }
}

fn cluster(reader: &mut Reader<'_>) -> String {
    let Some((name, origin)) = reader.text("cluster") else {
        return "relayd".into();
    };
    if name.is_empty() || name.len() > MAX_LABEL_BYTES || name.chars().any(char::is_control) {
        let remedy = "write 1 to 63 bytes of plain text";
        reader.error(&origin, "cluster", "is no name", remedy);
    }
    name
}

fn roles(reader: &mut Reader<'_>) -> Vec<NodeRole> {
    let Some(items) = reader.list("roles") else {
        return match beside::is_enabled(reader) {
            true => vec![NodeRole::Gateway],
            false => vec![NodeRole::Relay, NodeRole::Gateway],
        };
    };
    let mut roles = Vec::new();
    for item in &items {
        let role = match &item.value {
            Value::Text(text) if text == "relay" => NodeRole::Relay,
            Value::Text(text) if text == "gateway" => NodeRole::Gateway,
            _ => {
                let remedy = "write roles = [\"relay\"], [\"gateway\"] or both";
                reader.error(
                    &item.origin,
                    "roles",
                    "has an entry that is no role",
                    remedy,
                );
                continue;
            }
        };
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    if items.is_empty() {
        let remedy = "write roles = [\"relay\", \"gateway\"]";
        reader.error(&Origin::Default, "roles", "is empty", remedy);
    }
    roles
}

fn labels(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    for (name, item) in reader.table("labels") {
        let key = format!("labels.{name}");
        if name.is_empty() || name.len() > MAX_LABEL_BYTES || !name.chars().all(legal) {
            let remedy = "use 1 to 63 characters out of a-z A-Z 0-9 . _ -";
            reader.error(&item.origin, &key, "is no label name", remedy);
            continue;
        }
        let Some(value) = reader.entry::<String>(&key, &item, "text in quotes") else {
            continue;
        };
        if value.len() > MAX_LABEL_BYTES || value.chars().any(char::is_control) {
            reader.error(
                &item.origin,
                &key,
                "is too long",
                "use at most 63 bytes of plain text",
            );
            continue;
        }
        if labels.len() == MAX_LABELS {
            let remedy = format!("keep {MAX_LABELS} of them");
            reader.error(&item.origin, &key, "is one label too many", remedy);
            break;
        }
        labels.insert(name, value);
    }
    labels
}

fn workers(reader: &mut Reader<'_>) -> u16 {
    let given = reader.integer("workers", 1..=i64::from(Config::MAX_WORKERS));
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let workers = given.map_or_else(cores, |number| usize::try_from(number).unwrap_or(1));
    u16::try_from(workers)
        .unwrap_or(Config::MAX_WORKERS)
        .min(Config::MAX_WORKERS)
}

fn relay_addresses(reader: &mut Reader<'_>) -> Vec<IpAddr> {
    let items = reader.list("relay_addresses").unwrap_or_default();
    let mut addresses: Vec<IpAddr> = Vec::new();
    for item in &items {
        let wanted = "an address without port, as in \"192.0.2.1\"";
        let Some(address) = reader.entry::<IpAddr>("relay_addresses", item, wanted) else {
            continue;
        };
        if address.is_unspecified() || address.is_multicast() {
            let problem = format!("{address} is no address of one interface");
            let remedy = "write an address of this machine, or remove the key";
            reader.error(&item.origin, "relay_addresses", problem, remedy);
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

impl FromStr for ExternalIp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (public, local) = match text.split_once('/') {
            Some((public, local)) => (public, Some(local)),
            None => (text, None),
        };
        let public: IpAddr = public.parse().map_err(|_| ())?;
        let local: Option<IpAddr> = local.map(str::parse).transpose().map_err(|_| ())?;
        let same_family = local.is_none_or(|local| local.is_ipv4() == public.is_ipv4());
        (same_family && !public.is_unspecified())
            .then_some(Self { public, local })
            .ok_or(())
    }
}

fn external_ips(reader: &mut Reader<'_>) -> Vec<ExternalIp> {
    let items = reader.list("external_ips").unwrap_or_default();
    let wanted = "PUBLIC or PUBLIC/LOCAL of one family, as in \"203.0.113.5/10.0.0.5\"";
    let mut ips: Vec<ExternalIp> = Vec::new();
    for item in &items {
        let Some(ip) = reader.entry::<ExternalIp>("external_ips", item, wanted) else {
            continue;
        };
        let clashes = |other: &ExternalIp| {
            other.local == ip.local && other.public.is_ipv4() == ip.public.is_ipv4()
        };
        if ips.iter().any(clashes) {
            let problem = match ip.local {
                Some(local) => format!("gives {local} two public addresses"),
                None => "has two addresses of one family without a local one".to_owned(),
            };
            let remedy = "write one PUBLIC/LOCAL for each local address";
            reader.error(&item.origin, "external_ips", problem, remedy);
        }
        ips.push(ip);
    }
    ips
}

fn relay_ports(reader: &mut Reader<'_>, listeners: &[ListenerConfig]) -> RangeInclusive<u16> {
    let Some((text, origin)) = reader.text("relay_ports") else {
        return RELAY_PORTS;
    };
    let parsed = text.split_once('-').and_then(|(first, last)| {
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
    });
    let valid = parsed.filter(|ports| *ports.start() >= 1024 && ports.end() > ports.start());
    let Some(ports) = valid else {
        let problem = format!("{:?} is no range of ports", shared::display_safe(&text));
        let remedy = "write first-last with at least two ports from 1024 to 65535";
        reader.error(&origin, "relay_ports", problem, remedy);
        return RELAY_PORTS;
    };
    if let Some(inside) = listeners
        .iter()
        .find(|each| ports.contains(&each.address.port()))
    {
        let port = inside.address.port();
        reader.warnings.push(format!(
            "{origin}: relay_ports contains the listener's port {port}"
        ));
    }
    ports
}

fn cluster_key_file(
    reader: &mut Reader<'_>,
    store: &StoreConfig,
    state_dir: &Path,
) -> Option<PathBuf> {
    const HOW: &str = "make one with `(umask 077; relayd cluster-key > FILE)`, copy it to every \
                       node, and name it in cluster_key_file";
    match reader.text("cluster_key_file") {
        Some((path, origin)) => {
            if let Err(error) = cluster_key::load(Path::new(&path)) {
                reader.error(&origin, "cluster_key_file", error.to_string(), HOW);
            }
            Some(path.into())
        }
        None => {
            if matches!(store, StoreConfig::Redis(_)) {
                if reader.is_coturns {
                    return own_cluster_key(reader, state_dir, HOW);
                }
                let problem = "is missing, and nodes around a Redis must share a key";
                reader.error(&Origin::Default, "cluster_key_file", problem, HOW);
            }
            None
        }
    }
}

/// coturn knows no such key, and its file alone starts a node, which then makes its own; nothing is made here.
fn own_cluster_key(reader: &mut Reader<'_>, state_dir: &Path, how: &str) -> Option<PathBuf> {
    let path = cluster_key::own_path(state_dir);
    let is_there = path.exists();
    if is_there && let Err(error) = cluster_key::load(&path) {
        let origin = Origin::Default;
        reader.error(&origin, "cluster_key_file", error.to_string(), how);
    }
    let own = match is_there {
        true => "has a key of its own",
        false => "makes a key of its own at its first start",
    };
    reader.warnings.push(format!(
        "cluster_key_file: this node {own} in {}: other nodes around the same Redis need the same one, {how}",
        path.display()
    ));
    Some(path)
}

fn admin(reader: &mut Reader<'_>, state_dir: &Path) -> AdminConfig {
    let given = reader.text("admin.socket");
    let origin = given
        .as_ref()
        .map_or(Origin::Default, |(_, origin)| origin.clone());
    let socket = given.map_or_else(|| state_dir.join("relayd.sock"), |(path, _)| path.into());
    if socket.as_os_str().len() > MAX_SOCKET_PATH {
        let problem =
            format!("is longer than the {MAX_SOCKET_PATH} bytes a socket's path may have");
        reader.error(&origin, "admin.socket", problem, "write a shorter path");
    }
    let names = ("admin.tls_certificate", "admin.tls_key");
    let tls = certificates::pair(reader, names.0, names.1).map(|(files, _)| files);
    let listen = admin_listen(reader, tls.is_some());
    AdminConfig {
        socket,
        password: local_password::resolve(reader, listen.map(|address| address.ip().is_loopback())),
        listen,
        tls,
        lock: token_lock(reader),
    }
}

fn token_lock(reader: &mut Reader<'_>) -> TokenLock {
    let default = TokenLock::default();
    let failures = reader.integer("admin.max_failed_tokens", 1..=1000);
    let lock = reader.duration("admin.failed_token_lock", 1..=86_400);
    TokenLock {
        failures: failures
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default.failures),
        lock: lock.unwrap_or(default.lock),
    }
}

fn admin_listen(reader: &mut Reader<'_>, has_tls: bool) -> Option<SocketAddr> {
    let (text, origin) = reader.text("admin.listen")?;
    let Ok(address) = text.parse::<SocketAddr>() else {
        let problem = format!("{:?} is no address", shared::display_safe(&text));
        let remedy = "write address:port, as in \"127.0.0.1:5766\"";
        reader.error(&origin, "admin.listen", problem, remedy);
        return None;
    };
    if !has_tls && !address.ip().is_loopback() {
        let problem = format!("{address} would send tokens in plaintext over the network");
        let remedy = "give tls_certificate and tls_key, or listen on 127.0.0.1";
        reader.error(&origin, "admin.listen", problem, remedy);
    }
    Some(address)
}

fn metrics(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let Some((text, origin)) = reader.text("metrics.listen") else {
        return Some(METRICS);
    };
    if text == "off" {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        let problem = format!("{:?} is no address", shared::display_safe(&text));
        let remedy = "write address:port, as in \"127.0.0.1:9641\", or \"off\"";
        reader.error(&origin, "metrics.listen", problem, remedy);
    }
    address
}

fn max_sessions_per_user(reader: &mut Reader<'_>) -> Option<u32> {
    reader
        .integer("max_sessions_per_user", 1..=i64::from(u32::MAX))
        .and_then(|limit| u32::try_from(limit).ok())
        .or(RealmDocument::default().max_sessions_per_user)
}

fn realms(
    reader: &mut Reader<'_>,
    per_user: Option<u32>,
    allocation: &AllocationConfig,
    weak: WeakCredentials,
) -> (Realm, Vec<ConfigRealm>) {
    let secs = |lifetime: Duration| u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    let document = RealmDocument {
        max_sessions_per_user: per_user,
        default_lifetime_secs: secs(allocation.default_lifetime),
        max_lifetime_secs: secs(allocation.max_lifetime),
        ..RealmDocument::default()
    };
    let mut realms = realm::resolve(reader, &document, weak);
    let wanted = "1 to 127 bytes of text without '/', '\"' or control characters";
    let default_realm = reader
        .parsed::<Realm>("default_realm", wanted)
        .or_else(|| realms.first().map(|realm| realm.name.clone()))
        .unwrap_or_else(|| "relayd".parse().expect("the default realm is a realm"));
    if !realms.iter().any(|realm| realm.name == default_realm) {
        let name = default_realm.clone();
        realms.push(ConfigRealm {
            name,
            document,
            users: Vec::new(),
            userhashes: std::collections::HashMap::new(),
            secrets: Vec::new(),
        });
    }
    (default_realm, realms)
}

fn software(reader: &mut Reader<'_>) -> Option<String> {
    let (text, origin) = reader.text("software")?;
    if text.len() > 128 || text.chars().any(char::is_control) {
        let remedy = "write at most 128 bytes of plain text";
        reader.error(&origin, "software", "does not fit into SOFTWARE", remedy);
    }
    Some(text).filter(|text| !text.is_empty())
}

fn log(reader: &mut Reader<'_>, state_dir: &Path) -> LogConfig {
    let (level, origin) = reader
        .text("log.level")
        .unwrap_or(("info".into(), Origin::Default));
    if let Err(problem) = crate::telemetry::log::check_level(&level) {
        let remedy =
            "write error, warn, info, debug, trace, or a filter as in \"info,relay=debug\"";
        reader.error(&origin, "log.level", problem, remedy);
    }
    let format = match reader.text("log.format") {
        None => LogFormat::Text,
        Some((format, _)) if format == "text" => LogFormat::Text,
        Some((format, _)) if format == "json" => LogFormat::Json,
        Some((_, origin)) => {
            let remedy = "write \"text\" or \"json\"";
            reader.error(&origin, "log.format", "is no format", remedy);
            LogFormat::Text
        }
    };
    LogConfig {
        output: process::log_output(reader, state_dir),
        syslog_facility: process::syslog_facility(reader),
        level,
        format,
    }
}

/// A file with passwords in it is nobody else's business.
fn warn_of_readable_secrets(reader: &mut Reader<'_>, realms: &[ConfigRealm]) {
    let holds_secrets = |realm: &ConfigRealm| !realm.users.is_empty() || !realm.secrets.is_empty();
    let has_passwords = [
        "admin.password",
        "store.password",
        "statsdb.password",
        "beside.password",
    ]
    .iter()
    .any(
        |key| matches!(reader.find(key), Some(item) if matches!(item.origin, Origin::File { .. })),
    );
    if !has_passwords && !realms.iter().any(holds_secrets) {
        return;
    }
    let Some(path) = reader.file_path() else {
        return;
    };
    if std::fs::metadata(&path).is_ok_and(|file| file.mode() & 0o004 != 0) {
        let path = shared::display_safe(&path.to_string_lossy()).into_owned();
        reader.warnings.push(format!(
            "{path}: holds credentials and everybody can read it: chmod 640"
        ));
    }
}
