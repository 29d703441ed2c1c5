//! The table of options as the page for operators has it.

use std::fmt::Write as _;

use super::options::{CoturnOption, Outcome, SECTIONS};

/// The Markdown tables of `relay/COTURN.md`, one for each subject.
#[must_use]
pub fn option_table() -> String {
    let mut page = String::new();
    for (subject, options) in SECTIONS {
        let _ = write!(
            page,
            "\n### {subject}\n\n| option | outcome | what |\n|---|---|---|\n"
        );
        for option in *options {
            let (name, kind) = (name(option), option.outcome.kind());
            let _ = writeln!(page, "| {name} | {kind} | {} |", what(option.outcome));
        }
    }
    page
}

fn name(option: &CoturnOption) -> String {
    let star = if option.is_common() { " ★" } else { "" };
    match option.short {
        Some(letter) => format!("`{}` (`-{letter}`){star}", option.name),
        None => format!("`{}`{star}", option.name),
    }
}

/// Keys as code, words as they are.
fn what(outcome: Outcome) -> String {
    let Outcome::Honoured(keys) = outcome else {
        return outcome.text().to_owned();
    };
    match keys.split_once(" (") {
        Some((keys, rest)) => format!("`{keys}` ({rest}"),
        None => format!("`{keys}`"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_for_operators_has_every_option() {
        let page = include_str!("../../../COTURN.md");
        let table = super::option_table();
        assert!(
            page.contains(&table),
            "relay/COTURN.md, behind the heading of the options, should have:\n{table}"
        );
    }
}
