//! TCP, TLS and DTLS clients against a real `relayd`: framing, handshakes, proxies, and everything that a
//! connection may not take up.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod bounds;
mod dtls;
mod framing;
mod mobility;
mod proxy;
mod sessions;
mod slow;
mod tls;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kit::node::{Node, NodeOptions};
use kit::wait::wait_until;

/// What takes a moment on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// A node with these lines in its `[connections]`.
fn node_with(connections: &str) -> Node {
    Node::start(NodeOptions {
        end: format!("[connections]\n{connections}\n"),
        ..NodeOptions::default()
    })
}

/// Waits until that many connections were closed for this reason.
#[track_caller]
fn wait_closed(node: &Node, reason: &str, count: f64) {
    wait_until(&format!("{count} closed as {reason}"), SOON, || {
        closed(node, reason) >= count
    });
}

/// Connections closed for a reason.
fn closed(node: &Node, reason: &str) -> f64 {
    let text = kit::http::get(node.metrics, "/metrics").unwrap().1;
    let sample = format!("relayd_connections_closed_total{{reason=\"{reason}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&sample));
    value.unwrap().parse().unwrap()
}

/// Waits until the node has no connection left, as after every client that is gone.
#[track_caller]
fn wait_none_left(node: &Node) {
    wait_until("all connections to be gone", SOON, || {
        node.metric("relayd_connections") == Some(0.0)
    });
}

/// A peer that sends everything back.
struct Echo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while !told.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..len], from);
                }
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
