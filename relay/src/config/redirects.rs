//! `[redirects]`: how a node finds out whether the servers that it sends clients to serve.

use std::time::Duration;

use serde_json::{Value, json};

use super::source::Reader;
use super::view::duration;

/// How targets of UDP redirects are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectProbes {
    /// How often a target is asked whose state is settled, 1 s to 1 h.
    pub interval: Duration,
    /// How long one sending waits for its answer, 50 ms to 5 s.
    pub timeout: Duration,
    /// Answers missed in a row until a target is down, 1 to 100.
    pub misses: u8,
}

impl Default for RedirectProbes {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(400),
            misses: 3,
        }
    }
}

pub(super) fn resolve(reader: &mut Reader<'_>) -> RedirectProbes {
    let default = RedirectProbes::default();
    let interval = reader.duration("redirects.probe_interval", 1..=3600);
    let timeout = reader.integer("redirects.probe_timeout_ms", 50..=5000);
    let timeout = timeout.and_then(|ms| u64::try_from(ms).ok());
    let misses = reader.integer("redirects.probe_misses", 1..=100);
    let misses = misses.and_then(|number| u8::try_from(number).ok());
    RedirectProbes {
        interval: interval.unwrap_or(default.interval),
        timeout: timeout.map_or(default.timeout, Duration::from_millis),
        misses: misses.unwrap_or(default.misses),
    }
}

/// The value of a setting, in one spelling however it was written.
pub(super) fn value_of(probes: &RedirectProbes, key: &str) -> Value {
    match key {
        "probe_interval" => duration(probes.interval),
        "probe_timeout_ms" => json!(probes.timeout.as_millis() as u64),
        "probe_misses" => json!(probes.misses),
        _ => Value::Null,
    }
}
