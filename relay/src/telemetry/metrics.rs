//! The Prometheus text of a node (exposition format 0.0.4).
//!
//! No user names: they are private, and would make a series each. Names end in their unit, counters
//! in `_total`.

use std::fmt::{Display, Write};

use shared::api::{DrainView, NodeState, Severity};
use turn_proto::server::ServerCounters;

use super::log;
use crate::control::{MetricsView, StatsdbMetrics};
use crate::dtls::Totals;
use crate::listener::ConnectionTotals;

/// Everything as text.
pub(super) fn text(view: &MetricsView) -> String {
    let mut page = Page::default();
    node(&mut page, view);
    if let Some(stats) = &view.statsdb {
        statsdb(&mut page, stats);
    }
    traffic(&mut page, view);
    connections(&mut page, &view.connections);
    messages(&mut page, &view.server);
    counters(&mut page, &view.server);
    realms(&mut page, view);
    refusals(&mut page, view);
    alerts(&mut page, view);
    certificates(&mut page, view);
    page.0
}

fn certificates(page: &mut Page, view: &MetricsView) {
    if view.certificates.is_empty() {
        return;
    }
    let help = "The last second of a certificate's life, Unix time.";
    page.family("relayd_certificate_not_after_seconds", "gauge", help);
    for certificate in &view.certificates {
        let labels = [
            ("purpose", certificate.purpose.as_str()),
            ("key", certificate.key.as_str()),
        ];
        let end = certificate.not_after_ms / 1000;
        page.sample("relayd_certificate_not_after_seconds", &labels, end);
    }
    let help = "1 while the files of a certificate are not the ones in force.";
    page.family("relayd_certificate_refused", "gauge", help);
    for certificate in &view.certificates {
        let labels = [
            ("purpose", certificate.purpose.as_str()),
            ("key", certificate.key.as_str()),
        ];
        let refused = u8::from(certificate.problem.is_some());
        page.sample("relayd_certificate_refused", &labels, refused);
    }
}

fn alerts(page: &mut Page, view: &MetricsView) {
    if view.alerts.is_empty() {
        return;
    }
    let help = "Conditions that hold in the cluster, as this gateway judges them.";
    page.family("relayd_alerts", "gauge", help);
    for (rule, severity, count) in &view.alerts {
        let severity = match severity {
            Severity::Crit => "crit",
            _ => "warn",
        };
        page.sample(
            "relayd_alerts",
            &[("rule", rule), ("severity", severity)],
            count,
        );
    }
}

/// Only while there is one; unknown times are left out.
fn drain(page: &mut Page, drain: Option<&DrainView>) {
    let Some(drain) = drain else { return };
    let estimate = &drain.estimate;
    let help = "When the drain of the node began, in Unix seconds.";
    let started = drain.started_at_ms / 1000;
    page.gauge("relayd_drain_started_timestamp_seconds", help, started);
    if let Some(at) = drain.deadline_at_ms {
        let help = "When the sessions that are left are ended, in Unix seconds.";
        page.gauge("relayd_drain_deadline_timestamp_seconds", help, at / 1000);
    }
    let help = "Sessions when the drain began; relayd_sessions has what is left.";
    page.gauge(
        "relayd_drain_sessions_at_start",
        help,
        drain.sessions_at_start,
    );
    if let Some(secs) = estimate.empty_secs {
        let help = "Seconds until the node is empty, estimated from lengths of sessions.";
        page.gauge("relayd_drain_empty_estimate_seconds", help, secs);
    }
}

fn node(page: &mut Page, view: &MetricsView) {
    page.family(
        "relayd_info",
        "gauge",
        "Constant 1 with the node's id and version.",
    );
    let labels = [("node", view.node.as_str()), ("version", &view.version)];
    page.sample("relayd_info", &labels, 1);
    page.family("relayd_state", "gauge", "1 for the state the node is in.");
    let states = [
        NodeState::Joining,
        NodeState::Ready,
        NodeState::Draining,
        NodeState::Stale,
    ];
    for state in states {
        let is_now = u8::from(view.state == state);
        page.sample("relayd_state", &[("state", state.as_str())], is_now);
    }
    drain(page, view.drain.as_ref());
    page.gauge(
        "relayd_epoch",
        "Number of this start of the node.",
        view.epoch,
    );
    page.gauge(
        "relayd_uptime_seconds",
        "Seconds since the start.",
        view.uptime_secs,
    );
    page.gauge("relayd_workers", "Worker threads.", view.workers);
    page.gauge(
        "relayd_cpu_percent",
        "CPU in percent of one core.",
        view.cpu_percent,
    );
    page.gauge("relayd_memory_bytes", "Resident memory.", view.memory_bytes);
    let connected = u8::from(view.store.connected);
    page.family(
        "relayd_store_connected",
        "gauge",
        "Whether the last store operation worked.",
    );
    page.sample(
        "relayd_store_connected",
        &[("store", view.store.kind.as_str())],
        connected,
    );
    let help = "Sessions whose records in the store are behind.";
    page.gauge("relayd_sessions_unwritten", help, view.unwritten_sessions);
    let help = "Revision of the policy in force.";
    page.gauge("relayd_policy_revision", help, view.policy_revision);
    let help = "News of workers that were lost and healed by snapshots.";
    page.counter(
        "relayd_control_overflows_total",
        help,
        view.control_overflows,
    );
    let help = "Log lines that were dropped because stderr did not take them.";
    page.counter("relayd_log_lines_lost_total", help, log::lost_lines());
}

/// Only where somebody is told of sessions.
fn statsdb(page: &mut Page, stats: &StatsdbMetrics) {
    let help = "Whether the statistics database answers.";
    page.gauge("relayd_statsdb_connected", help, u8::from(stats.connected));
    let help = "Commands that wait for the statistics database.";
    page.gauge("relayd_statsdb_queued", help, stats.queued);
    let help = "Commands that the statistics database took.";
    page.counter("relayd_statsdb_written_total", help, stats.written);
    let help = "Commands that the statistics database never got, or refused.";
    page.counter("relayd_statsdb_dropped_total", help, stats.dropped);
}

fn traffic(page: &mut Page, view: &MetricsView) {
    page.family(
        "relayd_sessions",
        "gauge",
        "Live sessions by client transport.",
    );
    for (transport, sessions) in &view.transports {
        page.sample("relayd_sessions", &[("transport", transport)], sessions);
    }
    if view.transports.is_empty() {
        page.sample("relayd_sessions", &[("transport", "udp")], view.sessions);
    }
    page.gauge(
        "relayd_relay_ports_used",
        "Relay ports in use.",
        view.ports_used,
    );
    page.gauge(
        "relayd_relay_ports",
        "Relay ports in all.",
        view.ports_total,
    );
    page.family(
        "relayd_rate_bits_per_second",
        "gauge",
        "Payload relayed, by direction.",
    );
    for (direction, rate) in [("in", view.rate_in_bps), ("out", view.rate_out_bps)] {
        page.sample(
            "relayd_rate_bits_per_second",
            &[("direction", direction)],
            rate,
        );
    }
}

fn connections(page: &mut Page, totals: &ConnectionTotals) {
    page.family(
        "relayd_connections",
        "gauge",
        "Client connections over TCP and TLS; pending ones have not said what they are.",
    );
    for (transport, count) in [
        ("tcp", totals.tcp),
        ("tls", totals.tls),
        ("pending", totals.pending),
    ] {
        page.sample("relayd_connections", &[("transport", transport)], count);
    }
    let help = "Client connections accepted.";
    page.counter("relayd_connections_accepted_total", help, totals.accepted);
    let help = "How often accepting paused for want of descriptors or memory.";
    page.counter("relayd_accept_pauses_total", help, totals.pauses);
    page.family(
        "relayd_connections_closed_total",
        "counter",
        "Client connections closed, by reason.",
    );
    for (reason, count) in &totals.closed {
        page.sample(
            "relayd_connections_closed_total",
            &[("reason", reason)],
            count,
        );
    }
    dtls(page, &totals.dtls);
}

fn dtls(page: &mut Page, totals: &Totals) {
    let name = "relayd_dtls_associations";
    page.family(
        name,
        "gauge",
        "DTLS clients, by stage of their association.",
    );
    for (stage, count) in [("half_open", totals.half_open), ("open", totals.open)] {
        page.sample(name, &[("stage", stage)], count);
    }
    for (name, help, value) in [
        (
            "relayd_dtls_hellos_total",
            "ClientHellos that came.",
            totals.hellos,
        ),
        (
            "relayd_dtls_cookies_sent_total",
            "Cookies sent; nothing is kept of such a client.",
            totals.cookies_sent,
        ),
        (
            "relayd_dtls_cookies_refused_total",
            "Hellos with a cookie that is not ours, not theirs or too old.",
            totals.cookies_refused,
        ),
        (
            "relayd_dtls_alerts_total",
            "Hellos that nothing could come of, answered with an alert.",
            totals.alerts,
        ),
        (
            "relayd_dtls_handshakes_total",
            "Handshakes begun: the cookie was good.",
            totals.begun,
        ),
        (
            "relayd_dtls_established_total",
            "Handshakes done.",
            totals.established,
        ),
    ] {
        page.counter(name, help, value);
    }
    let name = "relayd_dtls_dropped_total";
    page.family(
        name,
        "counter",
        "Datagrams and handshakes of DTLS dropped, by reason.",
    );
    for (reason, count) in &totals.dropped {
        page.sample(name, &[("reason", reason)], count);
    }
}

/// What came from clients, what of it was dropped unread, and how allocations ended.
fn messages(page: &mut Page, server: &ServerCounters) {
    let name = "relayd_messages_received_total";
    let help = "Datagrams and frames from clients, by transport.";
    page.family(name, "counter", help);
    for (transport, count) in server.received.iter() {
        page.sample(name, &[("transport", transport.as_str())], count);
    }
    let name = "relayd_malformed_total";
    let help = "Datagrams and frames dropped as neither STUN nor data, by what is wrong with them.";
    page.family(name, "counter", help);
    for (flaw, count) in server.malformed.iter() {
        page.sample(name, &[("flaw", flaw.as_str())], count);
    }
    let name = "relayd_allocations_ended_total";
    page.family(name, "counter", "Allocations ended, by cause.");
    for (cause, count) in server.ended.iter() {
        page.sample(name, &[("cause", cause)], count);
    }
    let help = "Binding requests dropped: too many of one source.";
    page.counter(
        "relayd_limited_bindings_total",
        help,
        server.limited_bindings,
    );
    let help = "Errors that unproven sources were not sent: too many to one of them.";
    page.counter("relayd_limited_errors_total", help, server.limited_errors);
}

fn counters(page: &mut Page, server: &ServerCounters) {
    for (name, help, value) in [
        (
            "relayd_bindings_total",
            "Binding requests answered.",
            server.bindings,
        ),
        (
            "relayd_challenges_total",
            "401 challenges sent.",
            server.challenges,
        ),
        (
            "relayd_redirects_total",
            "Allocate requests sent to another server (300).",
            server.redirects,
        ),
        (
            "relayd_allocations_total",
            "Allocations created.",
            server.allocations,
        ),
        (
            "relayd_sessions_restored_total",
            "Sessions of an earlier start taken up again.",
            server.restored,
        ),
        (
            "relayd_relayed_packets_total",
            "Packets relayed, both directions.",
            server.relayed_packets,
        ),
        (
            "relayd_relayed_bytes_total",
            "Payload relayed, both directions.",
            server.relayed_bytes,
        ),
        (
            "relayd_dropped_packets_total",
            "Packets dropped on the data path.",
            server.dropped_packets,
        ),
        (
            "relayd_icmp_errors_total",
            "ICMP errors about relayed datagrams that clients were told of.",
            server.icmp_errors,
        ),
        (
            "relayd_icmp_dropped_total",
            "ICMP errors that nobody was told of: no permission, or too many.",
            server.icmp_dropped,
        ),
        (
            "relayd_refusals_untold_total",
            "Refusals that are counted but not in the list of the latest.",
            server.untold_refusals,
        ),
    ] {
        page.counter(name, help, value);
    }
}

fn realms(page: &mut Page, view: &MetricsView) {
    page.family("relayd_realm_sessions", "gauge", "Live sessions by realm.");
    for realm in &view.realms {
        page.sample(
            "relayd_realm_sessions",
            &[("realm", realm.realm.as_str())],
            realm.sessions,
        );
    }
    let name = "relayd_realm_rate_bits_per_second";
    page.family(name, "gauge", "Payload relayed, by realm and direction.");
    for realm in &view.realms {
        for (direction, rate) in [("in", realm.rate_in_bps), ("out", realm.rate_out_bps)] {
            page.sample(
                name,
                &[("realm", realm.realm.as_str()), ("direction", direction)],
                rate,
            );
        }
    }
}

fn refusals(page: &mut Page, view: &MetricsView) {
    page.family(
        "relayd_refusals_total",
        "counter",
        "Requests refused, by reason.",
    );
    for refusal in &view.refusals {
        let realm = refusal.realm.as_ref().map_or("", |realm| realm.as_str());
        let code = refusal
            .code
            .map(|code| code.to_string())
            .unwrap_or_default();
        let labels = [
            ("realm", realm),
            ("reason", refusal.reason.as_str()),
            ("code", &code),
        ];
        page.sample("relayd_refusals_total", &labels, refusal.count);
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            self.0.push(if i == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }
}

/// A label's value: backslash, quote and newline escaped, nothing that steers a terminal.
fn escaped(text: &str) -> String {
    shared::display_safe(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out() {
        let mut page = Page::default();
        page.sample("x", &[("a", "1\"} 9\nx{a=\"2\\")], 7);
        assert_eq!(page.0.lines().count(), 1);
        assert!(page.0.ends_with("2\\\\\"} 7\n"), "{}", page.0);
    }

    #[test]
    fn a_family_is_declared_before_its_sample() {
        let mut page = Page::default();
        page.counter("relayd_x_total", "Things.", 3);
        assert_eq!(
            page.0,
            "# HELP relayd_x_total Things.\n# TYPE relayd_x_total counter\nrelayd_x_total 3\n"
        );
    }
}
