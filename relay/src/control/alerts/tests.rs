//! Judging over time, and what is told of it.

use super::*;

fn figure(value: f64) -> Figure {
    Figure {
        rule: rules::NODE_CAPACITY,
        node: Some("fra1".parse().unwrap()),
        realm: None,
        reading: Reading {
            value,
            since_ms: None,
        },
        text: "it is full".to_owned(),
    }
}

fn feed(state: &mut State, seconds: std::ops::Range<u64>, value: Option<f64>) -> Vec<Turn> {
    let changes = Changes::new();
    let mut turns = Vec::new();
    for second in seconds {
        let figures = value.map(figure).into_iter().collect();
        turns.extend(state.judge(figures, &changes, true, second * 1000));
    }
    turns
}

#[test]
fn an_alert_is_told_when_it_appears_changes_and_goes_and_not_between() {
    let mut state = State::default();
    let turns = feed(&mut state, 0..60, Some(85.0));
    assert_eq!(turns.len(), 1);
    assert_eq!(
        (turns[0].severity, turns[0].text.as_str()),
        (Severity::Warn, "node-capacity/fra1: it is full")
    );
    let turns = feed(&mut state, 60..100, Some(99.0));
    assert_eq!((turns.len(), turns[0].severity), (1, Severity::Crit));
    // The node is gone altogether: nothing is measured any more.
    let turns = feed(&mut state, 100..120, None);
    let told: Vec<_> = turns
        .iter()
        .map(|turn| (turn.severity, turn.text.as_str()))
        .collect();
    assert_eq!(
        told,
        [(Severity::Notice, "node-capacity/fra1: over after 105 s")]
    );
    assert!(state.conditions.is_empty());
}

#[test]
fn while_the_store_is_away_nothing_is_over_that_cannot_be_seen() {
    let mut state = State::default();
    feed(&mut state, 0..20, Some(85.0));
    let turns = state.judge(Vec::new(), &Changes::new(), false, 60_000);
    assert!(turns.is_empty());
    assert!(state.conditions.values().any(|known| known.view.is_some()));
}

#[test]
fn rules_have_names_of_their_own_and_sane_defaults() {
    let none = Changes::new();
    let mut names = std::collections::BTreeSet::new();
    for rule in RULES {
        let view = rule.view(&none);
        assert!(names.insert(view.name.clone()), "{}", view.name);
        assert!(view.is_default && view.enabled && view.for_secs <= 60);
        let (warn, crit) = (view.warn.unwrap_or(0.0), view.crit.unwrap());
        assert!(warn < crit && crit > 0.0, "{}", view.name);
        assert!(["percent", "per_sec", "seconds", "count"].contains(&view.unit.as_str()));
    }
}
