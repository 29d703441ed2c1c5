//! The fields of checks.

use serde_json::json;

use super::Shown::{Detail, Table, Wide};
use super::Style::{Count, Percent, Text};
use super::shows::shows;
use super::{Field, Shows};
use crate::turn::check::Step;
use crate::verify::Verified;

shows!(Step, "turn-check-steps/1", |row| row.step.as_str().to_owned(), {
    "step" Table Text row.step.as_str();
    "status" Table Text row.status;
    "ms" Table Count row.ms;
    "server" Table Text row.server;
    "text" Table Text row.text;
    "remedy" Wide Text row.remedy;
});

shows!(Verified, "verify/1", |row| row.node.to_string(), {
    "node" Table Text row.node;
    "transport" Table Text row.transport;
    "verdict" Table Text row.verdict;
    "loss" Table Percent row.loss_percent;
    "rtt_min" Table Count row.rtt_min_ms;
    "rtt_avg" Table Count row.rtt_avg_ms;
    "rtt_p99" Table Count row.rtt_p99_ms;
    "uri" Table Text row.uri;
    "relay" Wide Text row.relay;
    "text" Wide Text row.text;
    "remedy" Detail Text row.remedy;
    "sent" Detail Count row.sent;
    "received" Detail Count row.received;
    "exit_code" Detail Count row.exit_code;
});
