//! Where Redis is, and who we are to it.

use std::path::PathBuf;

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, TlsCertificates,
};
use shared::{Secret, display_safe};

use super::sentinel::Sentinels;
use crate::store::StoreError;

/// Host and port of a server.
pub(super) type Address = (String, u16);

/// Where Redis is, and who we are to it.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://host:port/db`, `rediss://` for TLS, `redis+unix:///path`.
    pub url: Secret<String>,
    /// The ACL user, where the URL names none.
    pub username: Option<String>,
    /// Its password, where the URL holds none.
    pub password: Option<Secret<String>>,
    /// PEM file with the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Allows what is unsafe: plain text to another host, certificates that prove nothing.
    pub insecure: bool,
    /// Sentinels as `host:port`, which tell where the master is; the host of `url` is then what they
    /// call it. Empty: `url` says where Redis is.
    pub sentinels: Vec<String>,
    /// The user and the password that the sentinels themselves ask for.
    pub sentinel_login: (Option<String>, Option<Secret<String>>),
    /// Servers of a Redis Cluster as `host:port`, beside the one of `url`: whichever answers tells
    /// of all others. Empty: `url` is no cluster.
    pub cluster: Vec<String>,
    /// Whether this node may change users and realms. Only such a node keeps the index of users
    /// and imports what other tools changed.
    pub gateway: bool,
}

impl RedisOptions {
    /// Options for a URL, as gateway, with everything else left out.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            username: None,
            password: None,
            ca_file: None,
            insecure: false,
            sentinels: Vec::new(),
            sentinel_login: (None, None),
            cluster: Vec::new(),
            gateway: true,
        }
    }

    /// What `url` and the rest say of a connection that speaks RESP3, or why there cannot be one.
    pub(super) fn info(&self) -> Result<ConnectionInfo, StoreError> {
        // Another part of the process may have chosen the same provider before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let text = self.url.expose().as_str();
        let text = match (
            self.insecure && text.starts_with("rediss:"),
            text.contains('#'),
        ) {
            (true, false) => format!("{text}#insecure"),
            _ => text.to_owned(),
        };
        let text = Secret::new(text);
        // The parser's own words may quote the URL with its password.
        let info = text
            .expose()
            .as_str()
            .into_connection_info()
            .map_err(|error| {
                unusable(format!(
                    "{}; expected redis://host:port/db",
                    error.category()
                ))
            })?;
        let mut settings = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        if let (None, Some(username)) = (settings.username(), &self.username) {
            settings = settings.set_username(username);
        }
        if let (None, Some(password)) = (settings.password(), &self.password) {
            settings = settings.set_password(password.expose());
        }
        Ok(info.set_redis_settings(settings))
    }

    /// A client of that server.
    pub(super) fn client(&self, info: ConnectionInfo) -> Result<Client, StoreError> {
        if let ConnectionAddr::Tcp(host, _) = info.addr() {
            let local = host == "localhost"
                || host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback());
            if !local && !self.insecure {
                return Err(unusable(
                    "plain text to another host shows every key on the way: use rediss://, or set \
                     insecure = true"
                        .to_owned(),
                ));
            }
        }
        let client = match &self.ca_file {
            None => Client::open(info),
            Some(path) => {
                let pem = std::fs::read(path)
                    .map_err(|error| unusable(format!("{}: {error}", path.display())))?;
                let roots = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem),
                };
                Client::build_with_tls(info, roots)
            }
        };
        client.map_err(|error| unusable(display_safe(&error.to_string()).into_owned()))
    }

    /// Who tells where the master is, and what is known of it otherwise.
    pub(super) fn sentinels(&self, info: &ConnectionInfo) -> Result<Sentinels, StoreError> {
        let (ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. }) =
            info.addr()
        else {
            return Err(unusable("sentinels name servers by TCP".to_owned()));
        };
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (username, password) = &self.sentinel_login;
        if let Some(username) = username {
            login = login.set_username(username);
        }
        if let Some(password) = password {
            login = login.set_password(password.expose());
        }
        let mut clients = Vec::new();
        for sentinel in &self.sentinels {
            let Some(address) = host_and_port(sentinel) else {
                let sentinel = display_safe(sentinel);
                return Err(unusable(format!(
                    "{sentinel}: write sentinels as host:port"
                )));
            };
            let info = at(info, address).set_redis_settings(login.clone());
            clients.push(self.client(info)?);
        }
        Ok(Sentinels::new(clients, name.clone()))
    }

    /// The servers of a cluster that are named: any of them tells of all.
    pub(super) fn seeds(&self, info: &ConnectionInfo) -> Result<Vec<Address>, StoreError> {
        let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) =
            info.addr()
        else {
            return Err(unusable(
                "the servers of a cluster are reached by TCP".to_owned(),
            ));
        };
        if !self.sentinels.is_empty() {
            return Err(unusable(
                "a cluster has no sentinels: name one or the other".to_owned(),
            ));
        }
        if info.redis_settings().db() != 0 {
            return Err(unusable("a cluster has no database but 0".to_owned()));
        }
        let mut seeds = vec![(host.clone(), *port)];
        for server in &self.cluster {
            let Some(address) = host_and_port(server) else {
                let server = display_safe(server);
                return Err(unusable(format!(
                    "{server}: write the servers of a cluster as host:port"
                )));
            };
            if !seeds.contains(&address) {
                seeds.push(address);
            }
        }
        Ok(seeds)
    }
}

fn unusable(reason: String) -> StoreError {
    StoreError::Refused(format!("Redis URL: {reason}"))
}

/// Host, without brackets, and port.
pub(super) fn host_and_port(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// The same login at another server.
pub(super) fn at(info: &ConnectionInfo, (host, port): Address) -> ConnectionInfo {
    let addr = match info.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    info.clone().set_addr(addr)
}
