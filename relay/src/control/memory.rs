//! Gives memory back to the system when many sessions have ended.

use std::sync::Arc;
use std::time::Duration;

use super::hub::Hub;
use turn_udp::sys;

/// How often the number of sessions is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// Fewer ended sessions are not worth it: 2 MB.
const WORTH_IT: usize = 1000;

/// Looks until the node stops.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut watermark = Watermark::default();
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let sessions = hub.books().len();
        if watermark.fell(sessions) {
            // It takes milliseconds where there was much.
            let done = tokio::task::spawn_blocking(sys::give_memory_back);
            if done.await.is_err() {
                return;
            }
        }
    }
}

/// How many sessions there were.
#[derive(Debug, Default)]
struct Watermark {
    /// At most, since memory was given back last.
    most: usize,
    /// The last time.
    last: usize,
}

impl Watermark {
    /// Takes a number of sessions; says whether a quarter of them ended since the most there were,
    /// and the rest stays for now.
    fn fell(&mut self, sessions: usize) -> bool {
        let ended = self.most.saturating_sub(sessions);
        let still_falls = self.last.saturating_sub(sessions) > self.most / 20;
        let fell = ended >= WORTH_IT.max(self.most / 4) && !still_falls;
        if fell || sessions > self.most {
            self.most = sessions;
        }
        self.last = sessions;
        fell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_a_quarter_of_the_sessions_ended_and_not_all_the_time() {
        let mut watermark = Watermark::default();
        let mut fell = |numbers: &[usize]| -> Vec<bool> {
            numbers.iter().map(|n| watermark.fell(*n)).collect()
        };
        assert_eq!(fell(&[0, 500, 10, 10, 0]), [false; 5], "too little");
        assert_eq!(fell(&[10_000, 9000, 7600, 7600]), [false; 4], "no quarter");
        assert_eq!(fell(&[7400, 7400, 7000]), [true, false, false]);
        assert_eq!(fell(&[4000, 200, 0, 0]), [false, false, true, false]);
    }
}
