//! Who is served, who is hung up on, and that nobody keeps the pages from ending.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

use std::path::PathBuf;

use axum::http::HeaderValue;
use relayctl::client::{Address, ConnectOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pages of a cluster that nobody answers for.
async fn pages(beat: Duration) -> Pages {
    let nowhere = Address::Unix(PathBuf::from("/nowhere/relayd.sock"));
    let admin = HttpAdmin::new(nowhere, ConnectOptions::default()).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    Pages::start_with(address, admin, beat).await.unwrap()
}

/// Sends a request with these headers, and answers the status and the connection.
async fn ask(pages: &Pages, request: &str, headers: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(pages.address).await.unwrap();
    let text = format!("{request} HTTP/1.1\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let head = timeout(PATIENCE, async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    });
    let head = head.await.expect("an answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, stream)
}

/// The headers that ask for a WebSocket.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn what_other_sites_have_a_browser_ask_for_is_refused() {
    let pages = pages(BEAT).await;
    let port = pages.address.port();
    let here = format!("127.0.0.1:{port}");
    for (host, origin, is_served) in [
        (&here, None, true),
        (&here, Some(format!("http://{here}")), true),
        (&here, Some("http://evil.example".to_owned()), false),
        (&here, Some(format!("http://localhost:{port}")), false),
        (&here, Some("null".to_owned()), false),
        // Its own name, which it has resolve to this address.
        (&format!("evil.example:{port}"), None, false),
        (
            &format!("evil.example:{port}"),
            Some(format!("http://evil.example:{port}")),
            false,
        ),
    ] {
        let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
        let headers = format!("Host: {host}\r\n{origin}");
        let (status, _) = ask(&pages, "POST /credentials", &headers).await;
        // There is no cluster to get one from.
        assert_eq!(status, if is_served { 502 } else { 403 }, "{headers}");
        let (status, _) = ask(&pages, "GET /rooms/r", &format!("{headers}{UPGRADE}")).await;
        assert_eq!(status, if is_served { 101 } else { 403 }, "{headers}");
    }
    pages.stop().await;
}

#[test]
fn the_pages_are_at_addresses_and_localhost_with_their_port() {
    let is_at = |host: &str, port| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        let bare = is_ours(&headers, port);
        let origin = HeaderValue::from_str(&format!("http://{host}")).unwrap();
        headers.insert(header::ORIGIN, origin);
        assert_eq!(is_ours(&headers, port), bare, "{host}");
        bare
    };
    for host in [
        "127.0.0.1:8088",
        "192.0.2.7:8088",
        "[::1]:8088",
        "LocalHost:8088",
    ] {
        assert!(is_at(host, 8088), "{host}");
        assert!(!is_at(host, 8089), "{host}");
    }
    assert!(is_at("127.0.0.1", 80) && is_at("[::1]", 80) && is_at("localhost:80", 80));
    for host in [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        "localhost.evil.example:8088",
        "127.0.0.1.evil.example:8088",
        "evil@127.0.0.1:8088",
        "::1:8088",
        "127.0.0.1:8088:8088",
        "127.0.0.1:98088",
    ] {
        assert!(!is_at(host, 8088), "{host}");
    }
    assert!(!is_ours(&HeaderMap::new(), 8088));
}

/// Enters a room and answers so many pings; answers how many came before the end, 9 at most.
async fn pings(pages: &Pages, room: &str, answered: usize) -> usize {
    let headers = format!("Host: {}\r\n{UPGRADE}", pages.address);
    let (status, mut stream) = ask(pages, &format!("GET /rooms/{room}"), &headers).await;
    assert_eq!(status, 101);
    let mut count = 0;
    let mut frame = [0; 2];
    while count < 9 {
        let read = timeout(PATIENCE, stream.read_exact(&mut frame)).await;
        if read.expect("a ping or the end").is_err() {
            break;
        }
        assert_eq!(frame, [0x89, 0], "a ping without payload");
        count += 1;
        if count <= answered {
            // A pong, masked with zeros.
            stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.unwrap();
        }
    }
    count
}

#[tokio::test]
async fn an_end_that_is_silent_twice_is_gone_and_one_that_answers_stays() {
    let pages = pages(Duration::from_millis(500)).await;
    let (silent, fading, answering) = tokio::join!(
        pings(&pages, "silent", 0),
        pings(&pages, "fading", 3),
        pings(&pages, "answering", 9),
    );
    assert_eq!((silent, fading, answering), (2, 5, 9));
    pages.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_leave_keeps_nothing_from_ending() {
    let pages = pages(BEAT).await;
    let mut half_open = TcpStream::connect(pages.address).await.unwrap();
    half_open.write_all(b"GET / HT").await.unwrap();
    // Connections are accepted one after the other: when this one is answered, that one is served.
    let (status, call) = ask(
        &pages,
        "GET /rooms/r",
        &format!("Host: {}\r\n{UPGRADE}", pages.address),
    )
    .await;
    assert_eq!(status, 101);
    let stopped = timeout(PATIENCE, pages.stop()).await;
    assert!(stopped.is_ok(), "it waits for a client");
    drop((half_open, call));
}
