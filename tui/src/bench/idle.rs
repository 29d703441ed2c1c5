//! `bench idle`: sessions that are held and do nothing, to see what they weigh.

use std::time::Instant;

use super::control::Control;
use super::datagrams::Batches;
use super::error::BenchError;
use super::fleet::{Fleet, wait};
use super::peer::Peer;
use super::plan::{IdlePlan, Method, Place};
use super::process::{self, CpuTime, per};
use super::report::{IdleReport, IdleRound, SetUp};
use super::{Observer, Progress, TELL};

/// Runs it.
///
/// # Errors
/// Sockets fail, or the server does not do what it is asked. Sessions that were made are released.
pub fn idle(
    place: &Place,
    plan: &IdlePlan,
    observer: Observer<'_>,
) -> Result<IdleReport, BenchError> {
    let mut batches = Batches::new();
    let mut fleet = Fleet::new(place, plan.sessions, Method::Channel)?;
    let peer = Peer::bind(plan.peer, place.server, place.receive_segments)?;
    let mut rounds = Vec::with_capacity(plan.rounds);
    for number in 0..plan.rounds {
        if number > 0 {
            fleet.control = Control::new(place, plan.sessions, Method::Channel)?;
            for client in 0..plan.sessions {
                fleet.carrier.renew(client)?;
            }
        }
        let before = place.pid.map(process::resident_bytes).transpose()?;
        let held = hold(place, plan, &peer, &mut fleet, &mut batches, observer);
        let not_released = fleet.release(&mut batches);
        let mut round = held?;
        round.not_released = not_released;
        round.rss_bytes_before = before;
        if let Some(pid) = place.pid {
            std::thread::sleep(plan.rest);
            round.rss_bytes_after = Some(process::resident_bytes(pid)?);
            let with = round.rss_bytes_with_sessions.zip(before);
            let grown = with.map(|(with, before)| with as f64 - before as f64);
            round.rss_bytes_per_session = grown.and_then(|g| per(g, plan.sessions as u64));
        }
        rounds.push(round);
    }
    Ok(IdleReport {
        kind: "idle",
        server: place.server.to_string(),
        transport: place.transport.to_string(),
        sessions: plan.sessions,
        hold_ms: plan.hold.as_millis() as u64,
        rounds,
    })
}

/// Makes the sessions and holds them.
fn hold(
    place: &Place,
    plan: &IdlePlan,
    peer: &Peer,
    fleet: &mut Fleet,
    batches: &mut Batches,
    observer: Observer<'_>,
) -> Result<IdleRound, BenchError> {
    observer(&Progress::SettingUp {
        sessions: plan.sessions,
    });
    let start = Instant::now();
    fleet.allocate(batches, peer.address.is_ipv6())?;
    fleet.control.peers.fill(Some(peer.address));
    fleet.connect(batches)?;
    let setup = SetUp {
        sessions: plan.sessions,
        ms: start.elapsed().as_millis() as u64,
    };
    let before = place.pid.map(CpuTime::of).transpose()?;
    let start = Instant::now();
    let mut told = start;
    while start.elapsed() < plan.hold {
        if place.stop.is_set() {
            return Err(BenchError::Interrupted);
        }
        let left = plan.hold.saturating_sub(start.elapsed());
        wait(&[fleet.carrier.fd()], left.min(TELL))?;
        fleet.keep(batches)?;
        if told.elapsed() >= TELL {
            told = Instant::now();
            observer(&Progress::Holding {
                sessions: plan.sessions,
            });
        }
    }
    let after = place.pid.map(CpuTime::of).transpose()?;
    let spent = before
        .zip(after)
        .map(|(before, after)| before.until(&after));
    Ok(IdleRound {
        setup,
        rss_bytes_with_sessions: place.pid.map(process::resident_bytes).transpose()?,
        cpu_ns_held: spent.map(|spent| spent.ns),
        ..IdleRound::default()
    })
}
