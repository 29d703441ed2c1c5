//! Receiving many datagrams per system call into slots that are lent out until the turn is over.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use super::RETRIES;
use super::sys::{Filled, Slots};

/// The longest datagram relayed, in bytes; longer ones are dropped and counted. WebRTC stays below
/// 1,500; coturn's limit is the same.
pub const MAX_DATAGRAM: usize = 16 * 1024 + 192;
/// Messages that one turn of a worker may hold.
pub const RECV_SLOTS: usize = 128;
/// Bytes of a slot: the kernel puts up to 64 KiB of one flow together. Not a power of two, so that
/// slots do not share cache sets. What is not used is never touched.
const SLOT: usize = (64 << 10) + 192;

/// Where datagrams are received. They are lent out together, so that those of many sockets can be
/// sent on in one go, and all given back at once.
#[derive(Debug)]
pub struct RecvBuffers {
    slots: Slots,
}

impl RecvBuffers {
    /// Room for [`RECV_SLOTS`] messages.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: Slots::new(RECV_SLOTS, SLOT),
        }
    }

    /// Whether another receive may bring something.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.slots.room() > 0
    }

    /// Receives what is there, at most `most` messages. Errors about datagrams that the socket sent
    /// are not the business of those that come: they are passed over.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; anything else: something may be there all the same.
    pub fn receive(&self, fd: RawFd, most: usize) -> io::Result<Received<'_>> {
        let asked = most.min(self.slots.room());
        let mut retries = 0;
        loop {
            match self.slots.receive(fd, asked) {
                Ok(filled) => {
                    let is_drained = filled.len() < asked;
                    return Ok(Received { filled, is_drained });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if retries < RETRIES => retries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives back all that was lent out.
    pub fn give_back(&mut self) {
        self.slots.give_back();
    }
}

impl Default for RecvBuffers {
    fn default() -> Self {
        Self::new()
    }
}

/// What one receive brought.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    filled: Filled<'a>,
    /// The socket had no more.
    pub is_drained: bool,
}

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// What it says.
    pub bytes: &'a [u8],
    /// Its traffic class; 0 where the socket does not tell.
    pub class: u8,
    /// The local address it was sent to; `None` where the socket does not tell.
    pub to: Option<IpAddr>,
}

impl<'a> Received<'a> {
    /// The datagrams, taken apart where the kernel put them together; `None` for one that is longer
    /// than [`MAX_DATAGRAM`].
    pub fn datagrams(self) -> impl Iterator<Item = Option<Datagram<'a>>> {
        self.filled.messages().flat_map(|message| {
            let bytes = message.map_or(&[][..], |message| message.bytes);
            let whole = bytes.len().max(1);
            let segment = message.and_then(|message| message.segment).unwrap_or(whole);
            let count = bytes.len().div_ceil(segment).max(1);
            (0..count).map(move |i| {
                let bytes = &bytes[i * segment..bytes.len().min((i + 1) * segment)];
                let message = message.filter(|_| bytes.len() <= MAX_DATAGRAM)?;
                Some(Datagram {
                    from: message.from,
                    bytes,
                    class: message.class,
                    to: message.to,
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        (receiver, sender, to)
    }

    #[test]
    fn an_oversized_datagram_is_reported_not_cut() {
        let (receiver, sender, to) = pair();
        sender.send_to(&vec![1; MAX_DATAGRAM + 1], to).unwrap();
        sender.send_to(&vec![2; MAX_DATAGRAM], to).unwrap();
        let buffers = RecvBuffers::new();
        let received = buffers.receive(receiver.as_raw_fd(), 8).unwrap();
        assert!(received.is_drained);
        let all: Vec<_> = received.datagrams().collect();
        assert_eq!(all[0], None);
        assert_eq!(all[1].unwrap().bytes, vec![2; MAX_DATAGRAM]);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn what_was_lent_out_stays_while_more_comes_until_it_is_given_back() {
        let (receiver, sender, to) = pair();
        let mut buffers = RecvBuffers::new();
        for round in 0..3_u8 {
            let mut lent = Vec::new();
            for i in 0..4 {
                sender.send_to(&[round, i], to).unwrap();
                let received = buffers.receive(receiver.as_raw_fd(), 1).unwrap();
                assert!(!received.is_drained);
                lent.extend(received.datagrams().map(|datagram| datagram.unwrap().bytes));
            }
            let expected: Vec<[u8; 2]> = (0..4).map(|i| [round, i]).collect();
            assert_eq!(lent, expected);
            buffers.give_back();
        }
    }

    #[test]
    fn no_more_is_received_than_there_are_slots() {
        let (receiver, sender, to) = pair();
        let mut buffers = RecvBuffers::new();
        for _ in 0..RECV_SLOTS + 2 {
            sender.send_to(b"x", to).unwrap();
        }
        let first = buffers.receive(receiver.as_raw_fd(), usize::MAX).unwrap();
        assert_eq!(
            (first.datagrams().count(), first.is_drained),
            (RECV_SLOTS, false)
        );
        assert!(!buffers.has_room());
        buffers.give_back();
        let rest = buffers.receive(receiver.as_raw_fd(), usize::MAX).unwrap();
        assert_eq!((rest.datagrams().count(), rest.is_drained), (2, true));
    }

    #[test]
    fn an_empty_datagram_is_one() {
        let (receiver, sender, to) = pair();
        sender.send_to(&[], to).unwrap();
        let buffers = RecvBuffers::new();
        let received = buffers.receive(receiver.as_raw_fd(), 8).unwrap();
        let lengths: Vec<_> = received
            .datagrams()
            .map(|d| d.unwrap().bytes.len())
            .collect();
        assert_eq!(lengths, [0]);
    }
}
