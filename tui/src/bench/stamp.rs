//! What every measured packet carries, so that its receiver can tell whose it is, whether it is
//! whole, and how long it took.
//!
//! A stamp is 12 bytes, or 16 with the time; what is behind it is a piece of one fixed pattern, which
//! piece depends on flow and number. So a packet whose head and tail come from two packets is found.

/// Bytes of a stamp without time: the least payload that can be told apart.
pub(super) const LEAST: usize = 12;
/// Bytes of a stamp with the time.
const WITH_TIME: usize = 16;
/// The first byte.
const MAGIC: u8 = 0xb5;
/// Pieces of the pattern begin at one of so many places.
const PLACES: usize = 4096;
/// The longest payload, in bytes: what `turn-udp` takes, less the header of a Data indication.
pub(super) const MOST: usize = 16 * 1024;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From a client to its peer.
    Up,
    /// From a peer to its client.
    Down,
}

impl Way {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Up, Self::Down];

    /// Its place in tables of two.
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// Who a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The session that it belongs to, counted from 0.
    pub(super) flow: u16,
    /// Where it was sent to.
    pub(super) way: Way,
    /// Its number within flow and way, counted from 1.
    pub(super) sequence: u32,
    /// When it was sent, in tenths of a microsecond, wrapping; 0 where the payload has no room.
    pub(super) time: u32,
}

/// What a payload turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// One of ours, as it was sent.
    Whole(Stamp),
    /// Not as anything that we send.
    Broken,
}

/// The bytes behind the stamps.
#[derive(Debug)]
pub(super) struct Pattern(Box<[u8]>);

impl Pattern {
    /// For payloads of at most `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(PLACES + size + 8);
        while bytes.len() < PLACES + size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        Self(bytes.into_boxed_slice())
    }

    fn piece(&self, flow: u16, sequence: u32, len: usize) -> &[u8] {
        let place = u32::from(flow).wrapping_mul(0x9e37_79b1) ^ sequence.wrapping_mul(0x85eb_ca6b);
        &self.0[place as usize % PLACES..][..len]
    }

    /// Fills a payload. One of fewer than [`LEAST`] bytes has no stamp.
    pub(super) fn write(&self, payload: &mut [u8], stamp: Stamp) {
        let len = payload.len();
        if len < LEAST {
            payload.fill(MAGIC);
            return;
        }
        payload[0] = MAGIC;
        payload[1] = stamp.way as u8;
        payload[2..4].copy_from_slice(&stamp.flow.to_le_bytes());
        payload[4..8].copy_from_slice(&stamp.sequence.to_le_bytes());
        let mut time = 0;
        let mut filled = LEAST;
        if len >= WITH_TIME {
            time = stamp.time;
            payload[LEAST..WITH_TIME].copy_from_slice(&time.to_le_bytes());
            filled = WITH_TIME;
        }
        let sum = checksum(&payload[..8], time, len);
        payload[8..LEAST].copy_from_slice(&sum.to_le_bytes());
        payload[filled..].copy_from_slice(self.piece(stamp.flow, stamp.sequence, len - filled));
    }

    /// Reads a payload that should be `size` bytes long, at least [`LEAST`].
    pub(super) fn read(&self, payload: &[u8], size: usize) -> Read {
        let Some((head, rest)) = payload.split_first_chunk::<LEAST>() else {
            return Read::Broken;
        };
        if payload.len() != size {
            return Read::Broken;
        }
        let &[magic, way, f0, f1, s0, s1, s2, s3, c0, c1, c2, c3] = head;
        let (time, tail) = match rest.split_first_chunk() {
            Some((time, tail)) => (u32::from_le_bytes(*time), tail),
            None => (0, rest),
        };
        let way = match (magic, way) {
            (MAGIC, 0) => Way::Up,
            (MAGIC, 1) => Way::Down,
            _ => return Read::Broken,
        };
        let stamp = Stamp {
            flow: u16::from_le_bytes([f0, f1]),
            way,
            sequence: u32::from_le_bytes([s0, s1, s2, s3]),
            time,
        };
        let sum = checksum(&head[..8], time, payload.len());
        if sum != u32::from_le_bytes([c0, c1, c2, c3])
            || tail != self.piece(stamp.flow, stamp.sequence, tail.len())
        {
            return Read::Broken;
        }
        Read::Whole(stamp)
    }

    /// Whether a payload is as we send them, wherever it came from.
    pub(super) fn is_ours(&self, payload: &[u8], size: usize) -> bool {
        match size {
            0 => false,
            1..LEAST => payload.len() == size && payload.iter().all(|byte| *byte == MAGIC),
            _ => self.read(payload, size) != Read::Broken,
        }
    }

    /// The flow that a payload names, unproven.
    pub(super) fn flow_of(payload: &[u8]) -> Option<u16> {
        let head = payload.first_chunk::<LEAST>()?;
        Some(u16::from_le_bytes([head[2], head[3]]))
    }

    /// Whether a payload of `size` bytes says when it was sent.
    pub(super) fn tells_time(size: usize) -> bool {
        size >= WITH_TIME
    }
}

/// Over the head of a stamp, its time and the length of the payload.
fn checksum(head: &[u8], time: u32, len: usize) -> u32 {
    let mut word = [0; 8];
    word.copy_from_slice(head);
    let mut sum = u64::from_le_bytes(word) ^ 0x51_7c_c1_b7_27_22_0a_95;
    for more in [u64::from(time), len as u64] {
        sum = (sum.rotate_left(23) ^ more).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (sum >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 8] = [12, 13, 15, 16, 17, 160, 1200, MOST];

    fn stamp(flow: u16, sequence: u32) -> Stamp {
        Stamp {
            flow,
            way: Way::Down,
            sequence,
            time: 4711,
        }
    }

    #[test]
    fn a_payload_says_who_it_is_and_how_late() {
        let pattern = Pattern::new(MOST);
        for size in SIZES {
            let mut payload = vec![0; size];
            let sent = stamp(300, 70_000);
            pattern.write(&mut payload, sent);
            let time = if Pattern::tells_time(size) { 4711 } else { 0 };
            let expected = Read::Whole(Stamp { time, ..sent });
            assert_eq!(pattern.read(&payload, size), expected, "{size}");
        }
    }

    #[test]
    fn every_changed_bit_is_found() {
        let pattern = Pattern::new(200);
        for size in [12, 16, 160] {
            let mut payload = vec![0; size];
            pattern.write(&mut payload, stamp(7, 8));
            for bit in 0..size * 8 {
                payload[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(pattern.read(&payload, size), Read::Broken, "bit {bit}");
                payload[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(pattern.read(&payload[..size - 1], size), Read::Broken);
            assert_eq!(pattern.read(&payload[..size - 1], size - 1), Read::Broken);
        }
    }

    #[test]
    fn the_head_of_one_packet_with_the_tail_of_another_is_found() {
        let pattern = Pattern::new(200);
        let (mut one, mut other) = (vec![0; 160], vec![0; 160]);
        pattern.write(&mut one, stamp(1, 50));
        for (flow, sequence) in [(1, 51), (2, 50), (200, 7)] {
            pattern.write(&mut other, stamp(flow, sequence));
            let mixed = [&one[..80], &other[80..]].concat();
            assert_eq!(pattern.read(&mixed, 160), Read::Broken);
        }
    }

    #[test]
    fn a_short_payload_has_no_stamp() {
        let pattern = Pattern::new(11);
        let mut payload = vec![0; 11];
        pattern.write(&mut payload, stamp(1, 1));
        assert_eq!(payload, vec![MAGIC; 11]);
        assert_eq!(pattern.read(&payload, 11), Read::Broken);
    }
}
