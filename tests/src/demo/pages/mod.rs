//! Two pages for a browser: what can be gathered from this cluster, and a call of two people.
//!
//! The pages are static files beside this one; a credential comes from the cluster's admin API on each
//! request, and the two ends of a call find each other in a [`Rooms`] over a WebSocket. All of it is for
//! these pages alone: what other sites have a browser ask for is refused.

mod rooms;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use relayctl::client::{AdminApi, HttpAdmin};
use serde_json::json;
use shared::api::MintRequest;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::people::PAGES_REALM;
use rooms::{Rooms, converse};

/// How long a credential of the pages is good, in seconds. Its sessions, two at most, are a setting of
/// [`PAGES_REALM`].
const CREDENTIAL_SECS: u64 = 600;
/// How often the end of a call is asked whether it is there.
const BEAT: Duration = Duration::from_secs(20);
/// How long clients have to take what they asked for when everything ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// The port of `http` URLs that name none.
const HTTP: u16 = 80;
/// Everything comes from here, and nothing is executed that stands in a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' blob:";

/// Path, type and text of each file.
const FILES: [(&str, &str, &str); 7] = [
    ("/", HTML, include_str!("index.html")),
    ("/ice", HTML, include_str!("ice.html")),
    ("/call", HTML, include_str!("call.html")),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_str!("page.css"),
    ),
    ("/kit.js", SCRIPT, include_str!("kit.js")),
    ("/ice.js", SCRIPT, include_str!("ice.js")),
    ("/call.js", SCRIPT, include_str!("call.js")),
];
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The server of the pages; it ends with [`Pages::stop`].
#[derive(Debug)]
pub(super) struct Pages {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Clone)]
struct Shared {
    admin: Arc<HttpAdmin>,
    rooms: Rooms,
    stop: CancellationToken,
    beat: Duration,
}

impl Pages {
    /// Serves the pages at `address`, with credentials that `admin` mints.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) async fn start(address: SocketAddr, admin: HttpAdmin) -> anyhow::Result<Self> {
        Self::start_with(address, admin, BEAT).await
    }

    async fn start_with(
        address: SocketAddr,
        admin: HttpAdmin,
        beat: Duration,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener = listener
            .with_context(|| format!("the pages at {address} (--pages takes another address)"))?;
        let stop = CancellationToken::new();
        let shared = Shared {
            admin: Arc::new(admin),
            rooms: Rooms::default(),
            stop: stop.clone(),
            beat,
        };
        let address = listener.local_addr()?;
        let mut router = Router::new();
        for (path, kind, text) in FILES {
            router = router.route(path, get(async move || file(kind, text)));
        }
        let router = router
            .route("/credentials", post(credentials))
            .route("/rooms/{room}", get(join))
            .with_state(shared)
            .layer(middleware::from_fn_with_state(address.port(), guard));
        let tasks = TaskTracker::new();
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stopped);
            if let Err(error) = served.await {
                tracing::error!(%error, "the pages ended");
            }
        });
        tasks.close();
        Ok(Self {
            address,
            stop,
            tasks,
        })
    }

    /// Where they are.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Ends them, and calls' signalling with them. A client that asks for nothing and does not leave is
    /// not waited for.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(LAST_ANSWERS, self.tasks.wait()).await;
    }
}

/// Answers only what these pages, or no page at all, ask for: any site can have a browser send requests
/// here, and read the answers once it has its own name resolve to this address.
async fn guard(State(port): State<u16>, request: Request, next: Next) -> Response {
    match is_ours(request.headers(), port) {
        true => next.run(request).await,
        false => {
            let what = format!(
                "open these pages by an IP address or localhost, with port {port}; \
                 other sites are refused"
            );
            refuse(StatusCode::FORBIDDEN, &what)
        }
    }
}

/// Whether `Host` is where the pages are, by address, and `Origin` is that or absent.
fn is_ours(headers: &HeaderMap, port: u16) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let Some(host) = text(header::HOST) else {
        return false;
    };
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let is_here = bare.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost");
    // What names no port names that of the scheme.
    let of_url = authority.port_u16().unwrap_or(HTTP);
    let is_same = text(header::ORIGIN).is_none_or(|origin| {
        let origin = origin.strip_prefix("http://");
        origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host))
    });
    is_here && !host.contains('@') && of_url == port && is_same
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text)
}

/// A fresh credential for one peer connection, and the best nodes for it.
async fn credentials(State(shared): State<Shared>) -> Response {
    let realm = match PAGES_REALM.parse() {
        Ok(realm) => realm,
        Err(error) => return refuse(StatusCode::BAD_GATEWAY, &error),
    };
    let request = MintRequest {
        user: format!("page-{:08x}", rand::random::<u32>()),
        ttl_secs: Some(CREDENTIAL_SECS),
        ..MintRequest::default()
    };
    match shared.admin.mint(&realm, &request).await {
        Ok(credential) => Json(credential).into_response(),
        Err(error) => refuse(StatusCode::BAD_GATEWAY, &error),
    }
}

fn refuse(status: StatusCode, why: &dyn std::fmt::Display) -> Response {
    let body = Json(json!({ "error": why.to_string() }));
    (status, body).into_response()
}

async fn join(
    State(shared): State<Shared>,
    Path(room): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade = upgrade.max_message_size(rooms::MAX_MESSAGE);
    upgrade.on_upgrade(async move |socket| {
        tokio::select! {
            () = converse(&shared.rooms, room, socket, shared.beat) => {}
            () = shared.stop.cancelled() => {}
        }
    })
}
