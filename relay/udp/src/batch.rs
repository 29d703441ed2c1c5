//! Sending many datagrams per system call, and many of one flow as one message; payloads are never
//! copied.

use std::io;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::RawFd;

use super::RETRIES;
use super::datagram::Marks;
use super::grouping::{Grouping, Outlet, Run};
use super::sys::SendHeaders;

/// Datagrams that wait to be sent together.
const SEND_SLOTS: usize = 256;
/// Devices told apart; the rest share the last place.
const DEVICES: usize = 64;

/// Storage of send batches, kept by the worker over its life.
#[derive(Debug)]
pub struct SendQueue {
    headers: SendHeaders,
    grouping: Grouping,
    /// Devices that cannot take messages apart.
    no_segments: [bool; DEVICES],
    /// Datagrams that the kernel did not take (full buffers, unreachable networks).
    pub failed: u64,
}

impl SendQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self {
            headers: SendHeaders::new(SEND_SLOTS),
            grouping: Grouping::new(SEND_SLOTS),
            no_segments: [false; DEVICES],
            failed: 0,
        }
    }

    /// An empty queue that sends every datagram as a message of its own.
    #[must_use]
    pub fn without_runs() -> Self {
        Self {
            no_segments: [true; DEVICES],
            ..Self::new()
        }
    }

    /// Starts a batch whose payloads live for `'p`.
    pub fn batch<'q, 'p>(&'q mut self) -> SendBatch<'q, 'p> {
        SendBatch {
            queue: self,
            class: 0,
            source: None,
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
    /// The local address of what is added.
    source: Option<IpAddr>,
    payloads: PhantomData<&'p [u8]>,
}

impl<'p> SendBatch<'_, 'p> {
    /// Sends what was added, and begins a batch whose payloads live otherwise.
    pub fn apart<'r>(&mut self) -> SendBatch<'_, 'r> {
        self.flush();
        self.queue.batch()
    }

    /// Gives what is added from now on this traffic class.
    pub fn set_class(&mut self, class: u8) {
        self.class = class;
    }

    /// Has what is added from now on come from this local address, so that one socket, bound to none
    /// (but to a port), can speak for many hosts; `None`: from the address that routing picks.
    pub fn set_source(&mut self, source: Option<IpAddr>) {
        self.source = source;
    }

    /// Adds `header` (at most 48 bytes, copied), `payload` and `pad` zero bytes (at most 3).
    pub fn push(
        &mut self,
        outlet: Outlet,
        to: SocketAddr,
        header: &[u8],
        payload: &'p [u8],
        pad: u8,
    ) {
        let marks = Marks {
            traffic_class: self.class,
            dont_fragment: false,
            source: self.source,
        };
        let alone = self.queue.no_segments[place(outlet)];
        self.add(outlet, to, marks, (header, payload, pad), alone);
    }

    /// As [`Self::push`] without header and padding, for a datagram that may not be fragmented; on
    /// IPv4 that is an option of the socket, which the caller sets.
    pub fn push_whole(&mut self, outlet: Outlet, to: SocketAddr, payload: &'p [u8]) {
        let marks = Marks {
            traffic_class: self.class,
            dont_fragment: true,
            source: self.source,
        };
        self.add(outlet, to, marks, (&[], payload, 0), true);
    }

    /// Adds a copy of `datagram` (a UDP payload, so at most 65,507 bytes), of no traffic class: for
    /// what does not live as long as the batch.
    pub fn push_copy(&mut self, outlet: Outlet, to: SocketAddr, datagram: &[u8]) {
        if !self.queue.headers.has_room(datagram.len()) {
            self.flush();
        }
        let marks = Marks {
            source: self.source,
            ..Marks::default()
        };
        let alone = self.queue.no_segments[place(outlet)];
        self.queue.headers.add_copy(datagram);
        self.queue
            .grouping
            .add(outlet, to, marks, datagram.len(), alone);
    }

    fn add(
        &mut self,
        outlet: Outlet,
        to: SocketAddr,
        marks: Marks,
        (header, payload, pad): (&[u8], &'p [u8], u8),
        alone: bool,
    ) {
        if self.queue.headers.is_full() {
            self.flush();
        }
        let len = header.len() + payload.len() + usize::from(pad);
        self.queue.headers.add(header, payload, usize::from(pad));
        self.queue.grouping.add(outlet, to, marks, len, alone);
    }

    /// Whether something was added that leaves from this socket and is not sent yet.
    #[must_use]
    pub fn holds(&self, socket: RawFd) -> bool {
        self.queue.grouping.holds(socket)
    }

    /// Sends what was added, one call per socket, and answers how many datagrams were given up.
    pub fn flush(&mut self) -> u64 {
        let failed = self.queue.send_all();
        self.queue.headers.clear();
        self.queue.grouping.clear();
        self.queue.failed += failed;
        failed
    }
}

impl Drop for SendBatch<'_, '_> {
    fn drop(&mut self) {
        self.flush();
    }
}

fn place(outlet: Outlet) -> usize {
    usize::from(outlet.device.0).min(DEVICES - 1)
}

impl SendQueue {
    fn send_all(&mut self) -> u64 {
        let count = self.grouping.arrange();
        let (mut start, mut failed) = (0, 0);
        while start < count {
            let socket = self.grouping.run(start).outlet.socket;
            let same = |&place: &usize| self.grouping.run(place).outlet.socket == socket;
            let end = (start..count).take_while(same).last().unwrap_or(start) + 1;
            failed += self.send_runs(start..end);
            start = end;
        }
        failed
    }

    /// Sends the runs of one socket and answers how many datagrams were given up.
    fn send_runs(&mut self, places: Range<usize>) -> u64 {
        self.headers.clear_messages();
        for place in places.clone() {
            let run = self.grouping.run(place);
            let datagrams = self.grouping.datagrams(run);
            self.headers
                .make(run.to, &run.marks, run.segment(), datagrams);
        }
        let (mut next, mut failed, mut retries) = (places.start, 0, 0);
        while next < places.end {
            let run = *self.grouping.run(next);
            match self.headers.send(run.outlet.socket, next - places.start) {
                Ok(0) => break,
                Ok(sent) => {
                    next += sent;
                    retries = 0;
                }
                Err(error) => match judge(&error, &run, retries) {
                    Reaction::Stop => {
                        let rest = (next..places.end).map(|place| self.grouping.run(place));
                        return failed + rest.map(|run| u64::from(run.count)).sum::<u64>();
                    }
                    Reaction::Again => retries += 1,
                    Reaction::GiveUp => {
                        failed += 1;
                        next += 1;
                        retries = 0;
                    }
                    Reaction::Singly { device } => {
                        self.no_segments[place(run.outlet)] |= device;
                        failed += self.send_singly(&run);
                        // The messages were made anew for it.
                        return failed + self.send_runs(next + 1..places.end);
                    }
                },
            }
        }
        failed
    }

    /// Sends each datagram of a run by itself and answers how many were given up.
    fn send_singly(&mut self, run: &Run) -> u64 {
        self.headers.clear_messages();
        for datagram in self.grouping.datagrams(run) {
            let only = std::iter::once(datagram);
            self.headers.make(run.to, &run.marks, None, only);
        }
        let single = run.of_one();
        let (mut next, mut failed, mut retries) = (0, 0, 0);
        while next < usize::from(run.count) {
            match self.headers.send(run.outlet.socket, next) {
                Ok(0) => break,
                Ok(sent) => {
                    next += sent;
                    retries = 0;
                }
                Err(error) => match judge(&error, &single, retries) {
                    Reaction::Stop => return failed + u64::from(run.count) - next as u64,
                    Reaction::Again => retries += 1,
                    Reaction::GiveUp | Reaction::Singly { .. } => {
                        failed += 1;
                        next += 1;
                        retries = 0;
                    }
                },
            }
        }
        failed
    }
}

/// What is to be done about a message that the kernel did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// Nothing more goes out of that socket now.
    Stop,
    /// The same again.
    Again,
    /// The next one.
    GiveUp,
    /// Its datagrams one by one; with `device`, that will be so for all that leaves there.
    Singly { device: bool },
}

fn judge(error: &io::Error, run: &Run, retries: u32) -> Reaction {
    let code = error.raw_os_error();
    match code {
        // A full send buffer: real-time data is better dropped than kept.
        _ if error.kind() == io::ErrorKind::WouldBlock => Reaction::Stop,
        // The device has no checksums, or a tunnel is in the way; or a kernel that knows no segments.
        Some(libc::EIO | libc::ENOPROTOOPT) if run.count > 1 => Reaction::Singly { device: true },
        // This run is the matter, or the path to its peer: others must not suffer.
        Some(libc::EMSGSIZE | libc::EINVAL) if run.count > 1 => Reaction::Singly { device: false },
        // Each attempt would put the same complaint into the error queue.
        Some(libc::EMSGSIZE) if run.marks.dont_fragment => Reaction::GiveUp,
        // Not this datagram's fault, or not yet: an ICMP error about an earlier one, perhaps to
        // another peer, is reported on the next call, and more may come meanwhile.
        _ if retries < RETRIES => Reaction::Again,
        _ if run.count > 1 => Reaction::Singly { device: false },
        _ => Reaction::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::{AsFd, AsRawFd};

    use super::*;
    use crate::grouping::Device;
    use crate::receive::RecvBuffers;
    use crate::sys;

    struct Ends {
        receiver: UdpSocket,
        sender: UdpSocket,
        to: SocketAddr,
    }

    impl Ends {
        fn new() -> Self {
            let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
            let to = receiver.local_addr().unwrap();
            Self {
                receiver,
                sender: UdpSocket::bind("127.0.0.1:0").unwrap(),
                to,
            }
        }

        fn outlet(&self) -> Outlet {
            Outlet {
                socket: self.sender.as_raw_fd(),
                device: Device(1),
            }
        }

        /// All that arrived, and how many messages it took.
        fn arrived(&self) -> (Vec<Vec<u8>>, usize) {
            self.receiver.set_nonblocking(true).unwrap();
            let mut buffers = RecvBuffers::new();
            let (mut all, mut messages) = (Vec::new(), 0);
            while let Ok(received) = buffers.receive(self.receiver.as_raw_fd(), 1) {
                messages += 1;
                for datagram in received.datagrams() {
                    let datagram = datagram.unwrap();
                    assert_eq!(datagram.from, self.sender.local_addr().unwrap());
                    all.push(datagram.bytes.to_vec());
                }
                buffers.give_back();
            }
            (all, messages)
        }

        fn send(&self, queue: &mut SendQueue, payloads: &[Vec<u8>]) {
            let mut batch = queue.batch();
            for payload in payloads {
                batch.push(self.outlet(), self.to, b"head", payload, 3);
            }
        }
    }

    fn framed(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let framed = |payload: &Vec<u8>| [b"head", payload.as_slice(), &[0; 3]].concat();
        payloads.iter().map(framed).collect()
    }

    #[test]
    fn a_batch_arrives_whole_with_header_payload_and_padding() {
        let ends = Ends::new();
        let payloads: Vec<Vec<u8>> = (0..100_u8).map(|i| vec![i; usize::from(i)]).collect();
        let mut queue = SendQueue::new();
        ends.send(&mut queue, &payloads);
        assert_eq!(queue.failed, 0);
        assert_eq!(ends.arrived().0, framed(&payloads));
    }

    #[test]
    fn a_run_goes_as_one_message_and_is_taken_apart_on_either_side() {
        let mut payloads: Vec<Vec<u8>> = (0..40_u8).map(|i| vec![i; 160]).collect();
        payloads.push(vec![99; 20]);
        let mut queue = SendQueue::new();
        let together = Ends::new();
        sys::set_receive_segments(together.receiver.as_fd()).unwrap();
        together.send(&mut queue, &payloads);
        assert_eq!(together.arrived(), (framed(&payloads), 1));
        let apart = Ends::new();
        apart.send(&mut queue, &payloads);
        assert_eq!(apart.arrived(), (framed(&payloads), 41));
        assert_eq!(queue.failed, 0);
    }

    #[test]
    fn a_run_that_the_kernel_refuses_goes_singly_and_costs_no_other_its_runs() {
        let payloads: Vec<Vec<u8>> = (0..10_u8).map(|i| vec![i; 160]).collect();
        let mut queue = SendQueue::new();
        let refused = Ends::new();
        sys::set_receive_segments(refused.receiver.as_fd()).unwrap();
        // Segments need checksums: EINVAL.
        sys::set_no_checksums(refused.sender.as_fd()).unwrap();
        refused.send(&mut queue, &payloads);
        assert_eq!(refused.arrived(), (framed(&payloads), 10));
        let other = Ends::new();
        sys::set_receive_segments(other.receiver.as_fd()).unwrap();
        other.send(&mut queue, &payloads);
        assert_eq!(other.arrived(), (framed(&payloads), 1));
        assert_eq!(queue.failed, 0);
    }

    #[test]
    fn what_follows_a_refused_run_still_leaves() {
        let ends = Ends::new();
        sys::set_no_checksums(ends.sender.as_fd()).unwrap();
        let second = UdpSocket::bind("127.0.0.1:0").unwrap();
        second.set_nonblocking(true).unwrap();
        let mut queue = SendQueue::new();
        {
            let mut batch = queue.batch();
            for _ in 0..3 {
                batch.push(ends.outlet(), ends.to, &[], b"first", 0);
                batch.push(
                    ends.outlet(),
                    second.local_addr().unwrap(),
                    &[],
                    b"second",
                    0,
                );
            }
        }
        assert_eq!(ends.arrived().0, vec![b"first".to_vec(); 3]);
        let mut buffer = [0; 16];
        for _ in 0..3 {
            let (len, _) = second.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], b"second");
        }
        assert_eq!(queue.failed, 0);
    }

    #[test]
    fn one_socket_speaks_for_many_hosts_and_each_flow_is_a_run() {
        for (any, hosts) in [
            ("0.0.0.0:0", ["127.16.0.1", "127.16.0.2"]),
            ("[::]:0", ["::1", "::1"]),
        ] {
            let hosts: [IpAddr; 2] = hosts.map(|host| host.parse().unwrap());
            let ends = [any, any].map(|any| UdpSocket::bind(any).unwrap());
            let ipv4 = hosts[0].is_ipv4();
            for end in &ends {
                sys::set_receive_destination(end.as_fd(), ipv4).unwrap();
                sys::set_receive_segments(end.as_fd()).unwrap();
                end.set_nonblocking(true).unwrap();
            }
            let to = SocketAddr::new(hosts[1], ends[1].local_addr().unwrap().port());
            let outlet = Outlet {
                socket: ends[0].as_raw_fd(),
                device: Device(0),
            };
            let mut queue = SendQueue::new();
            let mut batch = queue.batch();
            for _ in 0..3 {
                for host in hosts {
                    batch.set_source(Some(host));
                    batch.push(outlet, to, b"head", b"payload", 0);
                }
            }
            drop(batch);
            assert_eq!(queue.failed, 0);
            let buffers = RecvBuffers::new();
            let received = buffers.receive(ends[1].as_raw_fd(), 8).unwrap();
            let port = ends[0].local_addr().unwrap().port();
            let mut came: Vec<_> = received
                .datagrams()
                .map(|datagram| {
                    let datagram = datagram.unwrap();
                    assert_eq!(
                        (datagram.bytes, datagram.from.port()),
                        (&b"headpayload"[..], port)
                    );
                    assert_eq!(datagram.to, Some(hosts[1]));
                    datagram.from.ip()
                })
                .collect();
            came.sort_unstable();
            let expected = [hosts[0], hosts[1]].map(|host| [host; 3]);
            assert_eq!(came, expected.concat());
        }
    }

    #[test]
    fn copies_leave_in_turn_with_what_is_borrowed_and_any_number_fits() {
        let ends = Ends::new();
        let long = vec![7; 40_000];
        let mut queue = SendQueue::new();
        let mut batch = queue.batch();
        batch.push(ends.outlet(), ends.to, b"he", b"ad", 0);
        for round in 0..3_u8 {
            let own = [round; 4];
            batch.push_copy(ends.outlet(), ends.to, &own);
        }
        batch.push_copy(ends.outlet(), ends.to, &[]);
        batch.push_copy(ends.outlet(), ends.to, &long[..1_000]);
        batch.push(ends.outlet(), ends.to, &[], b"tail", 0);
        drop(batch);
        let expected = [
            &b"head"[..],
            &[0; 4],
            &[1; 4],
            &[2; 4],
            &[],
            &long[..1_000],
            b"tail",
        ];
        assert_eq!(ends.arrived().0, expected);
        let mut batch = queue.batch();
        for _ in 0..5 {
            batch.push_copy(ends.outlet(), ends.to, &long[..16_000]);
        }
        drop(batch);
        assert_eq!(ends.arrived().0, vec![&long[..16_000]; 5]);
        assert_eq!(queue.failed, 0);
    }

    #[test]
    fn without_runs_each_datagram_is_a_message() {
        let ends = Ends::new();
        sys::set_receive_segments(ends.receiver.as_fd()).unwrap();
        let payloads = vec![vec![7; 160]; 5];
        let mut queue = SendQueue::without_runs();
        ends.send(&mut queue, &payloads);
        assert_eq!(ends.arrived(), (framed(&payloads), 5));
    }

    fn reaction(code: i32, count: u16, retries: u32) -> Reaction {
        let mut grouping = Grouping::new(8);
        let ends = Ends::new();
        for _ in 0..count {
            grouping.add(ends.outlet(), ends.to, Marks::default(), 10, false);
        }
        grouping.arrange();
        judge(
            &io::Error::from_raw_os_error(code),
            grouping.run(0),
            retries,
        )
    }

    #[test]
    fn a_device_without_segmentation_is_left_alone_and_a_bad_run_is_its_own_matter() {
        for code in [libc::EIO, libc::ENOPROTOOPT] {
            assert_eq!(reaction(code, 2, 0), Reaction::Singly { device: true });
        }
        for code in [libc::EMSGSIZE, libc::EINVAL] {
            assert_eq!(reaction(code, 2, 0), Reaction::Singly { device: false });
        }
        for count in [1, 2] {
            assert_eq!(reaction(libc::EAGAIN, count, 0), Reaction::Stop);
            assert_eq!(reaction(libc::ECONNREFUSED, count, 0), Reaction::Again);
        }
        assert_eq!(reaction(libc::ECONNREFUSED, 1, RETRIES), Reaction::GiveUp);
        let singly = Reaction::Singly { device: false };
        assert_eq!(reaction(libc::ECONNREFUSED, 2, RETRIES), singly);
    }

    #[test]
    fn a_device_that_was_switched_off_gets_single_datagrams() {
        let payloads: Vec<Vec<u8>> = (0..10_u8).map(|i| vec![i; 160]).collect();
        let mut queue = SendQueue::new();
        let ends = Ends::new();
        sys::set_receive_segments(ends.receiver.as_fd()).unwrap();
        queue.no_segments[place(ends.outlet())] = true;
        ends.send(&mut queue, &payloads);
        assert_eq!(ends.arrived(), (framed(&payloads), 10));
    }
}
