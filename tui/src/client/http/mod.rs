//! [`AdminApi`](super::AdminApi) over HTTP.

mod calls;
mod data;
mod fleet;

use std::fmt;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::Secret;
use shared::api::{ApiError, ErrorKind, EventView, ListQuery};
use tokio::sync::Mutex;

use super::sse::Decoder;
use super::ssh::Tunnel;
use super::{Address, ClientError, ClientResult, Prompting};

/// The largest answer that is read, in bytes: a job of 10,000 items fits several times.
const MAX_BODY: usize = 32 << 20;
/// A stream on which not even a keep-alive comment came for this long is dead.
const STREAM_SILENCE: Duration = Duration::from_secs(60);

/// How to connect.
#[derive(Clone)]
pub struct ConnectOptions {
    /// Sent as `Authorization: Bearer`; a Unix socket needs none.
    pub token: Option<Secret<String>>,
    /// PEM certificates that a server's certificate must lead to, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a call may take in all.
    pub call_timeout: Duration,
    /// Whether ssh may ask questions in [`HttpAdmin::open`]; later on it never does.
    pub prompting: Prompting,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            token: None,
            ca_pem: None,
            connect_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(5),
            prompting: Prompting::Never,
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("call_timeout", &self.call_timeout)
            .finish_non_exhaustive()
    }
}

/// The admin API of a node over a Unix socket, TCP or an SSH tunnel.
pub struct HttpAdmin {
    address: Address,
    base: String,
    http: reqwest::Client,
    options: ConnectOptions,
    tunnel: Option<Mutex<Tunnel>>,
}

impl fmt::Debug for HttpAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAdmin")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl HttpAdmin {
    /// Prepares calls to `address`. Nothing is sent yet: a node that is away shows at the first call.
    ///
    /// # Errors
    /// `Unreachable` when the CA file or the directory of an SSH tunnel cannot be used.
    pub fn new(address: Address, options: ConnectOptions) -> ClientResult<Self> {
        let fail = |reason: String| ClientError::Unreachable {
            address: address.to_string(),
            reason,
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("relayctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let mut tunnel = None;
        let mut base = "http://relayd".to_owned();
        match &address {
            Address::Unix(path) => {
                builder = builder.unix_socket(path.clone()).tls_certs_only([]);
            }
            Address::Ssh(target) => {
                let new = Tunnel::new(target.clone())?;
                builder = builder.unix_socket(new.socket()).tls_certs_only([]);
                tunnel = Some(Mutex::new(new));
            }
            Address::Http(url) => {
                base.clone_from(url);
                if let Some(pem) = &options.ca_pem {
                    let certificates = reqwest::Certificate::from_pem_bundle(pem)
                        .map_err(|e| fail(format!("the CA file: {}", innermost(&e))))?;
                    builder = builder.tls_certs_only(certificates);
                } else if url.starts_with("http:") {
                    // Without TLS the system's certificates need not even exist.
                    builder = builder.tls_certs_only([]);
                }
            }
        }
        let http = builder.build().map_err(|e| fail(innermost(&e)))?;
        Ok(Self {
            address,
            base,
            http,
            options,
            tunnel,
        })
    }

    /// Opens the SSH tunnel where the address needs one, while ssh may still ask for a passphrase.
    /// Calls open it themselves otherwise, and again whenever it is lost.
    ///
    /// # Errors
    /// `Unreachable`, with what ssh said.
    pub async fn open(&self) -> ClientResult<()> {
        match &self.tunnel {
            Some(tunnel) => {
                tunnel
                    .lock()
                    .await
                    .ensure_open(self.options.prompting)
                    .await
            }
            None => Ok(()),
        }
    }

    fn failure(&self, error: &reqwest::Error) -> ClientError {
        let address = self.address.to_string();
        if error.is_timeout() && !error.is_connect() {
            return ClientError::Timeout {
                address,
                after: self.options.call_timeout,
            };
        }
        if error.is_decode() {
            return ClientError::Protocol(innermost(error));
        }
        let mut reason = innermost(error);
        if let Address::Ssh(target) = &self.address
            && self.tunnel_is_open()
        {
            // ssh lets us in and its far end hangs up: all that sshd tells is that it could not.
            reason = format!(
                "ssh connects, but its far end cannot open {}: is relayd running there, and may that \
                 user enter its socket (root, or the group relayd)? ({reason})",
                target.socket.display()
            );
        }
        ClientError::Unreachable { address, reason }
    }

    /// Whether there is a tunnel whose near end takes connections.
    fn tunnel_is_open(&self) -> bool {
        let tunnel = self
            .tunnel
            .as_ref()
            .and_then(|tunnel| tunnel.try_lock().ok());
        tunnel.is_some_and(|mut tunnel| tunnel.is_open())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.options.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> ClientResult<Response> {
        if let Some(tunnel) = &self.tunnel {
            tunnel
                .lock()
                .await
                .ensure_open(self.options.prompting)
                .await?;
        }
        let response = request.send().await.map_err(|e| self.failure(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = self.body(response).await?;
        Err(ClientError::Api(
            serde_json::from_slice(&body).unwrap_or_else(|_| error_of_status(status)),
        ))
    }

    async fn body(&self, response: Response) -> ClientResult<Vec<u8>> {
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(|e| self.failure(&e))?);
            if body.len() > MAX_BODY {
                return Err(ClientError::Protocol(
                    "an answer of more than 32 MiB".to_owned(),
                ));
            }
        }
        Ok(body)
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> ClientResult<T> {
        let response = self
            .send(request.timeout(self.options.call_timeout))
            .await?;
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|e| ClientError::Protocol(e.to_string()))
    }

    async fn call_empty(&self, request: RequestBuilder) -> ClientResult<()> {
        let response = self
            .send(request.timeout(self.options.call_timeout))
            .await?;
        self.body(response).await.map(|_| ())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> ClientResult<T> {
        self.call(self.request(Method::GET, path)).await
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, query: &ListQuery) -> ClientResult<T> {
        self.call(self.request(Method::GET, path).query(query))
            .await
    }

    async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> ClientResult<T> {
        self.call(self.request(method, path).json(body)).await
    }

    async fn delete(&self, path: &str, reason: &str) -> ClientResult<()> {
        self.call_empty(
            self.request(Method::DELETE, path)
                .query(&[("reason", reason)]),
        )
        .await
    }
}

/// The most specific of nested errors: `Connection refused` rather than `error sending request`.
/// A URL, which could hold a token in a query, is in none of the inner ones.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    shared::display_safe(&current.to_string()).into_owned()
}

/// What a status without a body of ours means, as from a proxy in between.
fn error_of_status(status: u16) -> ApiError {
    let kind = match status {
        400 | 422 => ErrorKind::BadRequest,
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        410 => ErrorKind::CursorExpired,
        412 => ErrorKind::RevisionConflict,
        503 => ErrorKind::Unavailable,
        504 => ErrorKind::Unconfirmed,
        _ => ErrorKind::Other,
    };
    ApiError::new(kind, format!("HTTP status {status} without an explanation"))
}

/// Turns the body of a stream into events; ends after the first error.
fn events_of(address: String, response: Response) -> impl Stream<Item = ClientResult<EventView>> {
    let lost = move |reason: &str| ClientError::Unreachable {
        address: address.clone(),
        reason: reason.to_owned(),
    };
    let chunks = Box::pin(response.bytes_stream());
    let state = Some((chunks, Decoder::default()));
    stream::unfold((state, lost), |(state, lost)| async move {
        let (mut chunks, mut decoder) = state?;
        let events = match tokio::time::timeout(STREAM_SILENCE, chunks.next()).await {
            Ok(Some(Ok(bytes))) => decoder.push(&bytes),
            Ok(Some(Err(error))) => Err(lost(&innermost(&error))),
            Ok(None) => Err(lost("the node ended the stream")),
            Err(_) => Err(lost("the stream fell silent")),
        };
        Some(match events {
            Ok(events) => {
                let items = events.into_iter().map(Ok).collect::<Vec<_>>();
                (stream::iter(items), (Some((chunks, decoder)), lost))
            }
            Err(error) => (stream::iter(vec![Err(error)]), (None, lost)),
        })
    })
    .flatten()
}
