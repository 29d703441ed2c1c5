//! Where a node's admin API is: `unix:`, `https://`, `http://` on loopback, `ssh://`.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An admin API's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket of this machine.
    Unix(PathBuf),
    /// TCP; the URL has a scheme, a host, perhaps a port, and nothing else.
    Http(String),
    /// A Unix socket of another machine, through `ssh`.
    Ssh(SshTarget),
}

/// The other machine of an `ssh://` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// The login name; absent: what ssh's own configuration says.
    pub user: Option<String>,
    /// A host name, an address, or an alias of ssh's configuration.
    pub host: String,
    /// The port; absent: what ssh's own configuration says.
    pub port: Option<u16>,
    /// The socket over there.
    pub socket: PathBuf,
}

impl SshTarget {
    /// The socket that an address without one means.
    pub const DEFAULT_SOCKET: &str = "/var/lib/relayd/relayd.sock";
}

/// A text that is no address; says what one looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is no address of a node: {reason}", shared::display_safe(text))]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let fail = |reason| AddressError {
            text: text.chars().take(200).collect(),
            reason,
        };
        if text.contains(|c: char| c.is_control()) {
            return Err(fail("control characters"));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return absolute(path)
                .map(Self::Unix)
                .ok_or_else(|| fail("unix: takes a full path"));
        }
        if let Some(rest) = text.strip_prefix("ssh://") {
            return ssh(rest).map(Self::Ssh).map_err(fail);
        }
        if let Some(rest) = text.strip_prefix("https://") {
            let (host, port) = host_and_port(rest).map_err(fail)?;
            return Ok(Self::Http(format!("https://{}", join(host, port))));
        }
        if let Some(rest) = text.strip_prefix("http://") {
            let (host, port) = host_and_port(rest).map_err(fail)?;
            if !is_loopback(host) {
                return Err(fail(
                    "without TLS only loopback is allowed, tokens would be readable",
                ));
            }
            return Ok(Self::Http(format!("http://{}", join(host, port))));
        }
        Err(fail(
            "use unix:/path, https://host:port or ssh://[user@]host[:port][/path/to/socket]",
        ))
    }
}

fn absolute(path: &str) -> Option<PathBuf> {
    Path::new(path).is_absolute().then(|| PathBuf::from(path))
}

fn join(host: &str, port: Option<u16>) -> String {
    port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`, perhaps with a final slash.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => text.split_at(end + 2),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => Some(port.parse().map_err(|_| "the port is 1 to 65535")?),
        None if port.is_empty() => None,
        None => return Err("a host, perhaps with a port"),
    };
    let legal =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    // ssh would take a leading dash for an option.
    if host.is_empty() || host.starts_with('-') || !host.chars().all(legal) {
        return Err("a host name or address is expected");
    }
    Ok((host, port))
}

fn ssh(rest: &str) -> Result<SshTarget, &'static str> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '\\');
    if user.is_some_and(|u| u.is_empty() || u.starts_with('-') || !u.chars().all(legal)) {
        return Err("the login name is odd");
    }
    let (host, port) = host_and_port(host)?;
    let socket = if path.len() > 1 {
        path
    } else {
        SshTarget::DEFAULT_SOCKET
    };
    if socket.contains(':') {
        return Err("ssh cannot forward to a socket with a colon in its path");
    }
    Ok(SshTarget {
        user: user.map(str::to_owned),
        host: host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
        port,
        socket: PathBuf::from(socket),
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(url) => f.write_str(url),
            Self::Ssh(target) => target.fmt(f),
        }
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let v6 = self.host.contains(':');
        let host = if v6 {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        f.write_str(&join(&host, self.port))?;
        write!(f, "{}", self.socket.display())
    }
}
