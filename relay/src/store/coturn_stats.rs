//! The channels on which coturn tells of its sessions (its `redis-statsdb`): what they are called and
//! what they name.

/// What to subscribe to: sessions of realms, and those of a coturn that has none.
pub(crate) const PATTERNS: [&str; 2] = [
    "turn/realm/*/user/*/allocation/*",
    "turn/user/*/allocation/*",
];

/// A channel, for tests.
#[cfg(test)]
pub(crate) const SAMPLE: &str =
    "turn/realm/north.gov/user/alice/allocation/000000000000000002/status";

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatsKind {
    /// It began, was refreshed, or ended.
    Status,
    /// The client's side since the last message of this kind.
    Traffic,
    /// The client's side in all, at the end.
    TotalTraffic,
}

/// Whose session a channel is about, and what a message on it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatsChannel<'a> {
    /// Empty where coturn asks for no credentials.
    pub realm: &'a str,
    /// The STUN USERNAME.
    pub username: &'a str,
    /// coturn's number of the session.
    pub id: u64,
    /// What is said.
    pub kind: StatsKind,
}

impl<'a> StatsChannel<'a> {
    /// Takes a channel's name apart; `None`: it is none of these, or says what nobody here asks for (the
    /// peers' side).
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (whose, what) = name.rsplit_once("/allocation/")?;
        let (id, kind) = what.split_once('/')?;
        let kind = match kind {
            "status" => StatsKind::Status,
            "traffic" => StatsKind::Traffic,
            "total_traffic" => StatsKind::TotalTraffic,
            _ => return None,
        };
        let whose = whose.strip_prefix("turn/")?;
        let (realm, username) = match whose.strip_prefix("realm/") {
            // A realm has no slash; a name may have any.
            Some(rest) => rest.split_once("/user/")?,
            None => ("", whose.strip_prefix("user/")?),
        };
        Some(Self {
            realm,
            username,
            id: id.parse().ok()?,
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn channels_name_a_session() {
        let name = "turn/realm/north.gov/user/17:a/b/allocation/001000000000000002/status";
        let channel = StatsChannel::parse(name).unwrap();
        assert_eq!((channel.realm, channel.username), ("north.gov", "17:a/b"));
        assert_eq!(
            (channel.id, channel.kind),
            (1_000_000_000_000_002, StatsKind::Status)
        );
        let name = "turn/user//allocation/000000000000000003/total_traffic";
        let channel = StatsChannel::parse(name).unwrap();
        assert_eq!((channel.realm, channel.username, channel.id), ("", "", 3));
        for other in [
            "turn/realm/r/user/u/allocation/1/traffic/peer",
            "turn/realm/r/user/u/key",
            "turn/realm/r/user/u/allocation/x/status",
        ] {
            assert_eq!(StatsChannel::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn garbage_breaks_nothing(name: String) {
            let _ = StatsChannel::parse(&format!("turn/realm/{name}/allocation/1/status"));
            let _ = StatsChannel::parse(&name);
        }
    }
}
