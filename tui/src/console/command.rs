//! The commands behind `:` and what Tab makes of a line.

use shared::api::GroupBy;

use super::model::{Model, Place, PromptKind};
use super::update::looks;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// A numbered view, with a filter.
    View(usize),
    /// Another view, with a filter.
    Place(Place),
    /// Sessions by group.
    Top,
    /// The settings of a node.
    Config,
    /// What differs between two nodes.
    Diff,
    /// The sessions of a node.
    Node,
    /// The sessions of a user.
    User,
    /// The sessions of a realm.
    Realm,
    /// One session.
    Session,
    /// Kill.
    Kill,
    /// Allow changes.
    ReadWrite,
    /// Forbid them.
    ReadOnly,
    /// Another theme.
    Theme,
    /// An option of the console.
    Set,
    /// Help.
    Help,
    /// Leave.
    Quit,
}

/// A command, its names (the full one first), its arguments, and what it does.
pub(crate) type Entry = (Command, &'static [&'static str], &'static str, &'static str);

/// All commands.
pub(crate) const COMMANDS: &[Entry] = &[
    (
        Command::View(0),
        &["pulse", "p"],
        "",
        "the cluster at a glance",
    ),
    (Command::View(1), &["nodes", "n"], "[filter]", "nodes"),
    (Command::View(2), &["sessions", "s"], "[filter]", "sessions"),
    (Command::View(3), &["users", "u"], "[filter]", "users"),
    (Command::View(4), &["realms", "r"], "[filter]", "realms"),
    (Command::View(5), &["events", "e"], "[filter]", "events"),
    (
        Command::Place(Place::Audit),
        &["audit"],
        "[filter]",
        "who changed what",
    ),
    (
        Command::Place(Place::Refusals),
        &["refusals", "rf"],
        "[filter]",
        "the latest refusals",
    ),
    (
        Command::Place(Place::Alerts),
        &["alerts", "al"],
        "[filter]",
        "conditions that hold",
    ),
    (
        Command::Place(Place::Redirects),
        &["redirects", "rd"],
        "[filter]",
        "where clients are sent instead",
    ),
    (
        Command::Place(Place::Contexts),
        &["contexts"],
        "",
        "contexts of the configuration file",
    ),
    (
        Command::Top,
        &["top", "group-by"],
        "user|realm|client|peer|node [filter]",
        "sessions by group",
    ),
    (Command::Config, &["config"], "[NODE]", "settings of a node"),
    (
        Command::Diff,
        &["diff"],
        "NODE NODE",
        "what differs between the settings of two nodes",
    ),
    (
        Command::Place(Place::AlertRules),
        &["alert-rules", "rules"],
        "",
        "conditions with their thresholds",
    ),
    (
        Command::Place(Place::RefusalCounts),
        &["refusal-counts", "rc"],
        "[filter]",
        "refusals since the start, by reason",
    ),
    (Command::Node, &["node"], "NODE", "sessions of a node"),
    (Command::User, &["user"], "USER", "sessions of a user"),
    (Command::Realm, &["realm"], "REALM", "sessions of a realm"),
    (Command::Session, &["session"], "ID", "one session"),
    (
        Command::Kill,
        &["kill"],
        "[ID|marked|filter]",
        "kill sessions; asks first",
    ),
    (
        Command::ReadWrite,
        &["rw"],
        "",
        "allow changes as far as the role reaches",
    ),
    (Command::ReadOnly, &["ro"], "", "forbid changes"),
    (
        Command::Theme,
        &["theme"],
        "[NAME]",
        "paint in another theme",
    ),
    (
        Command::Set,
        &["set"],
        "theme|rate|mouse|ascii VALUE",
        "an option of the console",
    ),
    (Command::Help, &["help", "h"], "", "keys and commands"),
    (Command::Quit, &["q", "quit"], "", "leave the console"),
];

/// The command called `word`.
pub(crate) fn find(word: &str) -> Option<Command> {
    COMMANDS
        .iter()
        .find(|(_, names, ..)| names.contains(&word))
        .map(|(command, ..)| command.clone())
}

/// All full names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(_, names, ..)| names[0])
}

/// Whole lines that `line` can become.
pub(crate) fn completions(model: &Model, kind: PromptKind, line: &str) -> Vec<String> {
    if kind == PromptKind::Filter {
        return filter_completions(model, line);
    }
    let Some((word, rest)) = line.split_once(' ') else {
        return names()
            .filter(|n| n.starts_with(line))
            .map(str::to_owned)
            .collect();
    };
    if find(word) == Some(Command::Set) {
        let lines = looks::completions(model, rest).into_iter();
        let fitting = lines.filter(|line| line.starts_with(rest));
        return fitting.map(|line| format!("{word} {line}")).collect();
    }
    let known: Vec<&str> = match find(word) {
        Some(Command::Node | Command::Config | Command::Diff) => {
            model.cluster.iter().map(|n| n.id.as_str()).collect()
        }
        Some(Command::Realm) => model
            .top_realms
            .iter()
            .chain(&model.lists.realms.rows)
            .map(|r| r.name.as_str())
            .collect(),
        Some(Command::User) => model
            .lists
            .users
            .rows
            .iter()
            .map(|u| u.name.as_str())
            .collect(),
        Some(Command::Theme) => model.themes.names().collect(),
        Some(Command::Kill) => vec!["marked"],
        Some(Command::Top) => GroupBy::ALL.iter().map(|by| by.as_str()).collect(),
        _ => Vec::new(),
    };
    let mut lines: Vec<String> = known
        .into_iter()
        .filter(|k| k.starts_with(rest))
        .map(|k| format!("{word} {k}"))
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

/// Completes the name of a column in the last term.
fn filter_completions(model: &Model, line: &str) -> Vec<String> {
    let Some(columns) = model.place().filter_columns() else {
        return Vec::new();
    };
    let (before, term) = line.rfind(' ').map_or(("", line), |i| line.split_at(i + 1));
    let (sign, name) = term
        .strip_prefix('!')
        .map_or(("", term), |name| ("!", name));
    columns
        .iter()
        .map(|c| c.name.trim_end_matches('*'))
        .filter(|c| c.starts_with(name) && *c != name)
        .map(|c| format!("{before}{sign}{c}"))
        .collect()
}
