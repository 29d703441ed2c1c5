//! Redirects: Allocate requests that are sent to another server (300 Try Alternate, RFC 8489 §10).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Transport};

/// One row of `GET /v1/redirects`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct RedirectView {
    /// Given when it was added: eight hex digits.
    pub id: String,
    /// The client transport that is redirected.
    pub transport: Transport,
    /// Where to.
    pub target: SocketAddr,
    /// ALTERNATE-DOMAIN for the certificate of a TLS or DTLS target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The node that redirects; absent: all nodes but the one that the target belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Its share among redirects of the same node and transport, 1 to 1000.
    pub weight: u32,
    /// For operators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Whether the target answers STUN Binding, as the gateway sees it.
    pub health: RedirectHealth,
    /// Since when it is in that state; 0: not known yet.
    pub health_since_ms: u64,
}

/// Whether a target answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedirectHealth {
    /// Not asked yet, or a transport that is not probed.
    #[default]
    Unknown,
    /// It answers. Only such targets, and unknown ones, are used; none of a node that is drained or
    /// has stopped.
    Up,
    /// It does not: clients are not sent there.
    Down,
}

impl RedirectHealth {
    /// The word shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "DOWN",
        }
    }
}

/// `POST /v1/redirects` takes this body and answers the [`RedirectView`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct RedirectCreate {
    /// The client transport that is redirected.
    pub transport: Transport,
    /// Where to.
    pub target: SocketAddr,
    /// ALTERNATE-DOMAIN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The node that redirects; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// 1 to 1000; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// For operators.
    #[serde(default)]
    pub note: String,
    /// Why; kept in the audit.
    #[serde(default)]
    pub reason: String,
}
