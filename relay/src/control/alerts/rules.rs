//! The fixed set of rules, and what operators changed of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::api::{AlertRule, AlertRulePatch};

use crate::store::StoredDocument;

/// The longest time that a condition may have to hold.
const MAX_FOR_SECS: u64 = 3600;

/// A rule as it is built in.
#[derive(Debug)]
pub(in crate::control) struct Rule {
    /// Its name.
    pub name: &'static str,
    help: &'static str,
    unit: &'static str,
    warn: Option<f64>,
    crit: Option<f64>,
    for_secs: u64,
    /// The smaller its figure, the worse: `crit` is below `warn`.
    pub falls: bool,
    /// Its figure is counted over all realms: nothing for callers who are confined to some.
    pub all_realms: bool,
}

const fn rule(
    name: &'static str,
    help: &'static str,
    unit: &'static str,
    thresholds: [Option<f64>; 2],
    for_secs: u64,
) -> Rule {
    let [warn, crit] = thresholds;
    Rule {
        name,
        help,
        unit,
        warn,
        crit,
        for_secs,
        falls: false,
        all_realms: false,
    }
}

/// A rule about a figure that is the worse the smaller it is.
const fn falling(rule: Rule) -> Rule {
    Rule {
        falls: true,
        ..rule
    }
}

/// A rule about figures of all realms.
const fn over_realms(rule: Rule) -> Rule {
    Rule {
        all_realms: true,
        ..rule
    }
}

/// A node is silent.
pub(super) const NODE_SILENT: &str = "node-silent";
/// The coturn that a node speaks for does not answer.
pub(super) const COTURN_AWAY: &str = "coturn-away";
/// No node takes sessions.
pub(super) const NO_READY_NODE: &str = "no-ready-node";
/// The store is out of reach of this node.
pub(super) const STORE_AWAY: &str = "store-away";
/// A node is nearly full.
pub(super) const NODE_CAPACITY: &str = "node-capacity";
/// A realm is nearly at its limit on a node.
pub(super) const REALM_SESSIONS: &str = "realm-sessions";
/// Wrong credentials.
pub(super) const AUTH_FAILURES: &str = "auth-failures";
/// Refused by a limit of sessions.
pub(super) const QUOTA_REFUSALS: &str = "quota-refusals";
/// Refused for want of ports.
pub(super) const PORTS_EXHAUSTED: &str = "ports-exhausted";
/// Refused because a look-up failed.
pub(super) const SERVER_ERRORS: &str = "server-errors";
/// Packets dropped.
pub(super) const NODE_DROPS: &str = "node-drops";
/// Queues inside a node overflow.
pub(super) const CONTROL_OVERFLOWS: &str = "control-overflows";
/// A node does not apply the overrides of the configuration.
pub(super) const CONFIG_LAG: &str = "config-lag";
/// A node runs another version than most.
pub(super) const VERSION_SKEW: &str = "version-skew";
/// A node is drained, and nobody takes it back.
pub(super) const NODE_DRAINED: &str = "node-drained";
/// A certificate of a node comes to its end, or has.
pub(super) const CERTIFICATE_EXPIRING: &str = "certificate-expiring";

/// All rules, in the order of their weight.
pub(in crate::control) const RULES: &[Rule] = &[
    rule(
        NO_READY_NODE,
        "relays that take sessions are missing altogether: 1 while there is none",
        "count",
        [None, Some(1.0)],
        2,
    ),
    rule(
        NODE_SILENT,
        "time since the last heartbeat of a node that did not stop cleanly",
        "seconds",
        [Some(5.0), Some(15.0)],
        0,
    ),
    rule(
        COTURN_AWAY,
        "time for which the coturn that a node speaks for has not answered",
        "seconds",
        [Some(5.0), Some(30.0)],
        0,
    ),
    rule(
        STORE_AWAY,
        "time since the store is out of reach of the node that answers",
        "seconds",
        [Some(2.0), Some(10.0)],
        0,
    ),
    rule(
        NODE_CAPACITY,
        "use of the limit that binds a node: ports, descriptors or CPU",
        "percent",
        [Some(80.0), Some(95.0)],
        10,
    ),
    rule(
        REALM_SESSIONS,
        "use of the session limit of a realm on a node",
        "percent",
        [Some(90.0), Some(100.0)],
        10,
    ),
    rule(
        PORTS_EXHAUSTED,
        "requests answered 508 on a node",
        "per_sec",
        [Some(0.5), Some(10.0)],
        5,
    ),
    over_realms(rule(
        AUTH_FAILURES,
        "wrong or expired credentials on a node (401 and 441 after a user was named)",
        "per_sec",
        [Some(20.0), Some(200.0)],
        10,
    )),
    over_realms(rule(
        QUOTA_REFUSALS,
        "requests answered 486 on a node",
        "per_sec",
        [Some(5.0), Some(50.0)],
        10,
    )),
    over_realms(rule(
        SERVER_ERRORS,
        "requests answered 500 on a node, as when a user cannot be looked up",
        "per_sec",
        [Some(0.5), Some(10.0)],
        5,
    )),
    rule(
        NODE_DROPS,
        "packets that a node dropped: no permission, denied peer, rate limit",
        "per_sec",
        [Some(1000.0), Some(20_000.0)],
        10,
    ),
    rule(
        CONTROL_OVERFLOWS,
        "news of workers that were lost in a node during the last minute",
        "count",
        [Some(1.0), Some(100.0)],
        0,
    ),
    rule(
        CONFIG_LAG,
        "time that a live node does not apply the overrides of the configuration",
        "seconds",
        [Some(10.0), Some(60.0)],
        0,
    ),
    rule(
        NODE_DRAINED,
        "time since the drain of a node began: one that is forgotten takes no clients for ever",
        "seconds",
        [Some(21_600.0), Some(259_200.0)],
        0,
    ),
    rule(
        VERSION_SKEW,
        "time that a live node runs another version than most: an upgrade may take some",
        "seconds",
        [Some(1800.0), Some(86_400.0)],
        0,
    ),
    falling(rule(
        CERTIFICATE_EXPIRING,
        "what is left of the life of the certificate of a node that ends first, for clients or for \
         the admin API; 0: it has expired",
        "days",
        [Some(14.0), Some(3.0)],
        0,
    )),
];

/// What an operator made of one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::control) struct Thresholds {
    /// From here on it warns.
    #[serde(default)]
    pub warn: Option<f64>,
    /// From here on it is critical.
    #[serde(default)]
    pub crit: Option<f64>,
    /// How long it must hold.
    pub for_secs: u64,
    /// Whether it is judged.
    pub enabled: bool,
}

/// What operators changed, by rule: the body of the document.
pub(in crate::control) type Changes = BTreeMap<String, Thresholds>;

/// The changes in a document; those that are unreadable count as none.
#[must_use]
pub(in crate::control) fn changes(document: Option<&StoredDocument>) -> Changes {
    let rules = document.and_then(|document| document.body.as_object());
    let read = |(name, value): (&String, &Value)| {
        Some((name.clone(), Thresholds::deserialize(value).ok()?))
    };
    rules.into_iter().flatten().filter_map(read).collect()
}

/// The body of the document with one rule as it is in `changes`. All other rules stay as they stand
/// there, also those that this release does not know; what is no list of rules is replaced.
#[must_use]
pub(in crate::control) fn body_with(
    document: Option<&StoredDocument>,
    rule: &Rule,
    changes: &Changes,
) -> Value {
    let rules = document.and_then(|document| document.body.as_object());
    let mut rules = rules.cloned().unwrap_or_default();
    match changes.get(rule.name) {
        None => {
            rules.remove(rule.name);
        }
        Some(changed) => {
            rules.insert(rule.name.to_owned(), json!(changed));
        }
    }
    Value::Object(rules)
}

/// The rule of that name.
pub(in crate::control) fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

impl Rule {
    /// As it is built in.
    fn built_in(&self) -> Thresholds {
        Thresholds {
            warn: self.warn,
            crit: self.crit,
            for_secs: self.for_secs,
            enabled: true,
        }
    }

    /// As it is judged.
    pub(in crate::control) fn in_force(&self, changes: &Changes) -> Thresholds {
        let changed = changes.get(self.name).cloned();
        changed.unwrap_or_else(|| self.built_in())
    }

    /// As it is shown.
    pub(in crate::control) fn view(&self, changes: &Changes) -> AlertRule {
        let in_force = self.in_force(changes);
        AlertRule {
            name: self.name.to_owned(),
            help: self.help.to_owned(),
            unit: self.unit.to_owned(),
            is_default: in_force == self.built_in(),
            warn: in_force.warn,
            crit: in_force.crit,
            for_secs: in_force.for_secs,
            enabled: in_force.enabled,
        }
    }

    /// Applies a patch to the changes.
    ///
    /// # Errors
    /// Which field makes no sense, and what to write instead.
    pub(in crate::control) fn patch(
        &self,
        changes: &mut Changes,
        patch: &AlertRulePatch,
    ) -> Result<(), String> {
        let mut new = if patch.reset {
            self.built_in()
        } else {
            self.in_force(changes)
        };
        new.warn = patch.warn.unwrap_or(new.warn);
        new.crit = patch.crit.unwrap_or(new.crit);
        new.for_secs = patch.for_secs.unwrap_or(new.for_secs);
        new.enabled = patch.enabled.unwrap_or(new.enabled);
        for (field, value) in [("warn", new.warn), ("crit", new.crit)] {
            if value.is_some_and(|value| !value.is_finite() || value <= 0.0) {
                return Err(format!("{field}: write a number above 0, or null for none"));
            }
        }
        if let (Some(warn), Some(crit)) = (new.warn, new.crit) {
            let (wrong, word, most) = match self.falls {
                false => (crit < warn, "below", "at least"),
                true => (crit > warn, "above", "at most"),
            };
            if wrong {
                return Err(format!(
                    "crit: {crit} is {word} warn ({warn}); write {most} that"
                ));
            }
        }
        if new.for_secs > MAX_FOR_SECS {
            return Err(format!("for_secs: write at most {MAX_FOR_SECS}"));
        }
        if new == self.built_in() {
            changes.remove(self.name);
        } else {
            changes.insert(self.name.to_owned(), new);
        }
        Ok(())
    }
}
