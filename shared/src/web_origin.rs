//! Web origins (RFC 6454): scheme, host and port of where a client's page came from.

use std::fmt;
use std::str::FromStr;

/// Ports that are left out of an origin, by scheme: those that coturn fills in.
const DEFAULT_PORTS: &[(&str, u16)] = &[
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("ldap", 389),
    ("sip", 5060),
    ("sips", 5061),
    ("ssh", 22),
    ("stun", 3478),
    ("svn", 3690),
    ("telnet", 23),
    ("turn", 3478),
];

/// An origin as in `https://app.example.org` or `https://app.example.org:8443`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebOrigin {
    text: String,
    /// The scheme's own port, where the text names none.
    default_port: Option<u16>,
}

impl WebOrigin {
    /// The longest origin in bytes: coturn's columns hold 127, the port it adds included.
    pub const MAX_LEN: usize = 121;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same origin with the port of its scheme spelt out, as coturn keeps it. Two origins are the
    /// same when these texts are.
    #[must_use]
    pub fn with_port(&self) -> String {
        match self.default_port {
            Some(port) => format!("{}:{port}", self.text),
            None => self.text.clone(),
        }
    }

    /// Reads an origin in any case, and with the port of its scheme spelt out or not.
    #[must_use]
    pub fn parse_foreign(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let scheme = text.split_once("://")?.0.to_owned();
        let short = default_port(&scheme).and_then(|port| text.strip_suffix(&format!(":{port}")));
        short
            .and_then(|short| short.parse().ok())
            .or_else(|| text.parse().ok())
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebOriginError;

impl fmt::Display for WebOriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scheme://host or scheme://host:port in lower case")
    }
}

impl std::error::Error for WebOriginError {}

impl FromStr for WebOrigin {
    type Err = WebOriginError;

    fn from_str(text: &str) -> Result<Self, WebOriginError> {
        let (scheme, rest) = text.split_once("://").ok_or(WebOriginError)?;
        let mut letters = scheme.bytes();
        let starts = letters.next().is_some_and(|c| c.is_ascii_lowercase());
        let goes_on = letters.all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(WebOriginError)?;
                let address = address.parse::<std::net::Ipv6Addr>();
                address.map_err(|_| WebOriginError)?;
                (None, port)
            }
            None => {
                let end = rest.find(':').unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
        };
        let is_host = |host: &str| {
            let letter = |c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
            !host.is_empty() && host.bytes().all(letter)
        };
        // Digits and nothing else, neither 0 nor with a zero in front: one text per origin.
        let is_port = |port: &str| {
            let number = port.strip_prefix(':').and_then(|p| p.parse::<u16>().ok());
            port.is_empty() || number.is_some_and(|n| n > 0 && port[1..] == n.to_string())
        };
        let upper = text.bytes().any(|c| c.is_ascii_uppercase());
        let whole = starts && goes_on && !upper && text.len() <= Self::MAX_LEN;
        if !whole || !host.is_none_or(is_host) || !is_port(port) {
            return Err(WebOriginError);
        }
        Ok(Self {
            text: text.to_owned(),
            default_port: default_port(scheme).filter(|_| port.is_empty()),
        })
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    let known = DEFAULT_PORTS.iter().find(|(name, _)| *name == scheme);
    known.map(|(_, port)| *port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_perhaps_port() {
        for (text, whole) in [
            ("https://app.example.org", "https://app.example.org:443"),
            ("http://a:8080", "http://a:8080"),
            ("https://192.0.2.1", "https://192.0.2.1:443"),
            ("http://[2001:db8::1]", "http://[2001:db8::1]:80"),
            ("http://[::1]:81", "http://[::1]:81"),
            ("chrome-extension://abc", "chrome-extension://abc"),
        ] {
            let origin: WebOrigin = text.parse().unwrap();
            assert_eq!(
                (origin.as_str(), origin.with_port().as_str()),
                (text, whole)
            );
        }
        for text in [
            "",
            "null",
            "app.example.org",
            "https://",
            "https://a/",
            "https://a/b",
            "https://A",
            "HTTPS://a",
            "https://a:",
            "https://a:0",
            "https://a:070",
            "https://a:65536",
            "https://a:+1",
            "https://a b",
            "https://u@a",
            "https://[::1",
            "https://[x]",
            "1s://a",
            "://a",
            "https://[::1]x",
            "https://\u{e4}",
            "file://",
            "https://[2001:DB8::1]",
        ] {
            assert!(text.parse::<WebOrigin>().is_err(), "{text}");
        }
        let long = format!("https://{}", "a".repeat(WebOrigin::MAX_LEN));
        assert!(long.parse::<WebOrigin>().is_err());
    }

    #[test]
    fn foreign_spellings_are_one_origin() {
        for text in [
            "https://a.b",
            "https://a.b:443",
            "HTTPS://A.b:443",
            " https://a.b ",
        ] {
            let origin = WebOrigin::parse_foreign(text).unwrap();
            assert_eq!(origin.as_str(), "https://a.b", "{text}");
        }
        let other = WebOrigin::parse_foreign("https://a.b:4430").unwrap();
        assert_eq!(other.with_port(), "https://a.b:4430");
        assert_eq!(
            WebOrigin::parse_foreign("http://a.b:443").unwrap().as_str(),
            "http://a.b:443"
        );
        for text in [
            "null",
            "file://",
            "https://:443",
            "x",
            "",
            "https://a/b:443",
        ] {
            assert_eq!(WebOrigin::parse_foreign(text), None, "{text}");
        }
    }
}
