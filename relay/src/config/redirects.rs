//! `[redirects]`: when a node sends new clients to the others, and how it finds out whether the servers that
//! operators name serve.

use std::time::Duration;

use serde_json::{Value, json};

use super::source::Reader;
use super::view::duration;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedirectConfig {
    /// When new clients are sent to other nodes, where no redirect of an operator says more.
    pub to_nodes: ToNodes,
    /// The labels that such a node has to have in common with this one; `None`: all but `weight`.
    pub same_labels: Option<Vec<String>>,
    /// How targets are watched.
    pub probes: RedirectProbes,
}

/// When a node sends new clients to other nodes of the cluster by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToNodes {
    /// Never.
    Never,
    /// While it is drained.
    Drained,
    /// While it is drained, and while it is full.
    #[default]
    Full,
}

impl ToNodes {
    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Drained => "drained",
            Self::Full => "full",
        }
    }
}

/// How targets of UDP redirects are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectProbes {
    /// How often a target is asked whose state is settled, 1 s to 1 h.
    pub interval: Duration,
    /// How long one sending waits for its answer, 50 ms to 5 s.
    pub timeout: Duration,
    /// Answers missed in a row until a target is down, 1 to 100.
    pub misses: u8,
}

impl Default for RedirectProbes {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(400),
            misses: 3,
        }
    }
}

pub(super) fn resolve(reader: &mut Reader<'_>) -> RedirectConfig {
    RedirectConfig {
        to_nodes: to_nodes(reader),
        same_labels: reader
            .list("redirects.same_labels")
            .is_some()
            .then(|| reader.parsed_list("redirects.same_labels", "a label's name")),
        probes: probes(reader),
    }
}

fn to_nodes(reader: &mut Reader<'_>) -> ToNodes {
    let Some((text, origin)) = reader.text("redirects.to_nodes") else {
        return ToNodes::default();
    };
    let all = [ToNodes::Never, ToNodes::Drained, ToNodes::Full];
    let found = all.into_iter().find(|one| one.as_str() == text);
    found.unwrap_or_else(|| {
        let problem = format!("{:?} is no time to redirect", shared::display_safe(&text));
        let remedy = "write \"drained\", \"full\" (drained or full), or \"never\"";
        reader.error(&origin, "redirects.to_nodes", problem, remedy);
        ToNodes::default()
    })
}

fn probes(reader: &mut Reader<'_>) -> RedirectProbes {
    let default = RedirectProbes::default();
    let interval = reader.duration("redirects.probe_interval", 1..=3600);
    let timeout = reader.integer("redirects.probe_timeout_ms", 50..=5000);
    let timeout = timeout.and_then(|ms| u64::try_from(ms).ok());
    let misses = reader.integer("redirects.probe_misses", 1..=100);
    let misses = misses.and_then(|number| u8::try_from(number).ok());
    RedirectProbes {
        interval: interval.unwrap_or(default.interval),
        timeout: timeout.map_or(default.timeout, Duration::from_millis),
        misses: misses.unwrap_or(default.misses),
    }
}

/// The value of a setting, in one spelling however it was written.
pub(super) fn value_of(redirects: &RedirectConfig, key: &str) -> Value {
    let probes = &redirects.probes;
    match key {
        "to_nodes" => json!(redirects.to_nodes.as_str()),
        "same_labels" => json!(redirects.same_labels),
        "probe_interval" => duration(probes.interval),
        "probe_timeout_ms" => json!(probes.timeout.as_millis() as u64),
        "probe_misses" => json!(probes.misses),
        _ => Value::Null,
    }
}
