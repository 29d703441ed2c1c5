//! A text to read: scrolled, searched, copied. And what reasons of refusals mean.

use shared::api::explain_refusal;
use tui_input::Input;

/// A text over the view.
#[derive(Debug)]
pub(crate) struct Document {
    /// What it is.
    pub(crate) title: String,
    /// Its lines, foreign or not: the canvas cleans them.
    pub(crate) lines: Vec<String>,
    /// First shown line.
    pub(crate) top: usize,
    /// What is being typed to look for.
    pub(crate) typing: Option<Input>,
    /// What was looked for last.
    pub(crate) needle: String,
    /// The line of the match.
    pub(crate) found: Option<usize>,
}

impl Document {
    /// A text of several lines.
    pub(crate) fn new(title: impl Into<String>, text: &str) -> Self {
        Self {
            title: title.into(),
            lines: text.lines().map(str::to_owned).collect(),
            top: 0,
            typing: None,
            needle: String::new(),
            found: None,
        }
    }

    /// Scrolls by so many lines.
    pub(crate) fn scroll(&mut self, lines: isize) {
        let last = self.lines.len().saturating_sub(1);
        self.top = self.top.saturating_add_signed(lines).min(last);
    }

    /// Goes to the next line that has the needle, without regard to case, or to the one before; goes
    /// on at the other end. Whether there is any.
    pub(crate) fn find(&mut self, forward: bool) -> bool {
        let needle = self.needle.to_lowercase();
        let count = self.lines.len();
        if needle.is_empty() || count == 0 {
            return false;
        }
        let from = self.found.unwrap_or(if forward { count - 1 } else { 0 });
        let hit = (1..=count)
            .map(|step| (from + if forward { step } else { count - step }) % count)
            .find(|i| self.lines[*i].to_lowercase().contains(&needle));
        if let Some(line) = hit {
            self.found = Some(line);
            self.top = line.saturating_sub(2);
        }
        hit.is_some()
    }

    /// How many lines have the needle.
    pub(crate) fn matches(&self) -> usize {
        let needle = self.needle.to_lowercase();
        let has = |line: &&String| line.to_lowercase().contains(&needle);
        self.lines.iter().filter(has).count()
    }
}

/// What a reason means, and what to do about it.
pub(crate) fn explained(reason: &str) -> (&'static str, &'static str) {
    explain_refusal(reason).unwrap_or((
        "a reason of a newer release than this console",
        "look into its documentation",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_goes_round_in_both_directions() {
        let mut document = Document::new("t", "one\ntwo\nOne more\nthree");
        document.needle = "one".to_owned();
        let mut hits = Vec::new();
        for forward in [true, true, true, false] {
            assert!(document.find(forward));
            hits.push(document.found.unwrap());
        }
        assert_eq!(hits, [0, 2, 0, 2]);
        assert_eq!(document.matches(), 2);
        document.needle = "nothing".to_owned();
        assert!(!document.find(true));
        assert!(!Document::new("t", "").find(true));
    }
}
