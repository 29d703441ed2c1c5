//! `bench binding`: STUN Binding requests, and whether each answer names who asked.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use shared::Transport;
use turn_proto::stun::{AttributeType, Class, Message, MessageBuilder, Method, TransactionId};

use super::carrier::Carrier;
use super::clock::Clock;
use super::datagrams::Batches;
use super::error::BenchError;
use super::fleet::wait;
use super::frames::BATCH;
use super::histogram::Histogram;
use super::pacing::{Load, Pacing};
use super::plan::{BindingPlan, Pace, Place};
use super::process::{self, CpuTime, ProcessReport, per};
use super::report::{BenchCost, BindingReport, Latency};
use super::stamp::Way;
use super::{GIVE_BACK, Observer, Progress};

/// Bytes of a Binding request: a header.
const REQUEST: usize = 20;
/// Room for one, so that requests do not share cache lines.
const STRIDE: usize = 64;

/// Runs it.
///
/// # Errors
/// Sockets fail.
pub fn binding(
    place: &Place,
    plan: &BindingPlan,
    observer: Observer<'_>,
) -> Result<BindingReport, BenchError> {
    super::sharpen_sleep();
    let mut batches = Batches::new();
    let mut asking = Asking::new(place, plan, &mut batches)?;
    let pacing = Pacing {
        pace: plan.pace,
        burst: 1,
        settle: plan.settle,
        ways: &Way::ALL[..1],
        stop: &place.stop,
    };
    let rss = place.pid.map(process::resident_bytes).transpose()?;
    let own = process::own_cpu_ns()?;
    let before = place.pid.map(CpuTime::of).transpose()?;
    let start = Instant::now();
    pacing.run(&mut asking, plan.end, observer)?;
    let last = asking.last_answer.unwrap_or_else(Instant::now);
    let after = place.pid.map(CpuTime::of).transpose()?;
    let own = process::own_cpu_ns()?.saturating_sub(own);
    let elapsed = last.saturating_duration_since(start);
    let (window, rate_per_sec) = match plan.pace {
        Pace::Closed { window } => (Some(window), None),
        Pace::Open { per_sec } => (None, Some(per_sec)),
    };
    let mut report = BindingReport {
        kind: "binding",
        server: place.server.to_string(),
        transport: place.transport.to_string(),
        clients: plan.clients,
        window,
        rate_per_sec,
        duration_ms: elapsed.as_secs_f64() * 1e3,
        sent: asking.sent,
        received: asking.received,
        wrong: asking.wrong,
        lost: asking.sent.saturating_sub(asking.arrived()),
        per_sec: (asking.received as f64 / elapsed.as_secs_f64().max(1e-9)).round(),
        latency_us: Latency::of(&asking.latency),
        bench: BenchCost {
            cpu_ns_per_packet: per(own as f64, asking.received),
        },
        process: None,
    };
    if let (Some(pid), Some((before, after)), Some(rss)) = (place.pid, before.zip(after), rss) {
        let spent = before.until(&after);
        std::thread::sleep(GIVE_BACK);
        report.process = Some(ProcessReport {
            pid,
            cpu_ns: spent.ns,
            threads_ended: spent.ended,
            cpu_ns_per_answer: per(spent.ns as f64, report.received),
            rss_bytes_before: rss,
            rss_bytes_after: process::resident_bytes(pid)?,
            ..ProcessReport::default()
        });
    }
    Ok(report)
}

/// Requests and their answers.
struct Asking<'b> {
    carrier: Carrier,
    transport: Transport,
    batches: &'b mut Batches,
    /// By client, its own address.
    addresses: Vec<SocketAddr>,
    /// Whose turn it is.
    next: usize,
    clock: Clock,
    room: Box<[u8]>,
    sent: u64,
    received: u64,
    wrong: u64,
    written_off: u64,
    latency: Histogram,
    last_answer: Option<Instant>,
}

impl<'b> Asking<'b> {
    fn new(
        place: &Place,
        plan: &BindingPlan,
        batches: &'b mut Batches,
    ) -> Result<Self, BenchError> {
        let mut carrier = Carrier::new(place, plan.clients)?;
        let addresses = (0..plan.clients).map(|client| carrier.address(client));
        let addresses: Result<_, _> = addresses.collect();
        let failed = |error| BenchError::connection(place.transport, error);
        let addresses = addresses.map_err(failed)?;
        let request = MessageBuilder::request(Method::Binding, TransactionId([0; 12])).finish();
        let mut room = vec![0; STRIDE * BATCH].into_boxed_slice();
        for slot in room.chunks_exact_mut(STRIDE) {
            slot[..REQUEST].copy_from_slice(&request);
        }
        Ok(Self {
            carrier,
            transport: place.transport,
            batches,
            addresses,
            next: 0,
            clock: Clock::start(),
            room,
            sent: 0,
            received: 0,
            wrong: 0,
            written_off: 0,
            latency: Histogram::new(),
            last_answer: None,
        })
    }
}

/// A transaction id says who asked and when: client, number, time.
fn id(client: usize, number: u64, time: u32) -> [u8; 12] {
    let mut id = [0; 12];
    id[..4].copy_from_slice(&(client as u32).to_be_bytes());
    id[4..8].copy_from_slice(&(number as u32).to_be_bytes());
    id[8..].copy_from_slice(&time.to_be_bytes());
    id
}

/// When a request left, if this answers it: one of `client`, with its own address.
fn answered(bytes: &[u8], client: usize, address: SocketAddr) -> Option<u32> {
    let message = Message::parse(bytes).ok()?;
    let id = message.transaction().0;
    let right = (message.class(), message.method()) == (Class::Success, Method::Binding)
        && id[..4] == (client as u32).to_be_bytes()
        && message.xor_address(AttributeType::XOR_MAPPED_ADDRESS) == Ok(Some(address));
    right.then(|| u32::from_be_bytes([id[8], id[9], id[10], id[11]]))
}

impl Load for Asking<'_> {
    fn send(&mut self, _: Way, count: usize) {
        let mut left = count;
        while left > 0 {
            let now = left.min(BATCH);
            let time = self.clock.tenths(Instant::now());
            let (clients, first, sent) = (self.addresses.len(), self.next, self.sent);
            let slots = self.room.chunks_exact_mut(STRIDE).take(now);
            let requests = slots.enumerate().map(|(index, slot)| {
                let client = (first + index) % clients;
                slot[8..REQUEST].copy_from_slice(&id(client, sent + index as u64, time));
                (client, &slot[..REQUEST])
            });
            let failed = self.carrier.send(self.batches, false, requests);
            self.next = (first + now) % clients;
            self.sent += (now as u64).saturating_sub(failed);
            left -= now;
        }
    }

    fn receive(&mut self) -> Result<(), BenchError> {
        let Self {
            carrier,
            transport,
            batches,
            addresses,
            clock,
            latency,
            received,
            wrong,
            last_answer,
            ..
        } = self;
        carrier.receive(batches, &mut |client, bytes, now| match answered(
            bytes,
            client,
            addresses[client],
        ) {
            Some(time) => {
                *received += 1;
                *last_answer = Some(now);
                latency.record(clock.tenths(now).wrapping_sub(time));
            }
            None => *wrong += 1,
        })?;
        match carrier.take_ended() {
            Some((_, error)) => Err(BenchError::connection(*transport, error)),
            None => Ok(()),
        }
    }

    fn wait(&self, most: Duration) -> Result<(), BenchError> {
        Ok(wait(&[self.carrier.fd()], most)?)
    }

    fn on_the_way(&self, _: Way) -> usize {
        let gone = self.arrived() + self.written_off;
        self.sent.saturating_sub(gone) as usize
    }

    fn write_off(&mut self, way: Way) {
        self.written_off += self.on_the_way(way) as u64;
    }

    fn sent(&self, _: Way) -> u64 {
        self.sent
    }

    fn arrived(&self) -> u64 {
        self.received + self.wrong
    }

    fn progress(&self) -> Progress {
        Progress::Asking {
            answers: self.received,
            missing: self.sent.saturating_sub(self.arrived()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_who_asked_with_its_own_address() {
        let own: SocketAddr = "127.16.0.5:4000".parse().unwrap();
        let answer = |class, id, address| {
            MessageBuilder::new(class, Method::Binding, TransactionId(id))
                .xor_address(AttributeType::XOR_MAPPED_ADDRESS, address)
                .finish()
        };
        let good = answer(Class::Success, id(4, 9, 4711), own);
        assert_eq!(answered(&good, 4, own), Some(4711));
        assert_eq!(answered(&good, 5, own), None);
        let other = "127.16.0.6:4000".parse().unwrap();
        assert_eq!(answered(&good, 4, other), None);
        let refused = answer(Class::Error, id(4, 9, 4711), own);
        assert_eq!(answered(&refused, 4, own), None);
    }
}
