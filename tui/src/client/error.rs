//! What can go wrong with a call.

use std::time::Duration;

use shared::api::ApiError;

/// A call that did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No connection: nothing was sent, or the connection broke.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// Where the call went.
        address: String,
        /// Why, in words for an operator.
        reason: String,
    },
    /// No answer in time; what was asked may have happened.
    #[error("{address} did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// Where the call went.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The node refused.
    #[error("{}", shared::display_safe(&.0.message))]
    Api(#[from] ApiError),
    /// The answer is not what the API answers.
    #[error("the answer makes no sense: {0}")]
    Protocol(String),
}

impl ClientError {
    /// Whether trying again later, unchanged, can help: the node was not reached or did not answer.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }
}
