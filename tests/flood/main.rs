//! Floods of broken input against a real `relayd`: received, answered or dropped, and forgotten, while
//! a genuine client is served.

#![allow(clippy::unwrap_used, reason = "a test may panic wherever it stands")]

mod datagrams;
mod dtls;
mod frames;
mod streams;
mod udp;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kit::node::Node;
use kit::wait::wait_until;

/// How much the node may grow while the second part of a flood, at least nine tenths of it, runs: two
/// bytes for each input. What is kept of an input by mistake is more: the smallest block that the
/// allocator gives out has 24 bytes.
const MAX_GROWTH: u64 = 2 * 1024 * 1024;

/// Tells those beside a flood that it is over, also when it failed: nobody would end otherwise.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Resident memory once it stays the same, in bytes.
fn settled_memory(node: &Node) -> u64 {
    let mut last = (node.resident_bytes().unwrap(), Instant::now());
    wait_until("memory to settle", Duration::from_secs(20), || {
        let bytes = node.resident_bytes().unwrap();
        if bytes.abs_diff(last.0) > 64 * 1024 {
            last = (bytes, Instant::now());
        }
        last.1.elapsed() > Duration::from_secs(1)
    });
    last.0
}

#[track_caller]
fn assert_flat(before: u64, after: u64) {
    let growth = after.saturating_sub(before);
    assert!(growth < MAX_GROWTH, "grew by {growth} bytes from {before}");
}
