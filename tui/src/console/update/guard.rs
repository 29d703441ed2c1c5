//! Guardrails in the console: they judge when a dialog opens, and once more when it is confirmed.

use shared::units::parse_number;

use super::super::model::{Dialog, Model};
use super::super::purpose::Purpose;
use super::super::theme::Tone;
use crate::guardrails::{Deed, Guardrails, Level, Names, Rule, Verdict};
use crate::widgets::form::{Field, Form};

/// What a dialog is about to do. `None`: nothing yet, or nothing at all.
fn deed(purpose: &Purpose) -> Option<Deed> {
    Some(match purpose {
        Purpose::KillOne(_) => Deed {
            realms: Names::Unknown,
            ..Deed::of_node("session.kill", None)
        },
        Purpose::KillMany(ids) => Deed {
            realms: Names::Unknown,
            count: ids.len() as u64,
            ..Deed::of_node("sessions.kill", None)
        },
        Purpose::Block(realm, _) => Deed::of_realm("block.put", realm),
        Purpose::Unblock(realm, _) => Deed::of_realm("block.delete", realm),
        // Its realm is typed: a rule for any realm holds.
        Purpose::NewUser => Deed {
            realms: Names::Unknown,
            ..Deed::of_cluster("user.put")
        },
        Purpose::Password(realm, _) => Deed::of_realm("user.put", realm),
        Purpose::EditUser(user) => Deed::of_realm("user.patch", &user.realm),
        Purpose::DeleteUser(realm, _) => Deed::of_realm("user.delete", realm),
        Purpose::RealmForm(base) | Purpose::RealmApply(base, ..) => match &base.name {
            Some(name) => Deed::of_realm("realm.put", name),
            None => Deed {
                realms: Names::Unknown,
                ..Deed::of_cluster("realm.put")
            },
        },
        Purpose::RealmUndo(base) => Deed::of_realm("realm.undo", &base.name),
        Purpose::ConfigForm(edit) | Purpose::ConfigApply(edit, _) => Deed {
            nodes: Names::Unknown,
            ..Deed::of_node("config.set", Some(&edit.node))
        },
        Purpose::EditRule(_) => Deed::of_cluster("alert.rule.set"),
        Purpose::NewRedirect | Purpose::RemoveRedirect(_) => Deed::of_node(
            if matches!(purpose, Purpose::NewRedirect) {
                "redirect.create"
            } else {
                "redirect.delete"
            },
            None,
        ),
        Purpose::Drain(node) => Deed::of_node("node.drain", Some(node)),
        Purpose::Undrain(node) => Deed::of_node("node.undrain", Some(node)),
        Purpose::Upgrade(node) => Deed::of_node("node.upgrade", Some(node)),
        Purpose::NewSecret(realm) => Deed::of_realm("secret.create", realm),
        Purpose::PatchSecret(realm, ..) => Deed::of_realm("secret.patch", realm),
        Purpose::DeleteSecret(realm, _) => Deed::of_realm("secret.delete", realm),
        // Its realm may be typed: a rule for any realm holds.
        Purpose::PutOauthKey => Deed {
            realms: Names::Unknown,
            ..Deed::of_cluster("oauth_key.put")
        },
        Purpose::NewBan | Purpose::ConfirmBan(_) => Deed::of_cluster("ban.create"),
        Purpose::DeleteBan(_) => Deed::of_cluster("ban.delete"),
        Purpose::DeleteOauthKey(_) => Deed::of_cluster("oauth_key.delete"),
        Purpose::Verify(nodes) => Deed {
            action: "credential.mint",
            realms: Names::Unknown,
            nodes: Names::all(nodes.iter().map(|node| &node.id)),
            count: nodes.len() as u64,
        },
        Purpose::RealmConflict(..)
        | Purpose::ConfigConflict(..)
        | Purpose::Secrets(..)
        | Purpose::SecretShown(_)
        | Purpose::Look => return None,
    })
}

/// Whether a guardrail wants a reason for a change that has none of its own accord.
pub(super) fn wants_reason(model: &Model, purpose: &Purpose) -> bool {
    deed(purpose).is_some_and(|deed| model.judge(&deed).require_reason)
}

/// Whether a dialog is the last one before the change: what must be typed is typed there.
fn is_last(purpose: &Purpose) -> bool {
    !matches!(purpose, Purpose::RealmForm(_) | Purpose::ConfigForm(_))
}

impl Model {
    /// What the guardrails say of a change, `confirm = "type"` of the context included.
    pub(super) fn judge(&self, deed: &Deed) -> Verdict {
        let verdict = self.guardrails.judge(deed);
        if !self.confirm_typed {
            return verdict;
        }
        let typed = Guardrails {
            context: self.context.clone(),
            rules: vec![Rule::typed_endings()],
        };
        Verdict {
            level: verdict.level.max(typed.judge(deed).level),
            ..verdict
        }
    }
}

/// Opens a dialog if the guardrails let its change pass.
pub(super) fn open(model: &mut Model, form: Form, purpose: Purpose) {
    match deed(&purpose) {
        Some(deed) => open_for(model, form, purpose, &deed),
        None => show(model, form, purpose),
    }
}

/// The same where more is known of the change than its dialog says.
pub(super) fn open_for(model: &mut Model, mut form: Form, purpose: Purpose, deed: &Deed) {
    let verdict = model.judge(deed);
    if let Err(why) = verdict.allows(deed.count) {
        model.say(Tone::Bad, why);
        return;
    }
    arm(model, &mut form, deed, &verdict, is_last(&purpose));
    form.verdict = verdict;
    show(model, form, purpose);
}

fn show(model: &mut Model, form: Form, purpose: Purpose) {
    model.dialog = Some(Dialog::Form(Box::new(form), Box::new(purpose)));
    model.toast = None;
    model.dirty = true;
}

/// Makes a dialog ask for what the guardrails want.
fn arm(model: &Model, form: &mut Form, deed: &Deed, verdict: &Verdict, is_last: bool) {
    let context = &model.context;
    if let Some(text) = verdict.describe() {
        form.facts.retain(|(label, _)| label != "context");
        let fact = ("context".to_owned(), format!("{context} ({text})"));
        form.facts.insert(0, fact);
        form.notes.extend(verdict.reasons.first().cloned());
    }
    if let (true, Some(field)) = (verdict.require_reason, form.field_mut("reason")) {
        field.help = "needed; kept in the audit".to_owned();
    }
    if let (Some(most), Some(field)) = (verdict.max_rate, form.field_mut("rate")) {
        let offered = parse_number(field.value()).unwrap_or(u64::MAX);
        field.set(&offered.min(most.into()).to_string());
    }
    let asks = |form: &Form, word: &str| {
        let mut fields = form.fields.iter();
        fields.any(|field| field.expect.as_deref() == Some(word))
    };
    let count = deed.count.to_string();
    if is_last && verdict.level == Level::TypeCount && !asks(form, &count) {
        form.add(Field::typed(&format!("type {count}"), &count));
    }
    if is_last && verdict.level == Level::TypeContext && !asks(form, context) {
        form.add(Field::typed(&format!("type {context}"), context));
    }
}

/// Whether what was filled in satisfies the guardrails.
pub(super) fn check(form: &Form) -> Result<(), String> {
    if form.fields.iter().any(|field| field.name == "reason") {
        form.verdict.allows_reason(form.value("reason"))?;
    }
    let rate = parse_number(form.value("rate")).and_then(|rate| u32::try_from(rate).ok());
    rate.map_or(Ok(()), |rate| form.verdict.allows_rate(rate))
}
