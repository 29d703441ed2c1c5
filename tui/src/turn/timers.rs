//! When a request is sent again, and when it is given up (RFC 8489 §6.2.1, §6.2.2).

use std::time::Duration;

/// The first wait, RTO.
const RTO: Duration = Duration::from_millis(500);
/// Sendings of one request, Rc.
const SENDINGS: u32 = 7;
/// How often RTO is waited for an answer to the last of them, Rm.
const LAST: u32 = 16;
/// The wait over a reliable transport, Ti.
const RELIABLE: Duration = Duration::from_millis(39_500);

/// The waits of one request, each behind a sending; behind the last the request has failed.
#[derive(Clone, Debug)]
pub struct Timers {
    reliable: bool,
    sent: u32,
}

impl Timers {
    /// The waits over a transport that delivers by itself, or over one that loses.
    #[must_use]
    pub fn new(reliable: bool) -> Self {
        Self { reliable, sent: 0 }
    }

    /// Those of another request over the same transport, the first wait taken out.
    pub(crate) fn anew(&self) -> (Self, Duration) {
        let mut timers = Self::new(self.reliable);
        let wait = timers.next().unwrap_or_default();
        (timers, wait)
    }
}

impl Iterator for Timers {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let sent = self.sent;
        self.sent += 1;
        match (self.reliable, sent) {
            (true, 0) => Some(RELIABLE),
            (true, _) => None,
            (false, sent) if sent + 1 < SENDINGS => Some(RTO * (1 << sent)),
            (false, sent) if sent + 1 == SENDINGS => Some(RTO * LAST),
            (false, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_leave_at_the_times_of_rfc_8489_and_fail_after_39500_ms() {
        let mut at = Duration::ZERO;
        let mut times = vec![0];
        for wait in Timers::new(false) {
            at += wait;
            times.push(at.as_millis());
        }
        assert_eq!(times, [0, 500, 1500, 3500, 7500, 15500, 31500, 39500]);
        let reliable: Vec<_> = Timers::new(true).collect();
        assert_eq!(reliable, [Duration::from_millis(39_500)]);
    }
}
