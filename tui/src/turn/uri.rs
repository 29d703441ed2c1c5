//! `stun:`, `stuns:`, `turn:` and `turns:` URIs (RFC 7064 §3, RFC 7065 §3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use shared::Transport;

/// The longest host name (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

/// What stands in front of the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `stun`.
    Stun,
    /// `stuns`.
    Stuns,
    /// `turn`.
    Turn,
    /// `turns`.
    Turns,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Stun, Self::Stuns, Self::Turn, Self::Turns];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stun => "stun",
            Self::Stuns => "stuns",
            Self::Turn => "turn",
            Self::Turns => "turns",
        }
    }

    /// Whether it asks for TLS or DTLS.
    #[must_use]
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Stuns | Self::Turns)
    }

    /// Whether it names a relay, not only a Binding server.
    #[must_use]
    pub fn is_turn(self) -> bool {
        matches!(self, Self::Turn | Self::Turns)
    }

    /// The port where the URI has none (RFC 7065 §3.2).
    #[must_use]
    pub fn default_port(self) -> u16 {
        if self.is_secure() { 5349 } else { 3478 }
    }
}

/// The host of a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name, as it was written.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A parsed URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnUri {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port, where it was written.
    pub port: Option<u16>,
    /// `?transport=`: [`Transport::Udp`] or [`Transport::Tcp`] as written; the scheme says whether
    /// they are secured.
    pub transport: Option<Transport>,
}

/// Why a text is no such URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Another scheme, or none.
    #[error("a URI begins with stun:, stuns:, turn: or turns:, as in turn:turn.example.org")]
    Scheme,
    /// `turn://host`.
    #[error("there is no // in {0} URIs (RFC 7065): write {0}:HOST[:PORT][?transport=udp|tcp]")]
    Slashes(&'static str),
    /// `turn:user@host`.
    #[error("credentials do not stand in the URI: use --user and --password")]
    Credentials,
    /// No host, or one with characters that no name has.
    #[error("'{0}' is no host name and no address; an IPv6 address stands in brackets")]
    Host(String),
    /// The port is no number from 1 to 65535.
    #[error("'{0}' is no port: a number from 1 to 65535")]
    Port(String),
    /// A query other than `transport=udp` and `transport=tcp`.
    #[error("'?{0}' is not understood: ?transport=udp or ?transport=tcp")]
    Query(String),
    /// A query behind `stun:`, which has none (RFC 7064).
    #[error("a {0} URI has no ?transport= (RFC 7064); a turn: URI has")]
    NoQuery(&'static str),
    /// A path or a fragment.
    #[error("nothing stands behind host and port but ?transport=: '{0}'")]
    Tail(String),
}

impl TurnUri {
    /// The port, written or not.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.scheme.default_port())
    }

    /// The transport that `?transport=` or the default of the scheme means: UDP, and TLS over TCP
    /// for the secure schemes (RFC 7065 §3.1, RFC 5928 §3).
    #[must_use]
    pub fn default_transport(&self) -> Transport {
        let written = self.transport.unwrap_or(if self.scheme.is_secure() {
            Transport::Tcp
        } else {
            Transport::Udp
        });
        self.secured(written)
    }

    /// UDP or TCP, secured where the scheme says so (RFC 7350 for DTLS).
    #[must_use]
    pub fn secured(&self, plain: Transport) -> Transport {
        match (self.scheme.is_secure(), plain) {
            (true, Transport::Tcp | Transport::Tls) => Transport::Tls,
            (true, _) => Transport::Dtls,
            (false, Transport::Tcp | Transport::Tls) => Transport::Tcp,
            (false, _) => Transport::Udp,
        }
    }
}

impl fmt::Display for TurnUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme.as_str(), self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.transport {
            Some(transport) => write!(f, "?transport={transport}"),
            None => Ok(()),
        }
    }
}

impl FromStr for TurnUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (word, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(word))
            .ok_or(UriError::Scheme)?;
        if rest.starts_with("//") {
            return Err(UriError::Slashes(scheme.as_str()));
        }
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        if authority.contains('@') {
            return Err(UriError::Credentials);
        }
        if let Some(at) = authority.find(['/', '#']) {
            return Err(UriError::Tail(authority[at..].to_owned()));
        }
        let transport = query.map(|query| transport(scheme, query)).transpose()?;
        let (host, port) = split_port(authority)?;
        Ok(Self {
            scheme,
            host: parse_host(host)?,
            port: port.map(parse_port).transpose()?,
            transport,
        })
    }
}

fn transport(scheme: Scheme, query: &str) -> Result<Transport, UriError> {
    if !scheme.is_turn() {
        return Err(UriError::NoQuery(scheme.as_str()));
    }
    let wrong = || UriError::Query(query.to_owned());
    let (name, value) = query.split_once('=').ok_or_else(wrong)?;
    if !name.eq_ignore_ascii_case("transport") {
        return Err(wrong());
    }
    match value.to_ascii_lowercase().as_str() {
        "udp" => Ok(Transport::Udp),
        "tcp" => Ok(Transport::Tcp),
        _ => Err(wrong()),
    }
}

/// Host and port, which stand behind the last colon outside of brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), UriError> {
    let wrong = || UriError::Host(authority.to_owned());
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or_else(wrong)?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(wrong()),
        };
    }
    match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(wrong()),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, UriError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or_else(|| UriError::Port(text.to_owned()))
}

fn parse_host(text: &str) -> Result<Host, UriError> {
    let wrong = || UriError::Host(text.to_owned());
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(wrong)?;
        let ip: Ipv6Addr = inner.parse().map_err(|_| wrong())?;
        return Ok(Host::Ip(ip.into()));
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let labels = text.strip_suffix('.').unwrap_or(text);
    let sound = !labels.is_empty()
        && labels.len() <= MAX_NAME
        && labels.split('.').all(|l| !l.is_empty() && l.len() <= 63)
        && labels.chars().all(allowed);
    // Four numbers that are no address are a mistyped one, not a name.
    let numeric = labels.chars().all(|c| c.is_ascii_digit() || c == '.');
    if !sound || numeric {
        return Err(wrong());
    }
    Ok(Host::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> TurnUri {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_examples_of_rfc_7065_have_the_ports_and_transports_of_its_table() {
        let table = [
            ("turn:example.org", 3478, Transport::Udp),
            ("turns:example.org", 5349, Transport::Tls),
            ("turn:example.org:8000", 8000, Transport::Udp),
            ("turn:example.org?transport=udp", 3478, Transport::Udp),
            ("turn:example.org?transport=tcp", 3478, Transport::Tcp),
            ("turns:example.org?transport=tcp", 5349, Transport::Tls),
            ("turns:example.org?transport=udp", 5349, Transport::Dtls),
            ("turn:[2001:db8::1]:99?transport=tcp", 99, Transport::Tcp),
            ("stun:example.org", 3478, Transport::Udp),
            ("stuns:192.0.2.1", 5349, Transport::Tls),
            ("TURN:Example.ORG?Transport=TCP", 3478, Transport::Tcp),
        ];
        for (text, port, transport) in table {
            let uri = uri(text);
            assert_eq!(
                (uri.port(), uri.default_transport()),
                (port, transport),
                "{text}"
            );
        }
        assert_eq!(uri("turn:[::1]").host, Host::Ip("::1".parse().unwrap()));
        assert_eq!(
            uri("turn:192.0.2.7:1").host,
            Host::Ip("192.0.2.7".parse().unwrap())
        );
    }

    #[test]
    fn a_uri_is_written_as_it_was_read() {
        for text in [
            "turn:example.org",
            "turns:[2001:db8::1]:443?transport=udp",
            "stun:192.0.2.1:3479",
        ] {
            assert_eq!(uri(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_with_a_uri_is_said() {
        let table = [
            ("turn.example.org", UriError::Scheme),
            ("http:example.org", UriError::Scheme),
            ("turn://example.org", UriError::Slashes("turn")),
            ("turn:alice@example.org", UriError::Credentials),
            ("turn:", UriError::Host(String::new())),
            ("turn:exa mple", UriError::Host("exa mple".into())),
            ("turn:2001:db8::1", UriError::Host("2001:db8::1".into())),
            ("turn:[2001:db8::1", UriError::Host("[2001:db8::1".into())),
            ("turn:192.0.2.300", UriError::Host("192.0.2.300".into())),
            ("turn:a..b", UriError::Host("a..b".into())),
            ("turn:example.org:", UriError::Port(String::new())),
            ("turn:example.org:0", UriError::Port("0".into())),
            ("turn:example.org:+5", UriError::Port("+5".into())),
            ("turn:example.org:65536", UriError::Port("65536".into())),
            ("turn:example.org/path", UriError::Tail("/path".into())),
            (
                "turn:example.org?transport=sctp",
                UriError::Query("transport=sctp".into()),
            ),
            ("turn:example.org?x=udp", UriError::Query("x=udp".into())),
            ("stun:example.org?transport=udp", UriError::NoQuery("stun")),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<TurnUri>(), Err(error), "{text}");
        }
    }
}
