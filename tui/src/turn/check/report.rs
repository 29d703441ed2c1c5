//! What a check found.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::echo::Figures;

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Addresses of the URI.
    Resolve,
    /// The socket; TLS or DTLS on it.
    Connect,
    /// Our address as the server sees it.
    Binding,
    /// The relay's address.
    Allocate,
    /// CreatePermission.
    Permission,
    /// ChannelBind.
    Channel,
    /// Data there and back.
    Echo,
    /// Refresh with lifetime 0.
    Release,
}

impl Stage {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Binding => "binding",
            Self::Allocate => "allocate",
            Self::Permission => "permission",
            Self::Channel => "channel",
            Self::Echo => "echo",
            Self::Release => "release",
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should.
    Ok,
    /// Not as it should, and another way was found.
    Warn,
    /// It failed, and the check with it.
    Failed,
}

impl Status {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Failed => "FAILED",
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Which.
    pub step: Stage,
    /// How it ended.
    pub status: Status,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// The server it went to, as in `udp 192.0.2.1:3478`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What was found, or what went wrong.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A candidate, in ICE's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// `srflx` or `relay`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// The server that told it.
    pub server: String,
}

/// What a check comes to. Each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every step passed.
    Ok,
    /// No address.
    Resolve,
    /// No connection, or no TLS on it.
    Connect,
    /// No answer to a Binding.
    Binding,
    /// The credentials were refused.
    Authentication,
    /// No allocation, though the credentials are good.
    Allocate,
    /// No permission or no channel.
    Permission,
    /// Data did not come back, or too little of it.
    Echo,
    /// The allocation could not be released.
    Release,
    /// It was stopped before it came to an end.
    Stopped,
}

impl Verdict {
    /// The exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Resolve => 10,
            Self::Connect => 11,
            Self::Binding => 12,
            Self::Authentication => 13,
            Self::Allocate => 14,
            Self::Permission => 15,
            Self::Echo => 16,
            Self::Release => 17,
            Self::Stopped => 130,
        }
    }

    /// What a failed step comes to.
    #[must_use]
    pub fn of(stage: Stage) -> Self {
        match stage {
            Stage::Resolve => Self::Resolve,
            Stage::Connect => Self::Connect,
            Stage::Binding => Self::Binding,
            Stage::Allocate => Self::Allocate,
            Stage::Permission | Stage::Channel => Self::Permission,
            Stage::Echo => Self::Echo,
            Stage::Release => Self::Release,
        }
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Name and version of this type: `turn-check/1`.
    pub schema: &'static str,
    /// What was checked.
    pub uri: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// The exit code.
    pub exit_code: u8,
    /// The candidates.
    pub candidates: Vec<Candidate>,
    /// The realm that the server named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm: Option<String>,
    /// What the server calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// The echo through each relay address.
    pub echo: Vec<Figures>,
    /// The steps.
    pub steps: Vec<Step>,
}

impl Report {
    /// Nothing found so far.
    #[must_use]
    pub fn new(uri: String) -> Self {
        Self {
            schema: "turn-check/1",
            uri,
            verdict: Verdict::Ok,
            exit_code: 0,
            candidates: Vec::new(),
            realm: None,
            software: None,
            echo: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The step that failed last, where the check failed.
    #[must_use]
    pub fn failed(&self) -> Option<&Step> {
        let failed = |step: &&Step| step.status == Status::Failed;
        self.steps.iter().rev().find(failed)
    }
}

/// Milliseconds with a microsecond's precision.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}
