//! Why a request is refused, and what the client is told: the only place that knows both.

use std::net::SocketAddr;

use crate::stun::error_code::ErrorCode;
use crate::stun::message::MalformedAttribute;
use crate::stun::{AttributeType, Message};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal => $code:expr,)*) => {
        /// Why a request was refused or a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RefusalReason {
            $($(#[$doc])* $name,)*
        }

        impl RefusalReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word used in counters, events and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// What the client is told; `None`: nothing.
            #[must_use]
            pub fn code(self) -> Option<ErrorCode> {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// The challenge to a request without integrity.
    NoCredentials = "no_credentials" => Some(ErrorCode::UNAUTHENTICATED),
    /// A request of a bare header: a challenge would be more than three times its size, and no
    /// client sends it.
    BareRequest = "bare_request" => Some(ErrorCode::BAD_REQUEST),
    /// Integrity without USERNAME, REALM or NONCE.
    IncompleteCredentials = "incomplete_credentials" => Some(ErrorCode::BAD_REQUEST),
    /// The nonce is too old, or was not made for this source.
    StaleNonce = "stale_nonce" => Some(ErrorCode::STALE_NONCE),
    /// PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS are not what the challenge offered: one is missing,
    /// or somebody on the path changed the list.
    PasswordAlgorithmMismatch = "password_algorithm_mismatch" => Some(ErrorCode::BAD_REQUEST),
    /// The listener does not serve that realm.
    WrongRealm = "wrong_realm" => Some(ErrorCode::UNAUTHENTICATED),
    /// The username is empty, too long or not UTF-8.
    InvalidUsername = "invalid_username" => Some(ErrorCode::UNAUTHENTICATED),
    /// Nobody has that name.
    UnknownUser = "unknown_user" => Some(ErrorCode::UNAUTHENTICATED),
    /// The integrity does not verify.
    WrongPassword = "wrong_password" => Some(ErrorCode::UNAUTHENTICATED),
    /// The user has no key of the algorithm that the client chose; setting the password again makes
    /// one of each.
    NoSuchKey = "no_such_key" => Some(ErrorCode::UNAUTHENTICATED),
    /// The time-limited credential has ended.
    CredentialExpired = "credential_expired" => Some(ErrorCode::UNAUTHENTICATED),
    /// The access token is none, or not one of that key for this server.
    TokenRefused = "token_refused" => Some(ErrorCode::UNAUTHENTICATED),
    /// The access token has ended, or is not good yet.
    TokenExpired = "token_expired" => Some(ErrorCode::UNAUTHENTICATED),
    /// The user is blocked.
    UserBlocked = "user_blocked" => Some(ErrorCode::FORBIDDEN),
    /// The client's network is banned.
    ClientBanned = "client_banned" => Some(ErrorCode::FORBIDDEN),
    /// The store did not answer.
    LookupUnavailable = "lookup_unavailable" => Some(ErrorCode::SERVER_ERROR),
    /// The store did not answer in time.
    LookupTimeout = "lookup_timeout" => Some(ErrorCode::SERVER_ERROR),
    /// Too many requests wait for the store.
    ParkingFull = "parking_full" => None,
    /// An attribute that must be understood is not.
    UnknownAttribute = "unknown_attribute" => Some(ErrorCode::UNKNOWN_ATTRIBUTE),
    /// An attribute that the method needs is missing.
    MissingAttribute = "missing_attribute" => Some(ErrorCode::BAD_REQUEST),
    /// An attribute has no legal value.
    MalformedAttribute = "malformed_attribute" => Some(ErrorCode::BAD_REQUEST),
    /// Attributes that exclude each other.
    ConflictingAttributes = "conflicting_attributes" => Some(ErrorCode::BAD_REQUEST),
    /// The 5-tuple has an allocation already.
    AllocationExists = "allocation_exists" => Some(ErrorCode::ALLOCATION_MISMATCH),
    /// The 5-tuple has no allocation.
    NoAllocation = "no_allocation" => Some(ErrorCode::ALLOCATION_MISMATCH),
    /// The allocation belongs to somebody else.
    WrongUser = "wrong_user" => Some(ErrorCode::WRONG_CREDENTIALS),
    /// REQUESTED-TRANSPORT is neither UDP nor, where that is on, TCP.
    UnsupportedTransport = "unsupported_transport" => Some(ErrorCode::UNSUPPORTED_TRANSPORT),
    /// No relay address of that family.
    FamilyNotSupported = "family_not_supported" => Some(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED),
    /// The address is not of the allocation's family.
    FamilyMismatch = "family_mismatch" => Some(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH),
    /// The peer policy says no.
    DeniedPeer = "denied_peer" => Some(ErrorCode::FORBIDDEN),
    /// The user has as many sessions as allowed.
    UserQuota = "user_quota" => Some(ErrorCode::ALLOCATION_QUOTA_REACHED),
    /// The realm has as many sessions as allowed.
    RealmQuota = "realm_quota" => Some(ErrorCode::ALLOCATION_QUOTA_REACHED),
    /// The source address has as many sessions as allowed.
    SourceQuota = "source_quota" => Some(ErrorCode::ALLOCATION_QUOTA_REACHED),
    /// The node has as many sessions as allowed.
    NodeQuota = "node_quota" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// The node takes no new allocations.
    NotAccepting = "not_accepting" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// The node is drained.
    Draining = "draining" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// The node cannot reach the store, and the realm wants no new sessions then.
    StoreAway = "store_away" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// No relay port is free.
    PortsExhausted = "ports_exhausted" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// RESERVATION-TOKEN names no kept port.
    UnknownReservation = "unknown_reservation" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// The relay socket could not be opened.
    RelayFailed = "relay_failed" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// As many permissions as a session may have.
    TooManyPermissions = "too_many_permissions" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// As many channels as a session may have.
    TooManyChannels = "too_many_channels" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// More new peers per second than the session, its user, its realm or the node may have.
    NewPeerRate = "new_peer_rate" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// The channel number is outside 0x4000 to 0x4FFF (0x7FFF where the node allows it).
    InvalidChannel = "invalid_channel" => Some(ErrorCode::BAD_REQUEST),
    /// The channel or the peer is bound to another partner.
    ChannelConflict = "channel_conflict" => Some(ErrorCode::BAD_REQUEST),
    /// TCP relaying is for clients that come by TCP or TLS.
    TcpOverDatagrams = "tcp_over_datagrams" => Some(ErrorCode::BAD_REQUEST),
    /// Connect on a UDP allocation.
    NoTcpAllocation = "no_tcp_allocation" => Some(ErrorCode::ALLOCATION_MISMATCH),
    /// A channel on a TCP allocation.
    NotForTcp = "not_for_tcp" => Some(ErrorCode::FORBIDDEN),
    /// The allocation has a connection with that peer, or one is being made.
    ConnectionExists = "connection_exists" => Some(ErrorCode::CONNECTION_ALREADY_EXISTS),
    /// The peer refused the connection, or cannot be reached.
    ConnectionFailed = "connection_failed" => Some(ErrorCode::CONNECTION_TIMEOUT_OR_FAILURE),
    /// The peer did not answer in time.
    ConnectionTimeout = "connection_timeout" => Some(ErrorCode::CONNECTION_TIMEOUT_OR_FAILURE),
    /// As many connections as a session, or as many unbound ones as a worker may have.
    TooManyConnections = "too_many_connections" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// CONNECTION-ID names no connection that waits.
    UnknownConnection = "unknown_connection" => Some(ErrorCode::BAD_REQUEST),
    /// CONNECTION-ID names a connection of another user's session.
    ConnectionOfAnother = "connection_of_another" => Some(ErrorCode::BAD_REQUEST),
    /// ConnectionBind on a connection that has an allocation.
    ControlConnection = "control_connection" => Some(ErrorCode::BAD_REQUEST),
    /// Mobility is off (RFC 8016 §3.1.2).
    MobilityForbidden = "mobility_forbidden" => Some(ErrorCode::MOBILITY_FORBIDDEN),
    /// A MOBILITY-TICKET that is none of ours, or used up, or where none belongs.
    InvalidTicket = "invalid_ticket" => Some(ErrorCode::BAD_REQUEST),
    /// A MOBILITY-TICKET from the address that the session is at.
    NotMoved = "not_moved" => Some(ErrorCode::BAD_REQUEST),
    /// As many clients moved between workers as there is room for.
    TooManyMoved = "too_many_moved" => Some(ErrorCode::INSUFFICIENT_CAPACITY),
    /// A response, a method in a class that it does not have, or one that is switched off: never answered.
    UnexpectedClass = "unexpected_class" => None,
    /// A datagram to a peer that has a permission and that the policy denies nevertheless.
    DeniedSend = "denied_send" => None,
    /// Datagrams over the rate limit of their session.
    SessionRate = "session_rate" => None,
    /// Datagrams over the rate limit of their user.
    UserRate = "user_rate" => None,
    /// Datagrams over the rate limit of their realm.
    RealmRate = "realm_rate" => None,
    /// Datagrams over the rate limit of the node.
    NodeRate = "node_rate" => None,
    /// An error that an unproven source was not sent, because it drew too many.
    SourceErrorLimit = "source_error_limit" => None,
    /// A Binding request of a source that sent too many.
    SourceBindingLimit = "source_binding_limit" => None,
}

impl RefusalReason {
    /// Whether REALM and a fresh NONCE go along.
    #[must_use]
    pub fn challenges(self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::UNAUTHENTICATED | ErrorCode::STALE_NONCE)
        )
    }

    /// Whether it is about datagrams, which nobody answers, and not about a request.
    #[must_use]
    pub fn is_datagram(self) -> bool {
        self == Self::DeniedSend
    }
}

/// A refusal on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) reason: RefusalReason,
    /// What was not understood: UNKNOWN-ATTRIBUTES.
    pub(crate) unknown: Vec<AttributeType>,
    /// The peer that it is about.
    pub(crate) peer: Option<SocketAddr>,
}

impl Rejection {
    /// A refusal that is about a peer.
    pub(crate) fn of_peer(reason: impl Into<Self>, peer: SocketAddr) -> Self {
        Self {
            peer: Some(peer),
            ..reason.into()
        }
    }

    /// The refusal of a message with comprehension-required attributes that we do not know, each
    /// listed once (RFC 8489 §6.3.1).
    pub(crate) fn unknown_attributes(message: &Message<'_>) -> Result<(), Self> {
        Self::unknown_attributes_but(message, &[])
    }

    /// The refusal of one attribute that is not expected here.
    pub(crate) fn unexpected(attribute: AttributeType) -> Self {
        Self {
            reason: RefusalReason::UnknownAttribute,
            unknown: vec![attribute],
            peer: None,
        }
    }

    /// As [`Self::unknown_attributes`], where these are understood too.
    pub(crate) fn unknown_attributes_but(
        message: &Message<'_>,
        understood: &[Option<AttributeType>],
    ) -> Result<(), Self> {
        let known = |kind| UNDERSTOOD.contains(&kind) || understood.contains(&Some(kind));
        let mut unknown: Vec<_> = message
            .attributes()
            .map(|(kind, _)| kind)
            .filter(|kind| kind.is_comprehension_required() && !known(*kind))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(Self {
            reason: RefusalReason::UnknownAttribute,
            unknown,
            peer: None,
        })
    }
}

impl From<RefusalReason> for Rejection {
    fn from(reason: RefusalReason) -> Self {
        Self {
            reason,
            unknown: Vec::new(),
            peer: None,
        }
    }
}

impl From<MalformedAttribute> for Rejection {
    fn from(_: MalformedAttribute) -> Self {
        RefusalReason::MalformedAttribute.into()
    }
}

/// The comprehension-required attributes that we understand, in whatever message.
const UNDERSTOOD: &[AttributeType] = &[
    AttributeType::MAPPED_ADDRESS,
    AttributeType::USERNAME,
    AttributeType::ERROR_CODE,
    AttributeType::UNKNOWN_ATTRIBUTES,
    AttributeType::CHANNEL_NUMBER,
    AttributeType::LIFETIME,
    AttributeType::CONNECTION_ID,
    AttributeType::XOR_PEER_ADDRESS,
    AttributeType::DATA,
    AttributeType::REALM,
    AttributeType::NONCE,
    AttributeType::XOR_RELAYED_ADDRESS,
    AttributeType::REQUESTED_ADDRESS_FAMILY,
    AttributeType::EVEN_PORT,
    AttributeType::REQUESTED_TRANSPORT,
    AttributeType::DONT_FRAGMENT,
    AttributeType::PASSWORD_ALGORITHM,
    AttributeType::USERHASH,
    AttributeType::XOR_MAPPED_ADDRESS,
    AttributeType::RESERVATION_TOKEN,
];
