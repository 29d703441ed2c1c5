//! What `ps` prints, as records.
//!
//! A record is a headline and indented lines, each with its own words; the order has changed between
//! releases and may again, so lines are known by their words, and those that are not known are skipped. A
//! record that lacks what a session needs is counted and left out.
//!
//! coturn prints a client's ORIGIN attribute as it came, line feeds included, ahead of what it says itself.
//! So a client can write lines of its own into its record. They stand before `started` and are at most
//! [`MAX_ORIGIN`] characters: what came before that line counts for nothing, and no record ends there.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use shared::Transport;

/// Peers that are kept of one session, as many as coturn permits it.
const MAX_PEERS: usize = 1024;

/// By this line a list is known to be whole.
const TOTAL: &str = "  Total sessions";
/// Sessions that are read of one list; one that is longer is not whole.
const MAX_RECORDS: usize = 1_000_000;
/// What stands before each line of a record.
const INDENT: &str = "      ";
/// What stands before a peer.
const PEER_INDENT: &str = "          ";
/// Characters that coturn keeps of a client's ORIGIN, and the line feed behind it.
const MAX_ORIGIN: usize = 128;
/// The longest time in seconds that is believed: a clock can be set forward by it.
const MAX_SECS: u64 = u32::MAX as u64;

/// Reads seconds; more than [`MAX_SECS`] are that many.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let secs: u64 = text.parse().ok()?;
    Some(secs.min(MAX_SECS))
}

/// A session as `ps` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// coturn's own number: unique in one process.
    pub id: u64,
    /// The STUN USERNAME.
    pub username: String,
    /// Empty where coturn asks for no credentials.
    pub realm: String,
    /// Seconds since it was created.
    pub age_secs: u64,
    /// Seconds until it expires; 0 when it has.
    pub ttl_secs: u64,
    /// Between client and coturn.
    pub transport: Transport,
    /// Whether it relays over TCP (RFC 6062).
    pub relays_tcp: bool,
    /// The client.
    pub client: SocketAddr,
    /// The listener.
    pub server: SocketAddr,
    /// Relayed transport addresses: one, or one of each family.
    pub relays: Vec<SocketAddr>,
    /// Its client may move (RFC 8016).
    pub is_mobile: bool,
    /// Its limit in bytes per second; 0: none.
    pub max_bytes_per_sec: u64,
    /// Totals of the client's side, as of coturn's last report.
    pub usage: Usage,
    /// Peers; the port is 0 where none is known.
    pub peers: Vec<(IpAddr, u16)>,
}

/// Totals of the client's side, STUN and its headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Packets from the client.
    pub in_packets: u64,
    /// Bytes from the client.
    pub in_bytes: u64,
    /// Packets to the client.
    pub out_packets: u64,
    /// Bytes to the client.
    pub out_bytes: u64,
}

impl Usage {
    /// Whether this may be what the other one became.
    pub(super) fn has(self, earlier: Self) -> bool {
        self == self.max(earlier)
    }

    /// The greater of each: totals never shrink.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            in_packets: self.in_packets.max(other.in_packets),
            in_bytes: self.in_bytes.max(other.in_bytes),
            out_packets: self.out_packets.max(other.out_packets),
            out_bytes: self.out_bytes.max(other.out_bytes),
        }
    }
}

/// A list, line by line.
#[derive(Debug, Default)]
pub(super) struct Listing {
    records: Vec<Record>,
    /// Numbers that were read.
    ids: HashSet<u64>,
    current: Option<Draft>,
    total: Option<u64>,
    headlines: u64,
}

/// A list that was read.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Its sessions.
    pub records: Vec<Record>,
    /// How many there are by coturn's own count.
    pub total: u64,
    /// How many coturn printed, readable or not: fewer than `total` where it cut the list.
    pub printed: u64,
}

impl Listed {
    /// Whether it has every session that coturn has.
    pub(super) fn is_whole(&self) -> bool {
        let read = self.records.len() as u64;
        read == self.printed && self.printed == self.total
    }
}

/// A record of which not all was read.
#[derive(Debug, Default)]
struct Draft {
    /// Nothing but headline and realm was read: an origin may follow.
    is_new: bool,
    /// Characters to come that may be the client's.
    foreign: usize,
    has_usage: bool,
    id: u64,
    username: String,
    realm: String,
    age_secs: u64,
    ttl_secs: u64,
    transport: Option<(Transport, bool)>,
    ends: Option<(SocketAddr, SocketAddr)>,
    relays: Vec<SocketAddr>,
    is_mobile: bool,
    max_bytes_per_sec: u64,
    usage: Usage,
    peers: Vec<(IpAddr, u16)>,
    lists_peers: bool,
}

impl Listing {
    /// Takes the next line; whether the list is whole with it.
    pub(super) fn line(&mut self, line: &str) -> bool {
        if self.current.as_ref().is_none_or(Draft::may_end) {
            if let Some(draft) = headline(line) {
                self.headlines += 1;
                self.close();
                self.current = Some(draft);
                return false;
            }
            if line.starts_with(TOTAL) {
                self.close();
                let number = line
                    .rsplit_once(": ")
                    .and_then(|(_, number)| number.trim().parse().ok());
                self.total = number.or(self.total);
                return true;
            }
        }
        if let Some(draft) = &mut self.current {
            draft.line(line);
        }
        false
    }

    /// Two of one number cannot both be right: the list does not count as whole then.
    fn close(&mut self) {
        let record = self.current.take().and_then(Draft::finish);
        let has_room = self.records.len() < MAX_RECORDS;
        let is_first = |record: &Record| has_room && self.ids.insert(record.id);
        self.records.extend(record.filter(is_first));
    }

    /// All that was read.
    pub(super) fn finish(mut self) -> Listed {
        self.close();
        Listed {
            total: self.total.unwrap_or(self.headlines),
            printed: self.headlines,
            records: self.records,
        }
    }
}

/// `    1) id=000000000000000001, user <alice>:`
fn headline(line: &str) -> Option<Draft> {
    let rest = line.strip_prefix("    ")?;
    let (ordinal, rest) = rest.split_once(") id=")?;
    ordinal.parse::<u64>().ok()?;
    let (id, rest) = rest.split_once(", user <")?;
    Some(Draft {
        id: id.parse().ok()?,
        username: rest.strip_suffix(">:")?.to_owned(),
        is_new: true,
        ..Draft::default()
    })
}

impl Draft {
    /// Whether coturn itself may have ended it: its own lines were read, and the client's are over.
    fn may_end(&self) -> bool {
        self.has_usage && self.foreign == 0
    }

    fn line(&mut self, line: &str) {
        self.foreign = self.foreign.saturating_sub(line.chars().count() + 1);
        let was_new = std::mem::take(&mut self.is_new);
        if self.lists_peers {
            let address = line.strip_prefix(PEER_INDENT);
            let peer = address.and_then(peer);
            if let Some(peer) = peer.filter(|_| self.peers.len() < MAX_PEERS) {
                self.peers.push(peer);
                return;
            }
            self.lists_peers = false;
        }
        let Some(line) = line.strip_prefix(INDENT) else {
            return;
        };
        let after = |label: &str| line.strip_prefix(label);
        if let Some(realm) = after("realm: ").filter(|_| was_new) {
            // Only the first line is coturn's word for sure.
            if self.realm.is_empty() {
                realm.clone_into(&mut self.realm);
                self.is_new = true;
            }
        } else if let Some(origin) = after("origin: ").filter(|_| was_new) {
            self.foreign = MAX_ORIGIN.saturating_sub(origin.chars().count() + 1);
        } else if let Some(rest) = after("started") {
            self.start_over();
            let secs = rest.trim_start().strip_suffix(" secs ago");
            self.age_secs = secs.and_then(seconds).unwrap_or(0);
        } else {
            self.detail(line);
        }
    }

    /// Forgets what was read before coturn's own lines.
    fn start_over(&mut self) {
        *self = Self {
            id: self.id,
            username: std::mem::take(&mut self.username),
            realm: std::mem::take(&mut self.realm),
            foreign: self.foreign,
            ..Self::default()
        };
    }

    /// A line behind `started`, without its indentation.
    fn detail(&mut self, line: &str) {
        let after = |label: &str| line.strip_prefix(label);
        if line == "peers:" {
            self.lists_peers = true;
        } else if let Some(secs) = after("expiring in ").and_then(|rest| rest.strip_suffix(" secs"))
        {
            self.ttl_secs = seconds(secs).unwrap_or(0);
        } else if let Some(rest) = after("client protocol ") {
            self.transport = transports(rest);
        } else if let Some(rest) = after("client addr ") {
            let ends = rest.split_once(", server addr ");
            self.ends = ends.and_then(|(client, server)| {
                Some((client.parse().ok()?, server.trim().parse().ok()?))
            });
        } else if let Some(relay) = after("relay addr ") {
            let relay: Option<SocketAddr> = relay.parse().ok();
            let relay = relay.filter(|_| self.relays.len() < 2);
            self.relays.extend(relay);
        } else if let Some(word) = after("mobile: ") {
            self.is_mobile = word == "ON";
        } else if let Some(rest) = after("Max throughput: ") {
            let number = rest.split(' ').next().unwrap_or_default();
            self.max_bytes_per_sec = number.parse().unwrap_or(0);
        } else if let Some(rest) = after("usage: ") {
            self.usage = usage(rest, ["rp", "rb", "sp", "sb"]).unwrap_or(self.usage);
            self.has_usage = true;
        }
    }

    fn finish(self) -> Option<Record> {
        let (transport, relays_tcp) = self.transport?;
        let (client, server) = self.ends?;
        Some(Record {
            id: self.id,
            username: self.username,
            realm: self.realm,
            age_secs: self.age_secs,
            ttl_secs: self.ttl_secs,
            transport,
            relays_tcp,
            client,
            server,
            relays: self.relays,
            is_mobile: self.is_mobile,
            max_bytes_per_sec: self.max_bytes_per_sec,
            usage: self.usage,
            peers: self.peers,
        })
    }
}

/// `TLS/TCP, relay protocol UDP`
fn transports(text: &str) -> Option<(Transport, bool)> {
    let (client, relay) = text.split_once(", relay protocol ")?;
    Some((transport(client)?, relay.trim() == "TCP"))
}

/// How a client comes, by coturn's word. SCTP is a stream as TCP is.
pub(super) fn transport(word: &str) -> Option<Transport> {
    Some(match word {
        "UDP" => Transport::Udp,
        "TCP" | "SCTP" => Transport::Tcp,
        "DTLS" | "DTLS/UDP" => Transport::Dtls,
        "TLS" | "TLS/TCP" | "TLS/SCTP" => Transport::Tls,
        _ => return None,
    })
}

/// An address with a port, or one without.
fn peer(text: &str) -> Option<(IpAddr, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((address.ip(), address.port()));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    Some((bare.parse().ok()?, 0))
}

/// Four numbers by name, as in `rp=1, rb=2, sp=3, sb=4`: packets and bytes from the client, packets and
/// bytes to it.
pub(super) fn usage(text: &str, names: [&str; 4]) -> Option<Usage> {
    let number = |name: &str| {
        let mut parts = text.split(',').map(str::trim);
        let value = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))?;
        value.parse::<u64>().ok()
    };
    Some(Usage {
        in_packets: number(names[0])?,
        in_bytes: number(names[1])?,
        out_packets: number(names[2])?,
        out_bytes: number(names[3])?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Recorded from the newest release that was at hand.
    const NEWER: &str = include_str!("transcripts/ps-4.18.0.txt");

    fn read(text: &str) -> Listed {
        let mut listing = Listing::default();
        text.lines().for_each(|line| {
            listing.line(line);
        });
        listing.finish()
    }

    #[test]
    fn a_list_of_4_6_1_is_read() {
        let listed = read(include_str!("transcripts/ps-4.6.1.txt"));
        assert_eq!(
            (listed.total, listed.printed, listed.records.len()),
            (3, 3, 3)
        );
        let first = &listed.records[0];
        assert_eq!(first.id, 1);
        assert_eq!(
            (first.username.as_str(), first.realm.as_str()),
            ("alice", "north.gov")
        );
        assert_eq!((first.transport, first.relays_tcp), (Transport::Udp, false));
        assert!(first.ttl_secs > 0 && first.ttl_secs <= 800, "{first:?}");
        assert_eq!(first.relays.len(), 1);
        assert!(!first.peers.is_empty(), "{first:?}");
    }

    /// The session of this user.
    fn of<'a>(listed: &'a Listed, user: &str) -> &'a Record {
        let mut found = listed.records.iter();
        let found = found.find(|record| record.username.ends_with(&format!(":{user}")));
        found.unwrap_or_else(|| panic!("{user}: {listed:?}"))
    }

    #[test]
    fn a_list_of_4_18_is_read() {
        let listed = read(NEWER);
        assert_eq!(
            (listed.total, listed.printed, listed.records.len()),
            (4, 3, 3)
        );
        let alice = of(&listed, "alice");
        assert_eq!((alice.transport, alice.is_mobile), (Transport::Udp, true));
        assert!(alice.usage.in_packets > 10_000 && alice.usage.out_bytes > 1_000_000);
        let tls = of(&listed, "bob");
        assert_eq!((tls.transport, tls.is_mobile), (Transport::Tls, false));
        assert_eq!(
            (tls.realm.as_str(), tls.max_bytes_per_sec),
            ("north.gov", 125_000)
        );
        assert!(tls.client.is_ipv6() && tls.server == "[::1]:15349".parse().unwrap());
        let families = [true, false].map(|is_v4| {
            let mut relays = tls.relays.iter();
            relays.any(|relay| relay.is_ipv4() == is_v4)
        });
        assert_eq!((tls.relays.len(), families), (2, [true, true]));
        let peers = [("127.0.0.9", 3481), ("127.0.0.9", 3480)];
        let peers = peers.map(|(ip, port)| (ip.parse().unwrap(), port));
        assert_eq!(tls.peers, peers);
        let tcp = of(&listed, "dave");
        assert_eq!((tcp.transport, tcp.relays_tcp), (Transport::Tcp, true));
        let ports: Vec<u16> = tcp.peers.iter().map(|(_, port)| *port).collect();
        assert!(
            ports.len() == 2 && ports[0] == 0 && ports[1] > 49_151,
            "{ports:?}"
        );
    }

    #[test]
    fn what_few_sessions_have_is_read() {
        let number = "usage: rp=5000000, rb=4000000000, sp=9000000, sb=9000000000";
        let text = with_line("started ", "      started: undefined time");
        let text = with_line_of(&text, "expiring in ", "      expired");
        let text = with_line_of(&text, "usage: ", &format!("      {number}"));
        let text = with_line_of(
            &text,
            "          127.0.0.9:3480",
            "          [2001:db8::9]:9",
        );
        let bob = of(&read(&text), "bob").clone();
        assert_eq!((bob.age_secs, bob.ttl_secs), (0, 0));
        assert_eq!(bob.usage.out_bytes, 9_000_000_000);
        assert_eq!(bob.peers[1], ("2001:db8::9".parse().unwrap(), 9));
    }

    #[test]
    fn what_is_cut_off_or_unknown_costs_that_record_only() {
        let broken = NEWER.replace("client protocol UDP", "client protocol QUIC");
        let listed = read(&broken);
        assert_eq!((listed.printed, listed.records.len()), (3, 2));
        assert_eq!(read("> ").records.len(), 0);
    }

    /// A list of 4.18 in which this line of bob's session is another one.
    fn with_line(start: &str, line: &str) -> String {
        with_line_of(NEWER, start, line)
    }

    fn with_line_of(text: &str, start: &str, line: &str) -> String {
        let from = text.find(":bob>").expect("bob has a session");
        let at = from + text[from..].find(start).expect("a line that begins so");
        let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = at + text[at..].find('\n').expect("a whole line");
        format!("{}{line}{}", &text[..begin], &text[end..])
    }

    /// A list of 4.18 in which bob's session has this origin.
    fn with_origin(origin: &str) -> String {
        assert!(origin.len() < MAX_ORIGIN);
        with_line("origin: ", &format!("      origin: {origin}"))
    }

    #[test]
    fn a_forged_origin_changes_nothing() {
        let honest = read(NEWER);
        let usage = "      usage: rp=1, rb=1, sp=1, sb=1";
        let started = "      started 1 secs ago\n";
        let longest = format!("x\n{started}      expired\n{usage}\n    9) id=7, user <alice>:");
        for origin in [
            "x\n    9) id=5, user <bob>:",
            "x\n    9) id=7, user <alice>:",
            "x\n  Total sessions: 0",
            "x\n  Total sessions: 0\n\n> ",
            "x\nrealm: other",
            "x\n      realm: other",
            "\n      realm: other\n      origin: y",
            "x\nrelay addr 9.9.9.9:1",
            "x\n      relay addr 9.9.9.9:1",
            "x\nexpiring in 9999999999999999999 secs",
            "x\n      expiring in 9999999999999999999 secs",
            "x\n      peers:\n          9.9.9.9",
            "x\n      mobile: OFF\n      Max throughput: 1 bytes per second",
            &format!("x\n{usage}\n    9) id=5, user <bob>:"),
            &format!("x\n{usage}\n  Total sessions: 0"),
            &format!("x\n{started}{usage}\n  Total sessions: 0\n"),
            &format!("x\n{started}{usage}\n    9) id=5, user <bob>:"),
            &longest,
        ] {
            let text = with_origin(origin);
            let listed = read(&text);
            assert_eq!(listed.records, honest.records, "{origin:?}");
            let counts = (listed.total, listed.printed);
            assert_eq!(counts, (honest.total, honest.printed), "{origin:?}");
            let mut listing = Listing::default();
            let ends = text.lines().filter(|line| listing.line(line));
            assert_eq!(ends.count(), 1, "{origin:?}");
        }
    }

    #[test]
    fn an_origin_names_no_realm_where_coturn_asks_for_no_credentials() {
        let text = with_origin("x\n      realm: other").replace("      realm: north.gov\n", "");
        let listed = read(&text);
        assert_eq!(listed.records.len(), 3);
        assert!(listed.records.iter().all(|record| record.realm.is_empty()));
    }

    #[test]
    fn a_list_with_one_number_twice_is_not_whole() {
        let text = include_str!("transcripts/ps-4.6.1.txt");
        assert!(read(text).is_whole());
        let twice = text.replace("id=001000000000000001", "id=000000000000000001");
        let listed = read(&twice);
        assert_eq!((listed.printed, listed.records.len()), (3, 2));
        assert!(!listed.is_whole());
    }

    proptest! {
        /// Whatever coturn keeps of an ORIGIN.
        #[test]
        fn no_origin_changes_anything(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "\n", "x", "> ", "  Total sessions: 0\n", "    9) id=7, user <alice>:\n",
                    "      realm: other\n", "      origin: y\n", "      started 1 secs ago\n",
                    "      usage: \n", "      expired\n", "      peers:\n", "          9.9.9.9\n",
                    "      started", "      relay addr 9.9.9.9:1\n",
                ]),
                0..40,
            )
        ) {
            let mut origin = parts.concat();
            origin.truncate(MAX_ORIGIN - 1);
            let listed = read(&with_origin(&origin));
            let honest = read(NEWER);
            prop_assert_eq!(listed.records, honest.records);
            prop_assert_eq!((listed.total, listed.printed), (honest.total, honest.printed));
        }

        #[test]
        fn garbage_breaks_nothing(lines: Vec<String>) {
            let mut listing = Listing::default();
            lines.iter().for_each(|line| {
                listing.line(line);
            });
            prop_assert!(listing.finish().records.len() <= lines.len());
        }

        #[test]
        fn a_list_with_changed_bytes_breaks_nothing(changes: Vec<(prop::sample::Index, char)>) {
            let mut text: Vec<char> = NEWER.chars().collect();
            for (at, to) in changes {
                let at = at.index(text.len());
                text[at] = to;
            }
            let text: String = text.into_iter().collect();
            let listed = read(&text);
            prop_assert!(listed.records.len() as u64 <= listed.printed);
        }
    }
}
