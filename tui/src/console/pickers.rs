//! Small menus over a list: which columns it shows, and what to copy.

/// What can be copied of a row.
#[derive(Debug)]
pub(crate) struct CopyMenu {
    /// What it is, and the text.
    pub(crate) items: Vec<(&'static str, String)>,
    /// The chosen line.
    pub(crate) at: usize,
}

/// The columns of a list while they are chosen.
#[derive(Debug)]
pub(crate) struct ColumnPicker {
    /// Title and whether it is shown, in their order on the screen.
    pub(crate) items: Vec<(&'static str, bool)>,
    /// The chosen line.
    pub(crate) at: usize,
    /// What was in force before.
    pub(crate) before: Option<Vec<(&'static str, bool)>>,
}

impl ColumnPicker {
    /// Moves the chosen column by one place.
    pub(crate) fn shift(&mut self, down: bool) {
        let to = if down {
            (self.at + 1).min(self.items.len().saturating_sub(1))
        } else {
            self.at.saturating_sub(1)
        };
        if to != self.at {
            self.items.swap(self.at, to);
            self.at = to;
        }
    }
}
