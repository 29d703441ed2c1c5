//! How a command ends.

use std::io;

use shared::api::ErrorKind;

use crate::client::ClientError;
use crate::contexts::ContextError;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A call failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The configuration file, or an address or token from the environment.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// Some of it worked: the output says what, this says what not.
    #[error("{0}")]
    Partial(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// A guardrail forbids it.
    #[error("{0}")]
    Denied(String),
    /// A check of a TURN server failed at this step.
    #[error("{text}")]
    Check {
        /// The exit code of the step.
        code: u8,
        /// The step, and why.
        text: String,
    },
    /// Anything else, the operator's "no" included.
    #[error("{0}")]
    Other(String),
    /// Writing the output or reading an answer failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Exit codes, which are a contract with scripts.
pub mod code {
    /// All of it worked.
    pub const OK: u8 = 0;
    /// Something failed.
    pub const FAILURE: u8 = 1;
    /// The command line makes no sense.
    pub const USAGE: u8 = 2;
    /// There is no such thing.
    pub const NOT_FOUND: u8 = 3;
    /// The caller may not do that.
    pub const DENIED: u8 = 4;
    /// Some of it worked, or some nodes did not answer.
    pub const PARTIAL: u8 = 5;
    /// The node was not reached or did not answer.
    pub const UNREACHABLE: u8 = 6;
    /// Interrupted.
    pub const INTERRUPTED: u8 = 130;
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Context(ContextError::Nowhere(_)) => code::UNREACHABLE,
            Self::Usage(_) | Self::Context(_) => code::USAGE,
            Self::Partial(_) => code::PARTIAL,
            Self::NotFound(_) => code::NOT_FOUND,
            Self::Denied(_) => code::DENIED,
            Self::Check { code, .. } => *code,
            // The reader of a pipe has what it wanted.
            Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => code::OK,
            Self::Io(error) if error.kind() == io::ErrorKind::Interrupted => code::INTERRUPTED,
            Self::Other(_) | Self::Io(_) => code::FAILURE,
            Self::Client(error) => client_code(error),
        }
    }

    /// Whether there is nothing to tell: the reader of our output has gone, or the operator
    /// interrupted.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let silent = [io::ErrorKind::BrokenPipe, io::ErrorKind::Interrupted];
        matches!(self, Self::Io(error) if silent.contains(&error.kind()))
    }
}

fn client_code(error: &ClientError) -> u8 {
    match error {
        ClientError::Unreachable { .. } | ClientError::Timeout { .. } => code::UNREACHABLE,
        ClientError::Protocol(_) => code::FAILURE,
        ClientError::Api(error) => match error.error {
            ErrorKind::BadRequest => code::USAGE,
            ErrorKind::NotFound => code::NOT_FOUND,
            ErrorKind::Denied | ErrorKind::Unauthenticated => code::DENIED,
            ErrorKind::Unconfirmed => code::UNREACHABLE,
            _ => code::FAILURE,
        },
    }
}
