//! The operator's Trickle ICE: every step from a URI to data that came back through the relay,
//! each with its time, and what to do about the one that failed.

mod echo;
mod explain;
mod report;
mod round_trip;
mod run;

use std::time::Duration;

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;

pub use echo::Figures;
pub(crate) use explain::remedy;
pub use report::{Candidate, Report, Stage, Status, Step, Verdict};
pub use run::run;

use super::client::Login;
use super::link::TlsOptions;
use super::requests::Family;

/// Where the data of the echo is sent back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EchoWay {
    /// At a socket of ours, and where the relay does not reach it, at a second allocation.
    #[default]
    Auto,
    /// At a socket of ours, which the relay must reach.
    Socket,
    /// At a second allocation on the same server.
    Relay,
    /// Nowhere: stop behind the allocation.
    None,
}

/// What to check, and how.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The credentials.
    pub login: Option<Login>,
    /// How long one step may take.
    pub patience: Duration,
    /// The families of the relay addresses.
    pub family: Family,
    /// The echo.
    pub echo: EchoWay,
    /// Packets of the echo.
    pub packets: u32,
    /// Between two of them.
    pub interval: Duration,
    /// Percent of them that may be lost.
    pub max_loss: u8,
    /// Whether every address is checked; else those behind the first that answers are not.
    pub each: bool,
    /// How TLS and DTLS servers are believed.
    pub tls: TlsOptions,
    /// When cancelled, the check ends early: an allocation that it has is still released.
    pub stop: CancellationToken,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            login: None,
            patience: Duration::from_secs(5),
            family: Family::Unsaid,
            echo: EchoWay::Auto,
            packets: 50,
            interval: Duration::from_millis(20),
            max_loss: 5,
            each: false,
            tls: TlsOptions::default(),
            stop: CancellationToken::new(),
        }
    }
}
