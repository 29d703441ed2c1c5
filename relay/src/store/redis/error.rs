//! Redis' errors, sorted into ours.

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use shared::display_safe;

use crate::store::StoreError;

/// Codes of refusals that end by themselves, or when an operator makes room.
const PASSING: [&str; 13] = [
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "BUSY",
    "OOM",
    "MISCONF",
    "MOVED",
    "ASK",
    // `redis-cli cluster failover` holds up writers for a moment, and ends transactions so.
    "UNBLOCKED",
    "NOMASTERLINK",
];
/// How scripts of older servers repeat such a refusal inside their own.
const REPEATED: [&str; 4] = [
    "OOM command not allowed",
    "READONLY You can't write",
    "MISCONF ",
    "NOREPLICAS ",
];

/// What a server says that has no room for another connection just now.
const CROWDED: &str = "max number of clients";

/// The refusal in an answer of a pipeline that goes on after errors, where that is one that passes: what a
/// server could not say just now is not absent.
pub(super) fn passing(answer: &Value) -> Option<StoreError> {
    let Value::ServerError(error) = answer else {
        return None;
    };
    let passes = PASSING.contains(&error.code());
    passes.then(|| StoreError::NotNow(display_safe(&error.to_string()).into_owned()))
}

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
        ErrorKind::Server(_) | ErrorKind::Extension => {
            let code = error.code().map(str::to_owned);
            // A pipeline and a transaction hide the code of their first failure one level down.
            let inner = error.into_server_errors();
            let inner = inner.and_then(|all| Some(all.first()?.1.code().to_owned()));
            let is_passing = |code: &String| PASSING.contains(&code.as_str());
            let passes = code.as_ref().is_some_and(is_passing)
                || inner.as_ref().is_some_and(is_passing)
                || REPEATED.iter().any(|words| text.contains(words))
                || text.contains(CROWDED);
            match passes {
                true => StoreError::NotNow(text),
                false => StoreError::Refused(text),
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

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    /// As Redis writes it: a code, a space, words.
    fn said(line: &str) -> StoreError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        let error = value.and_then(Value::extract_error).unwrap_err();
        map(error)
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "CLUSTERDOWN The cluster is down",
            "MASTERDOWN Link with MASTER is down",
            "BUSY Redis is busy running a script.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "READONLY You can't write against a read only replica.",
            "MISCONF Redis is configured to save RDB snapshots",
            "NOREPLICAS Not enough good replicas to write.",
            "MOVED 3999 127.0.0.1:6381",
            "ASK 3999 127.0.0.1:6381",
            "ERR max number of clients reached",
            "ERR max number of clients + cluster connections reached",
            "ERR Error running script: @user_script: 7: -OOM command not allowed when used memory",
        ] {
            let error = said(line);
            assert!(matches!(error, StoreError::NotNow(_)), "{line}: {error:?}");
            assert!(error.may_pass());
        }
        for line in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "NOPERM this user has no permissions to run the 'set' command",
            "ERR syntax error",
            "CROSSSLOT Keys in request don't hash to the same slot",
        ] {
            let error = said(line);
            assert!(matches!(error, StoreError::Refused(_)), "{line}: {error:?}");
            assert!(!error.may_pass());
        }
    }
}
