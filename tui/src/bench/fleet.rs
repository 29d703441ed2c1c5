//! The clients with what carries their messages: set-up, upkeep and release of hundreds at once.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shared::Transport;

use super::carrier::Carrier;
use super::control::Control;
use super::datagrams::Batches;
use super::error::BenchError;
use super::negotiation::Step;
use super::plan::{Method, Place, Stop};

/// Requests on their way at once: less than the least buffer of a socket holds.
const AT_ONCE: usize = 128;
/// How long nothing may come until it is looked for requests that are to be sent again.
const TICK: Duration = Duration::from_millis(20);
/// How long a release is waited for: whoever ends wants to end.
const RELEASE: Duration = Duration::from_secs(3);

/// All clients of a run.
#[derive(Debug)]
pub(super) struct Fleet {
    /// What carries messages.
    pub(super) carrier: Carrier,
    /// Requests and answers.
    pub(super) control: Control,
    stop: Stop,
    transport: Transport,
    looked_after: Instant,
}

impl Fleet {
    /// Clients that have asked for nothing yet.
    ///
    /// # Errors
    /// There are not enough sockets or addresses.
    pub(super) fn new(place: &Place, sessions: usize, method: Method) -> Result<Self, BenchError> {
        Ok(Self {
            carrier: Carrier::new(place, sessions)?,
            control: Control::new(place, sessions, method)?,
            stop: place.stop.clone(),
            transport: place.transport,
            looked_after: Instant::now(),
        })
    }

    /// Has each client begin with what `first` says, and go on with what `next` says behind each step
    /// that succeeded, until all are through; those that wait for something already go on from there.
    ///
    /// # Errors
    /// The first refusal, or silence.
    pub(super) fn run_all(
        &mut self,
        batches: &mut Batches,
        mut first: impl FnMut(&Control, usize) -> Option<Step>,
        next: impl Fn(&Control, usize, Step) -> Option<Step>,
    ) -> Result<(), BenchError> {
        let members = self.control.members.iter();
        let (mut cursor, mut waiting) = (0, members.filter(|member| member.is_waiting()).count());
        loop {
            while waiting < AT_ONCE && cursor < self.control.members.len() {
                let busy = self.control.members[cursor].is_waiting();
                if !busy && let Some(step) = first(&self.control, cursor) {
                    self.control.begin(cursor, step, Instant::now());
                    waiting += 1;
                }
                cursor += 1;
            }
            self.flush(batches);
            if waiting == 0 {
                return Ok(());
            }
            if self.stop.is_set() {
                return Err(BenchError::Interrupted);
            }
            wait(&[self.carrier.fd()], TICK)?;
            let Self {
                carrier, control, ..
            } = self;
            let mut failed = None;
            carrier.receive(batches, &mut |client, message, now| match control
                .heard(client, message, now)
            {
                Ok(Some(step)) => match next(control, client, step) {
                    Some(step) => control.begin(client, step, now),
                    None => waiting = waiting.saturating_sub(1),
                },
                Ok(None) => {}
                Err(error) => failed = failed.take().or(Some(error)),
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            self.look_after(Instant::now())
                .map_err(|(_, error)| error)?;
        }
    }

    /// Looks for requests that are to be made or sent again, not too often.
    ///
    /// # Errors
    /// As [`Control::look_after`].
    pub(super) fn look_after(&mut self, now: Instant) -> Result<(), (usize, BenchError)> {
        while let Some((client, error)) = self.carrier.take_ended() {
            let member = &mut self.control.members[client];
            if member.is_waiting() || member.relayed.is_some() {
                member.forget();
                // The server ends what the connection carried.
                member.relayed = None;
                return Err((client, BenchError::connection(self.transport, error)));
            }
        }
        if now.saturating_duration_since(self.looked_after) < TICK {
            return Ok(());
        }
        self.looked_after = now;
        self.control.look_after(now)
    }

    /// Sends the requests that wait for it.
    pub(super) fn flush(&mut self, batches: &mut Batches) {
        if self.control.to_send.is_empty() {
            return;
        }
        let to_send = std::mem::take(&mut self.control.to_send);
        let members = &self.control.members;
        let asking = to_send
            .iter()
            .filter(|&&client| members[client].is_waiting());
        let messages = asking.map(|&client| (client, members[client].request()));
        self.carrier.send(batches, false, messages);
        self.control.to_send = to_send;
        self.control.to_send.clear();
    }

    /// Makes an allocation for each client.
    ///
    /// # Errors
    /// As [`Self::run_all`].
    pub(super) fn allocate(&mut self, batches: &mut Batches, ipv6: bool) -> Result<(), BenchError> {
        let first = |_: &Control, _| Some(Step::Allocate { ipv6 });
        self.run_all(batches, first, |_, _, _| None)
    }

    /// Opens the way to each client's peer.
    ///
    /// # Errors
    /// As [`Self::run_all`].
    pub(super) fn connect(&mut self, batches: &mut Batches) -> Result<(), BenchError> {
        let first = |control: &Control, client| control.behind(client, Step::Refresh);
        self.run_all(batches, first, Control::behind)
    }

    /// Takes answers, and keeps sessions alive that have nothing to do.
    ///
    /// # Errors
    /// A socket failed, or the server ended a session.
    pub(super) fn keep(&mut self, batches: &mut Batches) -> Result<(), BenchError> {
        let Self {
            carrier, control, ..
        } = self;
        let mut failed = None;
        carrier.receive(batches, &mut |client, message, now| {
            let kept = control.go_on(client, message, now);
            failed = failed.take().or(kept.err());
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.look_after(Instant::now())
            .map_err(|(_, error)| error)?;
        self.flush(batches);
        Ok(())
    }

    /// Releases what there is, and answers how many did not let themselves be released.
    pub(super) fn release(&mut self, batches: &mut Batches) -> usize {
        let end = Instant::now() + RELEASE;
        let control = &mut self.control;
        control.forget_all_but_allocations();
        self.stop = Stop::default();
        let mut tried = vec![false; control.members.len()];
        // One that fails is as good as gone; the others have to go all the same.
        while Instant::now() < end {
            let first = |control: &Control, client: usize| {
                let stands = control.members[client].relayed.is_some();
                let again = std::mem::replace(&mut tried[client], stands);
                (stands && !again).then_some(Step::Release)
            };
            // An allocation that was asked for may come yet.
            let next = |_: &Control, _: usize, step: Step| {
                matches!(step, Step::Allocate { .. }).then_some(Step::Release)
            };
            match self.run_all(batches, first, next) {
                Ok(()) => break,
                Err(BenchError::Server { .. }) => {}
                Err(_) => break,
            }
        }
        let left = self.control.members.iter().filter(|m| m.relayed.is_some());
        left.count()
    }
}

/// Waits until one of `sockets` has something, at most `most`.
pub(super) fn wait(sockets: &[BorrowedFd<'_>], most: Duration) -> io::Result<()> {
    let most = Timespec::try_from(most).map_err(io::Error::other)?;
    let outcome = match sockets {
        [one] => poll(&mut [watch(one)], Some(&most)),
        [one, other] => poll(&mut [watch(one), watch(other)], Some(&most)),
        many => poll(&mut many.iter().map(watch).collect::<Vec<_>>(), Some(&most)),
    };
    match outcome {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn watch<'a>(socket: &BorrowedFd<'a>) -> PollFd<'a> {
    PollFd::from_borrowed_fd(*socket, PollFlags::IN)
}
