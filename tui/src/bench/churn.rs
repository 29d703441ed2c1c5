//! `bench churn`: allocations made and released, one behind the other, many at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::control::Control;
use super::datagrams::Batches;
use super::error::BenchError;
use super::fleet::{Fleet, wait};
use super::histogram::Histogram;
use super::negotiation::Step;
use super::plan::{ChurnPlan, End, Method, Place};
use super::process::{self, CpuTime, ProcessReport, per};
use super::report::{BenchCost, ChurnReport, Latency};
use super::{Observer, Progress, TELL};
use crate::turn::TurnError;

/// How long nothing may come until it is looked for requests that are to be sent again.
const TICK: Duration = Duration::from_millis(20);
/// Failures in a row, without any success, that end a run: nothing is measured any more.
const HOPELESS: u64 = 100;

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    cycles: u64,
    failed: u64,
    unanswered: u64,
    refused: BTreeMap<u16, u64>,
    /// Failures since the last success.
    in_a_row: u64,
}

/// Runs it.
///
/// # Errors
/// Sockets fail, or the server refuses everything.
pub fn churn(
    place: &Place,
    plan: &ChurnPlan,
    observer: Observer<'_>,
) -> Result<ChurnReport, BenchError> {
    super::sharpen_sleep();
    let mut batches = Batches::new();
    let mut fleet = Fleet::new(place, plan.concurrency, Method::Channel)?;
    let rss_before = place.pid.map(process::resident_bytes).transpose()?;
    let before = place.pid.map(CpuTime::of).transpose()?;
    let own = process::own_cpu_ns()?;
    let start = Instant::now();
    let mut cycles = Cycles {
        place,
        plan,
        fleet: &mut fleet,
        counts: Counts::default(),
        latency: Histogram::new(),
        clock: Clock::start(),
        begun: vec![0; plan.concurrency],
        made: 0,
        start,
    };
    let ended = cycles.all(&mut batches, observer);
    let elapsed = start.elapsed();
    let (counts, latency) = (cycles.counts, Latency::of(&cycles.latency));
    let own = process::own_cpu_ns()?.saturating_sub(own);
    let after = place.pid.map(CpuTime::of).transpose()?;
    fleet.release(&mut batches);
    ended?;
    let mut report = ChurnReport {
        kind: "churn",
        server: place.server.to_string(),
        transport: place.transport.to_string(),
        concurrency: plan.concurrency,
        cycles: counts.cycles,
        failed: counts.failed,
        refused: counts.refused,
        unanswered: counts.unanswered,
        cycles_per_sec: (counts.cycles as f64 / elapsed.as_secs_f64()).round(),
        latency_us: latency,
        duration_ms: elapsed.as_secs_f64() * 1e3,
        bench: BenchCost {
            cpu_ns_per_packet: per(own as f64, counts.cycles),
        },
        process: None,
    };
    if let (Some(pid), Some((before, after)), Some(rss)) =
        (place.pid, before.zip(after), rss_before)
    {
        let spent = before.until(&after);
        std::thread::sleep(super::GIVE_BACK);
        let rss_after = process::resident_bytes(pid)?;
        report.process = Some(ProcessReport {
            pid,
            cpu_ns: spent.ns,
            threads_ended: spent.ended,
            cpu_ns_per_cycle: per(spent.ns as f64, counts.cycles),
            rss_bytes_before: rss,
            rss_bytes_after: rss_after,
            rss_bytes_growth_per_cycle: per(rss_after as f64 - rss as f64, counts.cycles),
            ..ProcessReport::default()
        });
    }
    Ok(report)
}

/// A run at work.
struct Cycles<'a> {
    place: &'a Place,
    plan: &'a ChurnPlan,
    fleet: &'a mut Fleet,
    counts: Counts,
    latency: Histogram,
    clock: Clock,
    /// By client, when its cycle began, in tenths of a microsecond.
    begun: Vec<u32>,
    /// Cycles that were begun.
    made: u64,
    start: Instant,
}

impl Cycles<'_> {
    fn all(&mut self, batches: &mut Batches, observer: Observer<'_>) -> Result<(), BenchError> {
        let mut told = self.start;
        let mut idle: Vec<usize> = (0..self.plan.concurrency).collect();
        loop {
            if self.place.stop.is_set() {
                return Err(BenchError::Interrupted);
            }
            let now = Instant::now();
            while let Some(client) = idle.pop_if(|_| self.goes_on()) {
                self.begin(client, now)?;
            }
            self.fleet.flush(batches);
            if idle.len() == self.plan.concurrency {
                return Ok(());
            }
            match self.plan.settle.is_zero() {
                true => wait(&[self.fleet.carrier.fd()], TICK)?,
                false => std::thread::sleep(self.plan.settle),
            }
            self.receive(batches, &mut idle)?;
            self.give_up(&mut idle)?;
            if now.saturating_duration_since(told) >= TELL {
                told = now;
                observer(&Progress::Cycling {
                    cycles: self.counts.cycles,
                    failed: self.counts.failed,
                });
            }
        }
    }

    /// Whether another cycle is to begin.
    fn goes_on(&self) -> bool {
        match self.plan.end {
            End::After(time) => self.start.elapsed() < time,
            End::Count(cycles) => self.made < cycles,
        }
    }

    /// A client without a past makes an allocation, from a 5-tuple that the server does not know.
    fn begin(&mut self, client: usize, now: Instant) -> Result<(), BenchError> {
        if self.made >= self.plan.concurrency as u64 {
            self.fleet.carrier.renew(client)?;
        }
        let number = self.made as usize;
        self.made += 1;
        self.begun[client] = self.clock.tenths(now);
        let control = &mut self.fleet.control;
        control.replace(client, number, &self.place.logins);
        control.begin(client, Step::Allocate { ipv6: false }, now);
        Ok(())
    }

    fn receive(&mut self, batches: &mut Batches, idle: &mut Vec<usize>) -> Result<(), BenchError> {
        let Fleet {
            carrier, control, ..
        } = &mut *self.fleet;
        let (counts, latency) = (&mut self.counts, &mut self.latency);
        let (clock, begun) = (self.clock, &self.begun);
        let mut hopeless = None;
        carrier.receive(batches, &mut |client, message, now| match control
            .heard(client, message, now)
        {
            Ok(Some(Step::Allocate { .. })) => control.begin(client, Step::Release, now),
            Ok(Some(_)) => {
                counts.cycles += 1;
                counts.in_a_row = 0;
                latency.record(clock.tenths(now).wrapping_sub(begun[client]));
                idle.push(client);
            }
            Ok(None) => {}
            Err(error) => {
                hopeless = failed(counts, control, client, error).or(hopeless.take());
                idle.push(client);
            }
        })?;
        hopeless.map_or(Ok(()), Err)
    }

    /// Sends again what is due, and gives up what was sent often enough.
    fn give_up(&mut self, idle: &mut Vec<usize>) -> Result<(), BenchError> {
        let Err((client, error)) = self.fleet.look_after(Instant::now()) else {
            return Ok(());
        };
        idle.push(client);
        let control = &mut self.fleet.control;
        failed(&mut self.counts, control, client, error).map_or(Ok(()), Err)
    }
}

/// Counts a cycle that failed, and answers the error when there is nothing left to measure.
fn failed(
    counts: &mut Counts,
    control: &mut Control,
    client: usize,
    error: BenchError,
) -> Option<BenchError> {
    control.members[client].relayed = None;
    counts.failed += 1;
    counts.in_a_row += 1;
    let known = match &error {
        BenchError::Server { error, .. } => match (error.code(), &**error) {
            (Some(code), _) => {
                *counts.refused.entry(code).or_default() += 1;
                // Nobody to log in as: the next cycle has nobody either.
                code != 401
            }
            (None, TurnError::NoAnswer { .. }) => {
                counts.unanswered += 1;
                true
            }
            _ => false,
        },
        _ => false,
    };
    if !known {
        return Some(error);
    }
    (counts.cycles == 0 && counts.in_a_row >= HOPELESS).then_some(error)
}
