//! Judging over time, and what is told of it.

use shared::api::AlertRulePatch;

use super::*;

fn figure(value: f64) -> Figure {
    Figure {
        rule: rules::NODE_CAPACITY,
        node: Some("fra1".parse().unwrap()),
        realm: None,
        reading: Reading::of(value),
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
        let (warn, crit) = match rule.falls {
            false => (view.warn.unwrap_or(0.0), view.crit.unwrap()),
            true => (view.crit.unwrap(), view.warn.unwrap()),
        };
        assert!(warn < crit && crit > 0.0, "{}", view.name);
        let units = ["percent", "per_sec", "seconds", "count", "days"];
        assert!(units.contains(&view.unit.as_str()));
    }
}

#[test]
fn a_falling_rule_wants_its_thresholds_the_other_way_round() {
    let rule = rules::find(rules::CERTIFICATE_EXPIRING).unwrap();
    let patch = |warn, crit| AlertRulePatch {
        warn: Some(Some(warn)),
        crit: Some(Some(crit)),
        ..AlertRulePatch::default()
    };
    let mut changes = Changes::new();
    let error = rule.patch(&mut changes, &patch(3.0, 14.0)).unwrap_err();
    assert!(error.contains("crit: 14 is above warn (3)"), "{error}");
    rule.patch(&mut changes, &patch(30.0, 7.0)).unwrap();
    assert_eq!(rule.in_force(&changes).warn, Some(30.0));
}

#[test]
fn a_certificate_that_is_gone_is_over() {
    let mut state = State::default();
    let changes = Changes::new();
    let expiring = Figure {
        rule: rules::CERTIFICATE_EXPIRING,
        reading: Reading {
            value: 2.5,
            ..Reading::calm(true)
        },
        ..figure(0.0)
    };
    let turns = state.judge(vec![expiring], &changes, true, 0);
    assert_eq!(turns[0].severity, Severity::Crit);
    // The node serves without one now: nothing is measured any more.
    let turns = state.judge(Vec::new(), &changes, true, 1000);
    assert_eq!(turns[0].severity, Severity::Notice);
    assert!(state.conditions.is_empty());
}
