//! What the columns of a session hold, straight from its entry: a list looks at every session, so
//! nothing here allocates or looks names up.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use shared::filter::{SortKey, Value};
use shared::{NodeId, SessionId};

use super::entry::{Row, head_of};

/// A column of [`SESSION_COLUMNS`](shared::filter::SESSION_COLUMNS), found once per question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    /// The same for all sessions of this node; `None`: no value.
    Constant(Option<Value<'a>>),
    Id,
    User,
    Username,
    Realm,
    Worker,
    Transport,
    RelayTransport,
    Mobile,
    Client,
    Server,
    Relay,
    Peer,
    Peers,
    Rate,
    In,
    Out,
    Age,
    Ttl,
    InPackets,
    OutPackets,
    InBytes,
    OutBytes,
    Packets,
    Bytes,
    Drops,
    Throttled,
    NewPeers,
    MaxRate,
    Secret,
}

impl<'a> Field<'a> {
    /// The column called `name`, on this node.
    pub(super) fn new(
        name: &str,
        (node, software): (&'a NodeId, Option<&'a str>),
        labels: &'a BTreeMap<String, String>,
    ) -> Self {
        match name {
            "id" => Self::Id,
            "user" => Self::User,
            "username" => Self::Username,
            "realm" => Self::Realm,
            "node" => Self::Constant(Some(Value::Text(node.as_str()))),
            "software" => Self::Constant(software.map(Value::Text)),
            "worker" => Self::Worker,
            "transport" => Self::Transport,
            "relay_transport" => Self::RelayTransport,
            "mobile" => Self::Mobile,
            "client" => Self::Client,
            "server" => Self::Server,
            "relay" => Self::Relay,
            "peer" => Self::Peer,
            "peers" => Self::Peers,
            "rate" => Self::Rate,
            "in" => Self::In,
            "out" => Self::Out,
            "age" => Self::Age,
            "ttl" => Self::Ttl,
            "in_packets" => Self::InPackets,
            "out_packets" => Self::OutPackets,
            "in_bytes" => Self::InBytes,
            "out_bytes" => Self::OutBytes,
            "packets" => Self::Packets,
            "bytes" => Self::Bytes,
            "drops" => Self::Drops,
            "throttled" => Self::Throttled,
            "newpeers" => Self::NewPeers,
            "maxrate" => Self::MaxRate,
            "secret" => Self::Secret,
            "stale" => Self::Constant(Some(Value::Flag(false))),
            _ => {
                let label = name
                    .strip_prefix("label.")
                    .and_then(|name| labels.get(name));
                Self::Constant(label.map(|label| Value::Text(label)))
            }
        }
    }

    /// How much memory has to be fetched to look at it: what is cheap is looked at first.
    pub(super) fn cost(self) -> u8 {
        match self {
            Self::Constant(_) => 0,
            Self::Rate | Self::In | Self::Out | Self::Worker | Self::Client => 1,
            Self::Id | Self::Realm => 2,
            Self::User | Self::Secret | Self::Username => 4,
            Self::Peer => 5,
            _ => 3,
        }
    }
}

impl<'a> Row<'a> {
    /// Calls `visit` with each value of a column: none, one, or several.
    pub(super) fn values<'v>(&self, field: Field<'v>, visit: &mut dyn FnMut(Value<'_>))
    where
        'a: 'v,
    {
        if field == Field::Id {
            let digits = digits(self.id());
            return visit(Value::Text(
                std::str::from_utf8(&digits).unwrap_or_default(),
            ));
        }
        if field == Field::Peer {
            let kept = self.kept();
            let bound = kept.channels.iter();
            bound.for_each(|channel| visit(address(channel.peer)));
            let permitted = kept.permissions.iter();
            return permitted.for_each(|p| visit(Value::Address(p.peer, p.last_port)));
        }
        if let Some(value) = self.value(field) {
            visit(value);
        }
        if field == Field::Relay
            && let Some(second) = self.kept().second_relay()
        {
            visit(address(second.external));
        }
    }

    /// The one value of a column that has at most one.
    fn value<'v>(&self, field: Field<'v>) -> Option<Value<'v>>
    where
        'a: 'v,
    {
        // Looked at only where needed: each is elsewhere in memory.
        let kept = self.kept();
        let tally = &kept.tally;
        let number = match field {
            Field::Constant(value) => return value,
            Field::User => return Some(Value::Text(self.user())),
            Field::Username => return Some(Value::Text(kept.username.as_str())),
            Field::Realm => return Some(Value::Text(self.realm().as_str())),
            Field::Transport => return Some(Value::Text(kept.transport.as_str())),
            Field::RelayTransport => return Some(Value::Text(kept.relay_transport.as_str())),
            Field::Mobile => return Some(Value::Flag(kept.is_mobile)),
            Field::Client => return Some(address(self.entry.client)),
            Field::Server => return Some(address(kept.server())),
            Field::Relay => return Some(address(kept.relay_external())),
            Field::Secret => return kept.secret_id().map(Value::Text),
            Field::NewPeers => return Some(Value::Number(self.new_peers_per_sec())),
            Field::Id | Field::Peer => return None,
            Field::MaxRate => kept.max_rate_bps()?,
            Field::Worker => self.entry.worker.0.into(),
            Field::Peers => kept.permissions.len() as u64,
            Field::Rate => {
                let (inward, outward) = self.rates();
                inward.saturating_add(outward)
            }
            Field::In => self.rates().0,
            Field::Out => self.rates().1,
            Field::Age => self.age_secs(),
            Field::Ttl => self.ttl_secs(),
            Field::InPackets => tally.in_packets,
            Field::OutPackets => tally.out_packets,
            Field::InBytes => tally.in_bytes,
            Field::OutBytes => tally.out_bytes,
            Field::Packets => tally.in_packets.saturating_add(tally.out_packets),
            Field::Bytes => tally.in_bytes.saturating_add(tally.out_bytes),
            Field::Drops => tally.drops(),
            Field::Throttled => tally.throttled(),
        };
        Some(Value::Number(number as f64))
    }

    /// What the row is ordered by. Age is replaced by the start, so that it stands still.
    pub(super) fn key<'v>(&self, field: Field<'v>) -> Key<'v>
    where
        'a: 'v,
    {
        let value = match field {
            Field::Id => return Key::Id(self.id()),
            Field::User => return Key::Headed(self.entry.user_head, self.user()),
            Field::Age => {
                let started = self.entry.created_unix.saturating_mul(1000);
                return Key::Number(-(started as f64));
            }
            Field::Peer => {
                let kept = self.kept();
                let bound = kept.channels.first().map(|c| address(c.peer));
                let permitted = kept.permissions.first();
                bound.or_else(|| permitted.map(|p| Value::Address(p.peer, p.last_port)))
            }
            field => self.value(field),
        };
        value.map_or(Key::Missing, Key::from)
    }
}

fn address(address: SocketAddr) -> Value<'static> {
    Value::Address(address.ip(), Some(address.port()))
}

/// An id as it is printed.
fn digits(id: SessionId) -> [u8; 16] {
    let mut digits = [0; 16];
    for (place, digit) in digits.iter_mut().enumerate() {
        let nibble = (id.0 >> (60 - 4 * place)) as usize & 15;
        *digit = b"0123456789abcdef"[nibble];
    }
    digits
}

/// A [`SortKey`] that borrows its text, and an id that is not printed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'a> {
    Missing,
    Number(f64),
    /// Orders like its digits.
    Id(SessionId),
    Text(&'a str),
    /// A text with its [`head_of`].
    Headed(u64, &'a str),
    Address(IpAddr, u16),
}

impl Key<'_> {
    /// The same order as that of [`SortKey`].
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Id(a), Self::Id(b)) => a.cmp(b),
            (Self::Headed(a, one), Self::Headed(b, other)) => a.cmp(b).then_with(|| one.cmp(other)),
            (Self::Text(a) | Self::Headed(_, a), Self::Text(b) | Self::Headed(_, b)) => a.cmp(b),
            (Self::Address(a, p), Self::Address(b, q)) => (a, p).cmp(&(b, q)),
            (Self::Id(a), Self::Text(b) | Self::Headed(_, b)) => {
                digits(*a).as_slice().cmp(b.as_bytes())
            }
            (Self::Text(a) | Self::Headed(_, a), Self::Id(b)) => {
                a.as_bytes().cmp(digits(*b).as_slice())
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Number(_) => 1,
            Self::Id(_) | Self::Text(_) | Self::Headed(..) => 2,
            Self::Address(..) => 3,
        }
    }

    /// The key as it travels.
    pub(super) fn owned(&self) -> SortKey {
        match *self {
            Self::Missing => SortKey::Missing,
            Self::Number(number) => SortKey::Number(number),
            Self::Id(id) => SortKey::Text(id.to_string()),
            Self::Text(text) | Self::Headed(_, text) => SortKey::Text(text.to_owned()),
            Self::Address(ip, port) => SortKey::Address(ip, port),
        }
    }
}

impl<'a> From<Value<'a>> for Key<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Number(number) => Self::Number(number),
            Value::Address(ip, port) => Self::Address(ip, port.unwrap_or(0)),
            Value::Flag(flag) => Self::Number(f64::from(u8::from(flag))),
        }
    }
}

impl<'a> From<&'a SortKey> for Key<'a> {
    fn from(key: &'a SortKey) -> Self {
        match key {
            SortKey::Missing => Self::Missing,
            SortKey::Number(number) => Self::Number(*number),
            SortKey::Text(text) => Self::Headed(head_of(text), text),
            SortKey::Address(ip, port) => Self::Address(*ip, *port),
        }
    }
}
