//! What coturn's statistics say, taken apart to the last character.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kit::subscriber::{Message, Subscriber};
use kit::wait::wait_for;

use super::SOON;

/// What a message says of which session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) realm: String,
    pub(super) user: String,
    pub(super) id: String,
    pub(super) said: Said,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Status {
        word: String,
        lifetime: u64,
        /// `type`, `ssl` and `cipher`.
        kind: [String; 3],
        /// `local` and `remote`.
        ends: [SocketAddr; 2],
    },
    Deleted,
    Traffic {
        /// Since the beginning.
        total: bool,
        /// On the side of the peers.
        peer: bool,
        /// `rcvp`, `rcvb`, `sentp`, `sentb`.
        numbers: [u64; 4],
    },
}

impl Said {
    /// Everything but numbers and addresses.
    pub(super) fn shape(&self) -> String {
        match self {
            Self::Status {
                word,
                lifetime,
                kind,
                ..
            } => format!("{word} {lifetime} {}", of_kind(kind)),
            Self::Deleted => "deleted".to_owned(),
            Self::Traffic { total, peer, .. } => format!("traffic total={total} peer={peer}"),
        }
    }
}

/// Type, method and cipher; of TLS only that these are what OpenSSL calls some: uclient draws which version it
/// offers at most.
pub(super) fn of_kind(kind: &[String; 3]) -> String {
    if kind[0] != "TLS/TCP" {
        return kind.join(" ");
    }
    let [_, version, cipher] = kind;
    let suites = [
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "CHACHA20-POLY1305",
    ];
    let is_known = match version.as_str() {
        "TLSv1.2" => suites
            .iter()
            .any(|suite| *cipher == format!("ECDHE-ECDSA-{suite}")),
        "TLSv1.3" => cipher.starts_with("TLS_") && !cipher.contains("WITH"),
        _ => false,
    };
    assert!(is_known, "{kind:?}");
    kind[0].clone()
}

/// The values of `name=value, name=value`, which must be these, in this order.
fn fields<const N: usize>(text: &str, names: [&str; N]) -> [String; N] {
    let mut parts = text.split(", ");
    let values = names.map(|name| {
        let part = parts.next().unwrap_or_else(|| panic!("no {name}: {text}"));
        let value = part
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='));
        value
            .unwrap_or_else(|| panic!("no {name}: {text}"))
            .to_owned()
    });
    assert_eq!(parts.next(), None, "{text}");
    values
}

#[track_caller]
fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

/// Takes a message apart, to the last character.
#[track_caller]
pub(super) fn read((channel, text): &Message) -> Heard {
    let rest = channel.strip_prefix("turn/realm/");
    let (realm, rest) = rest.and_then(|rest| rest.split_once('/')).expect(channel);
    let rest = rest.strip_prefix("user/").expect(channel);
    let (user, rest) = rest.rsplit_once("/allocation/").expect(channel);
    let (id, name) = rest.split_once('/').expect(channel);
    assert!(
        id.len() == 18 && id.bytes().all(|digit| digit.is_ascii_digit()),
        "{channel}"
    );
    let traffic = |total, peer| {
        let numbers = fields(text, ["rcvp", "rcvb", "sentp", "sentb"]);
        let numbers = numbers.map(|text| number(&text));
        Said::Traffic {
            total,
            peer,
            numbers,
        }
    };
    let said = match name {
        "status" if text == "deleted" => Said::Deleted,
        "status" => {
            let (word, rest) = text.split_once(' ').expect(text);
            let names = ["lifetime", "type", "local", "remote", "ssl", "cipher"];
            let [lifetime, kind, local, remote, ssl, cipher] = fields(rest, names);
            Said::Status {
                word: word.to_owned(),
                lifetime: number(&lifetime),
                kind: [kind, ssl, cipher],
                ends: [local, remote].map(|end| end.parse().unwrap_or_else(|_| panic!("{text}"))),
            }
        }
        "traffic" => traffic(false, false),
        "traffic/peer" => traffic(false, true),
        "total_traffic" => traffic(true, false),
        "total_traffic/peer" => traffic(true, true),
        _ => panic!("{channel}"),
    };
    Heard {
        realm: realm.to_owned(),
        user: user.to_owned(),
        id: id.to_owned(),
        said,
    }
}

/// What was said of each session, by its number.
pub(super) fn by_session(messages: &[Message]) -> BTreeMap<String, Vec<Heard>> {
    let mut sessions: BTreeMap<String, Vec<Heard>> = BTreeMap::new();
    for heard in messages.iter().map(read) {
        sessions.entry(heard.id.clone()).or_default().push(heard);
    }
    sessions
}

/// Waits until so many sessions have ended, and all of it was said.
pub(super) fn ended(subscriber: &Subscriber, count: usize) -> BTreeMap<String, Vec<Heard>> {
    wait_for("the end of all sessions", SOON, || {
        let sessions = by_session(&subscriber.messages());
        let total = |heard: &Heard| matches!(heard.said, Said::Traffic { total: true, .. });
        let whole = |of: &&Vec<Heard>| of.iter().filter(|heard| total(heard)).count() == 2;
        (sessions.values().filter(whole).count() == count).then_some(sessions)
    })
}

/// The story of a session: shapes in their order. How often traffic is told depends on when counters are
/// looked at, so that repetitions count as one.
pub(super) fn story(of: &[Heard]) -> Vec<String> {
    let mut story: Vec<String> = Vec::new();
    for heard in of {
        let shape = heard.said.shape();
        let again = shape.starts_with("traffic") && story.iter().rev().take(2).any(|s| *s == shape);
        if !again {
            story.push(shape);
        }
    }
    story
}

/// The sums of what was told of the traffic of one side, and the total.
pub(super) fn sums(of: &[Heard], side: bool) -> ([u64; 4], [u64; 4], usize) {
    let (mut sum, mut whole, mut told) = ([0; 4], [0; 4], 0);
    for heard in of {
        match &heard.said {
            Said::Traffic {
                total,
                peer,
                numbers,
            } if *peer == side => match total {
                true => whole = *numbers,
                false => {
                    told += 1;
                    for (sum, number) in sum.iter_mut().zip(numbers) {
                        *sum += number;
                    }
                }
            },
            _ => {}
        }
    }
    (sum, whole, told)
}
