//! From sources to a policy.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use shared::Realm;
use shared::api::{RealmDocument, WithoutStore};
use turn_proto::policy::{
    Drain, NatDiscovery, NodeSettings, OauthKey, OauthPolicy, PeerRules, Policy, RealmPolicy,
    Redirect, RelayEndpoint, RestSecret,
};

use super::{RealmEntry, Sources};
use crate::config::{Config, NatDiscoveryConfig, OauthConfig, PeerConfig};
use crate::control::bans::BannedNets;
use crate::control::keys::ClusterKey;
use crate::control::parts::ControlParts;
use crate::listener::nat_discovery::others;
use crate::store::StoredOauthKey;

/// What this node is, which no reload changes.
#[derive(Debug)]
pub(super) struct Own {
    listener_realms: HashMap<SocketAddr, Realm>,
    services: Vec<SocketAddr>,
    relays: Vec<RelayEndpoint>,
    external_to_local: Vec<(IpAddr, IpAddr)>,
    relay_v4: bool,
    relay_v6: bool,
    /// Listeners with an alternate, where NAT behaviour discovery was on at the start.
    nat_alternates: HashMap<SocketAddr, SocketAddr>,
    /// Local address to the public one.
    local_to_public: Vec<(IpAddr, IpAddr)>,
}

impl Own {
    /// What `node.rs` gave.
    #[must_use]
    pub(super) fn new(parts: &ControlParts) -> Self {
        let mut services = parts.services.clone();
        services.extend(&parts.listeners);
        let mut relays: Vec<RelayEndpoint> = Vec::new();
        let addresses = parts
            .relays
            .iter()
            .flat_map(|relay| [relay.local, relay.external]);
        for address in addresses {
            let endpoint = RelayEndpoint {
                address,
                ports: parts.config.relay_ports.clone(),
            };
            if !relays.contains(&endpoint) {
                relays.push(endpoint);
            }
        }
        let mapped = parts
            .relays
            .iter()
            .filter(|relay| relay.local != relay.external);
        let local_to_public = mapped.clone().map(|relay| (relay.local, relay.external));
        Self {
            nat_alternates: others(&parts.listeners, &parts.config.nat_discovery),
            local_to_public: local_to_public.collect(),
            listener_realms: parts.listener_realms.clone(),
            services,
            relays,
            external_to_local: mapped.map(|relay| (relay.external, relay.local)).collect(),
            relay_v4: parts.relays.iter().any(|relay| relay.local.is_ipv4()),
            relay_v6: parts.relays.iter().any(|relay| relay.local.is_ipv6()),
        }
    }
}

/// Everything variable that a policy is built from: two equal ones make the same policy.
#[derive(Debug, PartialEq)]
pub(super) struct Inputs {
    default_realm: Realm,
    realms: Vec<RealmEntry>,
    accepts_secrets: bool,
    blocks: BTreeMap<(Realm, String), u64>,
    bans: BannedNets,
    peers: PeerConfig,
    settings: NodeSettings,
    services: Vec<SocketAddr>,
    relays: Vec<RelayEndpoint>,
    redirects: Vec<Redirect>,
    oauth: Option<OauthPolicy>,
    nat_discovery: Option<Arc<NatDiscovery>>,
    origin_realms: bool,
    accepting: bool,
    store_away: bool,
    drain: Option<Drain>,
}

impl Inputs {
    /// What takes running sessions along, by realm.
    #[must_use]
    pub(super) fn revoke_rules(&self) -> RevokeRules {
        let rules = self.realms.iter().map(|realm| {
            let rules = RealmRules::of(&realm.document);
            (realm.name.clone(), rules)
        });
        rules
            .filter(|(_, rules)| *rules != RealmRules::default())
            .collect()
    }

    /// Gathers them; blocks that have ended are left out.
    #[must_use]
    pub(super) fn gather(config: &Config, own: &Own, sources: &Sources, now_ms: u64) -> Self {
        let blocks = sources.blocks(now_ms).into_iter();
        let mut services = own.services.clone();
        services.extend(&sources.other_listeners);
        services.extend(&sources.store_servers);
        let mut relays = own.relays.clone();
        relays.extend(sources.relays.iter().cloned());
        Self {
            default_realm: config.default_realm.clone(),
            realms: sources.realms(config),
            accepts_secrets: config.credentials.has_secrets(),
            // Rounded up: never shorter than promised.
            blocks: blocks
                .map(|block| ((block.realm, block.user), block.until_ms.div_ceil(1000)))
                .collect(),
            bans: sources.bans.clone(),
            peers: config.peers.clone(),
            settings: config.limits.apply(NodeSettings {
                software: config.software.clone(),
                fingerprint: config.allocation.fingerprint,
                nonce_lifetime: config.nonce_lifetime,
                permission_lifetime: config.permission_lifetime,
                channel_lifetime: config.channel_lifetime,
                channel_rebind_guard: config.channel_rebind_guard,
                min_lifetime: config.allocation.min_lifetime,
                mobility: config.allocation.mobility,
                rfc5766_channel_numbers: config.allocation.rfc5766_channel_numbers,
                stun: config.allocation.stun,
                turn: config.allocation.turn,
                udp_relay: config.allocation.udp_relay,
                tcp_relay: config.tcp_relay,
                ..NodeSettings::default()
            }),
            services,
            relays,
            redirects: sources.redirects.clone(),
            oauth: oauth(&config.oauth, &sources.oauth_keys),
            nat_discovery: nat_discovery(&config.nat_discovery, own),
            origin_realms: config.origin_realms,
            accepting: !sources.refusing,
            store_away: sources.store_away,
            drain: sources.drain,
        }
    }
}

fn oauth(usage: &OauthConfig, keys: &[StoredOauthKey]) -> Option<OauthPolicy> {
    let key = |stored: &StoredOauthKey| {
        let mut key = [0; 32];
        let len = stored.algorithm.key_len();
        // The store gives no key that is shorter.
        key[..len].copy_from_slice(stored.ikm.expose().get(..len)?);
        let key = OauthKey {
            algorithm: stored.algorithm,
            key: key.into(),
            since: stored.since,
            until: stored.until(),
            realm: stored.realm.clone(),
        };
        Some((Box::from(stored.kid.as_str()), key))
    };
    usage.enabled.then(|| OauthPolicy {
        server_name: usage.server_name.as_deref().map(Box::from),
        keys: keys.iter().filter_map(key).collect(),
    })
}

fn nat_discovery(usage: &NatDiscoveryConfig, own: &Own) -> Option<Arc<NatDiscovery>> {
    usage.enabled.then(|| {
        Arc::new(NatDiscovery {
            others: own.nat_alternates.clone(),
            public: own.local_to_public.clone(),
            padding: usage.padding,
            response_port: usage.response_port,
        })
    })
}

/// What takes running sessions of a realm along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct RealmRules {
    /// That their user is deleted or switched off.
    pub user_removal: bool,
    /// That their user gets another password.
    pub password_change: bool,
    /// That their shared secret is removed or retired.
    pub secret_removal: bool,
}

impl RealmRules {
    /// Those of a document.
    #[must_use]
    pub(in crate::control) fn of(document: &RealmDocument) -> Self {
        Self {
            user_removal: document.revoke_on_user_removal,
            password_change: document.revoke_on_password_change,
            secret_removal: document.revoke_on_secret_removal,
        }
    }

    /// Those of `self` that `before` has not.
    #[must_use]
    pub(in crate::control) fn without(self, before: Self) -> Self {
        Self {
            user_removal: self.user_removal && !before.user_removal,
            password_change: self.password_change && !before.password_change,
            secret_removal: self.secret_removal && !before.secret_removal,
        }
    }
}

/// The rules of the realms that have any.
pub(in crate::control) type RevokeRules = BTreeMap<Realm, RealmRules>;

/// Builds a policy.
#[must_use]
pub(super) fn policy(
    inputs: &Inputs,
    own: &Own,
    config: &Config,
    key: &ClusterKey,
    revision: u64,
) -> Policy {
    let policy_of = |realm: &RealmEntry| {
        let policy = RealmPolicy {
            anonymous: config.open_relay && realm.name == inputs.default_realm,
            accepts_secrets: inputs.accepts_secrets,
            ..realm_policy(realm, key)
        };
        Arc::new(policy)
    };
    let mut realms: BTreeMap<Realm, Arc<RealmPolicy>> = inputs
        .realms
        .iter()
        .map(|realm| (realm.name.clone(), policy_of(realm)))
        .collect();
    // Listeners and the default realm always have one, whatever else is known about it.
    for name in own.listener_realms.values().chain([&inputs.default_realm]) {
        if !realms.contains_key(name) {
            let bare = RealmEntry {
                name: name.clone(),
                revision: 0,
                changed_at_ms: 0,
                changed_by: String::new(),
                document: RealmDocument::default(),
                secrets: Vec::new(),
            };
            realms.insert(name.clone(), policy_of(&bare));
        }
    }
    let blocks = inputs
        .blocks
        .iter()
        .map(|((realm, user), until)| ((realm.clone(), Box::from(user.as_str())), *until));
    Policy {
        revision,
        default_realm: inputs.default_realm.clone(),
        listener_realms: own.listener_realms.clone(),
        server_names: by_name(inputs, |document| document.server_names.clone()),
        origins: if inputs.origin_realms {
            by_name(inputs, |document| document.whole_origins().collect())
        } else {
            HashMap::new()
        },
        realms,
        peers: PeerRules {
            allowed: inputs.peers.allowed.clone(),
            denied: inputs.peers.denied.clone(),
            banned: inputs.bans.peers.iter().copied().collect(),
            services: inputs.services.clone(),
            relays: inputs.relays.clone(),
            external_to_local: own.external_to_local.clone(),
        },
        blocks: blocks.collect(),
        banned_clients: inputs.bans.clients.iter().copied().collect(),
        settings: inputs.settings.clone(),
        nonce_key: key.nonce_key(),
        relay_v4: own.relay_v4,
        relay_v6: own.relay_v6,
        redirects: inputs.redirects.clone(),
        oauth: inputs.oauth.clone(),
        nat_discovery: inputs.nat_discovery.clone(),
        accepting: inputs.accepting && config.is_relay(),
        store_away: inputs.store_away,
        drain: inputs.drain,
    }
}

/// Realms by names that documents give them. Where two realms have one name (a file's and the
/// store's), the first by name has it.
fn by_name(
    inputs: &Inputs,
    names: impl Fn(&RealmDocument) -> Vec<String>,
) -> HashMap<Box<str>, Realm> {
    let mut found = HashMap::new();
    for realm in &inputs.realms {
        for name in names(&realm.document) {
            found
                .entry(name.into_boxed_str())
                .or_insert_with(|| realm.name.clone());
        }
    }
    found
}

pub(super) fn realm_policy(realm: &RealmEntry, key: &ClusterKey) -> RealmPolicy {
    let document = &realm.document;
    let accepted = realm.secrets.iter();
    let accepted = accepted.filter(|secret| secret.state.is_accepted());
    let secrets = accepted.map(|secret| {
        let value = secret.value.expose();
        RestSecret {
            id: key.secret_id(&realm.name, value).into(),
            value: value.as_bytes().to_vec().into(),
        }
    });
    RealmPolicy {
        name: realm.name.clone(),
        revision: realm.revision,
        secrets: secrets.collect(),
        accepts_secrets: true,
        rest_separator: document.rest_separator,
        password_algorithms: document.password_algorithms.clone(),
        username_anonymity: document.username_anonymity,
        anonymous: false,
        tcp_relay: document.tcp_relay,
        ends_with_credential: document.revoke_on_credential_expiry,
        needs_store: document.new_sessions_without_store == WithoutStore::Refuse,
        max_sessions: document.max_sessions,
        max_sessions_per_user: document.max_sessions_per_user,
        max_rate_bps: document.max_rate_bps,
        max_user_rate_bps: document.max_user_rate_bps,
        max_realm_rate_bps: document.max_realm_rate_bps,
        max_new_peers_per_sec: document.max_new_peers_per_sec,
        max_user_new_peers_per_sec: document.max_user_new_peers_per_sec,
        max_realm_new_peers_per_sec: document.max_realm_new_peers_per_sec,
        default_lifetime: Duration::from_secs(document.default_lifetime_secs.into()),
        max_lifetime: Duration::from_secs(document.max_lifetime_secs.into()),
        allowed_peers: document.allowed_peers.clone(),
        denied_peers: document.denied_peers.clone(),
    }
}
