//! Tickets of mobile allocations (RFC 8016 §3.1.2 and §5): sealed, and the same bytes for the same
//! content, so that nothing has to be drawn and a retransmission is answered with equal bytes.
//!
//! A ticket is `siv || content ^ HMAC(enc, siv)` where `siv` is the beginning of
//! `HMAC(mac, content)`: a synthetic IV that is the authentication tag, too (deterministic
//! authenticated encryption). Whoever has no key learns nothing from a ticket and makes none. On the
//! wire it is base64, at most 32 bytes, because coturn's client takes it for a short C string.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use shared::{Secret, SessionId, WorkerId};
use subtle::ConstantTimeEq;

use super::nonce::hmac;

const SIV_LEN: usize = 12;
const CONTENT_LEN: usize = 12;
const RAW_LEN: usize = SIV_LEN + CONTENT_LEN;
/// Bytes of a ticket.
pub(crate) const TICKET_LEN: usize = RAW_LEN / 3 * 4;

/// What a ticket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The session; its upper half names the node and its start.
    pub(crate) session: SessionId,
    /// The worker that owns it.
    pub(crate) worker: WorkerId,
    /// Counts the tickets of the session: each is good once.
    pub(crate) serial: u16,
}

impl Ticket {
    /// Seals it under the cluster's nonce key.
    pub(crate) fn seal(self, master: &Secret<[u8; 32]>) -> [u8; TICKET_LEN] {
        let mut content = [0; CONTENT_LEN];
        content[..8].copy_from_slice(&self.session.0.to_be_bytes());
        content[8..10].copy_from_slice(&self.worker.0.to_be_bytes());
        content[10..].copy_from_slice(&self.serial.to_be_bytes());
        let siv = siv(master, &content);
        mask(master, siv, &mut content);
        let mut raw = [0; RAW_LEN];
        raw[..SIV_LEN].copy_from_slice(&siv);
        raw[SIV_LEN..].copy_from_slice(&content);
        let mut ticket = [0; TICKET_LEN];
        let written = STANDARD_NO_PAD.encode_slice(raw, &mut ticket);
        debug_assert_eq!(written, Ok(TICKET_LEN));
        ticket
    }

    /// Opens what [`Self::seal`] made; `None`: not ours, or touched.
    pub(crate) fn open(master: &Secret<[u8; 32]>, ticket: &[u8]) -> Option<Self> {
        let mut raw = [0; RAW_LEN];
        if STANDARD_NO_PAD.decode_slice(ticket, &mut raw) != Ok(RAW_LEN) {
            return None;
        }
        let (given, sealed) = raw.split_first_chunk::<SIV_LEN>()?;
        let mut content: [u8; CONTENT_LEN] = sealed.try_into().ok()?;
        mask(master, *given, &mut content);
        if !bool::from(siv(master, &content).ct_eq(given)) {
            return None;
        }
        let [s @ .., w0, w1, c0, c1] = content;
        Some(Self {
            session: SessionId(u64::from_be_bytes(s)),
            worker: WorkerId(u16::from_be_bytes([w0, w1])),
            serial: u16::from_be_bytes([c0, c1]),
        })
    }
}

fn siv(master: &Secret<[u8; 32]>, content: &[u8; CONTENT_LEN]) -> [u8; SIV_LEN] {
    let full = hmac(master.expose(), &[b"turn ticket mac", content]);
    let mut siv = [0; SIV_LEN];
    siv.copy_from_slice(&full[..SIV_LEN]);
    siv
}

fn mask(master: &Secret<[u8; 32]>, siv: [u8; SIV_LEN], content: &mut [u8; CONTENT_LEN]) {
    let stream = hmac(master.expose(), &[b"turn ticket enc", &siv]);
    for (byte, mask) in content.iter_mut().zip(stream) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(serial: u16) -> Ticket {
        Ticket {
            session: SessionId::new(7, 9),
            worker: WorkerId(3),
            serial,
        }
    }

    #[test]
    fn a_ticket_opens_under_its_key_only_and_untouched_only() {
        let (key, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let sealed = ticket(5).seal(&key);
        assert_eq!(Ticket::open(&key, &sealed), Some(ticket(5)));
        assert_eq!(Ticket::open(&other, &sealed), None);
        for bit in 0..TICKET_LEN * 8 {
            let mut touched = sealed;
            touched[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Ticket::open(&key, &touched), None, "bit {bit}");
        }
        for wrong in [&[][..], &sealed[1..], &[0; TICKET_LEN + 1]] {
            assert_eq!(Ticket::open(&key, wrong), None);
        }
    }

    #[test]
    fn tickets_that_follow_each_other_have_nothing_in_common() {
        let key = Secret::new([1; 32]);
        let (one, next) = (ticket(1).seal(&key), ticket(2).seal(&key));
        let same = one.iter().zip(next).filter(|(a, b)| **a == *b).count();
        assert!(same < TICKET_LEN / 2, "{same} equal bytes");
    }
}
