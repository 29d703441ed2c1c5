//! The totals of a session in the memory that most sessions need.

use super::SessionCounters;

/// [`SessionCounters`] where many of them are kept: those that stay at 0 in almost every session
/// take memory only where they do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTally {
    /// Packets relayed to peers.
    pub in_packets: u64,
    /// Payload bytes relayed to peers.
    pub in_bytes: u64,
    /// Packets relayed to the client.
    pub out_packets: u64,
    /// Payload bytes relayed to the client.
    pub out_bytes: u64,
    /// Peers that were permitted and were not before.
    pub new_peers: u64,
    /// All others; those above are 0 here.
    rare: Option<Box<SessionCounters>>,
}

impl SessionTally {
    /// All of them.
    #[must_use]
    pub fn counters(&self) -> SessionCounters {
        SessionCounters {
            in_packets: self.in_packets,
            in_bytes: self.in_bytes,
            out_packets: self.out_packets,
            out_bytes: self.out_bytes,
            new_peers: self.new_peers,
            ..self.rare.as_deref().copied().unwrap_or_default()
        }
    }

    /// The counters that have no field here, to be counted up.
    pub(crate) fn rare(&mut self) -> &mut SessionCounters {
        self.rare.get_or_insert_default()
    }

    /// Dropped packets, all reasons.
    #[must_use]
    pub fn drops(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.drops())
    }

    /// Packets dropped because a rate was exceeded, whosoever.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.throttled())
    }
}

impl From<&SessionCounters> for SessionTally {
    fn from(counters: &SessionCounters) -> Self {
        let rare = SessionCounters {
            in_packets: 0,
            in_bytes: 0,
            out_packets: 0,
            out_bytes: 0,
            new_peers: 0,
            ..*counters
        };
        Self {
            in_packets: counters.in_packets,
            in_bytes: counters.in_bytes,
            out_packets: counters.out_packets,
            out_bytes: counters.out_bytes,
            new_peers: counters.new_peers,
            rare: (rare != SessionCounters::default()).then(|| Box::new(rare)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_zeros_take_no_memory() {
        let mut counters = SessionCounters {
            in_packets: 1,
            in_bytes: 2,
            out_packets: 3,
            out_bytes: 4,
            new_peers: 5,
            ..SessionCounters::default()
        };
        let tally = SessionTally::from(&counters);
        assert_eq!((tally.counters(), tally.rare.is_none()), (counters, true));
        counters.drop_no_permission = 6;
        counters.drop_over_node_rate = 7;
        counters.refused_new_peers = 8;
        let mut tally = SessionTally::from(&counters);
        assert_eq!(tally.counters(), counters);
        assert_eq!((tally.drops(), tally.throttled()), (13, 7));
        tally.rare().drop_no_permission += 1;
        assert_eq!(tally.drops(), 14);
    }
}
