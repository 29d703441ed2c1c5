//! What the books keep of a session besides what most walks look at, in little memory: there may be
//! a million of them. What most sessions do not have, or have in common, is not in each.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use shared::{RelayTransport, Transport, Username};
use turn_proto::server::{
    ChannelSnapshot, LinkSnapshot, PermissionSnapshot, RestoreDetails, SecondRelay, Security,
    SessionSnapshot, SessionTally,
};

/// The addresses of the node that sessions have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Home {
    server: SocketAddr,
    relay_local: IpAddr,
    relay_external: IpAddr,
}

/// The homes of all sessions: as many as the node has listeners, times its relay addresses.
#[derive(Debug, Default)]
pub(super) struct Homes(HashSet<Arc<Home>>);

impl Homes {
    fn of(&mut self, snapshot: &SessionSnapshot) -> Arc<Home> {
        let home = Home {
            server: snapshot.tuple.server,
            relay_local: snapshot.relay_local.ip(),
            relay_external: snapshot.relay_external.ip(),
        };
        if let Some(known) = self.0.get(&home) {
            return Arc::clone(known);
        }
        let home = Arc::new(home);
        self.0.insert(Arc::clone(&home));
        home
    }
}

/// What a worker said of a session last, but for what lies in the entry itself.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The full STUN USERNAME.
    pub username: Username,
    /// When it was created.
    pub created: Instant,
    /// When it expires unless refreshed.
    pub expires: Instant,
    /// Permissions.
    pub permissions: Box<[PermissionSnapshot]>,
    /// Channel bindings.
    pub channels: Box<[ChannelSnapshot]>,
    /// Totals, as of the worker's last report.
    pub tally: SessionTally,
    /// The lifetime granted last, in seconds.
    pub lifetime_secs: u32,
    /// Which key of its stored user it came with; 0: of none.
    pub key_id: u32,
    /// How the client's messages come.
    pub transport: Transport,
    /// What it relays with.
    pub relay_transport: RelayTransport,
    /// Its client may move.
    pub is_mobile: bool,
    local_port: u16,
    external_port: u16,
    home: Arc<Home>,
    rare: Option<Box<Rare>>,
}

/// What few sessions have.
#[derive(Debug, Default, PartialEq)]
struct Rare {
    credential_expiry: Option<u64>,
    secret_id: Option<Arc<str>>,
    second_relay: Option<SecondRelay>,
    max_rate_bps: Option<u64>,
    max_user_rate_bps: Option<u64>,
    links: Vec<LinkSnapshot>,
    security: Option<Security>,
    details: Option<Box<RestoreDetails>>,
}

impl Kept {
    /// What is kept of a snapshot.
    pub(super) fn new(snapshot: SessionSnapshot, homes: &mut Homes) -> Self {
        let home = homes.of(&snapshot);
        let rare = Rare {
            credential_expiry: snapshot.credential_expiry,
            secret_id: snapshot.secret_id,
            second_relay: snapshot.second_relay.map(|relay| *relay),
            max_rate_bps: snapshot.max_rate_bps,
            max_user_rate_bps: snapshot.max_user_rate_bps,
            links: snapshot.links,
            security: snapshot.security,
            details: snapshot.details,
        };
        Self {
            username: snapshot.username,
            created: snapshot.created,
            expires: snapshot.expires,
            permissions: snapshot.permissions.into_boxed_slice(),
            channels: snapshot.channels.into_boxed_slice(),
            tally: SessionTally::from(&snapshot.counters),
            lifetime_secs: u32::try_from(snapshot.lifetime.as_secs()).unwrap_or(u32::MAX),
            key_id: snapshot.key_id,
            transport: snapshot.tuple.transport,
            relay_transport: snapshot.relay_transport,
            is_mobile: snapshot.is_mobile,
            local_port: snapshot.relay_local.port(),
            external_port: snapshot.relay_external.port(),
            home,
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
        }
    }

    /// The listener that the client came to.
    pub(crate) fn server(&self) -> SocketAddr {
        self.home.server
    }

    /// The local address of the relay socket.
    pub(crate) fn relay_local(&self) -> SocketAddr {
        SocketAddr::new(self.home.relay_local, self.local_port)
    }

    /// The relayed transport address as the client was told.
    pub(crate) fn relay_external(&self) -> SocketAddr {
        SocketAddr::new(self.home.relay_external, self.external_port)
    }

    /// When a time-limited credential ends, in Unix seconds.
    pub(crate) fn credential_expiry(&self) -> Option<u64> {
        self.rare.as_ref()?.credential_expiry
    }

    /// Which shared secret signed the credential.
    pub(crate) fn secret_id(&self) -> Option<&str> {
        self.rare.as_ref()?.secret_id.as_deref()
    }

    /// The relayed address of the other family.
    pub(crate) fn second_relay(&self) -> Option<&SecondRelay> {
        self.rare.as_ref()?.second_relay.as_ref()
    }

    /// Bits per second and direction, where a limit of its own applies.
    pub(crate) fn max_rate_bps(&self) -> Option<u64> {
        self.rare.as_ref()?.max_rate_bps
    }

    /// The same of all sessions of its user.
    pub(crate) fn max_user_rate_bps(&self) -> Option<u64> {
        self.rare.as_ref()?.max_user_rate_bps
    }

    /// What only a restore asks for.
    pub(crate) fn details(&self) -> RestoreDetails {
        let rare = self.rare.as_ref();
        let details = rare.and_then(|rare| rare.details.as_deref());
        details.cloned().unwrap_or_default()
    }

    /// What TLS or DTLS agreed on.
    pub(crate) fn security(&self) -> Option<Security> {
        self.rare.as_ref()?.security
    }

    /// Connections with peers.
    pub(crate) fn links(&self) -> &[LinkSnapshot] {
        self.rare.as_ref().map_or(&[], |rare| &rare.links)
    }
}
