//! Bounds of connections, TLS, and the metrics listener.

use super::*;
use crate::admin::serve::{self, Limits, Listening};
use crate::admin::tls;
use crate::config::TlsFiles;
use crate::succession::Inherited;
use crate::telemetry::health;

#[tokio::test]
async fn connections_above_the_bound_are_closed_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cancel = CancellationToken::new();
    let router = axum::Router::new().route("/", axum::routing::get(async || "hello"));
    let limits = Limits { connections: 1 };
    let serving = tokio::spawn(serve::run(
        Listening::Tcp(listener, None),
        router,
        limits,
        cancel.clone(),
    ));
    let idle = TcpStream::connect(address).await.unwrap();
    // The first one is certainly in when it got an answer.
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, first.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(rest.is_empty());
    drop(idle);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&Request::get("/").head("close")).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        if bytes.ends_with(b"hello") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
    }
    cancel.cancel();
    tokio::time::timeout(PATIENCE, serving)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn the_metrics_listener_serves_three_pages_and_nothing_else() {
    let gateway = Gateway::start().await;
    let bound = health::bind("127.0.0.1:0".parse().unwrap(), &Inherited::default())
        .await
        .unwrap();
    let address = bound.address();
    let serving = tokio::spawn(bound.serve(gateway.service.clone(), gateway.cancel.clone()));
    let get = async |path| {
        Request::get(path)
            .send(TcpStream::connect(address).await.unwrap())
            .await
    };
    let page = get("/metrics").await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("text/plain; version=0.0.4"));
    assert!(
        page.body.contains("relayd_info{node=\"g1\""),
        "{}",
        page.body
    );
    assert!(
        page.body
            .contains("\nrelayd_messages_received_total{transport=\"udp\"} 0\n"),
        "{}",
        page.body
    );
    for line in page.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(
            name.starts_with("relayd_") && value.parse::<f64>().is_ok(),
            "{line}"
        );
    }
    assert_eq!(get("/healthz").await.body, "alive\n");
    assert!(matches!(get("/readyz").await.status, 200 | 503));
    assert_eq!(get("/v1/whoami").await.status, 404);
    gateway.stop().await;
    tokio::time::timeout(PATIENCE, serving)
        .await
        .unwrap()
        .unwrap();
}

#[test]
fn certificates_that_cannot_serve_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        std::fs::write(dir.path().join(name), content).unwrap();
        dir.path().join(name)
    };
    let certificate = file("certificate.pem", include_str!("certificate.pem"));
    let key = file("key.pem", include_str!("key.pem"));
    let check = |certificate: &PathBuf, key: &PathBuf| {
        tls::server_config(&TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        })
        .map(drop)
    };
    check(&certificate, &key).unwrap();
    let text =
        |result: Result<(), crate::certificate::CertificateError>| result.unwrap_err().to_string();
    assert!(text(check(&dir.path().join("nothing"), &key)).contains("does not exist"));
    assert!(text(check(&key, &key)).contains("no certificate"));
    assert!(text(check(&certificate, &certificate)).contains("no PEM file of the kind"));
}
