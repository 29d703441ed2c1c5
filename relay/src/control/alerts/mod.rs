//! Alerts: each gateway judges once per second what it knows anyway. All come to the same result;
//! the first of them by name writes the events.

mod condition;
mod figures;
pub(super) mod rules;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::api::{AlertView, EventKind, NodeRole, Severity};
use tokio::time::MissedTickBehavior;

use super::clock::Moment;
use super::hub::Hub;
use crate::store::document::ALERT_RULES;
use condition::{Condition, Reading};
use figures::{Figure, Memory, measure};
use rules::{Changes, RULES, STORE_AWAY};

/// How often conditions are judged.
const INTERVAL: Duration = Duration::from_secs(1);
/// Conditions that are remembered at most.
const MAX_CONDITIONS: usize = 20_000;

/// What this node knows about alerts.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    memory: Memory,
    conditions: BTreeMap<String, Known>,
}

/// A condition with what was last said about it.
#[derive(Debug)]
struct Known {
    condition: Condition,
    last: Figure,
    view: Option<AlertView>,
}

/// An alert that appeared, changed its severity or went.
#[derive(Debug, PartialEq)]
struct Turn {
    rule: &'static str,
    realm: Option<shared::Realm>,
    severity: Severity,
    text: String,
}

impl Alerts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The alerts that are raised, with their rules' names.
    #[must_use]
    pub(super) fn views(&self) -> Vec<AlertView> {
        let state = self.state();
        let views = state.conditions.values();
        views.filter_map(|known| known.view.clone()).collect()
    }

    /// How many alerts each rule raises, by severity.
    #[must_use]
    pub(super) fn counts(&self) -> Vec<(&'static str, Severity, u64)> {
        let views = self.views();
        let mut counts = Vec::new();
        for rule in RULES {
            for severity in [Severity::Warn, Severity::Crit] {
                let is = |view: &&AlertView| view.rule == rule.name && view.severity == severity;
                let count = views.iter().filter(is).count();
                counts.push((rule.name, severity, count as u64));
            }
        }
        counts
    }
}

impl State {
    /// Judges these figures; `known`: whether they are all there are, so that what is not among
    /// them is over.
    fn judge(
        &mut self,
        figures: Vec<Figure>,
        changes: &Changes,
        complete: bool,
        now: u64,
    ) -> Vec<Turn> {
        let mut measured = BTreeMap::new();
        for figure in figures {
            measured.insert(figure.id(), figure);
        }
        for (id, known) in &self.conditions {
            let own = known.last.rule == STORE_AWAY;
            if !measured.contains_key(id) && (complete || own) {
                let gone = Figure {
                    reading: Reading::calm(known.last.reading.falls),
                    ..known.last.clone()
                };
                measured.insert(id.clone(), gone);
            }
        }
        let mut turns = Vec::new();
        for (id, figure) in measured {
            let Some(rule) = rules::find(figure.rule) else {
                continue;
            };
            if !self.conditions.contains_key(&id) && self.conditions.len() >= MAX_CONDITIONS {
                continue;
            }
            let known = self.conditions.entry(id.clone()).or_insert_with(|| Known {
                condition: Condition::default(),
                last: figure.clone(),
                view: None,
            });
            let in_force = rule.in_force(changes);
            known.condition.step(&in_force, figure.reading, now);
            let raised = known.condition.raised(&in_force);
            let view = raised.map(|raised| AlertView {
                id: id.clone(),
                rule: figure.rule.to_owned(),
                severity: raised.severity,
                since_ms: raised.since_ms,
                value: (figure.reading.value * 10.0).round() / 10.0,
                threshold: raised.threshold,
                node: figure.node.clone(),
                realm: figure.realm.clone(),
                text: figure.text.clone(),
            });
            turns.extend(turn(&id, &figure, known.view.as_ref(), view.as_ref(), now));
            known.view = view;
            known.last = figure;
        }
        self.conditions
            .retain(|_, known| known.view.is_some() || !known.condition.is_idle());
        turns
    }
}

/// What to tell when an alert was `before` and is `after`.
fn turn(
    id: &str,
    figure: &Figure,
    before: Option<&AlertView>,
    after: Option<&AlertView>,
    now: u64,
) -> Option<Turn> {
    if before.map(|view| view.severity) == after.map(|view| view.severity) {
        return None;
    }
    let (severity, text) = match (before, after) {
        (_, Some(view)) => (view.severity, format!("{id}: {}", view.text)),
        (Some(view), None) => {
            let secs = now.saturating_sub(view.since_ms) / 1000;
            (Severity::Notice, format!("{id}: over after {secs} s"))
        }
        (None, None) => return None,
    };
    Some(Turn {
        rule: figure.rule,
        realm: figure.realm.clone(),
        severity,
        text,
    })
}

/// Whether this node is the first live gateway by name.
fn speaks(hub: &Hub) -> bool {
    let registry = hub.cluster.registry();
    let live = registry.live(Instant::now());
    let mut gateways = live.iter().filter(|(node, _)| {
        registry
            .get(node)
            .is_some_and(|view| view.roles.contains(&NodeRole::Gateway))
    });
    gateways.next().is_none_or(|(node, _)| *node == hub.node)
}

/// Judges once; tells of what turned.
fn judge(hub: &Hub) {
    let now = Moment::now().unix_ms;
    let complete = hub.health.connected();
    let changes = rules::changes(hub.documents.get(ALERT_RULES).as_deref());
    let turns = {
        let mut state = hub.alerts.state();
        let figures = measure(hub, &mut state.memory, now);
        state.judge(figures, &changes, complete, now)
    };
    if turns.is_empty() {
        return;
    }
    let speaks = speaks(hub);
    for turn in turns {
        // Only this node knows that its store is away.
        if !speaks && turn.rule != STORE_AWAY {
            continue;
        }
        let mut event = hub.new_event(EventKind::Alert, turn.severity, turn.text);
        event.realm = turn.realm;
        hub.recorder.event(event);
    }
}

/// Judges until the node stops. A relay without the gateway role has nobody to tell.
pub(super) async fn run(hub: Arc<Hub>) {
    if !hub.config().is_gateway() {
        return;
    }
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = hub.cancel.cancelled() => return,
            _ = interval.tick() => judge(&hub),
        }
    }
}
