//! What a node has left for new sessions, as its record tells.

use shared::api::NodeView;

/// From this use of what can run out on a node is full, in percent. A busy CPU is no such thing: it
/// passes, and counts in the share.
pub(super) const FULL_PERCENT: f64 = 95.0;
/// What a node has left counts in steps of this many percent.
const STEP: f64 = 12.5;
/// The label that says how large a node's share is: 1 to 1000, 1 without it.
pub(super) const WEIGHT: &str = "weight";
/// The largest weight.
const MAX_WEIGHT: u32 = 1000;

/// The use of what can run out, in percent.
#[must_use]
pub(super) fn used_percent(node: &NodeView) -> f64 {
    let capacity = &node.capacity;
    if let Some(used) = capacity.used_percent {
        return used;
    }
    // Of a version that tells the binding limit alone, which hides the others.
    let ports = 100.0 * capacity.ports_used as f64 / capacity.ports_total.max(1) as f64;
    match capacity.bound_by.as_str() {
        "cpu" => ports,
        _ => ports.max(capacity.percent),
    }
}

/// Whether it should get no new sessions.
#[must_use]
pub(super) fn is_full(node: &NodeView) -> bool {
    used_percent(node) >= FULL_PERCENT
}

/// Its share of new sessions among others: its weight times what it has left, in steps, so that a load
/// which only trembles moves nobody. 1 to 8,000.
#[must_use]
pub(super) fn share(node: &NodeView) -> u32 {
    let weight = node.labels.get(WEIGHT).and_then(|text| text.parse().ok());
    let weight: u32 = weight.unwrap_or(1).clamp(1, MAX_WEIGHT);
    let free = ((100.0 - node.capacity.percent) / STEP).ceil();
    weight * free.clamp(1.0, 100.0 / STEP) as u32
}
