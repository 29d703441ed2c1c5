//! The one table of settings: flags, environment, file keys and reload rules all follow from it.

use shared::api::Applies;

use super::beside;
pub(super) use super::key::{Flag, Key, Kind, REALM_KEYS, USER_KEYS};
use super::key::{fixed, key, live};

/// All settings but those of `[[realm]]` and `[beside]`.
const OWN: &[Key] = &[
    fixed(
        "node_id",
        Kind::Text,
        "Id of this node; default: generated once and kept",
    ),
    live(
        "cluster",
        Kind::Text,
        "Name of the cluster, shown to operators",
    ),
    fixed(
        "roles",
        Kind::List,
        "What this node does: relay, gateway or both (the default)",
    ),
    live(
        "labels",
        Kind::Table,
        "Label of this node as name=value, as in region=eu",
    ),
    fixed("state_dir", Kind::Text, "Where this node keeps its files"),
    fixed(
        "detach",
        Kind::Boolean,
        "Go to the background as soon as everything is bound and served; default false",
    ),
    fixed(
        "pid_file",
        Kind::Text,
        "File with the process id while the node serves; default: none",
    ),
    fixed(
        "proc_user",
        Kind::Text,
        "User to be once everything is bound, where root starts the node; default: stay",
    ),
    fixed(
        "proc_group",
        Kind::Text,
        "Group to be then; default: that of proc_user",
    ),
    live(
        "credentials",
        Kind::Text,
        "Which credentials clients may show: users, secrets or both; default both",
    ),
    fixed(
        "weak_credentials",
        Kind::Text,
        "Whether passwords and secrets out of samples refuse the start, or warn; default refuse",
    ),
    key(
        "workers",
        Kind::Integer,
        "Worker threads; default: one per core",
    ),
    fixed(
        "cluster_key_file",
        Kind::Text,
        "File with the key that all nodes of the cluster share",
    ),
    key(
        "listen",
        Kind::List,
        "TURN listener as address:port; default 0.0.0.0:3478 and [::]:3478, and 5349 with a certificate",
    ),
    key(
        "tls.certificate",
        Kind::Text,
        "PEM certificate chain for TLS and DTLS clients; default: none, so neither is served",
    ),
    key("tls.key", Kind::Text, "PEM private key of tls.certificate"),
    key("tls.ciphers", Kind::List, "Suites of TLS 1.2; default: all"),
    key(
        "tls.ecdsa_certificate",
        Kind::Text,
        "PEM chain with an ECDSA key besides an RSA one in tls.certificate; DTLS needs it",
    ),
    key(
        "tls.ecdsa_key",
        Kind::Text,
        "PEM private key of tls.ecdsa_certificate",
    ),
    live(
        "connections.handshake_timeout",
        Kind::Text,
        "How long a proxy header and a TLS handshake may take, 1s to 1h; default 10s",
    ),
    live(
        "connections.first_message_timeout",
        Kind::Text,
        "How long the first message on a TCP connection may take, 1s to 1h; default 10s",
    ),
    live(
        "connections.max_allocate_timeout",
        Kind::Text,
        "How long a TCP connection may stay without a session, 1s to 1h; default 30s",
    ),
    live(
        "connections.max_per_source",
        Kind::Integer,
        "Connections over TCP, TLS and DTLS without a session per source address (IPv6: /64); default 512",
    ),
    live(
        "connections.max",
        Kind::Integer,
        "Connections of this node over TCP, TLS and DTLS together; default 100000",
    ),
    live(
        "connections.write_queue_bytes",
        Kind::Integer,
        "Bytes that wait for a slow TCP client before data is dropped; default 262144",
    ),
    live(
        "connections.tls_handshakes",
        Kind::Integer,
        "TLS handshakes under way per worker, 1 to 65536; default 1024",
    ),
    live(
        "connections.dtls_handshakes",
        Kind::Integer,
        "DTLS handshakes under way per worker, 1 to 65536; default 256",
    ),
    live(
        "connections.dtls_handshakes_per_source",
        Kind::Integer,
        "Of those, handshakes of one source address (IPv6: /64); default 64",
    ),
    key(
        "relay_addresses",
        Kind::List,
        "Local address to relay from; default: the listener's",
    ),
    key(
        "external_ips",
        Kind::List,
        "Public address in front of the relay: PUBLIC or PUBLIC/LOCAL",
    ),
    key(
        "relay_ports",
        Kind::Text,
        "Ports to relay on, as first-last; default 49152-65535",
    ),
    live(
        "default_realm",
        Kind::Text,
        "Realm of listeners that name none",
    ),
    fixed(
        "open_relay",
        Kind::Boolean,
        "Serve clients of the default realm without credentials; refused without accept_open_relay; default false",
    ),
    fixed(
        "accept_open_relay",
        Kind::Boolean,
        "Says open_relay a second time; default false",
    ),
    live(
        "origin_realms",
        Kind::Boolean,
        "Choose realms by the ORIGIN of requests too, as browsers sent it once; default false",
    ),
    live(
        "max_sessions_per_user",
        Kind::Integer,
        "Sessions per user in realms of the file that set none",
    ),
    live(
        "software",
        Kind::Text,
        "SOFTWARE attribute in answers; default: not sent",
    ),
    live("fingerprint", Kind::Boolean, "FINGERPRINT in every answer"),
    live(
        "nonce_lifetime",
        Kind::Text,
        "How long a nonce is good, 1s to 1d; default 1h",
    ),
    live(
        "permission_lifetime",
        Kind::Text,
        "How long a permission lasts, 1s to 1h; default 5m",
    ),
    live(
        "channel_lifetime",
        Kind::Text,
        "How long a channel binding lasts, 1s to 2h; default 10m",
    ),
    live(
        "channel_rebind_guard",
        Kind::Text,
        "How long an expired channel keeps number and peer from others, 1s to 1h; default 5m",
    ),
    live(
        "min_allocate_lifetime",
        Kind::Text,
        "Shortest lifetime of an allocation, 1s to 1d; default: the realm's default lifetime",
    ),
    live(
        "default_allocate_lifetime",
        Kind::Text,
        "Lifetime of an allocation in realms of the file that set none, 1s to 1d; default 10m",
    ),
    live(
        "max_allocate_lifetime",
        Kind::Text,
        "Longest lifetime in realms of the file that set none, 1s to 1d; default 1h",
    ),
    key(
        "reservation_lifetime",
        Kind::Text,
        "How long a reserved port is kept, 1s to 1h; default 30s",
    ),
    key(
        "adopt",
        Kind::List,
        "Nodes whose sessions go on here when they are dead and this host has their address; as a flag: at once",
    ),
    key(
        "restore_wait",
        Kind::Text,
        "How long a start waits for a store that does not tell the sessions of the start before, 0s to 1m; default 5s",
    ),
    key(
        "upgrade_deadline",
        Kind::Text,
        "How long the process before an upgrade keeps TLS and DTLS clients, 0s to 30d; default 1d",
    ),
    key(
        "descriptor_store",
        Kind::Boolean,
        "Leave sockets and sessions with systemd at a stop, for the start after it; default: where systemd offers it",
    ),
    live(
        "mobility",
        Kind::Boolean,
        "Let clients take sessions along to another address (RFC 8016); default false",
    ),
    live(
        "rfc5766_channel_numbers",
        Kind::Boolean,
        "Accept channel numbers 0x5000 to 0x7FFF, too, which old clients draw; default false",
    ),
    live(
        "stun",
        Kind::Boolean,
        "Answer Binding requests; false: TURN only; default true",
    ),
    live(
        "turn",
        Kind::Boolean,
        "Grant sessions; false: STUN only, new ones are refused; default true",
    ),
    live(
        "oauth",
        Kind::Boolean,
        "Take access tokens of third parties (RFC 7635); keys: relayctl oauth key; default false",
    ),
    live(
        "server_name",
        Kind::Text,
        "Name that access tokens are made for; default: the name of the realm",
    ),
    key(
        "copy_dscp",
        Kind::Boolean,
        "Datagrams keep DSCP and ECN from client to peer and back; default false",
    ),
    key(
        "rfc5780",
        Kind::Boolean,
        "NAT behaviour discovery (RFC 5780); needs two addresses of one family; default false",
    ),
    key(
        "alt_listening_port",
        Kind::Integer,
        "Second port of NAT behaviour discovery; default: that of the first listener plus one",
    ),
    key("alt_tls_listening_port", Kind::Integer, "The same for TLS"),
    live(
        "rfc5780_response_port",
        Kind::Boolean,
        "Answer to the port that RESPONSE-PORT names, whoever forged the source; default false",
    ),
    live(
        "rfc5780_padding",
        Kind::Boolean,
        "Answer PADDING, never with more bytes than were asked with; default false",
    ),
    live(
        "limits.max_sessions",
        Kind::Integer,
        "Sessions of the node, 508 beyond; 0 (default): no limit",
    ),
    live(
        "limits.max_sessions_per_source",
        Kind::Integer,
        "Sessions of one client address (/64 of IPv6); 0 (default): no limit",
    ),
    live(
        "limits.max_rate_bps",
        Kind::Text,
        "Bits per second of the node in each direction, as in 2M; 0 (default): no limit",
    ),
    live(
        "limits.rate_burst_ms",
        Kind::Integer,
        "How long somebody silent may exceed any rate, 10 to 10000; default 400",
    ),
    live(
        "limits.max_new_peers_per_sec",
        Kind::Integer,
        "New peers per second of the node, ten seconds' worth at once; 0 (default): no limit",
    ),
    live(
        "limits.permissions_per_session",
        Kind::Integer,
        "Permissions of a session, 1 to 1024; default 256",
    ),
    live(
        "limits.channels_per_session",
        Kind::Integer,
        "Channels of a session, 1 to 1024; default 256",
    ),
    live(
        "limits.unauthorized_ratelimit_rps",
        Kind::Integer,
        "Errors per second to a UDP client without a nonce, by address; default 1000, 0: no limit",
    ),
    live(
        "limits.binding_ratelimit_rps",
        Kind::Integer,
        "Binding answers per second to a UDP client, by address; default 1000, 0: no limit",
    ),
    live(
        "limits.icmp_errors_per_sec",
        Kind::Integer,
        "ICMP errors that a session is told of per second, 0 to 1000; default 10",
    ),
    key(
        "limits.connections_per_session",
        Kind::Integer,
        "Connections with peers of a session (RFC 6062), 1 to 1024; default 64",
    ),
    key(
        "limits.waiting_connections",
        Kind::Integer,
        "Connections with peers of a worker that wait for a ConnectionBind; default 4096",
    ),
    key(
        "limits.reserved_ports",
        Kind::Integer,
        "Ports that are reserved at once (RESERVATION-TOKEN), 0 to 16384; default 4096",
    ),
    key(
        "limits.park_deadline_ms",
        Kind::Integer,
        "How long a request waits for the store, 50 to 30000; default 2000",
    ),
    key(
        "limits.parked_requests",
        Kind::Integer,
        "Requests of a worker that wait for the store; default 1024",
    ),
    key(
        "limits.cached_credentials",
        Kind::Integer,
        "Users whose keys a worker keeps; default 65536",
    ),
    key(
        "limits.reach",
        Kind::Text,
        "Sessions and rates of users and realms are limited over the cluster (the default), or by each node",
    ),
    live("udp_relay", Kind::Boolean, "Relay UDP; default true"),
    live(
        "tcp_relay",
        Kind::Boolean,
        "Relay TCP (RFC 6062) for clients that come by TCP or TLS; default false",
    ),
    live(
        "tcp_connect_timeout",
        Kind::Text,
        "How long a peer may take to accept a connection, 1s to 5m; default 30s",
    ),
    live(
        "tcp_bind_timeout",
        Kind::Text,
        "How long a peer's connection waits for its ConnectionBind, 1s to 5m; default 30s",
    ),
    live(
        "redirects.to_nodes",
        Kind::Text,
        "When new clients are sent to other nodes of the cluster (300): drained, full (drained or full), never; \
         default full",
    ),
    live(
        "redirects.same_labels",
        Kind::List,
        "Labels that a node must have in common with this one to be sent its clients; default: all but weight",
    ),
    live(
        "redirects.probe_interval",
        Kind::Text,
        "How often targets of UDP redirects are asked whether they serve, 1s to 1h; default 5s",
    ),
    live(
        "redirects.probe_timeout_ms",
        Kind::Integer,
        "How long each of two sendings to a target waits, 50 to 5000; default 400",
    ),
    live(
        "redirects.probe_misses",
        Kind::Integer,
        "Answers missed in a row until a target is down, 1 to 100; default 3",
    ),
    live(
        "peers.allowed",
        Kind::List,
        "Peers allowed although something denies them: address, CIDR, first-last",
    ),
    live(
        "peers.denied",
        Kind::List,
        "Peers denied besides the special-use ranges: address, CIDR, first-last",
    ),
    fixed(
        "store.url",
        Kind::Text,
        "sqlite, redis://[user@]host[:port][/db] or rediss://...; default sqlite",
    ),
    fixed(
        "store.turndb",
        Kind::Text,
        "SQLite file with coturn's tables; default: turndb in the state directory",
    ),
    fixed("store.username", Kind::Text, "ACL user of Redis"),
    Key {
        name: "store.password",
        kind: Kind::Text,
        flag: Flag::No,
        applies: Applies::File,
        help: "Password of Redis",
    },
    fixed(
        "store.password_file",
        Kind::Text,
        "File with the password of Redis",
    ),
    fixed(
        "store.ca_file",
        Kind::Text,
        "PEM file of the authority that signed Redis's certificate",
    ),
    fixed(
        "store.sentinels",
        Kind::List,
        "Sentinels as host:port; the host of store.url is then what they call the master",
    ),
    fixed(
        "store.sentinel_username",
        Kind::Text,
        "ACL user of the sentinels",
    ),
    fixed(
        "store.sentinel_password_file",
        Kind::Text,
        "File with the password that the sentinels ask for",
    ),
    fixed(
        "store.cluster",
        Kind::List,
        "More servers of the Redis Cluster that store.url names one of, as host:port",
    ),
    fixed(
        "store.insecure",
        Kind::Boolean,
        "Speak plaintext to a Redis on another host",
    ),
    fixed(
        "statsdb.url",
        Kind::Text,
        "Redis that is told of sessions as coturn tells its redis-statsdb: redis://host/db; default: none",
    ),
    fixed("statsdb.username", Kind::Text, "ACL user of that Redis"),
    Key {
        name: "statsdb.password",
        kind: Kind::Text,
        flag: Flag::No,
        applies: Applies::File,
        help: "Password of that Redis",
    },
    fixed(
        "statsdb.password_file",
        Kind::Text,
        "File with the password of that Redis",
    ),
    fixed(
        "statsdb.ca_file",
        Kind::Text,
        "PEM file of the authority that signed that Redis's certificate",
    ),
    fixed(
        "statsdb.insecure",
        Kind::Boolean,
        "Speak plaintext to that Redis on another host",
    ),
    fixed(
        "admin.socket",
        Kind::Text,
        "Unix socket of the admin API; default: relayd.sock in the state directory",
    ),
    fixed(
        "admin.listen",
        Kind::Text,
        "Serve the admin API on TCP too, with bearer tokens",
    ),
    Key {
        name: "admin.password",
        kind: Kind::Text,
        flag: Flag::No,
        applies: Applies::File,
        help: "Password that opens admin.listen on loopback for an operator of this node, plain or $5$SALT$DIGEST",
    },
    fixed(
        "admin.tls_certificate",
        Kind::Text,
        "PEM certificate chain for admin.listen",
    ),
    fixed(
        "admin.tls_key",
        Kind::Text,
        "PEM private key for admin.listen",
    ),
    fixed(
        "admin.max_failed_tokens",
        Kind::Integer,
        "Wrong tokens of an address until it is locked, 1 to 1000; default 5",
    ),
    fixed(
        "admin.failed_token_lock",
        Kind::Text,
        "How long such an address is locked, 1s to 1d; default 30s",
    ),
    key(
        "metrics.listen",
        Kind::Text,
        "Where /metrics, /healthz and /readyz listen, or off; default 127.0.0.1:9641",
    ),
    live(
        "log.level",
        Kind::Text,
        "error, warn, info, debug, trace, or a filter; default info",
    ),
    fixed("log.format", Kind::Text, "text or json; default text"),
    fixed(
        "log.output",
        Kind::Text,
        "stderr, stdout, syslog or a file; default stderr, and with detach relayd.log in the state directory",
    ),
    fixed(
        "log.syslog_facility",
        Kind::Text,
        "Facility of lines to syslog, as in daemon or local3; default daemon",
    ),
];

/// All settings but those of `[[realm]]`.
pub(super) const KEYS: &[Key] = &{
    let mut all = [OWN[0]; OWN.len() + beside::KEYS.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = match at < OWN.len() {
            true => OWN[at],
            false => beside::KEYS[at - OWN.len()],
        };
        at += 1;
    }
    all
};

/// The setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
