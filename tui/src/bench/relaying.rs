//! `bench relay`: sessions that relay as fast as they can, or at a rate.

use std::time::{Duration, Instant};

use super::datagrams::Batches;
use super::error::BenchError;
use super::fleet::Fleet;
use super::pacing::{Load as _, Pacing};
use super::peer::Peer;
use super::plan::{Direction, End, Pace, Place, RelayPlan};
use super::process::{self, CpuTime, ProcessReport, per};
use super::report::{BenchCost, RelayReport, SetUp};
use super::stamp::Way;
use super::traffic::Traffic;
use super::{GIVE_BACK, Observer, Progress};

/// How long copies of packets that came are waited for at the end.
const LINGER: Duration = Duration::from_millis(50);

/// Runs it.
///
/// # Errors
/// The plan makes no sense, sockets fail, or the server does not do what it is asked. Sessions that
/// were made are released.
pub fn relay(
    place: &Place,
    plan: &RelayPlan,
    observer: Observer<'_>,
) -> Result<RelayReport, BenchError> {
    plan.check()?;
    super::sharpen_sleep();
    let rss_before = place.pid.map(process::resident_bytes).transpose()?;
    let mut batches = Batches::new();
    let mut fleet = Fleet::new(place, plan.sessions, plan.method)?;
    let measured = measure(place, plan, &mut fleet, &mut batches, observer);
    let not_released = fleet.release(&mut batches);
    let mut report = measured?;
    report.not_released = not_released;
    if let (Some(pid), Some(before), Some(found)) = (place.pid, rss_before, &mut report.process) {
        std::thread::sleep(GIVE_BACK);
        found.rss_bytes_before = before;
        found.rss_bytes_after = process::resident_bytes(pid)?;
        let with = found.rss_bytes_with_sessions.unwrap_or(before) as f64;
        found.rss_bytes_per_session = per(with - before as f64, plan.sessions as u64);
    }
    Ok(report)
}

fn measure(
    place: &Place,
    plan: &RelayPlan,
    fleet: &mut Fleet,
    batches: &mut Batches,
    observer: Observer<'_>,
) -> Result<RelayReport, BenchError> {
    observer(&Progress::SettingUp {
        sessions: plan.sessions,
    });
    let start = Instant::now();
    let peer = set_up(place, plan, fleet, batches)?;
    let setup = SetUp {
        sessions: plan.sessions,
        ms: start.elapsed().as_millis() as u64,
    };
    let mut found = ProcessReport::default();
    if let Some(pid) = place.pid {
        found.pid = pid;
        found.rss_bytes_with_sessions = Some(process::resident_bytes(pid)?);
    }
    let window = match plan.pace {
        Pace::Closed { window } => window,
        Pace::Open { .. } => 0,
    };
    let mut traffic = Traffic::new(plan, fleet, batches, peer.as_ref(), window);
    let ways = match plan.direction {
        Direction::Up | Direction::Echo => &Way::ALL[..1],
        Direction::Down => &Way::ALL[1..],
        Direction::Both => &Way::ALL[..],
    };
    let pacing = Pacing {
        pace: plan.pace,
        burst: plan.burst,
        settle: plan.settle,
        ways,
        stop: &place.stop,
    };
    if !plan.warm_up.is_zero() {
        pacing.run(&mut traffic, End::After(plan.warm_up), observer)?;
        traffic.ledger.clear();
    }
    let own = process::own_cpu_ns()?;
    let before = place.pid.map(CpuTime::of).transpose()?;
    let first = Instant::now();
    traffic.last_arrival = None;
    pacing.run(&mut traffic, plan.end, observer)?;
    let last = traffic.last_arrival.unwrap_or_else(Instant::now);
    let after = place.pid.map(CpuTime::of).transpose()?;
    let own = process::own_cpu_ns()?.saturating_sub(own);
    // What comes twice may come last.
    std::thread::sleep(LINGER);
    traffic.receive()?;
    let mut report = empty(place, plan);
    report.setup = setup;
    report.duration_ms = last.saturating_duration_since(first).as_secs_f64() * 1e3;
    report.count(&traffic.ledger);
    let relayed = report.relayed();
    report.bench = BenchCost {
        cpu_ns_per_packet: per(own as f64, relayed),
    };
    if let Some((before, after)) = before.zip(after) {
        let spent = before.until(&after);
        found.cpu_ns = spent.ns;
        found.threads_ended = spent.ended;
        found.cpu_ns_per_packet = per(spent.ns as f64, relayed);
        report.process = Some(found);
    }
    Ok(report)
}

/// Makes the sessions, with a way to their peers.
fn set_up(
    place: &Place,
    plan: &RelayPlan,
    fleet: &mut Fleet,
    batches: &mut Batches,
) -> Result<Option<Peer>, BenchError> {
    let peer = match plan.pair {
        true => None,
        false => {
            let bound = Peer::bind(plan.peer, place.server, place.receive_segments);
            Some(bound?)
        }
    };
    let ipv6 = peer.as_ref().is_some_and(|peer| peer.address.is_ipv6());
    fleet.allocate(batches, ipv6)?;
    let relays: Vec<_> = fleet
        .control
        .members
        .iter()
        .filter_map(|m| m.relayed)
        .collect();
    for (client, place) in fleet.control.peers.iter_mut().enumerate() {
        *place = match &peer {
            Some(peer) => Some(peer.address),
            None => relays.get(client ^ 1).copied(),
        };
    }
    fleet.connect(batches)?;
    Ok(peer.map(|mut peer| {
        peer.set_relays(relays);
        peer
    }))
}

/// A report of a run that has not begun.
fn empty(place: &Place, plan: &RelayPlan) -> RelayReport {
    let (window, rate_per_sec) = match plan.pace {
        Pace::Closed { window } => (Some(window), None),
        Pace::Open { per_sec } => (None, Some(per_sec)),
    };
    RelayReport {
        kind: "relay",
        server: place.server.to_string(),
        transport: place.transport.to_string(),
        sessions: plan.sessions,
        size: plan.size,
        burst: plan.burst,
        direction: plan.direction.as_str(),
        method: plan.method.as_str(),
        segments: plan.segments,
        receive_segments: place.receive_segments,
        pair: plan.pair,
        window,
        rate_per_sec,
        duration_ms: 0.0,
        sent: Default::default(),
        received: Default::default(),
        lost: 0,
        misrouted: 0,
        corrupted: 0,
        duplicated: 0,
        reordered: 0,
        packets_per_sec: Default::default(),
        latency_us: Default::default(),
        setup: SetUp::default(),
        not_released: 0,
        bench: BenchCost::default(),
        process: None,
    }
}
