//! Waiting for conditions with a deadline: the only place of the suites that sleeps.

use std::time::{Duration, Instant};

/// Pause between two looks at a condition.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Looks at `condition` until it holds.
///
/// # Panics
/// When it does not hold within `deadline`: the message names `what` was waited for.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}

/// Calls `attempt` until it yields a value.
///
/// # Panics
/// When it yields none within `deadline`: the message names `what` was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(
            Instant::now() < end,
            "waited {deadline:?} in vain for {what}"
        );
        std::thread::sleep(POLL_EVERY);
    }
}

/// Calls `attempt` until it yields a value; `None` when it yields none within `deadline`.
pub async fn patiently<T, F>(deadline: Duration, mut attempt: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = attempt().await {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// The same inside an async test.
///
/// # Panics
/// When `attempt` yields nothing within `deadline`.
pub async fn wait_for_async<T, F>(
    what: &str,
    deadline: Duration,
    mut attempt: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(
            Instant::now() < end,
            "waited {deadline:?} in vain for {what}"
        );
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Rests until a moment: for things that are slow on purpose.
pub fn until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// The same inside an async benchmark: a window of time in which something else is counted.
pub async fn window(length: Duration) {
    tokio::time::sleep(length).await;
}
