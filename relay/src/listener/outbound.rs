//! What waits for a client to read.

use turn_proto::framing::{Front, MAX_FRAME, front};

/// Bytes beyond the bound that answers may use: a client that drowns in data must still learn that
/// its Refresh was heard.
const RESERVE: usize = 16 << 10;
/// A queue that was larger than this gives its memory back when it is empty, in bytes.
const KEEP: usize = 16 << 10;

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Relayed data: dropped where it has no room, as on UDP.
    Data,
    /// An answer of ours: never dropped.
    Answer,
}

/// A bounded queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    bytes: Vec<u8>,
    /// How much of `bytes` is sent.
    sent: usize,
}

impl Outbound {
    /// Adds the parts as a whole; `false`: they have no room.
    pub(super) fn push(&mut self, kind: Kind, parts: [&[u8]; 3], bound: usize) -> bool {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let room = match kind {
            Kind::Data => bound,
            Kind::Answer => bound + RESERVE,
        };
        if self.pending().len() + len > room {
            return false;
        }
        if self.sent > 0 && self.bytes.len() + len > self.bytes.capacity() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        true
    }

    /// What is not sent yet.
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The first message of those, or what is left of it. In TLS each has a record of its own: there
    /// are clients (coturn's) that take a record for a message.
    pub(super) fn first_message(&self) -> &[u8] {
        let pending = self.pending();
        match front(pending, MAX_FRAME) {
            Ok(Front::Frame { consumed, .. }) => &pending[..consumed],
            // Bytes of something else, as after ConnectionBind.
            Ok(Front::Incomplete) | Err(_) => pending,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Notes that the first `count` bytes of [`pending`](Self::pending) are sent.
    pub(super) fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_its_bound_and_answers_a_little_more() {
        let mut queue = Outbound::default();
        let kilobyte = [7; 1024];
        let parts: [&[u8]; 3] = [&kilobyte, &[], &[]];
        while queue.push(Kind::Data, parts, 8 * 1024) {}
        assert_eq!(queue.pending().len(), 8 * 1024);
        let mut answers = 0;
        while queue.push(Kind::Answer, parts, 8 * 1024) {
            answers += 1;
        }
        assert_eq!(answers, RESERVE / 1024);
    }

    #[test]
    fn bytes_come_out_in_order_however_they_are_sent() {
        let (mut queue, mut out) = (Outbound::default(), Vec::new());
        for round in 0..1000_u16 {
            let [a, b] = round.to_be_bytes();
            assert!(queue.push(Kind::Data, [&[a], &[b], &[0]], 4096));
            let some = usize::from(round % 4).min(queue.pending().len());
            out.extend_from_slice(&queue.pending()[..some]);
            queue.advance(some);
            if round % 50 == 49 {
                out.extend_from_slice(queue.pending());
                queue.advance(queue.pending().len());
            }
        }
        let expected: Vec<u8> = (0..1000_u16)
            .flat_map(|round| [round.to_be_bytes()[0], round.to_be_bytes()[1], 0])
            .collect();
        assert_eq!(out, expected);
    }
}
