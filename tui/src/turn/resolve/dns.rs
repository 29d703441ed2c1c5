//! Names by the system's resolver, SRV and NAPTR by DNS.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::{Names, Naptr, Srv};

/// How long one name server may take for one question.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Questions to a name server that does not answer.
const ATTEMPTS: usize = 2;

/// The names of the world.
pub struct Dns {
    /// `None`: the system has no name server that we can ask.
    resolver: Result<TokioResolver, String>,
    /// Whether addresses come from that name server too, not from the system's resolver.
    everything: bool,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns")
            .field("everything", &self.everything)
            .finish_non_exhaustive()
    }
}

impl Dns {
    /// As the system is configured. Addresses come from the system's resolver, as those of any
    /// program here, so `/etc/hosts` and the like count.
    #[must_use]
    pub fn system() -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(build);
        Self {
            resolver: resolver.map_err(|error| error.to_string()),
            everything: false,
        }
    }

    /// All from one name server.
    #[must_use]
    pub fn server(server: SocketAddr) -> Self {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut way| {
            way.port = server.port();
            way
        });
        let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
        let config = ResolverConfig::from_name_servers(vec![server]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        Self {
            resolver: build(builder).map_err(|error| error.to_string()),
            everything: true,
        }
    }

    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        let resolver = self.resolver.as_ref().map_err(Clone::clone)?;
        // A name with a dot is whole: search domains would make one question many.
        let whole = name.contains('.') && !name.ends_with('.');
        let name = if whole {
            format!("{name}.")
        } else {
            name.to_owned()
        };
        match resolver.lookup(name, kind).await {
            Ok(found) => Ok(found
                .answers()
                .iter()
                .filter_map(|r| read(&r.data))
                .collect()),
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    builder.build()
}

#[async_trait]
impl Names for Dns {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        if !self.everything {
            let found = tokio::net::lookup_host((name, 0)).await;
            let mut addresses: Vec<IpAddr> = found
                .map_err(|error| error.to_string())?
                .map(|address| address.ip())
                .collect();
            addresses.dedup();
            return Ok(addresses);
        }
        let v4 = |data: &RData| match data {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            _ => None,
        };
        let v6 = |data: &RData| match data {
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        };
        let mut addresses = self.records(name, RecordType::A, v4).await?;
        addresses.extend(self.records(name, RecordType::AAAA, v6).await?);
        Ok(addresses)
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, String> {
        let read = |data: &RData| match data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_utf8(),
            }),
            _ => None,
        };
        self.records(name, RecordType::SRV, read).await
    }

    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, String> {
        let read = |data: &RData| match data {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
                services: String::from_utf8_lossy(&naptr.services).into_owned(),
                replacement: naptr.replacement.to_utf8(),
            }),
            _ => None,
        };
        self.records(name, RecordType::NAPTR, read).await
    }
}
