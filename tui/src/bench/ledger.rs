//! The books of a run: which packets came, whether they were ours, whole, where they belong, once
//! and in order.

use super::histogram::Histogram;
use super::stamp::{LEAST, Pattern, Read, Way};

/// Packets of one flow that are told apart at least, behind the newest.
const LEAST_KEPT: usize = 1024;

/// What happened to the packets of one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Packets that left.
    pub(super) sent: u64,
    /// Packets that came, each counted once.
    pub(super) received: u64,
    /// Packets that came where they do not belong.
    pub(super) misrouted: u64,
    /// Packets that are not as they were sent.
    pub(super) corrupted: u64,
    /// Packets that came again.
    pub(super) duplicated: u64,
    /// Packets that came behind one that was sent later.
    pub(super) reordered: u64,
}

impl Tally {
    /// Packets that came nowhere at all.
    pub(super) fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.arrived())
    }

    /// Packets that came somewhere, whatever became of them.
    pub(super) fn arrived(&self) -> u64 {
        self.received + self.misrouted + self.corrupted
    }
}

/// What of one flow came: the newest number, and which of those before.
#[derive(Debug)]
struct Seen {
    newest: Vec<u32>,
    /// A ring of bits per flow.
    bits: Vec<u64>,
    words: usize,
}

/// What one number is.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    Next,
    Late,
    Again,
}

impl Seen {
    fn new(flows: usize, kept: usize) -> Self {
        let words = kept.max(LEAST_KEPT).div_ceil(64);
        Self {
            newest: vec![0; flows],
            bits: vec![0; flows * words],
            words,
        }
    }

    fn note(&mut self, flow: usize, sequence: u32) -> Order {
        let ring = &mut self.bits[flow * self.words..][..self.words];
        let span = (self.words * 64) as u32;
        let newest = self.newest[flow];
        let place = |number: u32| ((number % span) as usize / 64, 1 << (number % 64));
        let (word, bit) = place(sequence);
        if sequence > newest {
            // What was skipped has not come yet; the places are those of much older ones.
            for skipped in (newest + 1..sequence).take(span as usize) {
                let (word, bit) = place(skipped);
                ring[word] &= !bit;
            }
            ring[word] |= bit;
            self.newest[flow] = sequence;
            return Order::Next;
        }
        // What is too old to tell is taken for the worse: nothing stays on its way so long.
        if newest - sequence >= span || ring[word] & bit != 0 {
            return Order::Again;
        }
        ring[word] |= bit;
        Order::Late
    }
}

/// Counts what comes.
#[derive(Debug)]
pub(super) struct Ledger {
    pattern: Pattern,
    size: usize,
    tallies: [Tally; 2],
    seen: [Seen; 2],
    /// Times on the way, in tenths of a microsecond.
    pub(super) latency: Histogram,
}

/// Where a packet came out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The flow that comes out there; `None`: no flow does.
    pub(super) flow: Option<u16>,
    /// The books in which it is counted: the last part of its way.
    pub(super) way: Way,
    /// What its stamp must say: another way where it was sent back.
    pub(super) stamped: Way,
}

impl Ledger {
    /// For so many flows, payloads of `size` bytes, and at most `window` packets on their way at once.
    pub(super) fn new(flows: usize, size: usize, window: usize) -> Self {
        let seen = || Seen::new(flows, window * 2);
        Self {
            pattern: Pattern::new(size),
            size,
            tallies: [Tally::default(); 2],
            seen: [seen(), seen()],
            latency: Histogram::new(),
        }
    }

    /// What the payloads are made of.
    pub(super) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// The count of one way.
    pub(super) fn tally(&self, way: Way) -> &Tally {
        &self.tallies[way.index()]
    }

    /// Counts packets that leave.
    pub(super) fn sent(&mut self, way: Way, packets: u64) {
        self.tallies[way.index()].sent += packets;
    }

    /// Counts a packet, and answers whether it was a good one. `now` is in tenths of a microsecond;
    /// `None` leaves its time out.
    pub(super) fn arrived(&mut self, at: Arrival, payload: &[u8], now: Option<u32>) -> bool {
        if at.flow.is_none() && !self.pattern.is_ours(payload, self.size) {
            // Somebody else's, who found the port.
            return false;
        }
        let tally = &mut self.tallies[at.way.index()];
        if self.size < LEAST {
            // Nothing but length and place can be told.
            let whole = payload.len() == self.size;
            let counter = match (at.flow, whole) {
                (None, _) => &mut tally.misrouted,
                (_, false) => &mut tally.corrupted,
                _ => &mut tally.received,
            };
            *counter += 1;
            return at.flow.is_some() && whole;
        }
        let Read::Whole(stamp) = self.pattern.read(payload, self.size) else {
            tally.corrupted += 1;
            return false;
        };
        if at.flow != Some(stamp.flow) || stamp.way != at.stamped {
            tally.misrouted += 1;
            return false;
        }
        match self.seen[at.way.index()].note(usize::from(stamp.flow), stamp.sequence) {
            Order::Again => {
                tally.duplicated += 1;
                return false;
            }
            Order::Late => tally.reordered += 1,
            Order::Next => {}
        }
        tally.received += 1;
        if let Some(now) = now.filter(|_| Pattern::tells_time(self.size)) {
            self.latency.record(now.wrapping_sub(stamp.time));
        }
        true
    }

    /// Counts what came to a place where nothing of the kind belongs.
    pub(super) fn strange(&mut self, way: Way) {
        self.tallies[way.index()].misrouted += 1;
    }

    /// Begins to count anew; numbers go on.
    pub(super) fn clear(&mut self) {
        self.tallies = [Tally::default(); 2];
        self.latency.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::stamp::Stamp;
    use super::*;

    fn packet(ledger: &Ledger, flow: u16, way: Way, sequence: u32) -> Vec<u8> {
        let mut payload = vec![0; ledger.size];
        let stamp = Stamp {
            flow,
            way,
            sequence,
            time: 100,
        };
        ledger.pattern().write(&mut payload, stamp);
        payload
    }

    fn at(flow: Option<u16>) -> Arrival {
        Arrival {
            flow,
            way: Way::Up,
            stamped: Way::Up,
        }
    }

    #[test]
    fn good_packets_count_once_with_their_time() {
        let mut ledger = Ledger::new(3, 160, 128);
        ledger.sent(Way::Up, 4);
        for sequence in 1..=3 {
            let payload = packet(&ledger, 2, Way::Up, sequence);
            assert!(ledger.arrived(at(Some(2)), &payload, Some(150)));
        }
        let expected = Tally {
            sent: 4,
            received: 3,
            ..Tally::default()
        };
        assert_eq!(*ledger.tally(Way::Up), expected);
        assert_eq!(ledger.tally(Way::Up).lost(), 1);
        assert_eq!(*ledger.tally(Way::Down), Tally::default());
        assert!((ledger.latency.quantile(0.5).unwrap() - 50.0).abs() < 1.0);
    }

    #[test]
    fn what_comes_elsewhere_broken_or_twice_is_counted_as_that() {
        let mut ledger = Ledger::new(3, 160, 128);
        ledger.sent(Way::Up, 5);
        let mut payload = packet(&ledger, 1, Way::Up, 1);
        for place in [Some(0), None] {
            assert!(!ledger.arrived(at(place), &payload, None));
        }
        assert!(!ledger.arrived(at(None), b"a stranger's", None));
        let down = packet(&ledger, 1, Way::Down, 1);
        assert!(!ledger.arrived(at(Some(1)), &down, None));
        assert!(ledger.arrived(at(Some(1)), &payload, None));
        assert!(!ledger.arrived(at(Some(1)), &payload, None));
        payload[159] ^= 1;
        assert!(!ledger.arrived(at(Some(1)), &payload, None));
        assert!(!ledger.arrived(at(Some(1)), &payload[..100], None));
        let tally = *ledger.tally(Way::Up);
        let found = (tally.misrouted, tally.corrupted, tally.duplicated);
        assert_eq!((found, tally.received, tally.lost()), ((3, 2, 1), 1, 0));
    }

    #[test]
    fn order_is_that_within_a_flow() {
        let mut ledger = Ledger::new(2, 16, 10);
        for (flow, sequence) in [(0, 2), (1, 1), (0, 1), (0, 3), (1, 2)] {
            let payload = packet(&ledger, flow, Way::Up, sequence);
            assert!(ledger.arrived(at(Some(flow)), &payload, None));
        }
        assert_eq!(ledger.tally(Way::Up).reordered, 1);
        assert_eq!(ledger.tally(Way::Up).received, 5);
    }

    #[test]
    fn numbers_are_told_apart_around_the_ring() {
        let mut seen = Seen::new(1, 0);
        let span = LEAST_KEPT as u32;
        for sequence in 1..=3 * span {
            assert_eq!(seen.note(0, sequence), Order::Next);
            assert_eq!(seen.note(0, sequence), Order::Again);
        }
        // A gap longer than the ring leaves nothing of what was there.
        let far = 10 * span;
        assert_eq!(seen.note(0, far), Order::Next);
        for sequence in far - span + 1..far {
            assert_eq!(seen.note(0, sequence), Order::Late, "{sequence}");
            assert_eq!(seen.note(0, sequence), Order::Again, "{sequence}");
        }
        assert_eq!(seen.note(0, far - span), Order::Again);
    }

    #[test]
    fn payloads_without_room_for_a_stamp_are_counted_by_length_and_place() {
        let mut ledger = Ledger::new(1, 4, 10);
        assert!(ledger.arrived(at(Some(0)), &[1; 4], None));
        assert!(!ledger.arrived(at(Some(0)), &[1; 3], None));
        let ours = packet(&ledger, 0, Way::Up, 1);
        assert!(!ledger.arrived(at(None), &ours, None));
        assert!(!ledger.arrived(at(None), &[1; 4], None));
        let tally = ledger.tally(Way::Up);
        assert_eq!(
            (tally.received, tally.corrupted, tally.misrouted),
            (1, 1, 1)
        );
    }
}
