//! A coturn that a node speaks for, in words: the same in the console and on the command line.

use shared::api::{BesideView, NodeView};
use shared::units::grouped;

/// What stands before the name of a node that speaks for a coturn.
pub(crate) const MARK: char = '*';

/// The server whose sessions a node has, as in `coturn 4.18.0`.
pub(crate) fn software(node: &NodeView) -> String {
    match &node.beside {
        Some(beside) => beside.software.clone(),
        None => format!("relayd {}", node.version),
    }
}

/// Sessions that it has, with a `+` where it has more than are shown.
pub(crate) fn sessions(node: &NodeView) -> String {
    let beside = node.beside.as_ref();
    let more = match beside.is_some_and(BesideView::hides_sessions) {
        true => "+",
        false => "",
    };
    format!("{}{more}", grouped(node.sessions))
}

/// Which of its sessions are not shown, and why; `None`: all are.
pub(crate) fn hidden(beside: &BesideView) -> Option<String> {
    let truncated = beside.truncated_of;
    let truncated = truncated.map(|total| format!("TRUNCATED: it has {} sessions", grouped(total)));
    let unreadable = (beside.unreadable > 0).then(|| {
        let count = grouped(beside.unreadable);
        format!("UNREADABLE: {count} of its sessions, which are not shown; report it with its `ps`")
    });
    let all: Vec<String> = truncated.into_iter().chain(unreadable).collect();
    (!all.is_empty()).then(|| all.join("   "))
}

/// Why it cannot be spoken with, or how it answers.
pub(crate) fn condition(beside: &BesideView) -> String {
    if let Some(away) = &beside.away {
        return format!("AWAY: {away}");
    }
    let answers = format!("{} answers", beside.software);
    let statsdb = beside.statsdb_away.as_ref();
    let statsdb = statsdb.map(|why| format!("statsdb away: {why}"));
    let parts = [Some(answers), hidden(beside), statsdb];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_told() {
        let mut beside = BesideView {
            software: "coturn 4.18.0".to_owned(),
            ..BesideView::default()
        };
        assert_eq!(hidden(&beside), None);
        assert_eq!(condition(&beside), "coturn 4.18.0 answers");
        beside.truncated_of = Some(7000);
        beside.unreadable = 2;
        let said = condition(&beside);
        for part in ["it has 7,000 sessions", "UNREADABLE: 2 of its"] {
            assert!(said.contains(part), "{said}");
        }
        beside.away = Some("nothing listens".to_owned());
        assert_eq!(condition(&beside), "AWAY: nothing listens");
    }
}
