//! The configuration of a node: `relayd.toml`, flags and environment, resolved into one [`Config`].
//!
//! Flags win over the environment, the environment over the store's overrides, these over the file, the
//! file over defaults. All
//! errors are reported at once, each with where it is, which key, and what to write instead.

mod allocation;
pub mod args;
mod beside;
mod certificates;
pub mod cluster_key;
mod connections;
mod convert;
pub mod coturn;
mod credentials;
mod error;
mod file;
mod key;
mod keys;
mod layers;
mod limits;
mod listener;
mod local_password;
mod misspelt;
mod nat_discovery;
mod oauth;
mod process;
mod realm;
mod redirects;
mod resolve;
mod sentinel;
mod source;
mod store;
mod tcp_relay;
mod view;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use shared::api::{NodeRole, RealmDocument};
use shared::{IpRange, NodeId, Realm, Secret, Transport};
use turn_proto::policy::TcpRelaySettings;

use crate::certificate::CipherSuite;
use crate::store::UserKeys;

pub use args::{Args, Task};
pub use beside::{BesideConfig, BesideWishes};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use layers::{OverrideLayer, Overrides, Provenance, is_overridable, override_value};
pub use limits::{LimitConfig, LimitReach};
pub use local_password::LocalPassword;
pub use process::ProcessConfig;
pub use redirects::{RedirectConfig, RedirectProbes, ToNodes};
pub use sentinel::SentinelConfig;
pub use shared::api::CredentialKinds;
pub use view::{Difference, changed, compare, settings};

/// Everything a node needs to know before it starts. Valid as it is: whoever holds one needs no
/// further checks of ranges or combinations.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's id; `None`: generated once and kept in `state_dir/node-id`.
    pub node_id: Option<NodeId>,
    /// The cluster's name, shown to operators.
    pub cluster: String,
    /// What the node does; never empty.
    pub roles: Vec<NodeRole>,
    /// Free labels: region, provider, ring and so on.
    pub labels: BTreeMap<String, String>,
    /// Where the node keeps its files. Created with mode 0700 at the start if absent.
    pub state_dir: PathBuf,
    /// Worker threads, 1 to [`Config::MAX_WORKERS`]; default: one per core.
    pub workers: u16,
    /// TURN listeners; empty for a pure gateway.
    pub listeners: Vec<ListenerConfig>,
    /// Certificate and key for TLS and DTLS clients; `None`: neither is served.
    pub tls: Option<TlsFiles>,
    /// A second pair with an ECDSA key, besides one of another kind.
    pub tls_ecdsa: Option<TlsFiles>,
    /// The cipher suites of TLS 1.2 and DTLS 1.2; `None`: all, empty: 1.3 alone is spoken.
    pub tls_ciphers: Option<Vec<CipherSuite>>,
    /// What TCP and TLS clients may take up.
    pub connections: ConnectionLimits,
    /// Local addresses to relay from; empty: the address of the listener.
    pub relay_addresses: Vec<IpAddr>,
    /// Public addresses in front of relay addresses (NAT).
    pub external_ips: Vec<ExternalIp>,
    /// Ports to relay on, at least two of them.
    pub relay_ports: RangeInclusive<u16>,
    /// Where nodes meet.
    pub store: StoreConfig,
    /// The Redis that is told of sessions in coturn's words; `None`: nobody is.
    pub statsdb: Option<RedisConfig>,
    /// File with the cluster key; `None`: `state_dir/cluster-key`, generated at the first start.
    /// Always given with Redis. Read it with [`cluster_key::load_or_create`].
    pub cluster_key_file: Option<PathBuf>,
    /// The admin API.
    pub admin: AdminConfig,
    /// The coturn that this node speaks for.
    pub beside: BesideConfig,
    /// Where `/metrics`, `/healthz` and `/readyz` listen; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// The realm of listeners that name none.
    pub default_realm: Realm,
    /// Realms of the file, the default realm among them.
    pub realms: Vec<ConfigRealm>,
    /// Sessions per user in realms of the file that set none.
    pub max_sessions_per_user: Option<u32>,
    /// Whether the ORIGIN of a request chooses its realm where neither listener nor server name does.
    pub origin_realms: bool,
    /// Whether clients of the default realm are served without credentials; said twice.
    pub open_relay: bool,
    /// Which credentials clients may show.
    pub credentials: CredentialKinds,
    /// Peer rules of the node, judged besides those of the realm.
    pub peers: PeerConfig,
    /// The SOFTWARE attribute (RFC 8489 §14.14); `None`: not sent.
    pub software: Option<String>,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
    /// How long a permission lasts (RFC 8656 §9: 300 s).
    pub permission_lifetime: Duration,
    /// How long a channel binding lasts (RFC 8656 §12: 600 s).
    pub channel_lifetime: Duration,
    /// How long an expired binding keeps number and peer from other partners (RFC 8656 §12: 300 s).
    pub channel_rebind_guard: Duration,
    /// Datagrams keep their traffic class (DSCP and ECN) from client to peer and back.
    pub copy_dscp: bool,
    /// Third-party authorization (RFC 7635).
    pub oauth: OauthConfig,
    /// NAT behaviour discovery (RFC 5780).
    pub nat_discovery: NatDiscoveryConfig,
    /// How long a reserved port is kept (RFC 8656 §7.2: at least 30 s).
    pub reservation_lifetime: Duration,
    /// Nodes whose sessions go on here when they are dead and this host has their address.
    pub adopt: Vec<NodeId>,
    /// They are dead already: the command line says so.
    pub adopts_at_start: bool,
    /// How long a start waits for a store that does not tell the sessions of the start before.
    pub restore_wait: Duration,
    /// How long the process before an upgrade keeps what cannot move.
    pub upgrade_deadline: Duration,
    /// Whether sockets and sessions are left with the supervisor at a stop.
    pub descriptor_store: bool,
    /// Lifetimes of allocations, and what clients may use.
    pub allocation: AllocationConfig,
    /// What the node bounds, whatever the realms say.
    pub limits: LimitConfig,
    /// TCP relaying (RFC 6062).
    pub tcp_relay: TcpRelaySettings,
    /// When and how new clients are sent to other servers.
    pub redirects: RedirectConfig,
    /// Logging.
    pub log: LogConfig,
    /// How the process runs.
    pub process: ProcessConfig,
    /// Whether sample passwords and secrets keep the node from starting.
    pub weak_credentials: WeakCredentials,
    /// What is legal but unwise, in words for an operator; to be logged after every load.
    pub warnings: Vec<String>,
    /// Where the values come from.
    pub provenance: Provenance,
}

/// A TURN listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The address; may be a wildcard, and the port may be 0 (any free one).
    pub address: SocketAddr,
    /// The realm of clients that come to it; `None`: the default realm.
    pub realm: Option<Realm>,
    /// What is spoken there; never empty. TCP and TLS share a port and are told apart by their first
    /// bytes, so do UDP and DTLS.
    pub transports: Vec<Transport>,
    /// Proxies that put a PROXY protocol v2 header in front of each TCP connection; where there are
    /// any, connections from elsewhere and without a header are closed.
    pub proxy_from: Vec<IpRange>,
}

impl ListenerConfig {
    /// Whether plain UDP is spoken there.
    #[must_use]
    pub fn serves_udp(&self) -> bool {
        self.transports.contains(&Transport::Udp)
    }

    /// Whether TLS or DTLS is spoken there.
    #[must_use]
    pub fn serves_tls(&self) -> bool {
        let encrypted = [Transport::Tls, Transport::Dtls];
        self.transports.iter().any(|one| encrypted.contains(one))
    }
}

/// Lifetimes of allocations (RFC 8656 §7.2), and extensions that are off unless asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationConfig {
    /// The shortest lifetime granted, 1 s to 1 day; `None`: the realm's default, as §7.2 has it.
    pub min_lifetime: Option<Duration>,
    /// Lifetime granted when the client asks for none, 1 s to 1 day, in realms of the file that set
    /// none.
    pub default_lifetime: Duration,
    /// The longest lifetime granted, 1 s to 1 day, in realms of the file that set none.
    pub max_lifetime: Duration,
    /// Whether clients may take allocations along to another address (RFC 8016).
    pub mobility: bool,
    /// Whether channel numbers from 0x5000 to 0x7FFF are accepted, too.
    pub rfc5766_channel_numbers: bool,
    /// Whether every answer has FINGERPRINT, not only those to requests that have one.
    pub fingerprint: bool,
    /// Whether UDP is relayed; 442 otherwise.
    pub udp_relay: bool,
    /// Whether Binding requests are answered.
    pub stun: bool,
    /// Whether sessions are granted.
    pub turn: bool,
}

/// What TCP and TLS clients may take up before and while they have a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How long a proxy header and a TLS handshake may take together, 1 s to 1 h.
    pub handshake_timeout: Duration,
    /// How long the first complete message may take after that, 1 s to 1 h.
    pub first_message_timeout: Duration,
    /// How long a connection may stay without a session, 1 s to 1 h (coturn's `max-allocate-timeout`).
    pub max_allocate_timeout: Duration,
    /// Connections without a session that one source address (IPv6: /64) may hold on this node.
    /// Those with a session do not count, so that many users behind one NAT do not exclude each other.
    pub max_per_source: usize,
    /// Connections of this node, over TCP, TLS and DTLS together.
    pub max: usize,
    /// Bytes that wait for a client that reads too slowly; what does not fit is dropped and counted.
    pub write_queue_bytes: usize,
    /// TLS handshakes under way per worker; whoever comes beyond is closed.
    pub tls_handshakes: usize,
    /// DTLS handshakes under way per worker; the oldest makes room for the next.
    pub dtls_handshakes: usize,
    /// Those of one source address (IPv6: /64): many users behind one NAT begin one each.
    pub dtls_handshakes_per_source: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            first_message_timeout: Duration::from_secs(10),
            max_allocate_timeout: Duration::from_secs(30),
            max_per_source: 512,
            max: 100_000,
            write_queue_bytes: 256 << 10,
            tls_handshakes: 1024,
            dtls_handshakes: 256,
            dtls_handshakes_per_source: 64,
        }
    }
}

/// NAT behaviour discovery (RFC 5780).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatDiscoveryConfig {
    /// Whether it is on.
    pub enabled: bool,
    /// The port that is paired with [`alt_port`](Self::alt_port): the first listener's.
    pub first_port: u16,
    /// The second port of each address that has a partner of its family.
    pub alt_port: u16,
    /// The first other port that serves TLS or DTLS, and the second port that is paired with it; `None`: it has none.
    pub tls_ports: Option<[u16; 2]>,
    /// Answer to the port that RESPONSE-PORT names.
    pub response_port: bool,
    /// Answer PADDING, never with more bytes than the request had.
    pub padding: bool,
}

impl NatDiscoveryConfig {
    /// Each port with the second one that is paired with it.
    pub fn ports(&self) -> impl Iterator<Item = [u16; 2]> + use<> {
        std::iter::once([self.first_port, self.alt_port]).chain(self.tls_ports)
    }
}

/// A public address of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalIp {
    /// What clients are told.
    pub public: IpAddr,
    /// The relay address it stands for; `None`: all of its family.
    pub local: Option<IpAddr>,
}

/// Where nodes meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// Two files, for one node.
    Sqlite {
        /// coturn's tables.
        turndb: PathBuf,
        /// Our own.
        db: PathBuf,
    },
    /// A Redis or Valkey server.
    Redis(RedisConfig),
}

/// How to reach Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// The complete URL, user and password in it: what a client library opens.
    pub url: Secret<String>,
    /// `host:port`, safe to show.
    pub endpoint: String,
    /// The host name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The ACL user; `None`: Redis's `default`.
    pub username: Option<String>,
    /// The password, wherever it came from.
    pub password: Option<Secret<String>>,
    /// The file that the password came from, if it did.
    pub password_file: Option<PathBuf>,
    /// The number of the database.
    pub database: u32,
    /// Whether TLS is spoken (`rediss://`).
    pub tls: bool,
    /// Plain text to another host is allowed.
    pub insecure: bool,
    /// PEM file of the authority to trust; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Who tells where the master is; `host` is then what they call it.
    pub sentinels: Option<Box<SentinelConfig>>,
    /// Servers of a Redis Cluster as `host:port`, beside `host`; empty: it is no cluster.
    pub cluster: Vec<String>,
}

/// The admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Also TCP, with bearer tokens; without `tls` on loopback only.
    pub listen: Option<SocketAddr>,
    /// Certificate and key for TCP.
    pub tls: Option<TlsFiles>,
    /// What opens TCP on loopback for an operator of this node, besides tokens.
    pub password: Option<LocalPassword>,
    /// What wrong tokens cost.
    pub lock: TokenLock,
}

/// When an address that sends wrong tokens to the admin API is heard no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLock {
    /// Wrong tokens in a row, 1 to 1000.
    pub failures: u32,
    /// For how long, 1 s to 1 day.
    pub lock: Duration,
}

impl Default for TokenLock {
    fn default() -> Self {
        Self {
            failures: 5,
            lock: Duration::from_secs(30),
        }
    }
}

/// A certificate chain and its private key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A realm of the file: in force until the store has a document of the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigRealm {
    /// The name.
    pub name: Realm,
    /// Its settings.
    pub document: RealmDocument,
    /// Users with long-term credentials.
    pub users: Vec<ConfigUser>,
    /// The names of these users by their USERHASH.
    pub userhashes: std::collections::HashMap<[u8; 32], String>,
    /// Secrets for time-limited credentials.
    pub secrets: Vec<Secret<String>>,
}

/// A user of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigUser {
    /// The name.
    pub name: String,
    /// The keys, derived from the password if the file gave that.
    pub keys: UserKeys,
}

/// Third-party authorization (RFC 7635).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OauthConfig {
    /// Whether access tokens are taken.
    pub enabled: bool,
    /// The name that tokens are made for; `None`: the name of the realm.
    pub server_name: Option<String>,
}

/// Peer rules of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerConfig {
    /// Allowed although the special-use list or a rule denies them.
    pub allowed: Vec<IpRange>,
    /// Denied.
    pub denied: Vec<IpRange>,
}

/// What becomes of passwords and secrets out of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeakCredentials {
    /// Nothing starts.
    #[default]
    Refuse,
    /// Each is told of.
    Warn,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Where lines go.
    pub output: LogOutput,
    /// The facility of lines to syslog (RFC 5424 §6.2.1), 0 to 23.
    pub syslog_facility: u8,
    /// A level, or a filter as in `info,relay::store=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// Where log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
    /// The log of the system, at `/dev/log`.
    Syslog,
    /// A file, opened anew at SIGHUP.
    File(PathBuf),
}

/// A configuration of coturn in our words.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The text of a `relayd.toml`; holds passwords.
    pub toml: String,
    /// What an operator is told: messages of options, warnings, limits in a cluster.
    pub notes: Vec<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// The certificates for TLS and DTLS clients, each with its key.
    #[must_use]
    pub fn certificate_files(&self) -> Vec<TlsFiles> {
        [&self.tls, &self.tls_ecdsa]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// The most worker threads.
    pub const MAX_WORKERS: u16 = 256;

    /// Whether the node relays packets.
    #[must_use]
    pub fn is_relay(&self) -> bool {
        self.roles.contains(&NodeRole::Relay)
    }

    /// Whether the node answers the admin API for the whole cluster.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.roles.contains(&NodeRole::Gateway)
    }

    /// Reads the file that `args` name, and everything else they say.
    ///
    /// # Errors
    /// All errors there are, not just the first.
    pub fn load(args: &Args) -> Result<Self, ConfigErrors> {
        resolve::load(args)
    }

    /// coturn's configuration, as `args` name it, as the text of a `relayd.toml`, and what its limits
    /// mean for a cluster.
    ///
    /// # Errors
    /// All errors that would keep a node from starting with it; a file that is no coturn's.
    pub fn convert(args: &Args) -> Result<Converted, ConfigErrors> {
        convert::convert(args)
    }
}

#[cfg(test)]
mod tests;
