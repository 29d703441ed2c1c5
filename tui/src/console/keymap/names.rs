//! The name of each action, as the configuration has it, and where the help lists it.

use super::Intent;

/// A group of actions in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Moving the cursor and scrolling.
    Move,
    /// Looking at something else, or at the same in another way.
    Look,
    /// Changing something in the cluster.
    Change,
    /// Everything that is no matter of the view.
    Global,
}

impl Group {
    /// All, in the order of the help.
    pub(crate) const ALL: [Self; 4] = [Self::Move, Self::Look, Self::Change, Self::Global];

    /// Its title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Move => "Move",
            Self::Look => "Look",
            Self::Change => "Change",
            Self::Global => "Global",
        }
    }
}

/// Names of [`Intent::Go`] in the order of the number keys.
const GO: [&str; 6] = [
    "go-pulse",
    "go-nodes",
    "go-sessions",
    "go-users",
    "go-realms",
    "go-events",
];

impl Intent {
    /// Its name in `[keys]` of the configuration. Names are a contract with operators' files.
    pub(crate) fn name(self) -> &'static str {
        self.entry().0
    }

    /// Its group in the help.
    pub(crate) fn group(self) -> Group {
        self.entry().1
    }

    fn entry(self) -> (&'static str, Group) {
        use Group as G;
        match self {
            Self::Up => ("up", G::Move),
            Self::Down => ("down", G::Move),
            Self::Top => ("top", G::Move),
            Self::End => ("end", G::Move),
            Self::HalfUp => ("half-up", G::Move),
            Self::HalfDown => ("half-down", G::Move),
            Self::PageUp => ("page-up", G::Move),
            Self::PageDown => ("page-down", G::Move),
            Self::ColumnsLeft => ("columns-left", G::Move),
            Self::ColumnsRight => ("columns-right", G::Move),
            Self::Open => ("open", G::Move),
            Self::Leave => ("leave", G::Move),
            Self::HistoryBack => ("history-back", G::Move),
            Self::HistoryForward => ("history-forward", G::Move),
            Self::LastView => ("last-view", G::Move),
            Self::Go(index) => (GO.get(usize::from(index)).unwrap_or(&"go"), G::Move),
            Self::Filter => ("filter", G::Look),
            Self::Sort => ("sort", G::Look),
            Self::SortLeft => ("sort-left", G::Look),
            Self::SortRight => ("sort-right", G::Look),
            Self::Columns => ("columns", G::Look),
            Self::Range => ("range", G::Look),
            Self::Reverse => ("reverse", G::Look),
            Self::Mark => ("mark", G::Look),
            Self::ClearMarks => ("clear-marks", G::Look),
            Self::MarkAll => ("mark-all", G::Look),
            Self::Pause => ("pause", G::Look),
            Self::Faster => ("faster", G::Look),
            Self::Slower => ("slower", G::Look),
            Self::Copy => ("copy", G::Look),
            Self::Export => ("export", G::Look),
            Self::Json => ("json", G::Look),
            Self::Preview => ("preview", G::Look),
            Self::Group => ("group", G::Look),
            Self::UserOf => ("user-of", G::Look),
            Self::NodeOf => ("node-of", G::Look),
            Self::Follow => ("follow", G::Look),
            Self::NextPanel => ("next-panel", G::Move),
            Self::LastPanel => ("last-panel", G::Move),
            Self::OnlyChanged => ("only-changed", G::Look),
            Self::Settings => ("settings", G::Look),
            Self::Explain => ("explain", G::Look),
            Self::Drain => ("drain", G::Change),
            Self::LogLevel => ("log-level", G::Change),
            Self::Verify => ("verify", G::Change),
            Self::Kill => ("kill", G::Change),
            Self::Block => ("block", G::Change),
            Self::Edit => ("edit", G::Change),
            Self::New => ("new", G::Change),
            Self::Password => ("password", G::Change),
            Self::Delete => ("delete", G::Change),
            Self::Editor => ("editor", G::Change),
            Self::Secrets => ("secrets", G::Change),
            Self::Undo => ("undo", G::Change),
            Self::Revisions => ("revisions", G::Look),
            Self::Command => ("command", G::Global),
            Self::Help => ("help", G::Global),
            Self::Quit => ("quit", G::Global),
            Self::Interrupt => ("interrupt", G::Global),
            Self::Reconnect => ("reconnect", G::Global),
            Self::Redraw => ("redraw", G::Global),
            Self::Suspend => ("suspend", G::Global),
        }
    }
}
