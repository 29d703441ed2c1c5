//! Dialogs of alert rules, redirects, audit records, and the lists that have two sides.

use std::time::Duration;

use shared::api::{AlertRules, AuditView};
use shared::filter::equals;
use shared::units::age;

use super::super::fleet_forms::{RuleEdit, threshold_text};
use super::super::model::{Dialog, Model, Place};
use super::super::purpose::Purpose;
use super::change;
use crate::widgets::form::{Field, Form};

/// `E` in the list of rules.
pub(super) fn edit_rule(model: &mut Model) {
    let revision = model.rules.as_ref().map_or(0, |rules| rules.revision);
    let Some(rule) = model.lists.rules.selected().cloned() else {
        return;
    };
    let fields = vec![
        Field::text(
            "warn",
            "warn from",
            &threshold_text(rule.warn),
            "empty: never",
        ),
        Field::text(
            "crit",
            "critical from",
            &threshold_text(rule.crit),
            "empty: never",
        ),
        Field::text(
            "for",
            "held for",
            &format!("{}s", rule.for_secs),
            "as in 30s or 5m",
        ),
        Field::toggle("enabled", "judged", rule.enabled),
        Field::toggle("reset", "built-in values", false),
        Field::text("reason", "reason", "", "kept in the audit"),
    ];
    let form = Form::new(format!("Alert rule {}", rule.name), "Apply (y)", fields)
        .fact("judges", rule.help.clone())
        .fact("unit", rule.unit.clone())
        .focus_first();
    change::open(
        model,
        form,
        Purpose::EditRule(Box::new(RuleEdit { rule, revision })),
    );
}

/// Takes in the rules: into the list, and into a form whose compare-and-set was lost.
pub(super) fn take_rules(model: &mut Model, rules: AlertRules) {
    if let Some(Dialog::Form(form, purpose)) = &mut model.dialog
        && let Purpose::EditRule(edit) = &mut **purpose
        && edit.revision != rules.revision
        && !form.busy
        && let Some(theirs) = rules.rules.iter().find(|r| r.name == edit.rule.name)
    {
        let limit = |value| match threshold_text(value) {
            text if text.is_empty() => "never".to_owned(),
            text => text,
        };
        form.error = Some(format!(
            "{} was faster: warn {}, critical {}, held for {} s, {}. y writes yours over it.",
            rules.changed_by,
            limit(theirs.warn),
            limit(theirs.crit),
            theirs.for_secs,
            if theirs.enabled {
                "judged"
            } else {
                "not judged"
            },
        ));
        edit.rule = theirs.clone();
        edit.revision = rules.revision;
    }
    model.rules = Some(rules);
    model.select_rules();
}

/// `N` in the list of redirects.
pub(super) fn new_redirect(model: &mut Model) {
    let fields = vec![
        Field::text("transport", "transport", "udp", "udp, tcp, tls, dtls"),
        Field::text("target", "target", "", "address:port"),
        Field::text("domain", "domain", "", "certificate of a TLS target"),
        Field::text("node", "node", "all", "all, or the name of one"),
        Field::text("weight", "weight", "1", "its share, 1 to 1000"),
        Field::text("note", "note", "", ""),
        Field::text("reason", "reason", "", "kept in the audit"),
    ];
    let form = Form::new("New redirect", "Add (y)", fields)
        .note("New sessions are sent there while it answers; existing ones stay.")
        .focus_first();
    change::open(model, form, Purpose::NewRedirect);
}

/// `X` in the list of redirects.
pub(super) fn remove_redirect(model: &mut Model) {
    let Some(redirect) = model.lists.redirects.selected().cloned() else {
        return;
    };
    let mut fields = vec![Field::text("reason", "reason", "", "kept in the audit")];
    if model.confirm_typed {
        fields.push(Field::typed(
            &format!("type {}", model.context),
            &model.context,
        ));
    }
    let node = redirect
        .node
        .as_ref()
        .map_or("all nodes", |node| node.as_str());
    let form = Form::new(
        format!("Remove redirect {}", redirect.id),
        "Remove (y)",
        fields,
    )
    .fact("sends", format!("{} clients of {node}", redirect.transport))
    .fact("to", redirect.target.to_string())
    .fact("weight", redirect.weight.to_string())
    .note("Clients are served by the nodes themselves again.");
    change::open(model, form, Purpose::RemoveRedirect(redirect.id));
}

/// Enter in the audit: the whole record.
pub(super) fn show_record(model: &mut Model) {
    let Some(record) = model.lists.audit.selected().cloned() else {
        return;
    };
    let ago = age(Duration::from_millis(
        model.now_ms.saturating_sub(record.at_ms),
    ));
    let AuditView {
        id,
        at_ms,
        node,
        actor,
        action,
        target,
        reason,
        result,
        ..
    } = record;
    let text = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text
        }
    };
    let form = Form::message(format!("Audit record {id}"))
        .fact("when", format!("{} ({ago} ago)", model.moment(at_ms)))
        .fact("who", actor)
        .fact("action", action)
        .fact("target", text(target))
        .fact("result", result)
        .fact("node", node.to_string())
        .note(format!("reason: {}", text(reason)));
    change::open(model, form, Purpose::Look);
}

/// Enter in the list of refusals: the session, else the sessions of who was refused.
pub(super) fn refused_whom(model: &Model) -> Option<(Place, String)> {
    let refusal = model.lists.refusals.selected()?;
    if let Some(id) = refusal.session {
        return Some((Place::Session(id), String::new()));
    }
    let filter = match (&refusal.user, &refusal.realm) {
        (Some(user), Some(realm)) => change::user_filter(realm, user),
        (Some(user), None) => equals("user", user),
        (None, _) => equals("client", &refusal.source.ip().to_string()),
    };
    Some((Place::Sessions, filter))
}

/// Enter in the counters: the latest refusals of that kind.
pub(super) fn counted_what(model: &Model) -> Option<(Place, String)> {
    let count = model.lists.refusal_counts.selected()?;
    let mut filter = equals("reason", &count.reason);
    if let Some(realm) = &count.realm {
        filter = format!("{filter} {}", equals("realm", realm.as_str()));
    }
    filter = format!("{filter} {}", equals("node", count.node.as_str()));
    Some((Place::Refusals, filter))
}

/// The other side of a view that has two lists.
pub(super) fn other_side(place: &Place) -> Option<Place> {
    match place {
        Place::Alerts => Some(Place::AlertRules),
        Place::AlertRules => Some(Place::Alerts),
        Place::Refusals => Some(Place::RefusalCounts),
        Place::RefusalCounts => Some(Place::Refusals),
        _ => None,
    }
}
