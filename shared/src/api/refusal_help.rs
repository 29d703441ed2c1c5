//! What each reason of a refusal means, and what an operator can do about it.

/// Reason, meaning, and what to do.
type Explanation = (&'static str, &'static str, &'static str);

/// Explains a reason; `None`: this version does not know it.
#[must_use]
pub fn explain_refusal(reason: &str) -> Option<(&'static str, &'static str)> {
    let known = EXPLANATIONS.iter().find(|(word, ..)| *word == reason)?;
    Some((known.1, known.2))
}

/// The reasons that are explained.
pub fn refusal_reasons() -> impl Iterator<Item = &'static str> {
    EXPLANATIONS.iter().map(|(word, ..)| *word)
}

const CLIENT: &str = "nothing: the client is wrong; report it to whoever wrote it";
const GUESSED: &str = "check user and password; many of them from one source are somebody guessing";

const EXPLANATIONS: &[Explanation] = &[
    (
        "no_credentials",
        "the challenge that every client gets first",
        "nothing",
    ),
    (
        "bare_request",
        "a request of a bare header, as scanners send it",
        "nothing",
    ),
    (
        "incomplete_credentials",
        "integrity without USERNAME, REALM or NONCE",
        CLIENT,
    ),
    (
        "stale_nonce",
        "the nonce was too old or made for another source",
        "nothing: clients ask again; raise nonce_lifetime if it is often",
    ),
    (
        "password_algorithm_mismatch",
        "the password algorithm is not what was offered",
        "look at password_algorithms of the realm; else somebody tampers with the way",
    ),
    (
        "wrong_realm",
        "the client names a realm that its listener does not serve",
        "check the listener's realm and the client's configuration",
    ),
    (
        "invalid_username",
        "the username is empty, too long or not UTF-8",
        CLIENT,
    ),
    (
        "unknown_user",
        "nobody has that name",
        "add the user, or check the realm of its secret, and whether the setting credentials takes users, or secrets",
    ),
    (
        "token_refused",
        "the access token is none, or not one of that key for this server",
        "compare the list of OAuth keys, and server_name, with what the authorization server has",
    ),
    (
        "token_expired",
        "the access token has ended, or is not good yet",
        "let the client ask for a new one; if it just did, compare the clocks",
    ),
    (
        "mobility_forbidden",
        "the client wants to take its session along, and mobility is off",
        "set mobility = true if clients should; they carry on without",
    ),
    (
        "invalid_ticket",
        "the mobility ticket is none of ours, or used up, or where none belongs",
        CLIENT,
    ),
    (
        "not_moved",
        "the client wants to move its session to where it is",
        CLIENT,
    ),
    (
        "too_many_moved",
        "as many clients moved between workers as there is room for",
        "look at who moves so often; they make new sessions meanwhile",
    ),
    (
        "wrong_password",
        "the password does not fit the user",
        GUESSED,
    ),
    (
        "no_such_key",
        "the user has no key for that password algorithm",
        "set the user's password again",
    ),
    (
        "credential_expired",
        "the time-limited credential has ended",
        "check the clock and the lifetime of whoever mints credentials",
    ),
    (
        "user_blocked",
        "an operator blocked the user",
        "unblock the user",
    ),
    (
        "client_banned",
        "an operator banned the client's network",
        "list the bans, and remove the one it is in",
    ),
    (
        "lookup_unavailable",
        "the store did not answer",
        "look after the store: the list of nodes tells its state",
    ),
    (
        "lookup_timeout",
        "the store did not answer in time",
        "look after the store; limits.park_deadline_ms says how long is waited",
    ),
    (
        "parking_full",
        "too many requests wait for the store",
        "look after the store; limits.parked_requests says how many may wait",
    ),
    (
        "unknown_attribute",
        "the request has an attribute that must be understood and is not",
        "see whether a feature is switched off; else the client asks for too much",
    ),
    (
        "missing_attribute",
        "an attribute that the method needs is missing",
        CLIENT,
    ),
    (
        "malformed_attribute",
        "an attribute has no legal value",
        CLIENT,
    ),
    (
        "conflicting_attributes",
        "attributes that exclude each other",
        CLIENT,
    ),
    (
        "allocation_exists",
        "the client has an allocation on these ports already",
        "nothing: it uses a port twice, or lost an answer",
    ),
    (
        "no_allocation",
        "the client has no allocation: it expired, was killed or lived on another node",
        "nothing: clients allocate again",
    ),
    (
        "wrong_user",
        "the allocation belongs to somebody else",
        CLIENT,
    ),
    (
        "unsupported_transport",
        "the relay transport asked for is not served",
        "TCP relaying is off unless tcp_relay of the node, or of the realm, is true",
    ),
    (
        "family_not_supported",
        "the node has no relay address of that family",
        "add one to relay_addresses",
    ),
    (
        "family_mismatch",
        "the peer is not of the allocation's address family",
        "the client must ask for the other family, or both",
    ),
    (
        "denied_peer",
        "the peer lies in a denied range",
        "if it is meant to be reached: peers.allowed, or allowed_peers of the realm",
    ),
    (
        "user_quota",
        "the user has as many sessions as allowed",
        "max_sessions_per_user of the realm, max_sessions of the user",
    ),
    (
        "realm_quota",
        "the realm has as many sessions as allowed on this node",
        "max_sessions of the realm",
    ),
    (
        "source_quota",
        "the client's address has as many sessions as allowed",
        "limits.max_sessions_per_source",
    ),
    (
        "node_quota",
        "the node has as many sessions as allowed",
        "add nodes, or raise limits.max_sessions",
    ),
    (
        "draining",
        "the node is being drained: it takes no new sessions, or prolongs none",
        "nothing, where that is meant; else undrain the node",
    ),
    (
        "store_away",
        "the node cannot reach the store, and the realm wants no new sessions then",
        "look at the store; or set new_sessions_without_store of the realm to cached",
    ),
    (
        "not_accepting",
        "the node takes no new sessions",
        "the list of nodes shows its state",
    ),
    (
        "ports_exhausted",
        "no relay port is free",
        "widen relay_ports, lower quotas, or add nodes",
    ),
    (
        "unknown_reservation",
        "RESERVATION-TOKEN names no kept port",
        "nothing: it came too late or to another node",
    ),
    (
        "relay_failed",
        "the system gave no socket",
        "raise the limit of open files; the log says more",
    ),
    (
        "too_many_permissions",
        "as many permissions as a session may have",
        "limits.permissions_per_session; it may be a scan",
    ),
    (
        "too_many_channels",
        "as many channels as a session may have",
        "limits.channels_per_session",
    ),
    (
        "new_peer_rate",
        "more new peers per second than allowed",
        "a scan, or raise max_new_peers_per_sec and the like",
    ),
    (
        "invalid_channel",
        "the channel number is out of range",
        CLIENT,
    ),
    (
        "channel_conflict",
        "the channel or the peer is bound to another partner",
        CLIENT,
    ),
    (
        "tcp_over_datagrams",
        "TCP relaying asked for over UDP or DTLS",
        "the client must connect by TCP or TLS",
    ),
    (
        "no_tcp_allocation",
        "a request of TCP relaying without a TCP allocation",
        CLIENT,
    ),
    (
        "not_for_tcp",
        "a request that TCP allocations do not have",
        CLIENT,
    ),
    (
        "connection_exists",
        "there is a connection to that peer already",
        CLIENT,
    ),
    (
        "connection_failed",
        "the peer took no connection",
        "nothing: the peer is away or refuses",
    ),
    (
        "connection_timeout",
        "the peer, or the client's ConnectionBind, came too late",
        "tcp_relay has both times",
    ),
    (
        "too_many_connections",
        "as many connections with peers as a session may have",
        "nothing, or a client that leaks them",
    ),
    (
        "unknown_connection",
        "CONNECTION-ID names no connection",
        CLIENT,
    ),
    (
        "connection_of_another",
        "the connection belongs to somebody else",
        "somebody may be guessing ids: look at the source",
    ),
    (
        "control_connection",
        "a control connection cannot become a data connection",
        CLIENT,
    ),
    (
        "unexpected_class",
        "a response, a method in a class that it does not have, or one that is off (stun, turn)",
        "nothing: it was dropped",
    ),
    (
        "denied_send",
        "datagrams to a peer that the policy denies by now",
        "peers.allowed, or allowed_peers of the realm",
    ),
    (
        "session_rate",
        "datagrams over the rate limit of their session",
        "max_rate_bps of the realm",
    ),
    (
        "user_rate",
        "datagrams over the rate limit of their user",
        "max_rate_bps of the user, max_user_rate_bps of the realm",
    ),
    (
        "realm_rate",
        "datagrams over the rate limit of their realm",
        "max_realm_rate_bps of the realm",
    ),
    (
        "node_rate",
        "datagrams over the rate limit of the node",
        "limits.max_rate_bps",
    ),
    (
        "source_error_limit",
        "errors that a source without a nonce was not sent",
        "forged sources; limits.unauthorized_ratelimit_rps for a large NAT",
    ),
    (
        "source_binding_limit",
        "Binding requests of a source that sent too many",
        "limits.binding_ratelimit_rps for a large NAT",
    ),
];
