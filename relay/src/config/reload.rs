//! What a reload changes at once, and what waits for a restart.

use super::Config;

/// The keys whose values differ from those in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadDiff {
    /// In force as soon as the new configuration is applied.
    pub live: Vec<&'static str>,
    /// Ignored until the next start.
    pub restart: Vec<&'static str>,
}

/// Compares what was just loaded with what is in force: the configuration loaded before for keys that
/// a reload applies, the one that the node was `started` with for all others.
#[must_use]
pub fn reload_diff(started: &Config, current: &Config, new: &Config) -> ReloadDiff {
    let live = [
        ("realm", current.realms != new.realms),
        ("default_realm", current.default_realm != new.default_realm),
        ("labels", current.labels != new.labels),
        ("peers", current.peers != new.peers),
        ("log.level", current.log.level != new.log.level),
    ];
    let restart = [
        ("node_id", started.node_id != new.node_id),
        ("cluster", started.cluster != new.cluster),
        ("roles", started.roles != new.roles),
        ("state_dir", started.state_dir != new.state_dir),
        ("workers", started.workers != new.workers),
        (
            "cluster_key_file",
            started.cluster_key_file != new.cluster_key_file,
        ),
        ("listen", started.listeners != new.listeners),
        (
            "relay_addresses",
            started.relay_addresses != new.relay_addresses,
        ),
        ("external_ips", started.external_ips != new.external_ips),
        ("relay_ports", started.relay_ports != new.relay_ports),
        ("software", started.software != new.software),
        (
            "nonce_lifetime",
            started.nonce_lifetime != new.nonce_lifetime,
        ),
        (
            "permission_lifetime",
            started.permission_lifetime != new.permission_lifetime,
        ),
        (
            "channel_lifetime",
            started.channel_lifetime != new.channel_lifetime,
        ),
        ("store", started.store != new.store),
        ("admin", started.admin != new.admin),
        ("metrics.listen", started.metrics != new.metrics),
        ("log.format", started.log.format != new.log.format),
    ];
    let changed = |table: &[(&'static str, bool)]| {
        table
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(key, _)| *key)
            .collect()
    };
    ReloadDiff {
        live: changed(&live),
        restart: changed(&restart),
    }
}
