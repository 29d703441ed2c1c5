//! Packets through the relays: whose turn it is, what leaves, what came.

use std::time::Instant;

use super::Progress;
use super::clock::Clock;
use super::datagrams::Batches;
use super::error::BenchError;
use super::fleet::{Fleet, wait};
use super::frames::{BATCH, Frames, Opened};
use super::ledger::{Arrival, Ledger};
use super::pacing::Load;
use super::peer::Peer;
use super::plan::{Direction, RelayPlan};
use super::stamp::{Pattern, Stamp, Way};

/// Whose turn it is to send, in one way.
#[derive(Debug)]
struct Turn {
    flows: Vec<u16>,
    /// The number of each flow's last packet.
    sequences: Vec<u32>,
    burst: usize,
    place: usize,
    left: usize,
}

impl Turn {
    fn new(flows: impl Iterator<Item = u16>, burst: usize) -> Self {
        let flows: Vec<_> = flows.collect();
        Self {
            sequences: vec![0; flows.len()],
            flows,
            burst,
            place: 0,
            left: burst,
        }
    }

    /// The next `count` packets, stamped with `time`.
    fn take(
        &mut self,
        count: usize,
        way: Way,
        time: u32,
    ) -> impl Iterator<Item = (usize, Stamp)> + '_ {
        (0..count).map(move |_| {
            if self.left == 0 {
                self.left = self.burst;
                self.place = (self.place + 1) % self.flows.len();
            }
            self.left -= 1;
            self.sequences[self.place] += 1;
            let flow = self.flows[self.place];
            let stamp = Stamp {
                flow,
                way,
                sequence: self.sequences[self.place],
                time,
            };
            (usize::from(flow), stamp)
        })
    }

    /// Packets until a flow comes again.
    fn round(&self) -> usize {
        self.flows.len() * self.burst
    }
}

/// The data plane of a run.
#[derive(Debug)]
pub(super) struct Traffic<'a> {
    fleet: &'a mut Fleet,
    batches: &'a mut Batches,
    /// `None`: sessions are each other's peers.
    peer: Option<&'a Peer>,
    frames: Frames,
    /// The books.
    pub(super) ledger: Ledger,
    turns: [Turn; 2],
    clock: Clock,
    echo: bool,
    together: bool,
    /// By way, packets that are not waited for any more.
    written_off: [u64; 2],
    /// When the last packet came.
    pub(super) last_arrival: Option<Instant>,
}

impl<'a> Traffic<'a> {
    /// Of sessions that are set up; `window`: packets on their way at most.
    pub(super) fn new(
        plan: &RelayPlan,
        fleet: &'a mut Fleet,
        batches: &'a mut Batches,
        peer: Option<&'a Peer>,
        window: usize,
    ) -> Self {
        let peers = fleet.control.peers.iter().flatten().copied().collect();
        let flows = || 0..plan.sessions as u16;
        let turns = match peer {
            Some(_) => [flows().step_by(1), flows().step_by(1)],
            // In a pair, the even one's packets count as up, the odd one's as down.
            None => [flows().step_by(2), (1..plan.sessions as u16).step_by(2)],
        };
        let padded = fleet.carrier.is_stream();
        Self {
            frames: Frames::new(peers, plan.method, plan.size, padded),
            ledger: Ledger::new(plan.sessions, plan.size, window),
            turns: turns.map(|flows| Turn::new(flows, plan.burst)),
            clock: Clock::start(),
            echo: plan.direction == Direction::Echo,
            together: plan.segments && plan.burst > 1,
            written_off: [0; 2],
            last_arrival: None,
            fleet,
            batches,
            peer,
        }
    }

    fn receive_at_clients(&mut self) -> Result<(), BenchError> {
        let Self {
            ledger,
            frames,
            last_arrival,
            ..
        } = self;
        let Fleet {
            carrier, control, ..
        } = &mut *self.fleet;
        let (clock, echo, paired) = (self.clock, self.echo, self.peer.is_none());
        let arrival = |client: usize| {
            let flow = if paired { client ^ 1 } else { client };
            let way = match paired && flow % 2 == 0 {
                true => Way::Up,
                false => Way::Down,
            };
            Arrival {
                flow: Some(flow as u16),
                way,
                stamped: if echo { Way::Up } else { way },
            }
        };
        let mut failed = None;
        carrier.receive(self.batches, &mut |client, message, now| match frames
            .open(client, message)
        {
            Opened::Data(payload) => {
                *last_arrival = Some(now);
                ledger.arrived(arrival(client), payload, Some(clock.tenths(now)));
            }
            Opened::Strange => ledger.strange(arrival(client).way),
            Opened::Control => {
                let kept = control.go_on(client, message, now);
                failed = failed.take().or(kept.err());
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn receive_at_peer(&mut self, peer: &Peer) -> Result<(), BenchError> {
        let Self {
            ledger,
            last_arrival,
            clock,
            ..
        } = self;
        self.batches.drain(peer.fd(), &mut |datagram, now| {
            *last_arrival = Some(now);
            let arrival = at_peer(peer, datagram.from, datagram.bytes);
            ledger.arrived(arrival, datagram.bytes, Some(clock.tenths(now)));
        })?;
        Ok(())
    }

    /// Sends back what came from relays, whatever it is.
    fn echo_at_peer(&mut self, peer: &Peer) -> Result<(), BenchError> {
        let Batches {
            receive,
            singly,
            together,
        } = &mut *self.batches;
        let queue = if self.together { together } else { singly };
        loop {
            let received = match receive.receive(peer.outlet().socket, usize::MAX) {
                Ok(received) => received,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let before = queue.failed;
            let mut count = 0;
            let mut batch = queue.batch();
            for datagram in received.datagrams().flatten() {
                let arrival = at_peer(peer, datagram.from, datagram.bytes);
                self.ledger.arrived(arrival, datagram.bytes, None);
                if arrival.flow.is_some() {
                    batch.push(peer.outlet(), datagram.from, &[], datagram.bytes, 0);
                    count += 1;
                }
            }
            drop(batch);
            self.ledger.sent(Way::Down, count - (queue.failed - before));
            let is_drained = received.is_drained;
            receive.give_back();
            if is_drained {
                return Ok(());
            }
        }
    }
}

impl Load for Traffic<'_> {
    fn send(&mut self, way: Way, count: usize) {
        let mut left = count;
        while left > 0 {
            let turn = &mut self.turns[way.index()];
            let most = match self.together {
                // Two bursts of one flow must not become one message.
                true => turn.round().min(BATCH),
                false => BATCH,
            };
            let now = left.min(most);
            let packets = turn.take(now, way, self.clock.tenths(Instant::now()));
            let pattern = self.ledger.pattern();
            let failed = match self.peer {
                Some(peer) if way == Way::Down => {
                    let payloads = self.frames.down(pattern, packets);
                    peer.send(self.batches, self.together, payloads)
                }
                _ => {
                    let messages = self.frames.up(pattern, packets);
                    let carrier = &mut self.fleet.carrier;
                    carrier.send(self.batches, self.together, messages)
                }
            };
            self.ledger.sent(way, (now as u64).saturating_sub(failed));
            left -= now;
        }
    }

    fn on_the_way(&self, way: Way) -> usize {
        let back = if self.echo { Way::Down } else { way };
        let gone = self.ledger.tally(back).arrived() + self.written_off[way.index()];
        self.ledger.tally(way).sent.saturating_sub(gone) as usize
    }

    fn write_off(&mut self, way: Way) {
        self.written_off[way.index()] += self.on_the_way(way) as u64;
    }

    fn receive(&mut self) -> Result<(), BenchError> {
        self.receive_at_clients()?;
        if let Some(peer) = self.peer {
            match self.echo {
                true => self.echo_at_peer(peer)?,
                false => self.receive_at_peer(peer)?,
            }
        }
        let looked = self.fleet.look_after(Instant::now());
        looked.map_err(|(_, error)| error)?;
        self.fleet.flush(self.batches);
        Ok(())
    }

    fn wait(&self, most: std::time::Duration) -> Result<(), BenchError> {
        let clients = self.fleet.carrier.fd();
        match self.peer {
            Some(peer) => wait(&[clients, peer.fd()], most)?,
            None => wait(&[clients], most)?,
        }
        Ok(())
    }

    fn sent(&self, way: Way) -> u64 {
        self.ledger.tally(way).sent
    }

    fn arrived(&self) -> u64 {
        Way::ALL
            .iter()
            .map(|way| self.ledger.tally(*way).arrived())
            .sum()
    }

    fn progress(&self) -> Progress {
        let (up, down) = (self.ledger.tally(Way::Up), self.ledger.tally(Way::Down));
        Progress::Relaying {
            up: up.received,
            down: down.received,
            missing: up.lost() + down.lost(),
        }
    }
}

/// A packet that came to the peer from a relay.
fn at_peer(peer: &Peer, from: std::net::SocketAddr, payload: &[u8]) -> Arrival {
    // What the packet says of itself is mostly right, and saves a look into the map.
    let named = Pattern::flow_of(payload).map(usize::from);
    let right = named.filter(|client| peer.relay(*client) == Some(from));
    let flow = right.or_else(|| peer.client_of(from));
    Arrival {
        flow: flow.map(|flow| flow as u16),
        way: Way::Up,
        stamped: Way::Up,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round_in_bursts_and_number_each_flow() {
        let mut turn = Turn::new([3, 5].into_iter(), 2);
        let taken = |turn: &mut Turn, count| -> Vec<(u16, u32)> {
            turn.take(count, Way::Up, 0)
                .map(|(client, stamp)| {
                    assert_eq!(client, usize::from(stamp.flow));
                    (stamp.flow, stamp.sequence)
                })
                .collect()
        };
        assert_eq!(taken(&mut turn, 3), [(3, 1), (3, 2), (5, 1)]);
        assert_eq!(taken(&mut turn, 3), [(5, 2), (3, 3), (3, 4)]);
        assert_eq!(turn.round(), 4);
    }
}
