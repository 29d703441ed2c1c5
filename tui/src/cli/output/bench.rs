//! The fields of benchmarks.

use serde_json::json;

use super::Shown::{Detail, Table};
use super::Style::{Bytes, Count, Text};
use super::shows::shows;
use super::{Field, Shows};
use crate::bench::report::{
    BindingReport, ChurnReport, IdleReport, IdleRound, ProcessReport, RelayReport,
};

/// One figure of each round.
fn rounds<T>(report: &IdleReport, value: impl Fn(&IdleRound) -> Option<T>) -> Vec<Option<T>> {
    report.rounds.iter().map(value).collect()
}

/// Something of the server's process.
fn of<T>(process: Option<&ProcessReport>, value: impl FnOnce(&ProcessReport) -> T) -> Option<T> {
    process.map(value)
}

shows!(RelayReport, "bench-relays/1", |row| row.server.clone(), {
    "server" Table Text row.server;
    "transport" Table Text row.transport;
    "sessions" Table Count row.sessions;
    "size" Table Count row.size;
    "burst" Table Count row.burst;
    "direction" Table Text row.direction;
    "method" Table Text row.method;
    "setup_ms" Detail Count row.setup.ms;
    "duration_ms" Detail Count row.duration_ms;
    "sent_up" Detail Count row.sent.up;
    "sent_down" Detail Count row.sent.down;
    "received_up" Detail Count row.received.up;
    "received_down" Detail Count row.received.down;
    "lost" Table Count row.lost;
    "misrouted" Table Count row.misrouted;
    "corrupted" Table Count row.corrupted;
    "duplicated" Table Count row.duplicated;
    "reordered" Table Count row.reordered;
    "pps_up" Table Count row.packets_per_sec.up;
    "pps_down" Table Count row.packets_per_sec.down;
    "p50_us" Table Count row.latency_us.p50;
    "p99_us" Table Count row.latency_us.p99;
    "p99_9_us" Detail Count row.latency_us.p99_9;
    "bench_ns_per_packet" Detail Count row.bench.cpu_ns_per_packet;
    "server_ns_per_packet" Table Count of(row.process.as_ref(), |p| p.cpu_ns_per_packet);
    "rss_before" Detail Bytes of(row.process.as_ref(), |p| p.rss_bytes_before);
    "rss_with_sessions" Detail Bytes of(row.process.as_ref(), |p| p.rss_bytes_with_sessions);
    "rss_after" Detail Bytes of(row.process.as_ref(), |p| p.rss_bytes_after);
    "rss_per_session" Detail Bytes of(row.process.as_ref(), |p| p.rss_bytes_per_session);
});

shows!(ChurnReport, "bench-churns/1", |row| row.server.clone(), {
    "server" Table Text row.server;
    "transport" Table Text row.transport;
    "concurrency" Table Count row.concurrency;
    "cycles" Table Count row.cycles;
    "failed" Table Count row.failed;
    "refused" Table Text row.refused;
    "unanswered" Table Count row.unanswered;
    "per_sec" Table Count row.cycles_per_sec;
    "p50_us" Table Count row.latency_us.p50;
    "p99_us" Table Count row.latency_us.p99;
    "duration_ms" Detail Count row.duration_ms;
    "bench_ns_per_cycle" Detail Count row.bench.cpu_ns_per_packet;
    "server_ns_per_cycle" Table Count of(row.process.as_ref(), |p| p.cpu_ns_per_cycle);
    "rss_before" Detail Bytes of(row.process.as_ref(), |p| p.rss_bytes_before);
    "rss_after" Detail Bytes of(row.process.as_ref(), |p| p.rss_bytes_after);
    "rss_growth_per_cycle" Detail Count
        of(row.process.as_ref(), |p| p.rss_bytes_growth_per_cycle);
});

shows!(IdleReport, "bench-idles/1", |row| row.server.clone(), {
    "server" Table Text row.server;
    "transport" Table Text row.transport;
    "sessions" Table Count row.sessions;
    "hold_ms" Table Count row.hold_ms;
    "rounds" Table Count row.rounds.len();
    "setup_ms" Table Text rounds(row, |round| Some(round.setup.ms));
    "rss_before" Table Text rounds(row, |round| round.rss_bytes_before);
    "rss_with_sessions" Table Text rounds(row, |round| round.rss_bytes_with_sessions);
    "rss_per_session" Table Text rounds(row, |round| round.rss_bytes_per_session.map(f64::round));
    "rss_after" Table Text rounds(row, |round| round.rss_bytes_after);
});

shows!(BindingReport, "bench-bindings/1", |row| row.server.clone(), {
    "server" Table Text row.server;
    "transport" Table Text row.transport;
    "clients" Table Count row.clients;
    "sent" Table Count row.sent;
    "received" Table Count row.received;
    "wrong" Table Count row.wrong;
    "lost" Table Count row.lost;
    "per_sec" Table Count row.per_sec;
    "p50_us" Table Count row.latency_us.p50;
    "p99_us" Table Count row.latency_us.p99;
    "duration_ms" Detail Count row.duration_ms;
    "bench_ns_per_answer" Detail Count row.bench.cpu_ns_per_packet;
    "server_ns_per_answer" Table Count of(row.process.as_ref(), |p| p.cpu_ns_per_answer);
});
