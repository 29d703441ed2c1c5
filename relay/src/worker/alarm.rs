//! Wakes a waiting worker at its next deadline.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer among the polled sources. A timeout of the poll would be set and taken back again for each
/// packet that wakes the worker, which on virtual machines is a trip to their host; deadlines move
/// once or twice per second.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
    /// When it goes off; `None`: not at all.
    set_to: Option<Instant>,
}

impl Alarm {
    /// One that is not set and says so with `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self {
            timer,
            set_to: None,
        })
    }

    /// It went off.
    pub(super) fn gone_off(&mut self) {
        self.set_to = None;
    }

    /// Has it go off at that time at the latest: one that goes off earlier stays, since deadlines
    /// that moved on are looked at then.
    pub(super) fn set(&mut self, when: Instant, now: impl FnOnce() -> Instant) -> io::Result<()> {
        if self.set_to.is_some_and(|set_to| set_to <= when) {
            return Ok(());
        }
        // Zero would switch it off.
        let rest = when
            .saturating_duration_since(now())
            .max(Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(rest).map_err(io::Error::other)?,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.set_to = Some(when);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll};

    use super::*;

    const TOKEN: Token = Token(7);

    /// Waits until it goes off, and answers when that was.
    fn wait(poll: &mut Poll, alarm: &mut Alarm) -> Instant {
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(10)))
            .unwrap();
        let tokens: Vec<_> = events.iter().map(mio::event::Event::token).collect();
        assert_eq!(tokens, [TOKEN]);
        alarm.gone_off();
        Instant::now()
    }

    #[test]
    fn it_goes_off_each_time_it_is_set_and_never_early() {
        let mut poll = Poll::new().unwrap();
        let mut alarm = Alarm::new(poll.registry(), TOKEN).unwrap();
        for millis in [0, 3, 1] {
            let when = Instant::now() + Duration::from_millis(millis);
            alarm.set(when, Instant::now).unwrap();
            assert!(wait(&mut poll, &mut alarm) >= when);
        }
    }

    #[test]
    fn the_earlier_of_two_counts() {
        let mut poll = Poll::new().unwrap();
        let mut alarm = Alarm::new(poll.registry(), TOKEN).unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        let late = Instant::now() + Duration::from_secs(3_600);
        for when in [late, soon, late] {
            alarm.set(when, Instant::now).unwrap();
        }
        assert!(wait(&mut poll, &mut alarm) >= soon);
    }
}
