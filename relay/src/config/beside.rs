//! `[beside]`: the coturn that this node speaks for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shared::Secret;
use shared::api::{Applies, NodeRole};

use super::cluster_key;
use super::error::Origin;
use super::key::{Flag, Key, Kind, fixed, live};
use super::source::Reader;
use super::store::private;

/// The settings of `[beside]`.
pub(super) const KEYS: &[Key] = &[
    fixed(
        "beside.enabled",
        Kind::Boolean,
        "Speak for the coturn of this host (--beside-coturn); default false",
    ),
    fixed(
        "beside.cli",
        Kind::Text,
        "coturn's command line (cli-ip, cli-port); default 127.0.0.1:5766",
    ),
    Key {
        name: "beside.password",
        kind: Kind::Text,
        flag: Flag::No,
        applies: Applies::File,
        help: "coturn's cli-password, not its hash",
    },
    fixed(
        "beside.password_file",
        Kind::Text,
        "File with coturn's cli-password, read at each connection",
    ),
    Key {
        name: "beside.statsdb",
        kind: Kind::Text,
        flag: Flag::No,
        applies: Applies::File,
        help: "URL of the Redis that coturn tells of its sessions (redis-statsdb)",
    },
    live(
        "beside.total_quota",
        Kind::Integer,
        "coturn's total-quota: sessions of a realm, 0: any number; unset: as coturn has it",
    ),
    live(
        "beside.user_quota",
        Kind::Integer,
        "coturn's user-quota: sessions of a user, 0: any number; unset: as coturn has it",
    ),
    live(
        "beside.max_rate_bps",
        Kind::Integer,
        "coturn's max-bps in bits per second, of new sessions, 0: none; unset: as coturn has it",
    ),
    live(
        "beside.capacity_bps",
        Kind::Integer,
        "coturn's bps-capacity in bits per second, 0: none; unset: as coturn has it",
    ),
    live(
        "beside.stun_only",
        Kind::Boolean,
        "coturn's stun-only: answer STUN only, no TURN; unset: as coturn has it",
    ),
    live(
        "beside.no_stun",
        Kind::Boolean,
        "coturn's no-stun: answer no bare Binding request; unset: as coturn has it",
    ),
    live(
        "beside.secure_stun",
        Kind::Boolean,
        "coturn's secure-stun: Binding with credentials only; unset: as coturn has it",
    ),
    live(
        "beside.no_udp_relay",
        Kind::Boolean,
        "coturn's no-udp-relay: no relaying over UDP; unset: as coturn has it",
    ),
    live(
        "beside.no_tcp_relay",
        Kind::Boolean,
        "coturn's no-tcp-relay: no relaying over TCP; unset: as coturn has it",
    ),
    live(
        "beside.no_multicast_peers",
        Kind::Boolean,
        "coturn's no-multicast-peers: no peers at multicast addresses; unset: as coturn has it",
    ),
    live(
        "beside.allow_loopback_peers",
        Kind::Boolean,
        "coturn's allow-loopback-peers: peers at loopback addresses, a danger; unset: as coturn has it",
    ),
    live(
        "beside.mobility",
        Kind::Boolean,
        "coturn's mobility: clients may change their address (RFC 8016); unset: as coturn has it",
    ),
];

/// Where coturn's command line listens unless it is told otherwise.
const CLI: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5766);
/// The greatest limit: coturn reads numbers of 32 bits for sessions.
const MAX_SESSIONS: i64 = i32::MAX as i64;
/// The greatest rate, in bits per second.
const MAX_BPS: i64 = 1 << 52;
/// Switches by our names and coturn's.
const SWITCHES: [(&str, &str); 8] = [
    ("beside.stun_only", "stun-only"),
    ("beside.no_stun", "no-stun"),
    ("beside.secure_stun", "secure-stun"),
    ("beside.no_udp_relay", "no-udp-relay"),
    ("beside.no_tcp_relay", "no-tcp-relay"),
    ("beside.no_multicast_peers", "no-multicast-peers"),
    ("beside.allow_loopback_peers", "allow-loopback-peers"),
    ("beside.mobility", "mobility"),
];
/// Limits by our names and coturn's, and what ours are divided by.
const LIMITS: [(&str, &str, u64); 4] = [
    ("beside.total_quota", "total-quota", 1),
    ("beside.user_quota", "user-quota", 1),
    ("beside.max_rate_bps", "max-bps", 8),
    ("beside.capacity_bps", "bps-capacity", 8),
];

/// How coturn is spoken with, and what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BesideConfig {
    /// Whether the node speaks for one at all.
    pub enabled: bool,
    /// Its command line.
    pub cli: SocketAddr,
    /// Its password, where that is in the configuration.
    pub password: Option<Secret<String>>,
    /// The file with its password.
    pub password_file: Option<PathBuf>,
    /// The Redis that it tells of its sessions.
    pub statsdb: Option<Secret<String>>,
    /// What it is to be.
    pub wishes: BesideWishes,
}

/// Switches and limits of coturn, by its names; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BesideWishes {
    /// `tc`.
    pub switches: BTreeMap<&'static str, bool>,
    /// `cc`, in its units: sessions and bytes per second; 0: none.
    pub limits: BTreeMap<&'static str, u64>,
}

impl BesideConfig {
    /// The password as it is now: a file is read again, since coturn's may be changed any time.
    #[must_use]
    pub fn current_password(&self) -> Option<Secret<String>> {
        let Some(file) = &self.password_file else {
            return self.password.clone();
        };
        match cluster_key::read_private(file) {
            Ok(text) => Some(Secret::new(
                text.expose().trim_end_matches(['\r', '\n']).to_owned(),
            )),
            // What it was at the start; that the file is gone is told when coturn refuses.
            Err(_) => self.password.clone(),
        }
    }
}

/// Whether the node speaks for a coturn: what else it does depends on that.
pub(super) fn is_enabled(reader: &mut Reader<'_>) -> bool {
    reader.boolean("beside.enabled").unwrap_or(false)
}

/// Reads it.
pub(super) fn resolve(reader: &mut Reader<'_>, roles: &[NodeRole]) -> BesideConfig {
    let enabled = is_enabled(reader);
    let cli = reader
        .parsed("beside.cli", "address:port, as in 127.0.0.1:5766")
        .unwrap_or(CLI);
    let plain = reader.text("beside.password");
    let file = reader.text("beside.password_file");
    if let (Some(_), Some((_, origin))) = (&plain, &file) {
        let problem = "and beside.password are both set";
        reader.error(origin, "beside.password_file", problem, "keep one of them");
    }
    let password = match (plain, &file) {
        (Some((text, _)), _) => Some(Secret::new(text)),
        (None, Some((path, origin))) => private(reader, "beside.password_file", path, origin),
        (None, None) => None,
    };
    let statsdb = statsdb(reader);
    let wishes = wishes(reader);
    if enabled && roles.contains(&NodeRole::Relay) {
        let problem = "has relay, and a node beside coturn opens no TURN listener of its own";
        let remedy = "write roles = [\"gateway\"], or remove it; run another relayd to relay";
        reader.error(&Origin::Default, "roles", problem, remedy);
    }
    if enabled && let Some((_, origin)) = reader.text("statsdb.url") {
        let problem = "has no meaning beside coturn, which tells its statistics itself";
        let remedy = "remove it; beside.statsdb names the Redis that coturn tells";
        reader.error(&origin, "statsdb.url", problem, remedy);
    }
    if enabled && !cli.ip().is_loopback() {
        reader.warnings.push(format!(
            "beside.cli: {cli} is on another host: coturn's command line sends the password in plain text"
        ));
    }
    BesideConfig {
        enabled,
        cli,
        password,
        password_file: file.map(|(path, _)| Path::new(&path).to_owned()),
        statsdb,
        wishes,
    }
}

fn statsdb(reader: &mut Reader<'_>) -> Option<Secret<String>> {
    let (url, origin) = reader.text("beside.statsdb")?;
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        // It may hold a password: never repeated.
        let remedy = "write redis://[user:password@]host[:port], not coturn's own form";
        reader.error(&origin, "beside.statsdb", "is no URL of a Redis", remedy);
        return None;
    }
    Some(Secret::new(url))
}

fn wishes(reader: &mut Reader<'_>) -> BesideWishes {
    let mut wishes = BesideWishes::default();
    for (key, name) in SWITCHES {
        wishes
            .switches
            .extend(reader.boolean(key).map(|value| (name, value)));
    }
    for (key, name, unit) in LIMITS {
        let most = if unit == 1 { MAX_SESSIONS } else { MAX_BPS };
        let value = reader.integer(key, 0..=most);
        let value = value.and_then(|value| u64::try_from(value).ok());
        // Less than a byte per second is not no limit.
        let value = value.map(|value| value.div_ceil(unit));
        wishes.limits.extend(value.map(|value| (name, value)));
    }
    wishes
}

/// The value of a setting of `[beside]`; never a secret.
pub(super) fn value_of(beside: &BesideConfig, key: &str) -> Value {
    let full = format!("beside.{key}");
    if let Some((_, name)) = SWITCHES.iter().find(|(known, _)| *known == full) {
        return json!(beside.wishes.switches.get(name));
    }
    if let Some((_, name, unit)) = LIMITS.iter().find(|(known, ..)| *known == full) {
        return json!(beside.wishes.limits.get(name).map(|value| value * unit));
    }
    match key {
        "enabled" => json!(beside.enabled),
        "cli" => json!(beside.cli.to_string()),
        "password_file" => json!(beside.password_file),
        _ => Value::Null,
    }
}
