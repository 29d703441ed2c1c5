//! What a reload changes at once, and what waits for a restart.

use super::Config;

/// The keys whose values differ between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadDiff {
    /// In force as soon as the new configuration is applied.
    pub live: Vec<&'static str>,
    /// Ignored until the next start.
    pub restart: Vec<&'static str>,
}

/// Compares what runs with what was just loaded.
#[must_use]
pub fn reload_diff(old: &Config, new: &Config) -> ReloadDiff {
    let live = [
        ("realm", old.realms != new.realms),
        ("default_realm", old.default_realm != new.default_realm),
        ("labels", old.labels != new.labels),
        ("peers", old.peers != new.peers),
        ("log.level", old.log.level != new.log.level),
    ];
    let restart = [
        ("node_id", old.node_id != new.node_id),
        ("cluster", old.cluster != new.cluster),
        ("roles", old.roles != new.roles),
        ("state_dir", old.state_dir != new.state_dir),
        ("workers", old.workers != new.workers),
        (
            "cluster_key_file",
            old.cluster_key_file != new.cluster_key_file,
        ),
        ("listen", old.listeners != new.listeners),
        (
            "relay_addresses",
            old.relay_addresses != new.relay_addresses,
        ),
        ("external_ips", old.external_ips != new.external_ips),
        ("relay_ports", old.relay_ports != new.relay_ports),
        ("software", old.software != new.software),
        ("nonce_lifetime", old.nonce_lifetime != new.nonce_lifetime),
        (
            "permission_lifetime",
            old.permission_lifetime != new.permission_lifetime,
        ),
        (
            "channel_lifetime",
            old.channel_lifetime != new.channel_lifetime,
        ),
        ("store", old.store != new.store),
        ("admin", old.admin != new.admin),
        ("metrics.listen", old.metrics != new.metrics),
        ("log.format", old.log.format != new.log.format),
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
