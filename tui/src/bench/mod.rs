//! Load for any TURN server, and what it costs it: `relayctl bench`.
//!
//! It has to be cheaper per packet than whatever it measures: one thread, no async runtime in the
//! loop, batches and segments (`turn-udp`), many 5-tuples from one socket, packets stamped in place and
//! checked against a pattern. Codec and authentication are those of [`crate::turn`].

mod binding;
mod carrier;
mod churn;
mod clock;
mod control;
mod datagrams;
mod error;
mod fleet;
mod frames;
mod histogram;
mod idle;
mod ledger;
mod negotiation;
mod pacing;
mod peer;
pub mod plan;
mod poll;
mod process;
mod relaying;
pub mod report;
mod stamp;
mod streams;
mod traffic;

use std::num::NonZeroU64;
use std::time::Duration;

pub use binding::binding;
pub use churn::churn;
pub use error::BenchError;
pub use idle::idle;
pub use relaying::relay;

/// The longest payload that is sent, in bytes.
pub const MAX_SIZE: usize = stamp::MOST;
/// The most sessions of one run: packets name theirs in 16 bits.
pub const MAX_SESSIONS: usize = 65_535;

/// Between two lines of progress.
const TELL: Duration = Duration::from_millis(500);
/// How long a process may take to give memory back before it is looked at.
const GIVE_BACK: Duration = Duration::from_millis(200);

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Sessions are made.
    SettingUp {
        /// How many.
        sessions: usize,
    },
    /// Packets pass.
    Relaying {
        /// Received at peers.
        up: u64,
        /// Received at clients.
        down: u64,
        /// Sent and not received yet.
        missing: u64,
    },
    /// Allocations come and go.
    Cycling {
        /// Made and released.
        cycles: u64,
        /// Refused or not answered.
        failed: u64,
    },
    /// Sessions stand.
    Holding {
        /// How many.
        sessions: usize,
    },
    /// Binding requests are answered.
    Asking {
        /// Answers.
        answers: u64,
        /// Requests without one so far.
        missing: u64,
    },
}

/// Whoever is told how far a run is, twice a second at most.
pub type Observer<'a> = &'a mut dyn FnMut(&Progress);

/// Has this thread's sleeps end when they should, and not up to 50 us later. A system that does not
/// let us measures less exactly, and that is all.
fn sharpen_sleep() {
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}
