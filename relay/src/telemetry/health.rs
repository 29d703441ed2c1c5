//! The metrics listener: `/metrics`, `/healthz`, `/readyz`, and nothing else.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics;
use crate::admin::serve::{self, Limits, Listening};
use crate::control::{Readiness, Service};
use crate::succession::Inherited;

/// Connections at a time; more are closed at once.
const CONNECTIONS: usize = 64;

/// The bound listener.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Binds `address`, or takes the listener that the process before this one had there. To be called
/// inside a tokio runtime.
///
/// # Errors
/// The address is taken or not ours.
pub async fn bind(address: SocketAddr, inherited: &Inherited) -> io::Result<Bound> {
    let listener = serve::bind(address, inherited.metrics(address)).await?;
    let address = listener.local_addr()?;
    Ok(Bound { listener, address })
}

impl Bound {
    /// Where it listens, with the port that was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A copy of the listener.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Serves until `cancel`.
    pub async fn serve(self, service: Service, cancel: CancellationToken) {
        let router = Router::new()
            .route("/metrics", get(metrics_page))
            .route("/healthz", get(alive))
            .route("/readyz", get(ready))
            .with_state(service);
        let limits = Limits {
            connections: CONNECTIONS,
        };
        serve::run(Listening::Tcp(self.listener, None), router, limits, cancel).await;
    }
}

async fn metrics_page(State(service): State<Service>) -> impl IntoResponse {
    let text = metrics::text(&service.metrics());
    std::future::ready((
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    ))
    .await
}

/// The process lives and its control plane answers.
async fn alive() -> &'static str {
    std::future::ready("alive\n").await
}

async fn ready(State(service): State<Service>) -> (StatusCode, String) {
    std::future::ready(verdict(&service.readiness())).await
}

/// 200 while new sessions are taken, with what is wrong all the same; 503 otherwise.
fn verdict(readiness: &Readiness) -> (StatusCode, String) {
    let (status, word) = match readiness.ready {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let mut text = format!("{word}\n");
    for reason in &readiness.reasons {
        text.push_str(&shared::display_safe(reason));
        text.push('\n');
    }
    (status, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_says_why() {
        let answer = |ready, reasons: &[&str]| {
            let reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
            verdict(&Readiness { ready, reasons })
        };
        assert_eq!(answer(true, &[]), (StatusCode::OK, "ready\n".to_owned()));
        let (status, text) = answer(true, &["the redis store is out of reach"]);
        assert_eq!((status, text.lines().count()), (StatusCode::OK, 2));
        let (status, text) = answer(false, &["the node is draining"]);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "not ready\nthe node is draining\n");
    }
}
