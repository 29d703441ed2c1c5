//! What every failed call answers.

use serde::{Deserialize, Serialize};

/// The body of a failed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The class, which decides the HTTP status and the exit code of the command line.
    pub error: ErrorKind,
    /// What went wrong and what to do about it, for an operator.
    pub message: String,
    /// The current revision, where a lost compare-and-set answers 412.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<u64>,
}

impl ApiError {
    /// An error of `kind` that says `message`.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            error: kind,
            message: message.into(),
            current_revision: None,
        }
    }
}

/// Classes of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// 400: the request makes no sense; the message names the field.
    BadRequest,
    /// 401: no token, or not a valid one.
    Unauthenticated,
    /// 403: the role does not reach this far.
    Denied,
    /// 404: no such thing.
    NotFound,
    /// 409: it exists already, or the state forbids it.
    Conflict,
    /// 410: the cursor's ranking is no longer kept; start again.
    CursorExpired,
    /// 412: somebody else changed it first.
    RevisionConflict,
    /// 503: the store, a node or a queue cannot take it now.
    Unavailable,
    /// 504: a node did not confirm in time; it may have happened.
    Unconfirmed,
    /// 500: our bug.
    Internal,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

impl ErrorKind {
    /// The HTTP status that carries it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::CursorExpired => 410,
            Self::RevisionConflict => 412,
            Self::Unavailable => 503,
            Self::Unconfirmed => 504,
            Self::Internal | Self::Other => 500,
        }
    }
}
