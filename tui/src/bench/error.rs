//! Why a run failed, and what to do about it.

use std::io;

use shared::Transport;
use turn_proto::stun::Method;

use crate::turn::TurnError;
use crate::turn::check::{Stage, Verdict, remedy};

/// A run that could not be made, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The plan makes no sense; the text names the option.
    #[error("{0}")]
    Plan(String),
    /// Sockets, the process that is watched, or memory.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server did not do what was asked of it.
    #[error("{doing}: {error}{}", remedy.as_deref().map(|r| format!("\n{r}")).unwrap_or_default())]
    Server {
        /// What was asked for.
        doing: &'static str,
        /// How it failed.
        error: Box<TurnError>,
        /// What to do about it.
        remedy: Option<String>,
        /// What a check would say.
        verdict: Verdict,
    },
    /// The operator interrupted; what was made is released.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// A failure of a request.
    pub(super) fn of(method: Method, transport: Transport, error: TurnError) -> Self {
        let (doing, stage, verdict) = match method {
            Method::Allocate => ("Allocate", Stage::Allocate, Verdict::Allocate),
            Method::CreatePermission => {
                ("CreatePermission", Stage::Permission, Verdict::Permission)
            }
            Method::ChannelBind => ("ChannelBind", Stage::Channel, Verdict::Permission),
            Method::Refresh => ("Refresh", Stage::Release, Verdict::Release),
            _ => ("Binding", Stage::Binding, Verdict::Binding),
        };
        let verdict = match &error {
            TurnError::LoginNeeded { .. } | TurnError::Challenge(_) | TurnError::Integrity => {
                Verdict::Authentication
            }
            TurnError::NoAnswer { .. } => Verdict::Binding,
            error if error.code() == Some(401) => Verdict::Authentication,
            _ => verdict,
        };
        let remedy = own_remedy(&error, method).or_else(|| remedy(stage, transport, &error));
        Self::Server {
            doing,
            error: Box::new(error),
            remedy,
            verdict,
        }
    }

    /// A connection that was not made, or broke.
    pub(super) fn connection(transport: Transport, error: TurnError) -> Self {
        let remedy = remedy(Stage::Connect, transport, &error);
        Self::Server {
            doing: "connection",
            error: Box::new(error),
            remedy,
            verdict: Verdict::Connect,
        }
    }
}

/// What is said otherwise to whoever measures than to whoever checks.
fn own_remedy(error: &TurnError, method: Method) -> Option<String> {
    let text = match (error.code()?, method) {
        (300, _) => "name that server in the URI: a benchmark stays with the one that it was given",
        (486, _) => {
            "more sessions than one user or the realm may have: raise max_sessions_per_user or \
             max_sessions (coturn: user-quota, total-quota), or use --secret, with which each \
             session has a user of its own"
        }
        (403, Method::CreatePermission | Method::ChannelBind) => {
            "the server denies the address of the bench's peer socket: allow it there (relayd: \
             [peers] allowed = [\"127.0.0.0/8\"], coturn: --allow-loopback-peers or \
             --allowed-peer-ip), bind that socket elsewhere with --peer, or use --pair, where \
             sessions are each other's peers"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
