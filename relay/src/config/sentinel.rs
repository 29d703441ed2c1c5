//! `store.sentinels`: who tells where the master of Redis is.

use std::path::PathBuf;
use std::str::FromStr;

use shared::Secret;

use super::source::Reader;
use super::store::private;

/// Redis Sentinel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelConfig {
    /// The sentinels as `host:port`: one at least.
    pub servers: Vec<String>,
    /// The ACL user that they ask for.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret<String>>,
    /// The file that it came from.
    pub password_file: Option<PathBuf>,
}

impl SentinelConfig {
    /// Host names and addresses of the sentinels.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().filter_map(|server| host_of(server))
    }
}

/// Where a sentinel, or a server of a cluster, is: `host:port`.
pub(super) struct Server(pub(super) String);

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        host_of(text).ok_or("has no host or no port")?;
        Ok(Self(text.to_owned()))
    }
}

/// The host of `host:port`.
pub(super) fn host_of(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    let has_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    (has_port && !host.is_empty()).then(|| host.trim_matches(['[', ']']))
}

/// Reads it; `None`: there are no sentinels.
pub(super) fn resolve(reader: &mut Reader<'_>) -> Option<Box<SentinelConfig>> {
    let servers = reader.parsed_list("store.sentinels", "host:port, as in 10.0.0.7:26379");
    let servers: Vec<String> = servers.into_iter().map(|Server(text)| text).collect();
    let username = reader.text("store.sentinel_username");
    let file = reader.text("store.sentinel_password_file");
    if servers.is_empty() {
        for (key, given) in [
            ("store.sentinel_username", username),
            ("store.sentinel_password_file", file),
        ] {
            if let Some((_, origin)) = given {
                let problem = "has no meaning without store.sentinels";
                reader.error(&origin, key, problem, "name the sentinels, or remove it");
            }
        }
        return None;
    }
    let password = file
        .as_ref()
        .and_then(|(path, origin)| private(reader, "store.sentinel_password_file", path, origin));
    Some(Box::new(SentinelConfig {
        servers,
        username: username.map(|(name, _)| name),
        password,
        password_file: file.map(|(path, _)| path.into()),
    }))
}
