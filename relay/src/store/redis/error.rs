//! Redis' errors, sorted into ours.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use shared::display_safe;

use crate::store::StoreError;

/// Codes of refusals that may end by themselves.
const PASSING: [&str; 7] = [
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "BUSY",
];

/// What a call of the store answers for `error`.
pub(super) fn map(error: RedisError) -> StoreError {
    let kind = error.kind();
    let text = display_safe(&error.to_string()).into_owned();
    match kind {
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreError::Corrupt {
            key: "reply of Redis".to_owned(),
            reason: text,
        },
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => {
            StoreError::Refused(text)
        }
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => StoreError::Unavailable(text),
        // A script repeats what the server said.
        ErrorKind::Server(_) if says_read_only(&text) => StoreError::Unavailable(text),
        ErrorKind::Server(_) => StoreError::Refused(text),
        ErrorKind::Extension => {
            // A pipeline hides the code of its first failure one level down.
            let code = error.code().map(str::to_owned).or_else(|| {
                error
                    .into_server_errors()
                    .and_then(|all| Some(all.first()?.1.code().to_owned()))
            });
            match code {
                Some(code) if PASSING.contains(&code.as_str()) => StoreError::Unavailable(text),
                _ => StoreError::Refused(text),
            }
        }
        _ => StoreError::Unavailable(text),
    }
}

/// Whether `error` says that the server is a replica: another one is the master now.
pub(super) fn is_demotion(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    ) || says_read_only(&error.to_string())
}

/// Scripts repeat the server's word inside their own error, pipelines the library's.
fn says_read_only(text: &str) -> bool {
    text.contains("READONLY") || text.contains("ReadOnly")
}

/// Whether the connection itself is in doubt after `error`.
pub(super) fn is_connection_fault(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.kind() == ErrorKind::Io
}
