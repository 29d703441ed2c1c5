//! Batches: many datagrams per system call, payloads never copied.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::RawFd;

use super::datagram::Marks;
use super::sys::{RecvHeaders, SendHeaders};

/// Datagrams per recvmmsg.
pub const RECV_SLOTS: usize = 32;
/// The longest datagram relayed, in bytes; longer ones are dropped and counted. WebRTC stays below
/// 1,500; coturn's limit is the same. Not a power of two, so that slots do not share cache sets.
pub const MAX_DATAGRAM: usize = 16 * 1024 + 192;
/// Datagrams per sendmmsg.
const SEND_SLOTS: usize = 64;
/// How often a call is made again that failed: an ICMP error about an earlier datagram, perhaps to
/// another peer, is reported on the next call, and more may come meanwhile.
const RETRIES: u32 = 3;

/// What one receive brought.
#[derive(Debug)]
pub struct RecvBatch {
    headers: RecvHeaders,
    len: usize,
}

impl RecvBatch {
    /// Buffers for [`RECV_SLOTS`] datagrams of [`MAX_DATAGRAM`] bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            headers: RecvHeaders::new(RECV_SLOTS, MAX_DATAGRAM),
            len: 0,
        }
    }

    /// Receives what is there. Fewer than [`RECV_SLOTS`] means that the socket is drained.
    /// Errors about datagrams that the socket sent are not the business of those that come: they
    /// are passed over.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; anything else: something may be there all the same.
    pub fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        self.len = 0;
        let mut retries = 0;
        loop {
            match self.headers.receive(fd) {
                Ok(len) => {
                    self.len = len;
                    return Ok(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if retries < RETRIES => retries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The datagrams of the last receive; `None` for one that was longer than [`MAX_DATAGRAM`].
    pub fn datagrams(&self) -> impl Iterator<Item = Option<(SocketAddr, &[u8])>> {
        (0..self.len).map(|i| self.headers.datagram(i))
    }

    /// The traffic class of a datagram of the last receive; 0 where the socket does not tell.
    #[must_use]
    pub fn traffic_class(&self, index: usize) -> u8 {
        self.headers.traffic_class(index)
    }
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Storage of send batches, kept by the worker over its life.
#[derive(Debug)]
pub struct SendQueue {
    headers: SendHeaders,
    sockets: [RawFd; SEND_SLOTS],
    /// Which of them may not be fragmented.
    whole: [bool; SEND_SLOTS],
    /// Datagrams that the kernel did not take (full buffers, unreachable networks).
    pub failed: u64,
}

impl SendQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self {
            headers: SendHeaders::new(SEND_SLOTS),
            sockets: [-1; SEND_SLOTS],
            whole: [false; SEND_SLOTS],
            failed: 0,
        }
    }

    /// Starts a batch whose payloads live for `'p`.
    pub fn batch<'q, 'p>(&'q mut self) -> SendBatch<'q, 'p> {
        SendBatch {
            queue: self,
            class: 0,
            payloads: PhantomData,
        }
    }
}

impl Default for SendQueue {
    fn default() -> Self {
        Self::new()
    }
}

/// Datagrams to be sent together. Flushed when full and when dropped, always while the payloads
/// are alive.
#[derive(Debug)]
pub struct SendBatch<'q, 'p> {
    queue: &'q mut SendQueue,
    /// The traffic class of what is added.
    class: u8,
    payloads: PhantomData<&'p [u8]>,
}

impl<'p> SendBatch<'_, 'p> {
    /// Gives what is added from now on this traffic class.
    pub fn set_class(&mut self, class: u8) {
        self.class = class;
    }

    /// Adds `header` (at most 48 bytes, copied), `payload` and `pad` zero bytes (at most 3).
    pub fn push(
        &mut self,
        socket: RawFd,
        to: SocketAddr,
        header: &[u8],
        payload: &'p [u8],
        pad: u8,
    ) {
        if self.queue.headers.is_full() {
            self.flush();
        }
        let slot = self.queue.headers.len();
        self.queue.sockets[slot] = socket;
        self.queue.whole[slot] = false;
        self.queue
            .headers
            .push(to, header, payload, usize::from(pad));
        if self.class != 0 {
            self.mark_last(to, false);
        }
    }

    /// As [`Self::push`] without header and padding, for a datagram that may not be fragmented; on
    /// IPv4 that is an option of the socket, which the caller sets.
    pub fn push_whole(&mut self, socket: RawFd, to: SocketAddr, payload: &'p [u8]) {
        self.push(socket, to, &[], payload, 0);
        self.mark_last(to, true);
        self.queue.whole[self.queue.headers.len() - 1] = true;
    }

    fn mark_last(&mut self, to: SocketAddr, dont_fragment: bool) {
        let marks = Marks {
            traffic_class: self.class,
            dont_fragment,
        };
        self.queue.headers.mark_last(to.is_ipv4(), marks);
    }

    /// Sends what was added, one call per run of datagrams of one socket, and answers how many were
    /// given up.
    pub fn flush(&mut self) -> u64 {
        let queue = &mut *self.queue;
        let mut failed = 0;
        let mut start = 0;
        while start < queue.headers.len() {
            let socket = queue.sockets[start];
            let run = queue.sockets[start..queue.headers.len()]
                .iter()
                .take_while(|&&s| s == socket)
                .count();
            failed += send_run(&mut queue.headers, &queue.whole, socket, start..start + run);
            start += run;
        }
        queue.headers.clear();
        queue.failed += failed;
        failed
    }
}

impl Drop for SendBatch<'_, '_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sends a run of datagrams on one socket and answers how many were given up.
fn send_run(
    headers: &mut SendHeaders,
    whole: &[bool],
    socket: RawFd,
    Range { start, end: to }: Range<usize>,
) -> u64 {
    let (mut next, mut failed, mut retries) = (start, 0, 0);
    while next < to {
        match headers.send(socket, next, to) {
            Ok(0) => break,
            Ok(sent) => {
                next += sent;
                retries = 0;
            }
            // A full send buffer: real-time data is better dropped than kept.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return failed + (to - next) as u64,
            // Each attempt would put the same complaint into the error queue.
            Err(e) if e.raw_os_error() == Some(libc::EMSGSIZE) && whole[next] => {
                failed += 1;
                next += 1;
            }
            // Not this datagram's fault, or not yet.
            Err(_) if retries < RETRIES => retries += 1,
            Err(_) => {
                failed += 1;
                next += 1;
                retries = 0;
            }
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_batch_arrives_whole_with_header_payload_and_padding() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        let payloads: Vec<Vec<u8>> = (0..100_u8).map(|i| vec![i; usize::from(i)]).collect();
        let mut queue = SendQueue::new();
        {
            let mut batch = queue.batch();
            for payload in &payloads {
                batch.push(sender.as_raw_fd(), to, b"head", payload, 3);
            }
        }
        assert_eq!(queue.failed, 0);
        let mut received = RecvBatch::new();
        let mut seen = 0_u8;
        while let Ok(n) = received.receive(receiver.as_raw_fd()) {
            assert!(n > 0);
            for datagram in received.datagrams() {
                let (from, bytes) = datagram.unwrap();
                assert_eq!(from, sender.local_addr().unwrap());
                let expected = [b"head".as_slice(), &payloads[usize::from(seen)], &[0; 3]].concat();
                assert_eq!(bytes, expected);
                seen += 1;
            }
        }
        assert_eq!(seen, 100);
    }

    #[test]
    fn an_oversized_datagram_is_reported_not_cut() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender
            .send_to(&vec![1; MAX_DATAGRAM + 1], receiver.local_addr().unwrap())
            .unwrap();
        let mut received = RecvBatch::new();
        assert_eq!(received.receive(receiver.as_raw_fd()).unwrap(), 1);
        assert_eq!(received.datagrams().collect::<Vec<_>>(), [None]);
    }
}
