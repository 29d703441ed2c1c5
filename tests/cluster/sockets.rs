//! What a node opens to the network, and what it asks of Redis.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kit::client::Login;
use kit::cluster::Cluster;
use kit::node::{Node, USER};
use kit::traffic::{Calls, End, Media};
use kit::wait::wait_until;

/// Inodes of the sockets of a process.
fn socket_inodes(pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links
        .filter_map(|link| {
            let text = link.to_string_lossy().into_owned();
            Some(text.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect()
}

/// Local addresses (hexadecimal, as the kernel prints them) of sockets of `pid` in a table of
/// `/proc/net`; of TCP only those that listen.
fn local_addresses(pid: u32, table: &str) -> Vec<String> {
    let inodes = socket_inodes(pid);
    let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    let rows = text
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && inodes.iter().any(|inode| inode == row[9]))
        .filter(|row| !table.starts_with("tcp") || row[3] == "0A")
        .map(|row| row[1].to_owned())
        .collect()
}

fn hexadecimal(address: std::net::SocketAddr) -> String {
    let std::net::IpAddr::V4(ip) = address.ip() else {
        panic!("the kit's nodes are on IPv4")
    };
    format!(
        "{:08X}:{:04X}",
        u32::from_le_bytes(ip.octets()),
        address.port()
    )
}

fn assert_only_expected_sockets(node: &Node) {
    // One listener per worker on the TURN address.
    let listening: BTreeSet<_> = local_addresses(node.pid(), "tcp").into_iter().collect();
    let expected = [node.turn, node.metrics].map(hexadecimal);
    assert_eq!(listening, BTreeSet::from(expected), "TCP of {}", node.id());
    let mut datagrams = local_addresses(node.pid(), "udp");
    datagrams.dedup();
    assert_eq!(datagrams, [hexadecimal(node.turn)], "UDP of {}", node.id());
    for table in ["tcp6", "udp6", "raw", "raw6"] {
        let found = local_addresses(node.pid(), table);
        assert!(found.is_empty(), "{table} of {}: {found:?}", node.id());
    }
}

#[test]
fn nodes_listen_on_turn_and_metrics_only() {
    let cluster = Cluster::start();
    for node in &cluster.nodes {
        assert_only_expected_sockets(node);
    }
}

#[test]
fn redis_sees_no_keys_no_save_and_nothing_that_follows_the_packet_rate() {
    let cluster = Cluster::start();
    // Sessions first: only the steady state is measured.
    let quiet = commands_during(&cluster, Duration::from_secs(8), &Calls::new());
    let mut calls = Calls::new();
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let end = |index: usize| End {
            server: cluster.nodes[index].turn,
            login: Login::new(USER.0, USER.1),
        };
        calls.start(Media::Video, [end(from), end(to)]);
    }
    wait_until("calls to be up", Duration::from_secs(20), || {
        calls
            .totals()
            .received
            .load(std::sync::atomic::Ordering::Relaxed)
            > 500
    });
    let busy = commands_during(&cluster, Duration::from_secs(8), &calls);
    for command in quiet.names.iter().chain(&busy.names) {
        assert!(
            !matches!(command.as_str(), "KEYS" | "SAVE" | "BGSAVE" | "FLUSHALL"),
            "{command}"
        );
    }
    assert!(
        busy.packets > 2_000,
        "{} packets are too few to tell",
        busy.packets
    );
    // Six sessions may cost a few commands per second; packets must cost none.
    let more = busy.names.len().saturating_sub(quiet.names.len());
    assert!(
        more < 240,
        "{more} more commands for {} packets",
        busy.packets
    );
}

struct Seen {
    names: Vec<String>,
    packets: u64,
}

fn commands_during(cluster: &Cluster, time: Duration, calls: &Calls) -> Seen {
    let mut monitor = Command::new("redis-cli")
        .args(["-p", &cluster.redis.port.to_string(), "MONITOR"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli runs (Debian package: redis-tools)");
    let packets = || {
        calls
            .totals()
            .received
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let before = packets();
    let lines = BufReader::new(monitor.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let names = lines.lines().map_while(Result::ok).filter_map(|line| {
            // `1700000000.1 [0 127.0.0.1:4242] "hset" "key" ...`, or `[0 lua]` inside scripts.
            let name = line.split('"').nth(1)?.to_ascii_uppercase();
            (!line.contains(" lua] ")).then_some(name)
        });
        names.collect::<Vec<_>>()
    });
    let end = Instant::now() + time;
    wait_until("the time of observation to pass", time * 2, || {
        Instant::now() >= end
    });
    let packets = packets() - before;
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    Seen {
        names: reader.join().unwrap(),
        packets,
    }
}
