//! The admin API over HTTP: a thin layer over [`control::Service`](crate::control::Service), which
//! enforces roles and scopes and writes the audit.
//!
//! [`router`](self) has the one table of endpoints; [`bind`] and [`Bound::serve`] run it on a Unix
//! socket and, where configured, on TCP.

mod auth;
mod call;
mod endpoints;
mod error;
mod handlers;
pub(crate) mod serve;
mod socket;
mod stall;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::certificate::Certificates;
use crate::config::{AdminConfig, LocalPassword, TokenLock};
use crate::control::Service;
use crate::succession::Inherited;

use auth::Throttle;
use serve::{Limits, Listening};
pub use socket::PassedOn;

/// Connections over the Unix socket at a time; more are closed at once.
const UNIX_CONNECTIONS: usize = 256;
/// Connections over TCP at a time; of their own, so that strangers never lock out the socket.
const TCP_CONNECTIONS: usize = 256;

/// Why the admin API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The Unix socket.
    #[error("admin.socket {path}: {source}")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The TCP listener.
    #[error("admin.listen {address}: {source}")]
    Listen {
        /// Its address.
        address: SocketAddr,
        /// What is wrong.
        source: io::Error,
    },
    /// Its certificate.
    #[error("admin.tls_certificate: {0}")]
    Tls(#[from] crate::certificate::CertificateError),
}

/// Bound listeners of the admin API.
#[derive(Debug)]
pub struct Bound {
    unix: socket::AdminSocket,
    tcp: Option<Listening>,
    certificates: Option<Arc<Certificates>>,
    tcp_address: Option<SocketAddr>,
    lock: TokenLock,
    password: Option<LocalPassword>,
}

/// Binds what `config` names, or takes what the process before this one had there. To be called inside
/// a tokio runtime.
///
/// # Errors
/// See [`AdminError`]; another process that answers on the socket is one.
pub async fn bind(config: &AdminConfig, inherited: &Inherited) -> Result<Bound, AdminError> {
    let tls = config.tls.as_ref().map(tls::server_config).transpose()?;
    let (tls, certificates) = tls.unzip();
    let unix = match inherited.socket() {
        Ok(None) => socket::bind(&config.socket),
        Ok(Some(passed_on)) => socket::inherit(&config.socket, passed_on),
        Err(error) => Err(error),
    };
    let unix = unix.map_err(|source| AdminError::Socket {
        path: config.socket.clone(),
        source,
    })?;
    let Some(address) = config.listen else {
        return Ok(Bound {
            unix,
            tcp: None,
            certificates: None,
            tcp_address: None,
            lock: config.lock,
            password: None,
        });
    };
    let listen = |source| AdminError::Listen { address, source };
    let listener = serve::bind(address, inherited.admin(address))
        .await
        .map_err(listen)?;
    let tcp_address = Some(listener.local_addr().map_err(listen)?);
    Ok(Bound {
        unix,
        tcp: Some(Listening::Tcp(listener, tls.map(Into::into))),
        certificates,
        tcp_address,
        lock: config.lock,
        password: config.password.clone(),
    })
}

impl Bound {
    /// Where TCP listens, with the port that was bound.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp_address
    }

    /// Copies of the Unix socket and of the TCP listener.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn copies(&self) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
        let tcp = match &self.tcp {
            Some(Listening::Tcp(listener, _)) => Some(listener.as_fd().try_clone_to_owned()?),
            _ => None,
        };
        Ok((self.unix.copy()?, tcp))
    }

    /// To say that another process has the Unix socket.
    #[must_use]
    pub fn passed_on(&self) -> PassedOn {
        self.unix.passed_on()
    }

    /// The certificates of the TCP listener; `None`: it speaks plain HTTP, or there is none.
    #[must_use]
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.certificates.clone()
    }

    /// Serves until `cancel`, then lets running calls end for a moment and removes the socket.
    pub async fn serve(self, service: Service, cancel: CancellationToken) {
        let router = router(service, self.lock, self.password, cancel.clone());
        // The guard outlives the serving: the file goes when nobody answers any more.
        let (unix, _guard) = self.unix.listening();
        let limits = Limits {
            connections: UNIX_CONNECTIONS,
        };
        let unix = serve::run(unix, router.clone(), limits, cancel.clone());
        let tcp = async {
            if let Some(listening) = self.tcp {
                let limits = Limits {
                    connections: TCP_CONNECTIONS,
                };
                serve::run(listening, router, limits, cancel).await;
            }
        };
        tokio::join!(unix, tcp);
    }
}

/// What handlers share.
#[derive(Clone, Debug)]
struct Api {
    service: Service,
    /// Ends event streams.
    cancel: CancellationToken,
}

impl axum::extract::FromRef<Api> for Service {
    fn from_ref(api: &Api) -> Self {
        api.service.clone()
    }
}

/// All endpoints behind authentication. Requests carry a [`serve::Peer`] extension.
fn router(
    service: Service,
    lock: TokenLock,
    password: Option<LocalPassword>,
    cancel: CancellationToken,
) -> Router {
    let gate = auth::Gate {
        service: service.clone(),
        throttle: Throttle::new(lock),
        password,
    };
    let mut router = Router::new();
    for endpoint in endpoints::all() {
        router = router.route(endpoint.path, endpoint.handler);
    }
    router
        .fallback(error::unknown_path)
        .method_not_allowed_fallback(error::wrong_method)
        .with_state(Api { service, cancel })
        .layer(axum::middleware::from_fn_with_state(
            call::Calls::default(),
            call::run,
        ))
        .layer(axum::middleware::from_fn_with_state(
            Arc::new(gate),
            auth::authenticate,
        ))
        .layer(axum::middleware::map_response(error::harden))
}

#[cfg(test)]
mod tests;
