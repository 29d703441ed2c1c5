//! The state of the connection to the node, and when to try again.

/// First wait after a failure, in milliseconds.
const FIRST_WAIT_MS: u64 = 500;
/// Longest wait.
const LONGEST_WAIT_MS: u64 = 30_000;
/// Data older than this is called slow.
const SLOW_AFTER_MS: u64 = 3_000;
/// Data older than this is called stale.
const STALE_AFTER_MS: u64 = 10_000;

/// Whether and since when the node answers. A pure value: it is told the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    state: State,
    /// When data arrived last, Unix milliseconds.
    pub(crate) data_ms: Option<u64>,
    seed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The first attempt is under way.
    Connecting,
    /// The last call was answered.
    Up,
    /// The last call was not.
    Down {
        attempt: u32,
        retry_at_ms: u64,
        error: String,
    },
}

impl Connection {
    /// Not connected yet; `seed` spreads the retries of many consoles.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: State::Connecting,
            data_ms: None,
            seed: seed | 1,
        }
    }

    /// A call was answered.
    pub(crate) fn answered(&mut self, now_ms: u64) {
        self.state = State::Up;
        self.data_ms = Some(now_ms);
    }

    /// A call failed on its way: the wait doubles from 0.5 s to 30 s, plus or minus a fifth.
    pub(crate) fn failed(&mut self, now_ms: u64, error: String) {
        let attempt = match &self.state {
            // Several calls of one refresh fail together: that is one attempt.
            State::Down { retry_at_ms, .. } if *retry_at_ms > now_ms => return,
            State::Down { attempt, .. } => attempt.saturating_add(1),
            State::Connecting | State::Up => 1,
        };
        let wait = FIRST_WAIT_MS
            .saturating_mul(1 << (attempt - 1).min(10))
            .min(LONGEST_WAIT_MS);
        let retry_at_ms = now_ms + wait - wait / 5 + self.random() % (wait / 5 * 2 + 1);
        self.state = State::Down {
            attempt,
            retry_at_ms,
            error,
        };
    }

    /// The operator wants it now.
    pub(crate) fn retry_now(&mut self, now_ms: u64) {
        if let State::Down { retry_at_ms, .. } = &mut self.state {
            *retry_at_ms = now_ms;
        }
    }

    /// Whether the last call was answered.
    pub(crate) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether a call may be made now.
    pub(crate) fn may_call(&self, now_ms: u64) -> bool {
        match &self.state {
            State::Down { retry_at_ms, .. } => *retry_at_ms <= now_ms,
            State::Connecting | State::Up => true,
        }
    }

    /// Age of the data in milliseconds.
    pub(crate) fn age_ms(&self, now_ms: u64) -> Option<u64> {
        self.data_ms.map(|at| now_ms.saturating_sub(at))
    }

    /// Whether what is shown is old.
    pub(crate) fn is_old(&self, now_ms: u64, refresh_ms: u64) -> bool {
        let old = STALE_AFTER_MS.max(refresh_ms * 3);
        matches!(self.state, State::Down { .. }) || self.age_ms(now_ms).is_some_and(|a| a > old)
    }

    /// The word in the corner; `refresh_ms` is how often data is asked for.
    pub(crate) fn label(&self, now_ms: u64, refresh_ms: u64) -> String {
        match &self.state {
            State::Connecting => "connecting".to_owned(),
            State::Down { retry_at_ms, .. } => {
                match retry_at_ms.saturating_sub(now_ms).div_ceil(1000) {
                    0 => "DISCONNECTED retrying".to_owned(),
                    secs => format!("DISCONNECTED retry in {secs}s"),
                }
            }
            State::Up => {
                let age = self.age_ms(now_ms).unwrap_or(0);
                let secs = age / 1000;
                if age > STALE_AFTER_MS.max(refresh_ms * 3) {
                    format!("STALE {secs}s")
                } else if age > SLOW_AFTER_MS.max(refresh_ms * 2) {
                    format!("slow {secs}s")
                } else {
                    format!("live {}s", refresh_ms / 1000)
                }
            }
        }
    }

    /// Why there is no connection: error and number of the next attempt.
    pub(crate) fn trouble(&self) -> Option<(&str, u32)> {
        match &self.state {
            State::Down { attempt, error, .. } => Some((error, attempt + 1)),
            State::Connecting | State::Up => None,
        }
    }

    /// Xorshift: jitter needs no more.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_thirty_seconds_with_jitter() {
        let mut connection = Connection::new(7);
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..9 {
            connection.failed(now, "refused".to_owned());
            let State::Down { retry_at_ms, .. } = connection.state else {
                panic!()
            };
            waits.push(retry_at_ms - now);
            now = retry_at_ms;
        }
        for (i, wait) in waits.iter().enumerate() {
            let middle = (FIRST_WAIT_MS << i).min(LONGEST_WAIT_MS);
            assert!(
                (middle * 4 / 5..=middle * 6 / 5).contains(wait),
                "{waits:?}"
            );
        }
    }

    #[test]
    fn labels_follow_the_age_of_the_data() {
        let mut connection = Connection::new(7);
        assert_eq!(connection.label(0, 1000), "connecting");
        connection.answered(1_000);
        assert_eq!(connection.label(1_500, 1000), "live 1s");
        assert_eq!(connection.label(5_000, 1000), "slow 4s");
        assert_eq!(connection.label(48_000, 1000), "STALE 47s");
        connection.failed(50_000, "refused".to_owned());
        assert_eq!(connection.label(50_000, 1000), "DISCONNECTED retry in 1s");
        assert!(!connection.may_call(50_000));
        connection.retry_now(50_000);
        assert!(connection.may_call(50_000));
    }

    #[test]
    fn failures_of_one_refresh_count_once() {
        let mut connection = Connection::new(7);
        connection.failed(0, "refused".to_owned());
        let before = connection.clone();
        connection.failed(1, "refused".to_owned());
        assert_eq!(connection, before);
    }
}
