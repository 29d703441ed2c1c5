//! The commands behind `:` and what Tab makes of a line.

use shared::api::GroupBy;
use shared::filter::{Column, SESSION_COLUMNS};

use super::model::{Model, Place, PromptKind};
use super::update::looks;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// A numbered view, with a filter.
    View(usize),
    /// Another view, with a filter.
    Place(Place),
    /// Another context.
    Context,
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
    /// The drain of a node.
    Drain,
    /// Upgrade a node.
    Upgrade,
    /// The self-test of nodes.
    Verify,
    /// Allow changes.
    ReadWrite,
    /// Forbid them.
    ReadOnly,
    /// Another theme.
    Theme,
    /// An option of the console.
    Set,
    /// A filter in front of all lists.
    Scope,
    /// The list into a file.
    Export,
    /// Words that stand for commands.
    Alias,
    /// Who we are and what we may.
    WhoAmI,
    /// Save the list with its filter, order and columns.
    Save,
    /// Open a saved one.
    SavedView,
    /// What helps to find out what is wrong, into a file.
    Diag,
    /// Ask again now.
    Reload,
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
        Command::Place(Place::Bans),
        &["bans"],
        "",
        "banned networks",
    ),
    (
        Command::Place(Place::Contexts),
        &["contexts"],
        "",
        "contexts of the configuration file",
    ),
    (
        Command::Context,
        &["ctx"],
        "[NAME]",
        "go to another context, or list them",
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
    (
        Command::Place(Place::OauthKeys),
        &["oauth-keys", "ok"],
        "",
        "keys of third-party authorization (RFC 7635)",
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
        Command::Drain,
        &["drain", "undrain"],
        "[NODE]",
        "have a node take no new sessions, or take them again; asks first",
    ),
    (
        Command::Upgrade,
        &["upgrade"],
        "[NODE]",
        "have a node pass all sessions on to a new process; asks first",
    ),
    (
        Command::Verify,
        &["verify"],
        "[NODE...|marked] [realm=REALM]",
        "self-test of nodes, of all that take sessions unless named; asks first",
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
        Command::Scope,
        &["scope"],
        "[filter]",
        "a filter in front of all lists; alone, none",
    ),
    (
        Command::Set,
        &["set"],
        "theme|rate|mouse|ascii VALUE",
        "an option of the console",
    ),
    (
        Command::Export,
        &["export", "export!"],
        "[FILE.csv|.json|.jsonl|stop]",
        "all that matches into a file; with ! over one that is there",
    ),
    (
        Command::Alias,
        &["alias"],
        "",
        "words that stand for commands",
    ),
    (
        Command::WhoAmI,
        &["whoami", "can-i"],
        "",
        "who the node takes us for, and what we may",
    ),
    (
        Command::Save,
        &["save"],
        "NAME",
        "save this list: filter, order, columns",
    ),
    (Command::SavedView, &["view"], "NAME", "open a saved list"),
    (
        Command::Diag,
        &["diag"],
        "",
        "the state of the console into a file",
    ),
    (Command::Reload, &["reload"], "", "ask for everything now"),
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
        let columns = model.place().filter_columns().unwrap_or_default();
        return filter_completions(columns, line);
    }
    let Some((word, rest)) = line.split_once(' ') else {
        let words = names().map(str::to_owned);
        return fuzzy(words.chain(model.aliases.keys().cloned()), line);
    };
    if find(word) == Some(Command::Set) {
        let lines = looks::completions(model, rest).into_iter();
        let fitting = lines.filter(|line| line.starts_with(rest));
        return fitting.map(|line| format!("{word} {line}")).collect();
    }
    if find(word) == Some(Command::Scope) {
        let lines = filter_completions(SESSION_COLUMNS, rest);
        return lines.iter().map(|l| format!("{word} {l}")).collect();
    }
    let known: Vec<&str> = match find(word) {
        Some(
            Command::Node | Command::Config | Command::Diff | Command::Drain | Command::Upgrade,
        ) => model.cluster.iter().map(|n| n.id.as_str()).collect(),
        Some(Command::Context) => {
            let rows = &model.lists.contexts.rows;
            rows.iter().map(|c| c.name.as_str()).collect()
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
        Some(Command::SavedView) => model.desk.views.keys().map(String::as_str).collect(),
        Some(Command::Kill) => vec!["marked"],
        Some(Command::Verify) => {
            let nodes = model.cluster.iter().map(|n| n.id.as_str());
            nodes.chain(["marked", "realm="]).collect()
        }
        Some(Command::Top) => GroupBy::ALL.iter().map(|by| by.as_str()).collect(),
        _ => Vec::new(),
    };
    let mut known: Vec<String> = known.into_iter().map(str::to_owned).collect();
    known.sort();
    known.dedup();
    let lines = fuzzy(known.into_iter(), rest);
    lines.iter().map(|k| format!("{word} {k}")).collect()
}

/// Words that begin with `typed`, then those that have its characters in this order.
fn fuzzy(words: impl Iterator<Item = String>, typed: &str) -> Vec<String> {
    let mut begin = Vec::new();
    let mut hold = Vec::new();
    for word in words {
        let mut rest = word.chars().flat_map(char::to_lowercase);
        if word.starts_with(typed) {
            begin.push(word);
        } else if typed
            .chars()
            .flat_map(char::to_lowercase)
            .all(|c| rest.any(|r| r == c))
        {
            hold.push(word);
        }
    }
    begin.extend(hold);
    begin
}

/// What would complete the line at its end, shown faintly: from the lines typed before, else from
/// what Tab would make of it.
pub(crate) fn ghost(model: &Model, kind: PromptKind, line: &str) -> Option<String> {
    if line.is_empty() {
        return None;
    }
    let known = model.desk.lines(kind).iter().rev();
    let recalled = known
        .filter_map(|l| l.strip_prefix(line))
        .find(|rest| !rest.is_empty());
    recalled.map(str::to_owned).or_else(|| {
        let found = completions(model, kind, line);
        let rest = found.first()?.strip_prefix(line)?;
        (!rest.is_empty()).then(|| rest.to_owned())
    })
}

/// Completes the name of a column in the last term.
fn filter_completions(columns: &[Column], line: &str) -> Vec<String> {
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
