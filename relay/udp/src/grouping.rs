//! Which of the datagrams that wait leave in one message: runs of equal size of one flow.
//!
//! The kernel takes such a message apart at the last moment, or the network card does (`UDP_SEGMENT`,
//! Linux 4.18), so that a run costs little more than one datagram. Datagrams of one flow keep their
//! order; those of others do not wait for each other.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use super::datagram::Marks;

/// Datagrams in one message; the kernel's own bound.
const MOST_SEGMENTS: u16 = 64;
/// Bytes in one message: the longest UDP payload over IPv4, less than that of IPv6.
const MOST_BYTES: usize = 65_507;
/// The longest datagram that is grouped, in bytes: what is longer than common links carry would be
/// refused together, and has to be fragmented by itself.
const LONGEST: usize = 1_452;
/// Places of the table of flows, a power of two; at most half of them are taken.
const PLACES: usize = 1_024;
/// Batches from which it is judged whether grouping is of use.
const WORTH_JUDGING: usize = 8;
/// Batches without any run after which flows are not looked at for a while.
const FRUITLESS: u16 = 16;
/// For how many batches.
const PAUSE: u16 = 64;

/// Where a datagram leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlet {
    /// The socket.
    pub socket: RawFd,
    /// What stands for the network device behind it: some have no segmentation.
    pub device: Device,
}

/// Names a local address, behind which is some network device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device(pub u8);

/// A message to be: datagrams of one flow, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) outlet: Outlet,
    pub(crate) to: SocketAddr,
    pub(crate) marks: Marks,
    /// How many datagrams it has.
    pub(crate) count: u16,
    /// The length of each but the last.
    segment: u16,
    first: u16,
    last: u16,
    bytes: usize,
    /// One more may join.
    open: bool,
}

impl Run {
    /// What the kernel is to be told of it; `None`: it is a single datagram.
    pub(crate) fn segment(&self) -> Option<u16> {
        (self.count > 1).then_some(self.segment)
    }

    /// A single datagram that goes the same way.
    pub(crate) fn of_one(self) -> Self {
        Self { count: 1, ..self }
    }
}

/// A place of the table; of an earlier batch unless its stamp says otherwise.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    stamp: u32,
    run: u16,
}

/// Sorts one batch of datagrams into runs.
#[derive(Debug)]
pub struct Grouping {
    runs: Vec<Run>,
    /// Runs, those of one socket next to each other.
    order: Vec<u16>,
    /// By datagram, the next one of its run.
    next: Vec<u16>,
    /// Leads from a flow to its last run.
    table: Box<[Place]>,
    stamp: u32,
    several_sockets: bool,
    fruitless: u16,
    pause: u16,
}

impl Grouping {
    /// Whether something leaves from this socket.
    pub(crate) fn holds(&self, socket: RawFd) -> bool {
        self.runs.iter().any(|run| run.outlet.socket == socket)
    }

    /// For batches of at most `datagrams`, which are not more than half of the table.
    pub fn new(datagrams: usize) -> Self {
        debug_assert!(datagrams <= PLACES / 2);
        Self {
            runs: Vec::with_capacity(datagrams),
            order: Vec::with_capacity(datagrams),
            next: Vec::with_capacity(datagrams),
            table: vec![Place::default(); PLACES].into_boxed_slice(),
            stamp: 1,
            several_sockets: false,
            fruitless: 0,
            pause: 0,
        }
    }

    /// Adds the next datagram of the batch, `len` bytes long. With `alone`, it makes a message of its
    /// own.
    pub fn add(&mut self, outlet: Outlet, to: SocketAddr, marks: Marks, len: usize, alone: bool) {
        let datagram = self.next.len() as u16;
        self.next.push(datagram);
        let run = Run {
            outlet,
            to,
            marks,
            count: 1,
            segment: len.min(LONGEST) as u16,
            first: datagram,
            last: datagram,
            bytes: len,
            open: !alone && (1..=LONGEST).contains(&len),
        };
        if self.pause > 0 {
            return self.begin(run);
        }
        let place = self.place(outlet.socket, to, marks.source);
        if self.table[place].stamp == self.stamp {
            let found = &mut self.runs[usize::from(self.table[place].run)];
            if found.takes(&run) {
                self.next[usize::from(found.last)] = datagram;
                found.last = datagram;
                found.count += 1;
                found.bytes += len;
                found.open = len == usize::from(found.segment) && found.count < MOST_SEGMENTS;
                return;
            }
        }
        self.table[place] = Place {
            stamp: self.stamp,
            run: self.runs.len() as u16,
        };
        self.begin(run);
    }

    fn begin(&mut self, run: Run) {
        self.several_sockets |= self
            .runs
            .last()
            .is_some_and(|last| last.outlet.socket != run.outlet.socket);
        self.runs.push(run);
    }

    /// The place of a flow, or the free one where it belongs.
    fn place(&self, socket: RawFd, to: SocketAddr, from: Option<IpAddr>) -> usize {
        let mut place = hash(socket, to, from) as usize % PLACES;
        loop {
            let Place { stamp, run } = self.table[place];
            if stamp != self.stamp {
                return place;
            }
            let run = &self.runs[usize::from(run)];
            if run.outlet.socket == socket && run.to == to && run.marks.source == from {
                return place;
            }
            place = (place + 1) % PLACES;
        }
    }

    /// Puts the runs into the order in which they are sent, and answers how many there are.
    pub fn arrange(&mut self) -> usize {
        let runs = &self.runs;
        self.order.clear();
        self.order.extend(0..runs.len() as u16);
        if self.several_sockets {
            let key = |&run: &u16| (runs[usize::from(run)].outlet.socket, run);
            self.order.sort_unstable_by_key(key);
        }
        runs.len()
    }

    /// Run number `place` of the order.
    pub(crate) fn run(&self, place: usize) -> &Run {
        &self.runs[usize::from(self.order[place])]
    }

    /// The datagrams of a run.
    pub(crate) fn datagrams(&self, run: &Run) -> impl Iterator<Item = usize> {
        let mut datagram = usize::from(run.first);
        (0..run.count).map(move |_| {
            let this = datagram;
            datagram = usize::from(self.next[this]);
            this
        })
    }

    /// Forgets the batch, and draws its lesson.
    pub fn clear(&mut self) {
        let datagrams = self.next.len();
        if self.pause > 0 {
            self.pause -= 1;
        } else if self.runs.len() < datagrams {
            self.fruitless = 0;
        } else if datagrams >= WORTH_JUDGING {
            self.fruitless += 1;
            if self.fruitless >= FRUITLESS {
                self.pause = PAUSE;
                // One batch without any run is enough to pause again.
                self.fruitless = FRUITLESS - 1;
            }
        }
        self.runs.clear();
        self.next.clear();
        self.several_sockets = false;
        // After four billion batches an old place might look like a new one.
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.table.fill(Place::default());
            self.stamp = 1;
        }
    }
}

impl Run {
    /// Whether that datagram may join.
    fn takes(&self, datagram: &Self) -> bool {
        self.open
            && datagram.open
            && datagram.segment <= self.segment
            && datagram.marks == self.marks
            && self.bytes + datagram.bytes <= MOST_BYTES
    }
}

/// Spreads flows over the table. Whoever fills it on purpose gains a longer look at a few hundred
/// places.
fn hash(socket: RawFd, to: SocketAddr, from: Option<IpAddr>) -> u64 {
    let fold = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            (bits >> 64) as u64 ^ bits as u64
        }
    };
    let ip = fold(to.ip()) ^ from.map_or(0, fold).rotate_left(32);
    let flow = ip ^ (u64::from(to.port()) << 40) ^ ((socket as u64) << 20);
    flow.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outlet(socket: RawFd) -> Outlet {
        Outlet {
            socket,
            device: Device(0),
        }
    }

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn add(grouping: &mut Grouping, socket: RawFd, port: u16, len: usize) {
        grouping.add(outlet(socket), to(port), Marks::default(), len, false);
    }

    /// Socket, port and datagrams of each message, in the order in which they are sent.
    fn messages(grouping: &mut Grouping) -> Vec<(RawFd, u16, Vec<usize>)> {
        let count = grouping.arrange();
        let runs = (0..count).map(|place| {
            let run = grouping.run(place);
            let datagrams = grouping.datagrams(run).collect();
            (run.outlet.socket, run.to.port(), datagrams)
        });
        runs.collect()
    }

    #[test]
    fn interleaved_flows_leave_as_one_message_each() {
        let mut grouping = Grouping::new(64);
        for _ in 0..3 {
            add(&mut grouping, 9, 1, 160);
            add(&mut grouping, 7, 1, 160);
            add(&mut grouping, 9, 2, 100);
        }
        assert_eq!(
            messages(&mut grouping),
            [
                (7, 1, vec![1, 4, 7]),
                (9, 1, vec![0, 3, 6]),
                (9, 2, vec![2, 5, 8])
            ]
        );
        grouping.clear();
        add(&mut grouping, 9, 1, 160);
        assert_eq!(messages(&mut grouping), [(9, 1, vec![0])]);
    }

    #[test]
    fn a_shorter_one_is_the_last_and_a_longer_one_begins_anew() {
        let mut grouping = Grouping::new(64);
        for len in [160, 160, 90, 90, 160, 0, 160, 1_453, 160] {
            add(&mut grouping, 3, 1, len);
        }
        let runs: Vec<_> = messages(&mut grouping).into_iter().map(|m| m.2).collect();
        assert_eq!(
            runs,
            [
                vec![0, 1, 2],
                vec![3],
                vec![4],
                vec![5],
                vec![6],
                vec![7],
                vec![8]
            ]
        );
    }

    #[test]
    fn a_message_has_no_more_datagrams_and_bytes_than_the_kernel_takes() {
        let mut grouping = Grouping::new(256);
        (0..130).for_each(|_| add(&mut grouping, 3, 1, 10));
        (0..100).for_each(|_| add(&mut grouping, 3, 2, 1_452));
        let counts: Vec<_> = messages(&mut grouping).iter().map(|m| m.2.len()).collect();
        assert_eq!(counts, [64, 64, 2, 45, 45, 10]);
    }

    #[test]
    fn what_is_marked_otherwise_or_alone_does_not_join() {
        let mut grouping = Grouping::new(64);
        let marked = Marks {
            traffic_class: 8,
            ..Marks::default()
        };
        add(&mut grouping, 3, 1, 160);
        grouping.add(outlet(3), to(1), marked, 160, false);
        grouping.add(outlet(3), to(1), Marks::default(), 160, true);
        assert_eq!(messages(&mut grouping).len(), 3);
    }

    #[test]
    fn where_nothing_groups_flows_are_not_looked_at_for_a_while() {
        let mut grouping = Grouping::new(64);
        let batch = |grouping: &mut Grouping, flows: u16| {
            (0..16).for_each(|i| add(grouping, 3, i % flows, 160));
            let count = grouping.arrange();
            grouping.clear();
            count
        };
        for _ in 0..FRUITLESS {
            assert_eq!(batch(&mut grouping, 16), 16);
        }
        for _ in 0..PAUSE {
            assert_eq!(batch(&mut grouping, 4), 16);
        }
        assert_eq!(batch(&mut grouping, 4), 4);
    }

    proptest! {
        /// Every datagram leaves once; those of one flow in their order, and each run is one that the
        /// kernel takes apart into just what was added.
        #[test]
        fn nothing_is_lost_doubled_or_overtaken(
            datagrams in prop::collection::vec((0..4_i32, 0..6_u16, 0..5_usize, 0..10_u8), 0..256),
        ) {
            let lengths = [0, 1, 160, 1_452, 9_000];
            let mut grouping = Grouping::new(256);
            for (socket, port, len, alone) in &datagrams {
                let marks = Marks::default();
                grouping.add(outlet(*socket), to(*port), marks, lengths[*len], *alone == 0);
            }
            let mut sent = vec![false; datagrams.len()];
            let mut latest = std::collections::HashMap::new();
            let count = grouping.arrange();
            for place in 0..count {
                let run = *grouping.run(place);
                let members: Vec<usize> = grouping.datagrams(&run).collect();
                for (i, &member) in members.iter().enumerate() {
                    prop_assert!(!std::mem::replace(&mut sent[member], true));
                    let (socket, port, len, _) = datagrams[member];
                    prop_assert_eq!((run.outlet.socket, run.to.port()), (socket, port));
                    if let Some(segment) = run.segment() {
                        let len = lengths[len];
                        let is_last = i + 1 == members.len();
                        prop_assert!(len == usize::from(segment) || is_last && len > 0 && len < usize::from(segment));
                    }
                    let before = latest.insert((socket, port), member);
                    prop_assert!(before.is_none_or(|before| before < member));
                }
            }
            prop_assert!(sent.iter().all(|sent| *sent));
        }
    }
}
