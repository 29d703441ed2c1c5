//! HTTP/1.1 on sockets: bounded connections, deadlines for slow clients, a clean stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stall::CutsStalls;

/// How long a TLS handshake may take, and the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long running calls may go on after the stop.
const FAREWELL: Duration = Duration::from_secs(2);
/// Rest after a failed accept: without descriptors the next one fails too.
const ACCEPT_REST: Duration = Duration::from_millis(100);
const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// A bound listener.
#[derive(Debug)]
pub(crate) enum Listening {
    /// On a path.
    Unix(UnixListener),
    /// On an address, with TLS where given.
    Tcp(TcpListener, Option<Tls>),
}

/// Speaks TLS.
#[derive(Clone)]
pub(crate) struct Tls(TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl From<Arc<rustls::ServerConfig>> for Tls {
    fn from(config: Arc<rustls::ServerConfig>) -> Self {
        Self(config.into())
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// A process of this machine.
    Unix {
        /// Its user, as the kernel says (SO_PEERCRED).
        uid: u32,
    },
    /// Somebody.
    Tcp {
        /// Their address.
        address: SocketAddr,
    },
}

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time; more are closed at once.
    pub(crate) connections: usize,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream, Option<Tls>),
}

impl Listening {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Stream::Unix(stream), Peer::Unix { uid }))
            }
            Self::Tcp(listener, tls) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream, tls.clone()), Peer::Tcp { address }))
            }
        }
    }
}

/// A listener at `address`: the one that the process before this one had there, else a fresh one.
pub(crate) async fn bind(
    address: SocketAddr,
    inherited: io::Result<Option<std::net::TcpListener>>,
) -> io::Result<TcpListener> {
    match inherited? {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        }
        None => TcpListener::bind(address).await,
    }
}

/// Serves `router` until `cancel`.
pub(crate) async fn run(
    listening: Listening,
    router: Router,
    limits: Limits,
    cancel: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listening.accept() => accepted,
            () = cancel.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let router = router.clone().layer(Extension(peer));
        let cancel = cancel.clone();
        connections.spawn(async move {
            converse(stream, router, cancel).await;
            drop(permit);
        });
    }
    connections.close();
    // Whoever takes longer is cut off by the end of the runtime.
    let _ = tokio::time::timeout(FAREWELL, connections.wait()).await;
}

async fn converse(stream: Stream, router: Router, cancel: CancellationToken) {
    match stream {
        Stream::Unix(stream) => speak_http(stream, router, cancel).await,
        Stream::Tcp(stream, None) => speak_http(stream, router, cancel).await,
        Stream::Tcp(stream, Some(Tls(tls))) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_DEADLINE, tls.accept(stream)).await {
                Box::pin(speak_http(stream, router, cancel)).await;
            }
        }
    }
}

async fn speak_http<S>(stream: S, router: Router, cancel: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(CutsStalls::new(stream));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, TowerToHyperService::new(router));
    let mut connection = Box::pin(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection of the admin API ended early");
    }
}
