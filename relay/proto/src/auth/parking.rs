//! Requests that wait for a user to be looked up.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use shared::{Realm, Username};

use crate::five_tuple::FiveTuple;

/// The longest request that is kept; a genuine one is far below.
const MAX_REQUEST: usize = 2048;

/// The bytes of a USERHASH.
pub type Userhash = [u8; 32];

/// What a parked request waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The credential of a user.
    Credential(Realm, Username),
    /// The user that has a USERHASH.
    Username(Realm, Userhash),
    /// A place among the sessions of all nodes, for the session of this client.
    Place(FiveTuple),
}

/// A request as it came.
#[derive(Debug)]
pub struct Parked {
    /// Whom to answer.
    pub tuple: FiveTuple,
    /// The request.
    pub bytes: Box<[u8]>,
    deadline: Instant,
}

/// What became of a request that wanted to be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parking {
    /// Parked, and somebody must ask for what it wants.
    Ask,
    /// Parked; what it wants is being asked for.
    Waiting,
    /// A retransmission of a parked request.
    Duplicate,
    /// No room.
    Full,
}

/// All parked requests.
#[derive(Debug)]
pub struct ParkingLot {
    waiting: HashMap<Wanted, Vec<Parked>>,
    deadlines: VecDeque<(Instant, Wanted)>,
    count: usize,
    capacity: usize,
}

impl ParkingLot {
    /// An empty lot.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            deadlines: VecDeque::new(),
            count: 0,
            capacity,
        }
    }

    /// Parks a request until `deadline`, which never lies before that of an earlier call.
    pub fn park(
        &mut self,
        wanted: &Wanted,
        tuple: FiveTuple,
        bytes: &[u8],
        deadline: Instant,
    ) -> Parking {
        let same = |p: &Parked| p.tuple == tuple && *p.bytes == *bytes;
        if self
            .waiting
            .get(wanted)
            .is_some_and(|list| list.iter().any(same))
        {
            return Parking::Duplicate;
        }
        if self.count >= self.capacity || bytes.len() > MAX_REQUEST {
            return Parking::Full;
        }
        self.count += 1;
        self.deadlines.push_back((deadline, wanted.clone()));
        let list = self.waiting.entry(wanted.clone()).or_default();
        list.push(Parked {
            tuple,
            bytes: bytes.into(),
            deadline,
        });
        if list.len() == 1 {
            Parking::Ask
        } else {
            Parking::Waiting
        }
    }

    /// Takes out everything that waits for an answer.
    pub fn take(&mut self, wanted: &Wanted) -> Vec<Parked> {
        let list = self.waiting.remove(wanted).unwrap_or_default();
        self.count -= list.len();
        if !list.is_empty() {
            self.deadlines.retain(|(_, other)| other != wanted);
        }
        list
    }

    /// Takes out what has waited too long.
    pub fn take_due(&mut self, now: Instant) -> Vec<Parked> {
        let mut due = Vec::new();
        while let Some((_, wanted)) = self
            .deadlines
            .pop_front_if(|(deadline, _)| *deadline <= now)
        {
            let Some(list) = self.waiting.get_mut(&wanted) else {
                continue;
            };
            due.extend(list.extract_if(.., |parked| parked.deadline <= now));
            if list.is_empty() {
                self.waiting.remove(&wanted);
            }
        }
        self.count -= due.len();
        due
    }

    /// When the first request has waited too long.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Requests that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
