//! Names of coturn's options that people bring along.

/// Options of coturn, and where their subject lives here.
pub(super) const FROM_COTURN: &[(&str, &str)] = &[
    ("listening_port", "use listen = [\"0.0.0.0:3478\"]"),
    ("listening_ip", "use listen = [\"address:3478\"]"),
    ("relay_ip", "use relay_addresses"),
    ("external_ip", "use external_ips = [\"public/local\"]"),
    ("min_port", "use relay_ports = \"first-last\""),
    ("max_port", "use relay_ports = \"first-last\""),
    ("cert", "use certificate in [tls]"),
    ("pkey", "use key in [tls]"),
    ("tls_listening_port", "use listen = [\"0.0.0.0:5349\"]"),
    (
        "tcp_proxy_port",
        "use listen = [{ address, transports = [\"tcp\", \"tls\"], proxy_from }]",
    ),
    ("no_udp", "use transports of a listener"),
    ("no_tcp", "use transports of a listener"),
    ("no_tls", "use transports of a listener"),
    ("user", "use users in a [[realm]]"),
    ("lt_cred_mech", "it is always on: remove the line"),
    ("use_auth_secret", "use secrets in a [[realm]]"),
    ("static_auth_secret", "use secrets in a [[realm]]"),
    ("userdb", "use store.turndb"),
    ("redis_userdb", "use store.url = \"redis://host\""),
    ("redis_statsdb", "use store.url = \"redis://host\""),
    ("denied_peer_ip", "use peers.denied"),
    ("allowed_peer_ip", "use peers.allowed"),
    ("user_quota", "use max_sessions_per_user"),
    ("total_quota", "use max_sessions in a [[realm]]"),
    (
        "max_bps",
        "use max_rate_bps in a [[realm]]: bits per second, coturn's value times 8",
    ),
    (
        "bps_capacity",
        "use limits.max_rate_bps: bits per second, coturn's value times 8",
    ),
    (
        "unauthorized_ratelimit",
        "it is on: limits.unauthorized_ratelimit_rps",
    ),
    (
        "unauthorized_ratelimit_rps",
        "use limits.unauthorized_ratelimit_rps",
    ),
    ("relay_threads", "use workers"),
    ("stale_nonce", "use nonce_lifetime"),
    ("cli_port", "use admin.listen"),
    ("cli_ip", "use admin.listen"),
    ("cli_password", "tokens replace it: relayctl token create"),
    ("prometheus", "use metrics.listen"),
    ("log_file", "logs go to stderr: remove the line"),
    ("syslog", "logs go to stderr: remove the line"),
    ("verbose", "use log.level = \"debug\""),
    (
        "no_rfc5780",
        "it is off unless rfc5780 = true: remove the line",
    ),
    (
        "no_tcp_relay",
        "TCP is relayed only with tcp_relay = true: remove the line",
    ),
    (
        "no_udp_relay",
        "UDP is what is relayed; roles = [\"gateway\"] relays nothing",
    ),
    (
        "alternate_server",
        "redirects are kept in the store: relayctl redirect add --transport udp ADDRESS",
    ),
    (
        "tls_alternate_server",
        "redirects are kept in the store: relayctl redirect add --transport tls ADDRESS",
    ),
    ("rest_api_separator", "use rest_separator of a [[realm]]"),
    (
        "allow_loopback_peers",
        "use peers.allowed = [\"127.0.0.0/8\", \"::1\"]",
    ),
    (
        "no_multicast_peers",
        "they are denied anyway: remove the line",
    ),
    ("no_auth", "there is no anonymous mode: remove the line"),
];
