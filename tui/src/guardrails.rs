//! Guardrails: rules of the configuration file that make changes harder, or forbid them.
//!
//! ```toml
//! [[guardrails]]
//! context = "prod-*"
//! action = ["session.kill", "sessions.kill", "realm.*"]
//! min_count = 10
//! level = "type-context"
//! require_reason = true
//! max_bulk = 500
//! max_rate = 50
//! ```
//!
//! The console judges when a dialog opens, the command line before it asks. Of all rules that match
//! the strongest level, the smallest bounds and every demand hold. Actions are named as in the audit.

use std::fmt;

use serde::Deserialize;

#[cfg(test)]
mod tests;

/// What the guardrails can be about: every change that the console or the command line makes, named
/// as the nodes' audit names it. Stopping a job is none of them: nothing may stand in its way.
pub const ACTIONS: [&str; 30] = [
    "session.kill",
    "sessions.kill",
    "block.put",
    "block.delete",
    "user.put",
    "user.patch",
    "user.delete",
    "realm.put",
    "realm.delete",
    "realm.undo",
    "realm.import",
    "realm.reveal",
    "ban.create",
    "ban.delete",
    "secret.create",
    "secret.delete",
    "secret.patch",
    "oauth_key.put",
    "oauth_key.delete",
    "token.create",
    "token.delete",
    "credential.mint",
    "node.drain",
    "node.undrain",
    "node.upgrade",
    "node.forget",
    "config.set",
    "alert.rule.set",
    "redirect.create",
    "redirect.delete",
];

/// How hard a change is made, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As without the rule.
    #[default]
    None,
    /// y or n.
    Plain,
    /// The number of things concerned must be typed.
    TypeCount,
    /// The name of the context must be typed.
    TypeContext,
    /// It is not done at all.
    Deny,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    context: Patterns,
    action: Patterns,
    realm: Patterns,
    node: Patterns,
    min_count: u64,
    level: Level,
    reason: String,
    require_reason: bool,
    max_bulk: Option<u64>,
    max_rate: Option<u32>,
}

/// Names in which `*` stands for anything; none at all: every name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany")]
struct Patterns(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Patterns {
    fn from(names: OneOrMany) -> Self {
        match names {
            OneOrMany::One(name) => Self(vec![name]),
            OneOrMany::Many(names) => Self(names),
        }
    }
}

impl Patterns {
    fn matches(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| glob(pattern, name))
    }

    /// Whether any of `names` matches; what is not known is taken to match.
    fn matches_any(&self, names: &Names) -> bool {
        match names {
            _ if self.0.is_empty() => true,
            Names::Unknown => true,
            Names::These(names) => names.iter().any(|name| self.matches(name)),
        }
    }
}

/// Whether `name` is what `pattern` says, `*` being any text.
fn glob(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    (0..=name.len())
        .filter(|at| name.is_char_boundary(*at))
        .any(|at| glob(rest, &name[at..]))
}

/// Realms or nodes that a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// These; none: the change is not about any.
    These(Vec<String>),
    /// It could be any.
    Unknown,
}

impl Names {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::These(Vec::new())
    }

    /// One.
    pub fn one(name: impl fmt::Display) -> Self {
        Self::These(vec![name.to_string()])
    }

    /// Several, each once.
    pub fn all<T: fmt::Display>(names: impl IntoIterator<Item = T>) -> Self {
        let mut names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
        names.sort();
        names.dedup();
        Self::These(names)
    }
}

/// A change that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// One of [`ACTIONS`].
    pub action: &'static str,
    /// Its realms.
    pub realms: Names,
    /// Its nodes.
    pub nodes: Names,
    /// How many things it concerns.
    pub count: u64,
}

impl Deed {
    /// A change of one thing that belongs to no realm and no node.
    #[must_use]
    pub fn of_cluster(action: &'static str) -> Self {
        Self {
            action,
            realms: Names::none(),
            nodes: Names::none(),
            count: 1,
        }
    }

    /// A change of one thing of a realm, on all nodes.
    #[must_use]
    pub fn of_realm(action: &'static str, realm: &shared::Realm) -> Self {
        Self {
            realms: Names::one(realm),
            ..Self::of_cluster(action)
        }
    }

    /// A change of one node; `None`: of all.
    #[must_use]
    pub fn of_node(action: &'static str, node: Option<&shared::NodeId>) -> Self {
        Self {
            nodes: node.map_or(Names::Unknown, Names::one),
            ..Self::of_cluster(action)
        }
    }
}

/// The rules in force for one context.
#[derive(Clone, Debug, Default)]
pub struct Guardrails {
    /// The context that is worked in.
    pub context: String,
    /// The rules of the file.
    pub rules: Vec<Rule>,
}

/// What the rules say of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The strongest level.
    pub level: Level,
    /// What the rules give as their reasons, the strongest first.
    pub reasons: Vec<String>,
    /// The operator must say why.
    pub require_reason: bool,
    /// The most things at once.
    pub max_bulk: Option<u64>,
    /// The most kills per second and node.
    pub max_rate: Option<u32>,
}

impl Rule {
    /// What the console asks for in contexts with `confirm = "type"`.
    #[must_use]
    pub fn typed_endings() -> Self {
        let endings = ACTIONS
            .iter()
            .filter(|a| a.ends_with(".kill") || a.ends_with(".delete") && !a.starts_with("block."));
        Self {
            action: Patterns(endings.map(|a| (*a).to_owned()).collect()),
            level: Level::TypeContext,
            ..Self::default()
        }
    }

    /// The rule, if all that it names exists.
    ///
    /// # Errors
    /// An action that there is not: a rule that never matches would be no guardrail.
    pub fn checked(self) -> Result<Self, String> {
        let unknown = |pattern: &&String| !ACTIONS.iter().any(|action| glob(pattern, action));
        if let Some(pattern) = self.action.0.iter().find(unknown) {
            let pattern = shared::display_safe(pattern);
            return Err(match shared::filter::nearest(&pattern, ACTIONS) {
                Some(near) => {
                    format!("guardrails: there is no action '{pattern}'; did you mean '{near}'?")
                }
                None => format!(
                    "guardrails: there is no action '{pattern}'; there are: {}",
                    ACTIONS.join(", ")
                ),
            });
        }
        Ok(self)
    }

    fn matches(&self, context: &str, deed: &Deed) -> bool {
        self.context.matches(context)
            && self.action.matches(deed.action)
            && self.realm.matches_any(&deed.realms)
            && self.node.matches_any(&deed.nodes)
            && deed.count >= self.min_count
    }
}

impl Guardrails {
    /// What the rules say of `deed`.
    #[must_use]
    pub fn judge(&self, deed: &Deed) -> Verdict {
        let mut matching: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|rule| rule.matches(&self.context, deed))
            .collect();
        matching.sort_by_key(|rule| std::cmp::Reverse(rule.level));
        let reasons = matching.iter().map(|rule| rule.reason.as_str());
        Verdict {
            level: matching.first().map_or(Level::None, |rule| rule.level),
            reasons: reasons
                .filter(|r| !r.is_empty())
                .map(str::to_owned)
                .collect(),
            require_reason: matching.iter().any(|rule| rule.require_reason),
            max_bulk: matching.iter().filter_map(|rule| rule.max_bulk).min(),
            max_rate: matching.iter().filter_map(|rule| rule.max_rate).min(),
        }
    }

    /// Whether a rule looks at realms or nodes, so that it is worth to find out about them.
    #[must_use]
    pub fn look_at_places(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| !rule.realm.0.is_empty() || !rule.node.0.is_empty())
    }
}

impl Verdict {
    /// Whether `count` things may be changed at all.
    ///
    /// # Errors
    /// Why not, for the operator.
    pub fn allows(&self, count: u64) -> Result<(), String> {
        if self.level == Level::Deny {
            return Err(format!("denied by a guardrail{}", self.why()));
        }
        match self.max_bulk {
            Some(most) if count > most => Err(format!(
                "a guardrail allows {most} at once, these are {count}{}",
                self.why()
            )),
            _ => Ok(()),
        }
    }

    /// Whether so many kills per second and node may be asked for.
    ///
    /// # Errors
    /// Why not.
    pub fn allows_rate(&self, rate: u32) -> Result<(), String> {
        match self.max_rate {
            Some(most) if rate > most => Err(format!(
                "rate: a guardrail allows {most} kills per second and node"
            )),
            _ => Ok(()),
        }
    }

    /// Whether the operator said why, where a rule wants to know.
    ///
    /// # Errors
    /// What is missing.
    pub fn allows_reason(&self, reason: &str) -> Result<(), String> {
        if self.require_reason && reason.trim().is_empty() {
            return Err(format!("a guardrail wants a reason{}", self.why()));
        }
        Ok(())
    }

    /// The strongest rule's reason, behind a colon.
    fn why(&self) -> String {
        self.reasons
            .first()
            .map_or_else(String::new, |reason| format!(": {reason}"))
    }

    /// In a word or two what the rules want, for a dialog; `None`: nothing.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        let mut parts = Vec::new();
        match self.level {
            Level::None => {}
            Level::Plain => parts.push("asks".to_owned()),
            Level::TypeCount => parts.push("type the count".to_owned()),
            Level::TypeContext => parts.push("type the context".to_owned()),
            Level::Deny => parts.push("denied".to_owned()),
        }
        if self.require_reason {
            parts.push("say why".to_owned());
        }
        parts.extend(self.max_bulk.map(|most| format!("{most} at most")));
        parts.extend(self.max_rate.map(|most| format!("{most}/s at most")));
        if parts.is_empty() {
            return None;
        }
        Some(format!("guardrail: {}", parts.join(", ")))
    }
}
