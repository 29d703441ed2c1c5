//! The one table of coturn's options: what relayd makes of each. Messages, the page for operators and
//! hints for misnamed settings follow from it.

/// An option of coturn, of any release since 4.5.
#[derive(Debug)]
pub struct CoturnOption {
    /// Its long name.
    pub name: &'static str,
    /// Its letter, if it has one.
    pub short: Option<char>,
    /// What follows it.
    pub takes: Takes,
    /// How often it is met.
    pub use_: Use,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or whether it is on.
    Switch,
    /// A value, and always one.
    Value,
    /// A value behind `=`, or nothing.
    Perhaps,
}

/// How often an option is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// In guides and in the files of distributions.
    Common,
    /// Elsewhere.
    Rare,
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has its effect, as these settings of relayd.
    Honoured(&'static str),
    /// relayd does so anyway, in these words.
    ByDefault(&'static str),
    /// It has no effect, and a message says what relayd does instead, in these words.
    Message(&'static str),
    /// Nothing starts, and the error says why and what to do, in these words.
    Refused(&'static str),
}

impl Outcome {
    /// One word.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Honoured(_) => "honoured",
            Self::ByDefault(_) => "by default",
            Self::Message(_) => "message",
            Self::Refused(_) => "refused",
        }
    }

    /// Settings or words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Honoured(text)
            | Self::ByDefault(text)
            | Self::Message(text)
            | Self::Refused(text) => text,
        }
    }
}

impl CoturnOption {
    /// Whether it stands in guides and in the files of distributions.
    #[must_use]
    pub fn is_common(&self) -> bool {
        self.use_ == Use::Common
    }
}

/// The option of that name, in the file or behind two dashes.
#[must_use]
pub fn find(name: &str) -> Option<&'static CoturnOption> {
    let name = ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, name)| name);
    all().find(|option| option.name == name)
}

/// The option of that letter.
#[must_use]
pub fn find_short(letter: char) -> Option<&'static CoturnOption> {
    all().find(|option| option.short == Some(letter))
}

/// All of them, in the order of the page.
pub fn all() -> impl Iterator<Item = &'static CoturnOption> {
    SECTIONS.iter().flat_map(|(_, options)| options.iter())
}

/// Other names of some.
const ALIASES: &[(&str, &str)] = &[
    ("db", "userdb"),
    ("sql-userdb", "psql-userdb"),
    ("dh2066", "dh-file"),
    ("prod", "no-software-attribute"),
];

const SWITCH: Takes = Takes::Switch;
const VALUE: Takes = Takes::Value;
const PERHAPS: Takes = Takes::Perhaps;

const fn row(name: &'static str, takes: Takes, outcome: Outcome) -> CoturnOption {
    CoturnOption {
        name,
        short: None,
        takes,
        use_: Use::Rare,
        outcome,
    }
}

const fn honoured(name: &'static str, takes: Takes, keys: &'static str) -> CoturnOption {
    row(name, takes, Outcome::Honoured(keys))
}

const fn default(name: &'static str, takes: Takes, why: &'static str) -> CoturnOption {
    row(name, takes, Outcome::ByDefault(why))
}

const fn message(name: &'static str, takes: Takes, why: &'static str) -> CoturnOption {
    row(name, takes, Outcome::Message(why))
}

const fn refused(name: &'static str, takes: Takes, why: &'static str) -> CoturnOption {
    row(name, takes, Outcome::Refused(why))
}

impl CoturnOption {
    const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    const fn common(mut self) -> Self {
        self.use_ = Use::Common;
        self
    }
}

const BATCHES: &str = "packets are sent and received in batches anyway; nothing to set";
const OWN_RELAYS: &str = "every session has a relay port of its own; nothing to set";
const DATABASE: &str =
    "relayd keeps users in SQLite or Redis: run `relayctl import` once, and remove the line";
const OPENSSL: &str =
    "TLS is rustls with TLS 1.2 and 1.3 and its own safe ciphers and groups; remove the line";
const WEB: &str = "there is no web page: relayctl over SSH, or admin.listen with tokens";
const REDIRECTS: &str =
    "redirects are kept in the store and apply to all nodes: relayctl redirect add";
const POLLING: &str = "nothing is polled: what changes in the store is told at once";

/// The options by subject.
#[rustfmt::skip]
pub const SECTIONS: &[(&str, &[CoturnOption])] = &[
    ("Listening", &[
        honoured("listening-device", VALUE, "listen (the addresses of that device)").short('d').common(),
        honoured("listening-port", VALUE, "listen").short('p').common(),
        honoured("tls-listening-port", VALUE, "listen").common(),
        honoured("alt-listening-port", VALUE, "alt_listening_port").common(),
        honoured("alt-tls-listening-port", VALUE, "alt_tls_listening_port").common(),
        honoured("tcp-proxy-port", VALUE, "listen: transports, proxy_from"),
        honoured("listening-ip", VALUE, "listen").short('L').common(),
        honoured("aux-server", VALUE, "listen"),
        message("udp-self-balance", SWITCH, "the kernel spreads clients over the workers; nothing to set"),
        honoured("no-udp", SWITCH, "listen: transports").common(),
        honoured("no-tcp", SWITCH, "listen: transports").common(),
        honoured("no-tls", SWITCH, "listen: transports").common(),
        honoured("no-dtls", SWITCH, "listen: transports").common(),
        default("dtls", SWITCH, "DTLS is served where the certificate can (an ECDSA key)"),
        message("sock-buf-size", VALUE, "listeners ask for what the system allows: raise net.core.rmem_max instead"),
        honoured("cpus", VALUE, "workers"),
        honoured("relay-threads", VALUE, "workers (one per core at most)").short('m').common(),
    ]),
    ("Relaying", &[
        honoured("relay-device", VALUE, "relay_addresses (those of that device)").short('i').common(),
        honoured("relay-ip", VALUE, "relay_addresses").short('E').common(),
        honoured("external-ip", VALUE, "external_ips").short('X').common(),
        honoured("min-port", VALUE, "relay_ports").common(),
        honoured("max-port", VALUE, "relay_ports").common(),
        honoured("no-udp-relay", SWITCH, "udp_relay").common(),
        honoured("no-tcp-relay", SWITCH, "tcp_relay").common(),
        message("multiplex-peer", SWITCH, OWN_RELAYS),
        message("multiplex-peer-port", VALUE, OWN_RELAYS),
        message("multiplex-peer-max-peers", VALUE, "peers of a session are bounded by limits.permissions_per_session"),
        message("server-relay", SWITCH, "a peer without a permission is never let through"),
        message("allocation-default-address-family", VALUE, "a client that asks for no family gets IPv4 (RFC 8656 §7.2)").short('A'),
        message("keep-address-family", SWITCH, "a client that asks for no family gets IPv4 (RFC 8656 §7.2)").short('K'),
        honoured("max-allocate-lifetime", VALUE, "max_allocate_lifetime"),
        honoured("channel-lifetime", VALUE, "channel_lifetime"),
        honoured("permission-lifetime", VALUE, "permission_lifetime"),
        honoured("max-allocate-timeout", VALUE, "connections.max_allocate_timeout"),
        honoured("rfc5766-channel-numbers", SWITCH, "rfc5766_channel_numbers (on unless switched off, as before 4.16)"),
        honoured("mobility", SWITCH, "mobility").common(),
        default("udp-recvmmsg", SWITCH, BATCHES),
        message("udp-recvmmsg-log", SWITCH, BATCHES),
        message("udp-sendmmsg-log", SWITCH, BATCHES),
        default("udp-gso", SWITCH, BATCHES),
    ]),
    ("Users and realms", &[
        honoured("lt-cred-mech", SWITCH, "credentials (secrets of the database open nothing then)").short('a').common(),
        honoured("no-auth", SWITCH, "open_relay (with --accept-open-relay only)").short('z'),
        honoured("user", VALUE, "realm.users").short('u').common(),
        honoured("realm", VALUE, "default_realm, realm.name").short('r').common(),
        honoured("use-auth-secret", SWITCH, "realm.secrets, credentials (users are refused then)").common(),
        honoured("static-auth-secret", VALUE, "realm.secrets, credentials").common(),
        honoured("rest-api-separator", VALUE, "realm.rest_separator").short('C'),
        message("secret-ts-exp-time", VALUE, "the time in a name is when the credential ends"),
        honoured("server-name", VALUE, "server_name").common(),
        honoured("oauth", SWITCH, "oauth"),
        message("check-origin-consistency", SWITCH, "a session keeps the realm that it began in"),
        honoured("stale-nonce", PERHAPS, "nonce_lifetime (an hour at most)").common(),
        default("stateless-nonce", SWITCH, "nonces are a MAC, and need no state"),
        message("stateless-nonce-secret", VALUE, "nonces are made with the cluster's key: cluster_key_file"),
        honoured("unauthorized-ratelimit", SWITCH, "limits.unauthorized_ratelimit_rps"),
        honoured("unauthorized-ratelimit-rps", VALUE, "limits.unauthorized_ratelimit_rps"),
        message("secure-stun", SWITCH, "Binding needs no credential; stun = false answers none"),
    ]),
    ("Limits: coturn counts bytes, relayd bits; both count per node until limits.reach says otherwise", &[
        honoured("user-quota", VALUE, "realm.max_sessions_per_user").short('q').common(),
        honoured("total-quota", VALUE, "realm.max_sessions").short('Q').common(),
        honoured("max-bps", VALUE, "realm.max_rate_bps (bits: times 8)").short('s').common(),
        honoured("bps-capacity", VALUE, "limits.max_rate_bps, realm.max_sessions (bits: times 8; capacity / max-bps)").short('B').common(),
    ]),
    ("TLS", &[
        honoured("cert", VALUE, "tls.certificate").common(),
        honoured("pkey", VALUE, "tls.key").common(),
        message("pkey-pwd", VALUE, "keys are read without a password: openssl pkey -in KEY -out PLAIN, mode 0600"),
        honoured("cipher-list", VALUE, "tls.ciphers (of TLS 1.2 and DTLS 1.2)").common(),
        message("CA-file", VALUE, "clients show TURN credentials, no certificates: put a proxy that asks for them in front"),
        message("ec-curve-name", VALUE, OPENSSL),
        message("dh-file", VALUE, OPENSSL),
        message("dh566", SWITCH, OPENSSL),
        message("dh1066", SWITCH, OPENSSL),
        message("tlsv1", SWITCH, OPENSSL),
        message("tlsv1_1", SWITCH, OPENSSL),
        message("no-tlsv1_2", SWITCH, OPENSSL),
        default("no-sslv2", SWITCH, "TLS 1.2 and 1.3 only"),
        default("no-sslv3", SWITCH, "TLS 1.2 and 1.3 only"),
        default("no-tlsv1", SWITCH, "TLS 1.2 and 1.3 only"),
        default("no-tlsv1_1", SWITCH, "TLS 1.2 and 1.3 only"),
        message("raw-public-keys", SWITCH, "certificates only (tls.certificate)"),
        message("acme-redirect", VALUE, "HTTP is not answered on TURN ports: let the ACME client use port 80 or DNS"),
        message("secret-key-file", VALUE, "it is for MySQL, which relayd does not speak"),
    ]),
    ("Databases", &[
        honoured("userdb", VALUE, "store.turndb").short('b').common(),
        refused("psql-userdb", VALUE, DATABASE).short('e'),
        refused("mysql-userdb", VALUE, DATABASE).short('M'),
        refused("mongo-userdb", VALUE, DATABASE).short('J'),
        honoured("redis-userdb", VALUE, "store.url, store.username, store.password, store.ca_file, store.insecure").short('N').common(),
        honoured("redis-statsdb", VALUE, "statsdb.url, statsdb.username, statsdb.password, statsdb.ca_file, statsdb.insecure").short('O').common(),
        default("no-auth-pings", SWITCH, POLLING),
        message("no-dynamic-ip-list", SWITCH, "peer rules of the store apply: relayctl realm peer-rule"),
        honoured("no-dynamic-realms", SWITCH, "origin_realms"),
    ]),
    ("Logs", &[
        honoured("verbose", SWITCH, "log.level").short('v').common(),
        honoured("Verbose", SWITCH, "log.level").short('V'),
        honoured("log-file", VALUE, "log.output (named as given, reopened at SIGHUP)").short('l').common(),
        default("no-stdout-log", SWITCH, "lines go to one place only: log.output").common(),
        default("simple-log", SWITCH, "the file has the name that was given").common(),
        honoured("syslog", SWITCH, "log.output").common(),
        honoured("syslog-facility", VALUE, "log.syslog_facility"),
        honoured("log-min-level", VALUE, "log.level"),
        default("new-log-timestamp", SWITCH, "lines begin with the time as ISO 8601"),
        message("new-log-timestamp-format", VALUE, "lines begin with the time as ISO 8601; log.format = \"json\" for programs"),
        message("log-binding", SWITCH, "Binding requests are counted, not logged: metrics.listen"),
        default("drop-invalid-packets", SWITCH, "what is no STUN and no ChannelData is dropped"),
        message("drop-invalid-packets-log", SWITCH, "it is counted, not logged: metrics.listen"),
    ]),
    ("Protocol", &[
        honoured("fingerprint", SWITCH, "fingerprint (of answers; Data indications have none)").short('f').common(),
        honoured("stun-only", SWITCH, "turn").short('S').common(),
        honoured("no-stun", SWITCH, "stun").common(),
        default("no-software-attribute", SWITCH, "SOFTWARE is not sent"),
        honoured("software-attribute", SWITCH, "software"),
        honoured("rfc5780", SWITCH, "rfc5780"),
        default("no-rfc5780", SWITCH, "it is off"),
        message("stun-backward-compatibility", SWITCH, "clients of RFC 3489 are not served (MAPPED-ADDRESS)"),
        default("no-stun-backward-compatibility", SWITCH, "clients of RFC 3489 are not served"),
        message("rfc3489-compatibility", SWITCH, "clients of RFC 3489 are not served"),
        default("response-origin-only-with-rfc5780", SWITCH, "RESPONSE-ORIGIN belongs to rfc5780"),
        message("include-reason-string", SWITCH, "reasons are for operators: relayctl refusals"),
        message("respond-http-unsupported", SWITCH, "HTTP is not answered on TURN ports"),
    ]),
    ("Peers", &[
        honoured("denied-peer-ip", VALUE, "peers.denied").common(),
        honoured("allowed-peer-ip", VALUE, "peers.allowed").common(),
        honoured("no-multicast-peers", SWITCH, "peers.allowed (without multicast, which is denied by default)").common(),
        honoured("allow-loopback-peers", SWITCH, "peers.allowed (with --accept-open-peers only)"),
        default("no-loopback-peers", SWITCH, "loopback and all other special-use peers are denied"),
    ]),
    ("Redirects", &[
        message("alternate-server", VALUE, REDIRECTS),
        message("tls-alternate-server", VALUE, REDIRECTS),
        message("tcp-alternate-server", VALUE, REDIRECTS),
        message("udp-alternate-server", VALUE, REDIRECTS),
    ]),
    ("Metrics", &[
        honoured("prometheus", SWITCH, "metrics.listen"),
        honoured("prometheus-port", VALUE, "metrics.listen"),
        honoured("prometheus-address", VALUE, "metrics.listen"),
        message("prometheus-path", VALUE, "the path is /metrics"),
        message("prometheus-username-labels", SWITCH, "users are no labels: relayctl session top --by user"),
        message("prometheus-tls", SWITCH, "metrics are plain HTTP: keep metrics.listen on loopback, or put a proxy in front"),
        message("prometheus-cert", VALUE, "metrics are plain HTTP"),
        message("prometheus-key", VALUE, "metrics are plain HTTP"),
    ]),
    ("Administration", &[
        default("cli", SWITCH, "cli-password opens it"),
        honoured("no-cli", SWITCH, "admin.listen").common(),
        honoured("cli-ip", VALUE, "admin.listen (loopback only)").common(),
        honoured("cli-port", VALUE, "admin.listen").common(),
        honoured("cli-password", VALUE, "admin.password").common(),
        message("cli-max-output-sessions", VALUE, "lists come in pages: relayctl session list --limit"),
        message("web-admin", SWITCH, WEB),
        message("web-admin-ip", VALUE, WEB),
        message("web-admin-port", VALUE, WEB),
        message("web-admin-listen-on-workers", SWITCH, WEB),
    ]),
    ("Process", &[
        honoured("daemon", SWITCH, "detach").short('o').common(),
        honoured("pidfile", VALUE, "pid_file (with daemon /var/run/turnserver.pid if not given)").common(),
        honoured("proc-user", VALUE, "proc_user").common(),
        honoured("proc-group", VALUE, "proc_group").common(),
        message("drain-min-allocations", VALUE, "relayctl node drain shows who is left, and takes a deadline"),
        message("ne", VALUE, "there is one network engine"),
    ]),
];
