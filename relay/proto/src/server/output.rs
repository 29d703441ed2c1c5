//! What goes into the core and what comes out, besides packets.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::{Realm, RelayTransport, SessionId, Username, WorkerId};

use crate::auth::credential::{CredentialAnswer, UserhashAnswer};
use crate::auth::parking::Userhash;
use crate::five_tuple::{AddressFamily, FiveTuple, LinkId, RelayId, ReservationToken};
use crate::policy::{PlaceAnswer, Policy};
use crate::server::rejection::RefusalReason;
use crate::server::{EndCause, RestoreDetails, ServerCounters};

/// A packet to be relayed: the hot path's only result. It borrows the payload from the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Forward<'b> {
    /// Send `payload` from the relay socket to the peer.
    ToPeer {
        /// The relay socket.
        relay: RelayId,
        /// Where to. Already mapped to a private address where the peer was named by an external one.
        peer: SocketAddr,
        /// What.
        payload: &'b [u8],
        /// Set the DF bit on this datagram (RFC 8656 §14).
        dont_fragment: bool,
    },
    /// Send `header`, `payload` and `pad` zero bytes to the client.
    ToClient {
        /// Whom to, and from which listener.
        tuple: FiveTuple,
        /// ChannelData or Data indication up to its payload.
        header: ForwardHeader,
        /// What.
        payload: &'b [u8],
        /// Trailing zero bytes, 0 to 3.
        pad: u8,
    },
}

/// At most 48 bytes in front of a payload: 4 for ChannelData, 36 or 48 for a Data indication.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ForwardHeader {
    bytes: [u8; Self::CAPACITY],
    len: u8,
}

impl ForwardHeader {
    /// The longest header: a Data indication about an IPv6 peer.
    pub const CAPACITY: usize = 48;

    /// Copies a header of at most [`Self::CAPACITY`] bytes.
    ///
    /// # Panics
    /// When `header` is longer: every caller writes one of three known layouts.
    #[must_use]
    pub fn new(header: &[u8]) -> Self {
        let mut bytes = [0; Self::CAPACITY];
        bytes[..header.len()].copy_from_slice(header);
        Self {
            bytes,
            len: header.len() as u8,
        }
    }

    /// The header.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for ForwardHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?}", self.as_slice())
    }
}

/// What one worker wants of another for a client that moved (RFC 8016).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Its session is there: [`handle_passed_on`](crate::Server::handle_passed_on).
    Serve,
    /// It was passed on in vain: [`handle_returned`](crate::Server::handle_returned).
    TakeBack,
    /// It has this session there; without a message:
    /// [`handle_confirmed`](crate::Server::handle_confirmed).
    Confirm(SessionId),
}

/// Everything that is not a forwarded packet. Drained to `None` after each `handle_*`.
#[derive(Debug)]
pub enum Output {
    /// Send a STUN message to a client.
    Transmit {
        /// Whom to, and from which listener.
        tuple: FiveTuple,
        /// The message.
        message: Vec<u8>,
    },
    /// Bind a relay socket and answer with
    /// [`handle_relay_opened`](crate::Server::handle_relay_opened).
    OpenRelay {
        /// The name it will have.
        relay: RelayId,
        /// What is wanted.
        request: RelayRequest,
    },
    /// Make a relay socket ready for datagrams: its session is about to get its first permission.
    /// Until then nothing is sent from there and whatever comes is dropped, which is all that most
    /// relayed addresses ever see: clients ask for one that they rarely need. What came meanwhile is
    /// counted with [`handle_early`](crate::Server::handle_early), not handed over. Never for one that
    /// relays TCP.
    PrepareRelay {
        /// Its name.
        relay: RelayId,
    },
    /// Close a relay socket and give its port back.
    CloseRelay {
        /// Its name, free for reuse from here on.
        relay: RelayId,
    },
    /// Close a client's TCP, TLS or DTLS connection and answer with
    /// [`handle_disconnected`](crate::Server::handle_disconnected).
    Disconnect {
        /// Whose.
        tuple: FiveTuple,
    },
    /// Connect from a TCP relay to a peer and answer with
    /// [`handle_peer_connected`](crate::Server::handle_peer_connected) or
    /// [`handle_peer_closed`](crate::Server::handle_peer_closed). Bytes that come before
    /// [`Output::Splice`] are kept, within a bound beyond which no more are read (RFC 6062 §5.2).
    ConnectPeer {
        /// The relay: its address is the local end.
        relay: RelayId,
        /// The name of the connection.
        link: LinkId,
        /// Where to. Already mapped to a private address where the peer was named by an external one.
        peer: SocketAddr,
    },
    /// Join a peer's connection with a client's, whose success response was transmitted before: raw
    /// bytes from here on, both ways, each admitted by
    /// [`handle_stream`](crate::Server::handle_stream). The client's connection is none of the
    /// core's any more; the pair ends with
    /// [`handle_peer_closed`](crate::Server::handle_peer_closed).
    Splice {
        /// The peer's.
        link: LinkId,
        /// The client's.
        tuple: FiveTuple,
    },
    /// Close a connection with a peer, and the client's that it is joined with; nothing is answered.
    ClosePeer {
        /// Its name, free for reuse from here on.
        link: LinkId,
    },
    /// Hand a client's connection or DTLS association to another worker as it is, and have that
    /// one's core told of it ([`handle_connected`](crate::Server::handle_connected)) and given the
    /// message. This core has forgotten it.
    HandOver {
        /// Whose.
        tuple: FiveTuple,
        /// To whom.
        worker: WorkerId,
        /// The frame that came last.
        message: Vec<u8>,
    },
    /// Have another worker's core do its part for a client that moved between workers, and answers
    /// it from its own socket of the same address.
    PassOn {
        /// Whose.
        tuple: FiveTuple,
        /// To whom.
        worker: WorkerId,
        /// What the client sent.
        message: Vec<u8>,
        /// What is to be done.
        errand: Errand,
    },
    /// Look a user up and answer with [`Command::Credential`]. Asked once per name; requests wait
    /// parked until the answer or a deadline.
    LookupCredential {
        /// The realm.
        realm: Realm,
        /// The full STUN USERNAME.
        username: Username,
    },
    /// Find the user with this USERHASH and answer with [`Command::Userhash`]. Asked once per hash;
    /// requests wait parked as above.
    LookupUserhash {
        /// The realm.
        realm: Realm,
        /// `SHA-256(username ":" realm)`.
        hash: Userhash,
    },
    /// Ask for a place among the sessions of all nodes and answer with [`Command::Place`]. Asked once
    /// per client; its request waits parked as above.
    ClaimPlace(Box<PlaceClaim>),
    /// Tell whoever keeps the books.
    Event(Event),
}

/// A session that is to be counted where those of all nodes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceClaim {
    /// Whose request waits.
    pub tuple: FiveTuple,
    /// The realm.
    pub realm: Realm,
    /// The user; an empty one counts for the realm only.
    pub user: Box<str>,
    /// Sessions of the user, if they are limited.
    pub per_user: Option<u32>,
    /// Sessions of the realm, if they are limited.
    pub per_realm: Option<u32>,
}

/// What an Allocate wants of its relay socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayRequest {
    /// The listener the request came to: picks the relay address where there are several.
    pub server: SocketAddr,
    /// What it is for; a socket that listens where it is TCP.
    pub transport: RelayTransport,
    /// The address family.
    pub family: AddressFamily,
    /// Which port.
    pub port: PortRequest,
}

/// EVEN-PORT and RESERVATION-TOKEN (RFC 8656 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortRequest {
    /// Any free port, drawn at random.
    Any,
    /// An even port.
    Even,
    /// An even port, and the next one kept for whoever presents the token.
    EvenReserveNext,
    /// The port kept under this token.
    Reserved(ReservationToken),
}

/// A relay socket that is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayOpened {
    /// The local address of the socket.
    pub local: SocketAddr,
    /// The address that peers see and the client is told (XOR-RELAYED-ADDRESS).
    pub external: SocketAddr,
    /// The token of the reserved next port, where one was asked for.
    pub reservation: Option<ReservationToken>,
}

/// Why no relay socket could be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// No port is free: 508.
    PortsExhausted,
    /// The token names no kept port: 508.
    UnknownToken,
    /// The node has no relay address of that family: 440.
    FamilyUnavailable,
    /// The system refused, for example for want of descriptors: 508.
    Failed,
}

/// Instructions from the control plane.
#[derive(Debug)]
pub enum Command {
    /// End a session now. Confirmed by [`Event::SessionEnded`].
    Kill {
        /// Which.
        session: SessionId,
        /// Why.
        cause: EndCause,
    },
    /// Judge everything by this policy from now on, running sessions included.
    SetPolicy(Arc<Policy>),
    /// The answer to [`Output::LookupCredential`], or news about a cached name.
    Credential {
        /// The realm.
        realm: Realm,
        /// The full STUN USERNAME.
        username: Username,
        /// What is known.
        answer: CredentialAnswer,
    },
    /// The answer to [`Output::LookupUserhash`].
    Userhash {
        /// The realm.
        realm: Realm,
        /// What was asked for.
        hash: Userhash,
        /// Whose it is.
        answer: UserhashAnswer,
    },
    /// The answer to [`Output::ClaimPlace`]. A place that is not used is given back.
    Place {
        /// What was asked.
        claim: Box<PlaceClaim>,
        /// What came of it.
        answer: PlaceAnswer,
    },
    /// Forget cached credentials: of one name, of a realm, or all.
    ForgetCredentials {
        /// Of this realm only.
        realm: Option<Realm>,
        /// Of this name only.
        username: Option<Username>,
    },
    /// Rate limits of users' own changed: their running sessions follow, other users are left as
    /// they are. `None`: the realm's rules hold.
    SetUserLimits(Arc<HashMap<(Realm, Username), Option<u64>>>),
    /// Emit a fresh [`Event::SessionChanged`] for one session.
    Describe {
        /// Which.
        session: SessionId,
    },
    /// Emit [`Event::Snapshot`]: the books were lost.
    Snapshot,
}

/// What happened, for the books of the control plane.
#[derive(Debug)]
pub enum Event {
    /// A session exists.
    SessionCreated(Box<SessionSnapshot>),
    /// A session was refreshed, or got a permission or channel; or was described on demand.
    SessionChanged(Box<SessionSnapshot>),
    /// A session is gone.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// Why.
        cause: EndCause,
        /// Its totals.
        counters: SessionCounters,
    },
    /// Once a second: the counters of every session that relayed or dropped something since the
    /// last report, and the server's own.
    Usage(Box<UsageReport>),
    /// The answer to [`Command::Snapshot`]: every session of this worker.
    Snapshot(Vec<SessionSnapshot>),
}

/// Refusals of one second that are equal but for their time and source port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why; says the code, too.
    pub reason: RefusalReason,
    /// The client, as of the last one. Its address is no forgery.
    pub client: SocketAddr,
    /// The realm.
    pub realm: Realm,
    /// The USERNAME; only a claim where it did not authenticate.
    pub username: Option<Username>,
    /// Its id part (may be empty) where it is time-limited, else the name itself.
    pub user: Option<Arc<str>>,
    /// The session of that 5-tuple, where there is one.
    pub session: Option<SessionId>,
    /// The peer that was asked for; port 0 where only its address was.
    pub peer: Option<SocketAddr>,
    /// When, the last time.
    pub at: Instant,
    /// How often.
    pub count: u64,
}

/// Everything the books need to know about a session.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSnapshot {
    /// The id.
    pub id: SessionId,
    /// The worker that owns it.
    pub worker: WorkerId,
    /// Client, listener, transport.
    pub tuple: FiveTuple,
    /// What its messages are protected with; the core does not know, its driver writes it in.
    pub security: Option<Security>,
    /// The realm it authenticated in.
    pub realm: Realm,
    /// The full STUN USERNAME.
    pub username: Username,
    /// The id part of a time-limited username (may be empty), else the name itself.
    pub user: Arc<str>,
    /// When a time-limited credential ends, in Unix seconds.
    pub credential_expiry: Option<u64>,
    /// Which shared secret signed it.
    pub secret_id: Option<Arc<str>>,
    /// Which key of its user it came with ([`UserCredential::key_id`]); 0: of no stored user.
    ///
    /// [`UserCredential::key_id`]: crate::auth::credential::UserCredential::key_id
    pub key_id: u32,
    /// What it relays with.
    pub relay_transport: RelayTransport,
    /// Its client may move (RFC 8016).
    pub is_mobile: bool,
    /// The local address of the relay socket.
    pub relay_local: SocketAddr,
    /// The relayed transport address as the client was told.
    pub relay_external: SocketAddr,
    /// The relayed address of the other family, in a dual allocation.
    pub second_relay: Option<Box<SecondRelay>>,
    /// When it was created.
    pub created: Instant,
    /// When it was created, in Unix seconds.
    pub created_unix: u64,
    /// When it expires unless refreshed: both halves of a dual allocation.
    pub expires: Instant,
    /// The lifetime granted last.
    pub lifetime: Duration,
    /// Bits per second and direction, where a limit of its own applies.
    pub max_rate_bps: Option<u64>,
    /// The same of all sessions of its user.
    pub max_user_rate_bps: Option<u64>,
    /// Permissions.
    pub permissions: Vec<PermissionSnapshot>,
    /// Channel bindings.
    pub channels: Vec<ChannelSnapshot>,
    /// Connections with peers (RFC 6062).
    pub links: Vec<LinkSnapshot>,
    /// Totals so far.
    pub counters: SessionCounters,
    /// What only a restore asks for; none of most sessions.
    pub details: Option<Box<RestoreDetails>>,
}

/// What TLS or DTLS agreed on, in OpenSSL's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Security {
    /// As in `TLSv1.3`.
    pub version: &'static str,
    /// As in `TLS_AES_256_GCM_SHA384`, or `UNKNOWN`.
    pub cipher: &'static str,
}

/// The second relayed transport address of a dual allocation (RFC 8656 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondRelay {
    /// The local address of the relay socket.
    pub local: SocketAddr,
    /// The relayed transport address as the client was told.
    pub external: SocketAddr,
    /// When it expires unless refreshed.
    pub expires: Instant,
}

/// A permission (RFC 8656 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermissionSnapshot {
    /// The peer's address.
    pub peer: IpAddr,
    /// The port last seen in either direction.
    pub last_port: Option<u16>,
    /// When it expires.
    pub expires: Instant,
    /// Payload bytes towards the peer.
    pub in_bytes: u64,
    /// Payload bytes from the peer.
    pub out_bytes: u64,
}

/// A channel binding (RFC 8656 §12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelSnapshot {
    /// The channel number.
    pub number: u16,
    /// The peer it is bound to, as the client named it.
    pub peer: SocketAddr,
    /// When it expires.
    pub expires: Instant,
}

/// A connection with a peer (RFC 6062).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSnapshot {
    /// The peer, as the client knows it.
    pub peer: SocketAddr,
    /// The peer made it, and not a Connect.
    pub incoming: bool,
    /// How far it has come.
    pub state: LinkState,
    /// The client's end of the data connection that it is joined with.
    pub client: Option<SocketAddr>,
    /// Bytes towards the peer.
    pub in_bytes: u64,
    /// Bytes from the peer.
    pub out_bytes: u64,
}

/// How far a connection with a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// The peer has not answered yet.
    Connecting,
    /// The client has not bound it yet.
    Pending,
    /// Joined with a connection of the client.
    Bound,
}

impl LinkState {
    /// The word used in the API and on screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Pending => "pending",
            Self::Bound => "bound",
        }
    }
}

/// What a session relayed and dropped. `in` comes from the client, `out` goes to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Packets relayed to peers.
    pub in_packets: u64,
    /// Payload bytes relayed to peers.
    pub in_bytes: u64,
    /// Packets relayed to the client.
    pub out_packets: u64,
    /// Payload bytes relayed to the client.
    pub out_bytes: u64,
    /// From the client: no permission or channel for that peer.
    pub drop_no_permission: u64,
    /// From a peer without permission.
    pub drop_unknown_peer: u64,
    /// The peer policy says no (it may have changed since the permission was given).
    pub drop_denied_peer: u64,
    /// Over the session's own rate limit, either direction.
    pub drop_over_rate: u64,
    /// Connections of permitted peers that were closed because there were too many.
    pub drop_connections: u64,
    /// To a client over TCP or TLS that read too slowly; counted as relayed, too.
    pub drop_slow_client: u64,
    /// Over that of its user.
    pub drop_over_user_rate: u64,
    /// Over that of its realm.
    pub drop_over_realm_rate: u64,
    /// Over that of the node.
    pub drop_over_node_rate: u64,
    /// Requests refused because their peers were too many new ones at once.
    pub refused_new_peers: u64,
    /// Peers that were permitted and were not before. A permission that expired is forgotten: its
    /// peer counts again.
    pub new_peers: u64,
}

impl SessionCounters {
    /// Dropped packets, all reasons.
    #[must_use]
    pub fn drops(&self) -> u64 {
        self.drop_no_permission
            + self.drop_unknown_peer
            + self.drop_denied_peer
            + self.drop_connections
            + self.drop_slow_client
            + self.throttled()
    }

    /// Packets dropped because a rate was exceeded, whosoever.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.drop_over_rate
            + self.drop_over_user_rate
            + self.drop_over_realm_rate
            + self.drop_over_node_rate
    }
}

/// One second of a worker's books.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageReport {
    /// Totals of each session that changed.
    pub sessions: Vec<(SessionId, SessionCounters)>,
    /// Totals of the server since its start.
    pub server: ServerCounters,
    /// Refusals since the start, by realm, reason and code (`None`: dropped silently).
    pub refusals: Vec<(Option<Realm>, RefusalReason, Option<u16>, u64)>,
    /// Refusals since the last report, one by one: a bounded number of them.
    pub refused: Vec<Refused>,
}
