//! What an engineer would say to a failure.

use std::io;

use shared::Transport;

use super::report::Stage;
use crate::turn::TurnError;
use crate::turn::error::Refusal;

/// What to do about `error`; `None`: the error says it all.
pub(crate) fn remedy(stage: Stage, transport: Transport, error: &TurnError) -> Option<String> {
    let text = match error {
        TurnError::Refused(refusal) => return refused(stage, refusal),
        TurnError::Io(error) => return broken(transport, error),
        TurnError::Tls { error, .. } => return handshake(error),
        TurnError::NoAnswer { .. } => no_answer(stage, transport),
        TurnError::Integrity => {
            "success answers must be signed with the key of user, realm and password: the server \
             holds another key, or somebody between answers in its place"
        }
        TurnError::LoginNeeded { .. } => {
            "give --user and --password-stdin, --secret-stdin for a shared secret (TURN REST), or \
             --realm to have a credential minted"
        }
        TurnError::Alternate { .. } => {
            "only one 300 is followed, so that two servers cannot send a client back and forth: \
             check the other server by itself"
        }
        TurnError::Challenge(_) | TurnError::Incomplete(_) => return None,
    };
    Some(text.to_owned())
}

fn no_answer(stage: Stage, transport: Transport) -> &'static str {
    match (stage, transport) {
        (Stage::Connect, Transport::Dtls) => {
            "the server does no DTLS there, or a firewall drops UDP on the way: try \
             ?transport=tcp (TLS)"
        }
        (Stage::Connect, _) => {
            "a firewall drops the connection, or the host is down: try from another network"
        }
        (Stage::Binding, Transport::Udp) => {
            "a firewall drops UDP, the server does not listen on that port, or it answers from \
             another address: try ?transport=tcp, and look at the server's own counters"
        }
        (Stage::Binding, _) => {
            "the connection stands and nothing answers STUN on it: another program may own that \
             port, or the server wants TLS (turns:)"
        }
        _ => "the server stopped answering: its log and its rate limits may say why",
    }
}

fn broken(transport: Transport, error: &io::Error) -> Option<String> {
    let text = match (error.kind(), transport) {
        (io::ErrorKind::ConnectionRefused, Transport::Udp | Transport::Dtls) => {
            "the host answers and nothing listens on that UDP port: check port and listener"
        }
        (io::ErrorKind::ConnectionRefused, _) => {
            "the host answers and nothing listens on that TCP port: check port and listener, or \
             try ?transport=udp"
        }
        (io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable, _) => {
            "there is no route from here to that address family or network"
        }
        (io::ErrorKind::InvalidData, _) => {
            "something that is no TURN listens there: check the port, and whether the listener \
             wants TLS (turns:) or not (turn:)"
        }
        (io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset, _) => {
            "the server closed the connection: a limit of connections, a listener that wants TLS, \
             or no TURN server at all"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn handshake(error: &rustls::Error) -> Option<String> {
    use rustls::{AlertDescription as Alert, CertificateError as Wrong, Error};
    let text = match error {
        Error::InvalidCertificate(wrong) => match wrong {
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
                "the certificate is for other names: use one of them in the URI, say it by \
                 --server-name, or have the certificate reissued with this one"
            }
            Wrong::Expired | Wrong::ExpiredContext { .. } => {
                "renew the certificate; relayd reads a new file by itself, coturn on SIGUSR2"
            }
            Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
                "the certificate begins later: a wrong clock here or where it was issued"
            }
            Wrong::UnknownIssuer => {
                "nobody who is trusted here vouches for it: the server leaves intermediate \
                 certificates out of its file, or the authority is your own (--ca FILE)"
            }
            _ => "browsers would refuse it too: have the certificate reissued",
        },
        Error::AlertReceived(Alert::NoApplicationProtocol) => {
            "the server knows ALPN and not stun.turn: something else owns that port"
        }
        Error::AlertReceived(Alert::HandshakeFailure | Alert::ProtocolVersion) => {
            "no common version or cipher: the server is older than TLS 1.2, or has no certificate"
        }
        Error::InvalidMessage(_) => {
            "what answers there is no TLS: a plain listener is turn:, not turns:"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn refused(stage: Stage, refusal: &Refusal) -> Option<String> {
    let text = match (refusal.code, stage) {
        (400, _) => {
            "the server does not understand the request: with credentials, often a proxy or a \
             server of another generation"
        }
        (401, _) if refusal.authenticated => {
            "wrong user, wrong password, or a credential of another realm; of a time-limited one: \
             expired, or made with another shared secret. `relayctl refusals --recent` on a node \
             of that cluster names the reason"
        }
        (401, _) => "the server wants credentials",
        (403, Stage::Permission | Stage::Channel) => {
            "the server denies that peer address: private, loopback and special ranges are denied \
             by default (relayd: [peers] allowed, coturn: allowed-peer-ip); --echo relay echoes \
             at a second allocation instead"
        }
        (403, _) => "the server's policy forbids it to this user or from this address",
        (420, _) => "the server does not know an attribute that was asked for: leave --family away",
        (437, _) => {
            "the server has another idea of this connection: an older allocation on the same port, \
             or a device that changes addresses on the way"
        }
        (438, _) => {
            "the server keeps refusing its own nonces: its clock jumps, or several servers without \
             a common key stand behind one address"
        }
        (440, _) => "the server relays no addresses of that family: use another --family",
        (441, _) => "the allocation belongs to another user",
        (442, _) => "the server relays no UDP",
        (443, _) => "the peer's address family is not that of the relay address",
        (486, _) => {
            "the session quota of the user or of the realm is used up: end sessions, or raise \
             max_sessions_per_user or max_sessions (coturn: user-quota, total-quota)"
        }
        (500, _) => "the server failed; its log says why (relayd: its store may be away)",
        (508, _) => {
            "the server is out of relay ports or of another resource: more relay_ports (coturn: \
             min-port, max-port), or another node"
        }
        _ => return None,
    };
    let unsigned = refusal.authenticated && !refusal.signed && refusal.code != 401;
    let tail = if unsigned && refusal.code != 438 {
        ". The refusal is not signed: it may come from somebody else"
    } else {
        ""
    };
    Some(format!("{text}{tail}"))
}
