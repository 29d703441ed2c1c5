//! The columns that each list can be filtered and sorted by.

/// A column of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in filters and sort orders; `label.*` stands for all names that begin so.
    pub name: &'static str,
    /// What its values are.
    pub kind: ColumnKind,
    /// One line for help texts.
    pub help: &'static str,
}

/// What a column holds, which decides its operators and how values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text: `=` exact, `~` substring.
    Text,
    /// Hexadecimal digits: `=` prefix, `~` substring.
    Hex,
    /// A number: `=`, `>`, `<`, `>=`, `<=`.
    Number,
    /// Bits per second, read as in `2M`: `=`, `>`, `<`, `>=`, `<=`.
    Rate,
    /// Seconds, read as in `10m`: `=`, `>`, `<`, `>=`, `<=`.
    Duration,
    /// An address: `=` address, CIDR, `first-last`, `address:port` or `:port`; `~` substring.
    Address,
    /// `=yes` or `=no`.
    Flag,
}

const fn column(name: &'static str, kind: ColumnKind, help: &'static str) -> Column {
    Column { name, kind, help }
}

use ColumnKind::{Address, Duration, Flag, Hex, Number, Rate, Text};

/// Columns of the session list.
pub const SESSION_COLUMNS: &[Column] = &[
    column("id", Hex, "session id; = matches from the start"),
    column(
        "user",
        Text,
        "user, without the expiry of a time-limited username",
    ),
    column("username", Text, "the full STUN username"),
    column("realm", Text, "realm"),
    column("node", Text, "node that relays it"),
    column(
        "software",
        Text,
        "what relays it where that is no relayd, as in coturn 4.6.1",
    ),
    column("worker", Number, "worker thread in the node"),
    column("transport", Text, "udp, tcp, tls or dtls"),
    column(
        "relay_transport",
        Text,
        "udp, or tcp between relay and peers",
    ),
    column("mobile", Flag, "whether its client may change its address"),
    column("client", Address, "client's address"),
    column("server", Address, "listener's address"),
    column("relay", Address, "relayed address"),
    column("peer", Address, "any of the peers"),
    column("peers", Number, "number of permissions"),
    column("rate", Rate, "bits per second, both directions"),
    column("in", Rate, "bits per second from the client"),
    column("out", Rate, "bits per second to the client"),
    column("age", Duration, "time since it was created"),
    column("ttl", Duration, "time until it expires"),
    column("in_packets", Number, "packets from the client"),
    column("out_packets", Number, "packets to the client"),
    column("in_bytes", Number, "bytes from the client"),
    column("out_bytes", Number, "bytes to the client"),
    column("packets", Number, "packets, both directions"),
    column("bytes", Number, "bytes, both directions"),
    column("drops", Number, "packets dropped"),
    column("throttled", Number, "packets dropped over a rate limit"),
    column(
        "newpeers",
        Number,
        "peers permitted for the first time, per second",
    ),
    column("maxrate", Rate, "limit in bits per second"),
    column(
        "secret",
        Hex,
        "id of the secret that signed its credential; = matches from the start",
    ),
    column(
        "stale",
        Flag,
        "last known row of a node that does not answer",
    ),
    column("label.*", Text, "label of its node, as in label.region=fra"),
];

/// Columns of the node list.
pub const NODE_COLUMNS: &[Column] = &[
    column("node", Text, "node id"),
    column("state", Text, "joining, ready, draining, stale or gone"),
    column("version", Text, "version of relayd"),
    column(
        "software",
        Text,
        "what it speaks for where that is no relayd, as in coturn 4.6.1",
    ),
    column(
        "away",
        Text,
        "why the coturn that it speaks for does not answer",
    ),
    column("skew", Flag, "whether most nodes run another version"),
    column("role", Text, "relay or gateway"),
    column("label.*", Text, "operator's label, as in label.region=fra"),
    column("listener", Address, "any of its TURN listeners"),
    column("workers", Number, "worker threads"),
    column("sessions", Number, "live sessions"),
    column("created", Number, "sessions created per second"),
    column("ended", Number, "sessions ended per second"),
    column("rate", Rate, "bits per second, both directions"),
    column("in", Rate, "bits per second from clients"),
    column("out", Rate, "bits per second to clients"),
    column("packets", Number, "packets relayed per second"),
    column("drops", Number, "packets dropped since the start"),
    column("cap", Number, "percent of the binding limit"),
    column("bound", Text, "which limit binds"),
    column("cpu", Number, "percent of one core"),
    column("mem", Number, "resident memory in bytes"),
    column("uptime", Duration, "time since its start"),
    column("heartbeat", Duration, "time since its last heartbeat"),
    column("store", Text, "sqlite or redis"),
    column("connected", Flag, "whether it reaches its store"),
    column("err", Text, "any STUN error code that it has sent"),
    column("epoch", Number, "number of its start"),
    column(
        "confrev",
        Number,
        "revision of the overrides that it applies",
    ),
];

/// Columns of the user list.
pub const USER_COLUMNS: &[Column] = &[
    column("user", Text, "name"),
    column("realm", Text, "realm"),
    column("sessions", Number, "live sessions"),
    column("limit", Number, "session limit in force"),
    column("rate", Rate, "bits per second, both directions"),
    column("in", Rate, "bits per second from the client"),
    column("out", Rate, "bits per second to the client"),
    column("stored", Flag, "whether the store holds a key"),
    column("disabled", Flag, "whether it is switched off"),
    column("blocked", Flag, "whether it is refused for a while"),
    column("keys", Text, "any of md5 and sha-256"),
    column("note", Text, "operator's note"),
];

/// Columns of the realm list.
pub const REALM_COLUMNS: &[Column] = &[
    column("realm", Text, "name"),
    column("revision", Number, "revision of its document"),
    column("sessions", Number, "live sessions"),
    column("users", Number, "users with sessions"),
    column("secrets", Number, "shared secrets"),
    column("rate", Rate, "bits per second, both directions"),
    column("in", Rate, "bits per second from clients"),
    column("out", Rate, "bits per second to clients"),
    column("refusals", Number, "refusals since the nodes' start"),
    column("origin", Text, "any of its web origins"),
    column("maxrate", Rate, "limit of one session in bits per second"),
    column("max_sessions", Number, "session limit of the realm"),
    column("max_sessions_per_user", Number, "session limit of a user"),
    column("note", Text, "operator's note"),
];

/// Columns of events.
pub const EVENT_COLUMNS: &[Column] = &[
    column("severity", Text, "info, notice, warn or crit"),
    column("kind", Text, "as in session-created"),
    column("node", Text, "node"),
    column("text", Text, "the words of the event"),
    column("session", Hex, "session id; = matches from the start"),
    column("user", Text, "user"),
    column("realm", Text, "realm"),
];

/// Columns of the refusal counters.
pub const REFUSAL_COLUMNS: &[Column] = &[
    column("node", Text, "node"),
    column("realm", Text, "realm"),
    column("reason", Text, "as in user_quota"),
    column("err", Number, "STUN error code that was sent"),
    column("count", Number, "refusals since the node's start"),
];

/// Columns of the latest refusals.
pub const RECENT_REFUSAL_COLUMNS: &[Column] = &[
    column("time", Number, "when, in Unix milliseconds"),
    column("node", Text, "node"),
    column("source", Address, "where the request came from"),
    column("realm", Text, "realm"),
    column("user", Text, "user that was named"),
    column("session", Hex, "session id; = matches from the start"),
    column("peer", Text, "peer that was asked for"),
    column("reason", Text, "as in user_quota"),
    column("err", Number, "STUN error code that was sent"),
    column("count", Number, "how often in a row"),
];

/// Columns of groups of sessions.
pub const GROUP_COLUMNS: &[Column] = &[
    column("key", Text, "user, realm, network or node"),
    column("realm", Text, "realm of a user"),
    column("sessions", Number, "live sessions"),
    column("rate", Rate, "bits per second, both directions"),
    column("in", Rate, "bits per second from clients"),
    column("out", Rate, "bits per second to clients"),
    column("bytes", Number, "bytes, both directions"),
    column("drops", Number, "packets dropped"),
    column("refusals", Number, "latest refusals"),
];

/// Columns of audit records.
pub const AUDIT_COLUMNS: &[Column] = &[
    column("time", Number, "when, in Unix milliseconds"),
    column("node", Text, "node that received the call"),
    column("actor", Text, "who, as in unix:0 or token:ab12"),
    column("action", Text, "what, as in session.kill"),
    column("target", Text, "of what"),
    column("reason", Text, "why"),
    column("result", Text, "ok, or the error"),
];

/// Columns of alerts.
pub const ALERT_COLUMNS: &[Column] = &[
    column("severity", Text, "info, notice, warn or crit"),
    column("rule", Text, "as in node-capacity"),
    column("node", Text, "node concerned"),
    column("realm", Text, "realm concerned"),
    column("since", Number, "since when, in Unix milliseconds"),
    column("text", Text, "the words of the alert"),
];

/// Columns of redirects.
pub const REDIRECT_COLUMNS: &[Column] = &[
    column("id", Hex, "its id; = matches from the start"),
    column("transport", Text, "udp, tcp, tls or dtls"),
    column("target", Address, "where clients are sent"),
    column("node", Text, "node that redirects"),
    column("weight", Number, "its share"),
    column("health", Text, "up, down or unknown"),
    column("note", Text, "operator's note"),
];

/// Columns of settings.
pub const SETTING_COLUMNS: &[Column] = &[
    column("key", Text, "name of the setting"),
    column("value", Text, "value in force"),
    column(
        "source",
        Text,
        "default, file, cluster, node, environment or flag",
    ),
    column("applies", Text, "live, restart or file"),
    column("changed", Flag, "whether it differs from the default"),
];

/// Columns of the list of blocked users.
pub const BLOCK_COLUMNS: &[Column] = &[
    column("user", Text, "user"),
    column("realm", Text, "realm"),
    column("reason", Text, "why"),
    column("by", Text, "by whom"),
];

/// The column called `name`; `label.region` is found as `label.*`.
#[must_use]
pub fn find_column(name: &str, columns: &'static [Column]) -> Option<&'static Column> {
    columns
        .iter()
        .find(|column| match column.name.strip_suffix('*') {
            Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
            None => column.name == name,
        })
}
