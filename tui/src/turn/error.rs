//! Why talking to a TURN server failed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use turn_proto::stun::Method;

/// An answer that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for.
    pub method: Method,
    /// The number in ERROR-CODE.
    pub code: u16,
    /// The phrase in ERROR-CODE, as the server wrote it: foreign text.
    pub phrase: String,
    /// Whether the request carried our credentials.
    pub authenticated: bool,
    /// Whether the refusal is signed with our key.
    pub signed: bool,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The socket failed, or the stream ended.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No answer.
    #[error("no answer within {:.1} s, sent {sendings}x", waited.as_secs_f64())]
    NoAnswer {
        /// How often it was sent.
        sendings: u32,
        /// How long we waited in all.
        waited: Duration,
    },
    /// Answers came, and none was signed with our key (RFC 8489 §9.2.5).
    #[error("the answer is not signed with our key")]
    Integrity,
    /// The server refused.
    #[error("refused with {}{}", .0.code, phrase(&.0.phrase))]
    Refused(Refusal),
    /// 300: another server is to be asked.
    #[error("the server sends clients to {to}")]
    Alternate {
        /// ALTERNATE-SERVER.
        to: SocketAddr,
        /// ALTERNATE-DOMAIN: the name in the other server's certificate.
        domain: Option<String>,
        /// Whether the answer is signed with our key.
        signed: bool,
    },
    /// The server wants credentials and we have none.
    #[error("the server wants credentials (realm {realm})")]
    LoginNeeded {
        /// Its realm.
        realm: String,
    },
    /// 401 or 438 that does not say what the next request needs, or was tampered with.
    #[error("the server's challenge cannot be answered: {0}")]
    Challenge(&'static str),
    /// The answer lacks what it must have.
    #[error("the answer has no sound {0}")]
    Incomplete(&'static str),
    /// The TLS handshake failed, or the certificate is not believed.
    #[error("TLS: {error}{}", shown(certificate.as_deref()))]
    Tls {
        /// What went wrong.
        error: rustls::Error,
        /// The certificate that the server showed, in words.
        certificate: Option<String>,
    },
}

fn shown(certificate: Option<&str>) -> String {
    let text = certificate.map(shared::display_safe);
    text.map_or_else(String::new, |text| format!(" (the server shows a {text})"))
}

fn phrase(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!(" ({})", shared::display_safe(text))
}

impl TurnError {
    /// The error code, where the server refused.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Alternate { .. } => Some(300),
            _ => None,
        }
    }
}
