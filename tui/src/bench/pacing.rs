//! When to send and when to look: as much as a window holds, or by the clock.

use std::time::{Duration, Instant};

use super::error::BenchError;
use super::plan::{End, Pace, Stop};
use super::stamp::Way;
use super::{Observer, Progress, TELL};

/// Silence after which packets on their way count as lost.
const SILENCE: Duration = Duration::from_millis(250);
/// Packets that one look at the clock lets leave, at most, at a rate.
const AT_ONCE: u64 = 1024;
/// The longest wait: the clock has to be looked at, too.
const NAP: Duration = Duration::from_millis(1);
/// A pause too short to sleep.
const SPIN: Duration = Duration::from_micros(80);

/// What is sent and comes back.
pub(super) trait Load {
    /// Sends `count` packets one way, in the order of turns.
    fn send(&mut self, way: Way, count: usize);
    /// Takes all that came.
    ///
    /// # Errors
    /// A socket failed, or the server ended a session.
    fn receive(&mut self) -> Result<(), BenchError>;
    /// Waits until something comes.
    ///
    /// # Errors
    /// What poll says.
    fn wait(&self, most: Duration) -> Result<(), BenchError>;
    /// Packets on their way that are still waited for.
    fn on_the_way(&self, way: Way) -> usize;
    /// Gives up what is on its way.
    fn write_off(&mut self, way: Way);
    /// Packets that left.
    fn sent(&self, way: Way) -> u64;
    /// Packets that came anywhere.
    fn arrived(&self) -> u64;
    /// For a person who waits.
    fn progress(&self) -> Progress;
}

/// How a load is paced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacing<'a> {
    pub(super) pace: Pace,
    /// Packets of one flow before the next flow's.
    pub(super) burst: usize,
    /// How long to sleep between sending and looking; zero waits for what comes.
    pub(super) settle: Duration,
    /// Ways that packets are sent by us.
    pub(super) ways: &'a [Way],
    pub(super) stop: &'a Stop,
}

impl Pacing<'_> {
    /// Sends until `end`, and waits for what is on its way then.
    ///
    /// # Errors
    /// A socket failed, the server ended a session, or the operator the run.
    pub(super) fn run(
        self,
        load: &mut dyn Load,
        end: End,
        observer: Observer<'_>,
    ) -> Result<(), BenchError> {
        let start = Instant::now();
        let mut span = Span {
            how: self,
            load,
            end,
            start,
            told: start,
            observer,
        };
        match self.pace {
            Pace::Closed { window } if self.settle.is_zero() => span.closed(window),
            Pace::Closed { window } => span.windows(window),
            Pace::Open { per_sec } => span.open(per_sec),
        }?;
        span.drain()
    }
}

/// A run at work.
struct Span<'a, 'l, 'o> {
    how: Pacing<'a>,
    load: &'l mut dyn Load,
    end: End,
    start: Instant,
    told: Instant,
    observer: Observer<'o>,
}

impl Span<'_, '_, '_> {
    /// Packets that are left to send; zero ends the span.
    fn left(&self) -> u64 {
        match self.end {
            End::After(time) if self.start.elapsed() < time => u64::MAX,
            End::After(_) => 0,
            End::Count(packets) => {
                let sent = self.how.ways.iter().map(|way| self.load.sent(*way));
                packets.saturating_sub(sent.sum())
            }
        }
    }

    /// Whole windows: send, sleep, look, until all came.
    fn windows(&mut self, window: usize) -> Result<(), BenchError> {
        while self.left() > 0 {
            self.look_around()?;
            for way in self.how.ways {
                let now = self.left().min(window as u64);
                self.load.send(*way, now as usize);
            }
            self.drain()?;
        }
        Ok(())
    }

    /// As many on their way as the window holds, at any time.
    fn closed(&mut self, window: usize) -> Result<(), BenchError> {
        let burst = self.how.burst;
        // Small refills would make batches of one.
        let refill = (window / 4).max(burst);
        let mut quiet = Instant::now();
        while self.left() > 0 {
            self.look_around()?;
            let before = self.load.arrived();
            for way in self.how.ways {
                let free = window.saturating_sub(self.load.on_the_way(*way));
                if free >= refill {
                    let whole = free / burst * burst;
                    let now = self.left().min(whole as u64);
                    self.load.send(*way, now as usize);
                }
            }
            self.load.wait(NAP)?;
            self.load.receive()?;
            self.judge_silence(before, &mut quiet);
        }
        Ok(())
    }

    /// By the clock.
    fn open(&mut self, per_sec: f64) -> Result<(), BenchError> {
        let (burst, ways) = (self.how.burst as u64, self.how.ways);
        let (mut gone, mut turn) = (0_u64, 0_u64);
        let count = ways.len() as u64;
        loop {
            self.look_around()?;
            let left = self.left();
            if left < burst {
                self.load.send(ways[0], left as usize);
                return Ok(());
            }
            let due = (self.start.elapsed().as_secs_f64() * per_sec) as u64 + 1;
            let bursts = due.saturating_sub(gone).min(left).min(AT_ONCE) / burst;
            // Bursts go one way and the other in turn; those that are due at once leave together.
            for (index, way) in ways.iter().enumerate() {
                let share = (bursts + (turn + index as u64) % count) / count;
                self.load.send(*way, (share * burst) as usize);
                gone += share * burst;
            }
            turn += bursts;
            self.load.receive()?;
            let next = Duration::from_secs_f64((gone + burst - 1) as f64 / per_sec);
            let next = self.start + next;
            let pause = next.saturating_duration_since(Instant::now()).min(NAP);
            if !self.how.settle.is_zero() {
                std::thread::sleep(self.how.settle);
            } else if pause > SPIN {
                self.load.wait(pause - SPIN / 2)?;
            }
        }
    }

    fn on_the_way(&self) -> usize {
        let each = self.how.ways.iter().map(|way| self.load.on_the_way(*way));
        each.sum()
    }

    /// Gives up what is on its way when nothing has come for too long.
    fn judge_silence(&mut self, before: u64, quiet: &mut Instant) {
        let now = Instant::now();
        if self.load.arrived() > before {
            *quiet = now;
        } else if now.saturating_duration_since(*quiet) > SILENCE {
            for way in self.how.ways {
                self.load.write_off(*way);
            }
            *quiet = now;
        }
    }

    /// Waits for what is on its way, and gives up what does not come.
    fn drain(&mut self) -> Result<(), BenchError> {
        let mut quiet = Instant::now();
        while self.on_the_way() > 0 {
            let before = self.load.arrived();
            match self.how.settle.is_zero() {
                true => self.load.wait(NAP)?,
                false => std::thread::sleep(self.how.settle),
            }
            self.load.receive()?;
            self.judge_silence(before, &mut quiet);
        }
        Ok(())
    }

    /// Tells how far it is, and ends what is to end.
    fn look_around(&mut self) -> Result<(), BenchError> {
        if self.how.stop.is_set() {
            return Err(BenchError::Interrupted);
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.told) >= TELL {
            self.told = now;
            (self.observer)(&self.load.progress());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A load of which all, or nothing, comes at once.
    #[derive(Default)]
    struct Fake {
        sent: [u64; 2],
        sendings: Vec<(Way, usize)>,
        arrived: u64,
        written_off: u64,
        silent: bool,
    }

    impl Load for Fake {
        fn send(&mut self, way: Way, count: usize) {
            self.sent[way.index()] += count as u64;
            if count > 0 {
                self.sendings.push((way, count));
            }
        }

        fn receive(&mut self) -> Result<(), BenchError> {
            if !self.silent {
                self.arrived = self.sent.iter().sum();
            }
            Ok(())
        }

        fn wait(&self, most: Duration) -> Result<(), BenchError> {
            assert!(most <= NAP);
            Ok(())
        }

        fn on_the_way(&self, _: Way) -> usize {
            let sent: u64 = self.sent.iter().sum();
            (sent - self.arrived - self.written_off) as usize
        }

        fn write_off(&mut self, way: Way) {
            self.written_off += self.on_the_way(way) as u64;
        }

        fn sent(&self, way: Way) -> u64 {
            self.sent[way.index()]
        }

        fn arrived(&self) -> u64 {
            self.arrived
        }

        fn progress(&self) -> Progress {
            Progress::Holding { sessions: 0 }
        }
    }

    fn paced(load: &mut Fake, pace: Pace, burst: usize, end: End) -> Result<(), BenchError> {
        let stop = Stop::default();
        let pacing = Pacing {
            pace,
            burst,
            settle: Duration::ZERO,
            ways: &Way::ALL,
            stop: &stop,
        };
        pacing.run(load, end, &mut |_| {})
    }

    #[test]
    fn a_window_is_filled_by_whole_bursts_to_the_very_count() {
        let mut load = Fake::default();
        paced(&mut load, Pace::Closed { window: 10 }, 4, End::Count(21)).unwrap();
        assert_eq!(load.sent.iter().sum::<u64>(), 21);
        assert_eq!(load.sendings[..2], [(Way::Up, 8), (Way::Up, 8)]);
    }

    #[test]
    fn a_rate_is_kept_and_shared_by_the_ways_to_the_very_count() {
        for burst in [1, 3] {
            let mut load = Fake::default();
            let (start, pace) = (Instant::now(), Pace::Open { per_sec: 10_000.0 });
            paced(&mut load, pace, burst, End::Count(202)).unwrap();
            assert!(start.elapsed() >= Duration::from_millis(19));
            let [up, down] = load.sent;
            assert_eq!(up + down, 202);
            assert!(up.abs_diff(down) <= 2 * burst as u64, "{up} {down}");
        }
    }

    #[test]
    fn what_does_not_come_is_given_up() {
        let mut load = Fake {
            silent: true,
            ..Fake::default()
        };
        let window = Pace::Closed { window: 10 };
        paced(&mut load, window, 1, End::Count(15)).unwrap();
        assert_eq!(load.sent.iter().sum::<u64>(), 15);
        assert_eq!(load.written_off, 15);
    }

    #[test]
    fn a_stop_ends_it() {
        let stop = Stop::default();
        stop.stop();
        let pacing = Pacing {
            pace: Pace::Closed { window: 1 },
            burst: 1,
            settle: Duration::ZERO,
            ways: &Way::ALL,
            stop: &stop,
        };
        let end = End::After(Duration::from_secs(60));
        let ended = pacing.run(&mut Fake::default(), end, &mut |_| {});
        assert!(matches!(ended, Err(BenchError::Interrupted)));
    }
}
