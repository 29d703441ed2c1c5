//! The self-test of nodes: which, how it goes, and what came of it.

use std::fmt::Write as _;

use crossterm::event::{KeyCode, KeyEvent};
use shared::api::{NodeView, Role};
use shared::units::grouped;
use shared::{NodeId, Realm, display_safe};

use super::super::message::{Effect, NodeChoice, Question};
use super::super::model::{Dialog, Model};
use super::super::purpose::Purpose;
use super::super::theme::Tone;
use super::super::verify::{CheckState, RunState, VerifyDialog, VerifyJob, VerifyNews};
use super::{answers, change, guard, pickers};
use crate::turn::check::CheckOptions;
use crate::verify::{CHECK_TTL_SECS, CHECK_USER};
use crate::widgets::form::{Field, Form};

/// Names told in the dialog.
const NAMED: usize = 6;

/// `T`: the marked nodes, else the one under the cursor.
pub(super) fn begin(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(choice) = marked(model) {
        return ask(model, choice, String::new(), effects);
    }
    if let Some(node) = model.lists.nodes.selected() {
        let choice = NodeChoice::Named(vec![node.id.clone()]);
        ask(model, choice, String::new(), effects);
    }
}

/// `:verify`, `:verify marked`, `:verify NODE...`, each with `realm=REALM`.
pub(super) fn command(
    model: &mut Model,
    words: &str,
    effects: &mut Vec<Effect>,
) -> Result<(), String> {
    model.may(Role::Mint)?;
    let mut names: Vec<NodeId> = Vec::new();
    let (mut only_marked, mut realm) = (false, String::new());
    for word in words.split_whitespace() {
        if let Some(name) = word.strip_prefix("realm=") {
            let parsed = name.parse::<Realm>().map_err(|e| format!("realm: {e}"))?;
            realm = parsed.to_string();
        } else if word == "marked" {
            only_marked = true;
        } else {
            let name: NodeId = word.parse().map_err(|e| format!("{word}: {e}"))?;
            names.push(name);
        }
    }
    let choice = match (only_marked, names.is_empty()) {
        (true, true) => marked(model).ok_or("no node is marked: space marks one in :nodes")?,
        (true, false) => return Err("either marked, or names of nodes".to_owned()),
        (false, false) => NodeChoice::Named(names),
        (false, true) => NodeChoice::Matching(model.lists.nodes.scope.clone()),
    };
    ask(model, choice, realm, effects);
    Ok(())
}

/// The marked nodes, if any are.
fn marked(model: &Model) -> Option<NodeChoice> {
    let list = &model.lists.nodes;
    if list.all {
        return Some(NodeChoice::Matching(list.whole_filter()));
    }
    let names: Vec<_> = list.marks.values().map(|node| node.id.clone()).collect();
    (!names.is_empty()).then_some(NodeChoice::Named(names))
}

fn ask(model: &mut Model, choice: NodeChoice, realm: String, effects: &mut Vec<Effect>) {
    model.say(Tone::Normal, "looking the nodes up...");
    answers::ask_for_dialog(model, Question::VerifyNodes(choice, realm), effects);
}

/// Opens the dialog with the nodes as they are now.
pub(super) fn offer(model: &mut Model, nodes: Vec<NodeView>, left_out: &[NodeView], realm: &str) {
    model.toast = None;
    if model.dialog.is_some() {
        return;
    }
    if let Err(why) = model.may(Role::Mint) {
        model.say(Tone::Warn, why);
        return;
    }
    if nodes.is_empty() {
        model.say(Tone::Warn, "there is no node that takes sessions to check");
        return;
    }
    let what = match nodes.as_slice() {
        [one] => one.id.to_string(),
        many => format!("{} nodes", grouped(many.len() as u64)),
    };
    let listeners: usize = nodes.iter().map(|node| node.urls.len()).sum();
    let packets = CheckOptions::default().packets;
    let mut fields = vec![Field::text(
        "realm",
        "realm",
        realm,
        "empty: the realm that each listener serves",
    )];
    let purpose = Purpose::Verify(nodes);
    let Purpose::Verify(nodes) = &purpose else {
        return;
    };
    if guard::wants_reason(model, &purpose) {
        fields.push(change::reason_field());
    }
    let mut form = Form::new(format!("Self-test of {what}"), "Run (y)", fields)
        .fact("nodes", names(nodes))
        .fact("listeners", grouped(listeners as u64));
    if !left_out.is_empty() {
        form = form.fact("left out", states(left_out));
    }
    let minutes = CHECK_TTL_SECS / 60;
    let form = form.note(format!(
        "Each node gets a credential for {minutes} minutes, of a user that begins with \
         {CHECK_USER}; {packets} packets go through each listener and back. The checks run from \
         here, not from the nodes: what fails may be the way between."
    ));
    guard::open(model, form, purpose);
}

/// The first of some names.
fn names(nodes: &[NodeView]) -> String {
    let told: Vec<_> = nodes.iter().take(NAMED).map(|n| n.id.as_str()).collect();
    format!("{}{}", told.join(", "), more(nodes))
}

/// The same with what state each is in.
fn states(nodes: &[NodeView]) -> String {
    let told = nodes.iter().take(NAMED);
    let told: Vec<_> = told
        .map(|node| format!("{} ({})", node.id, node.state.as_str()))
        .collect();
    format!("{}{}", told.join(", "), more(nodes))
}

fn more(nodes: &[NodeView]) -> String {
    match nodes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

/// Begins what the dialog has confirmed.
pub(super) fn start(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Form(form, purpose)) = &mut model.dialog else {
        return;
    };
    let Purpose::Verify(nodes) = &**purpose else {
        return;
    };
    let realm = match form.value("realm") {
        "" => None,
        name => match name.parse::<Realm>() {
            Ok(realm) => Some(realm),
            Err(why) => {
                form.error = Some(format!("realm: {why}"));
                return;
            }
        },
    };
    model.verify_runs += 1;
    let job = VerifyJob {
        run: model.verify_runs,
        nodes: nodes.clone(),
        realm,
    };
    let dialog = VerifyDialog::new(job.run, &job.nodes, model.now_ms);
    model.dialog = Some(Dialog::Verify(Box::new(dialog)));
    effects.push(Effect::Verify(Box::new(job)));
}

/// Takes in how it goes.
pub(super) fn news(model: &mut Model, news: VerifyNews) {
    let now_ms = model.now_ms;
    if let Some(Dialog::Verify(dialog)) = &mut model.dialog {
        dialog.take(news, now_ms);
        model.dirty = true;
    }
}

/// Whether one is shown that still runs.
pub(super) fn runs(model: &Model) -> bool {
    matches!(&model.dialog, Some(Dialog::Verify(dialog)) if dialog.runs())
}

/// Stops a run, and keeps what it has found; closes one that has ended, or does not want to.
pub(super) fn leave(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Verify(dialog)) = &mut model.dialog else {
        return;
    };
    if dialog.state == RunState::Running {
        dialog.state = RunState::Stopping;
        effects.push(Effect::StopVerify);
    } else {
        model.dialog = None;
    }
}

/// A key while one is shown.
pub(super) fn key(model: &mut Model, event: KeyEvent, effects: &mut Vec<Effect>) {
    let Some(Dialog::Verify(dialog)) = &mut model.dialog else {
        return;
    };
    match event.code {
        KeyCode::Down | KeyCode::Char('j') => dialog.move_by(1),
        KeyCode::Up | KeyCode::Char('k') => dialog.move_by(-1),
        KeyCode::PageDown => dialog.move_by(10),
        KeyCode::PageUp => dialog.move_by(-10),
        KeyCode::Home | KeyCode::Char('g') => dialog.move_by(isize::MIN),
        KeyCode::End | KeyCode::Char('G') => dialog.move_by(isize::MAX),
        KeyCode::Char('y') => {
            let text = report(dialog);
            if text.len() > pickers::COPY_MAX {
                let why =
                    "too long for the terminal's clipboard: relayctl node verify --all -o json";
                model.say(Tone::Warn, why);
            } else {
                effects.push(Effect::Copy(text));
                model.say(Tone::Normal, "copied all steps");
            }
        }
        KeyCode::Enter if dialog.runs() => {}
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => leave(model, effects),
        _ => {}
    }
}

/// All of it as text, for whoever is asked for help.
fn report(dialog: &VerifyDialog) -> String {
    let mut text = String::new();
    for row in &dialog.rows {
        let came = match &row.state {
            CheckState::Waiting => "not begun".to_owned(),
            CheckState::Running => "under way".to_owned(),
            CheckState::Stopped => "stopped".to_owned(),
            CheckState::Failed(why) => format!("FAILED {why}"),
            CheckState::Ended(verified) if verified.is_ok() => "ok".to_owned(),
            CheckState::Ended(verified) => format!("FAILED {}", verified.text),
        };
        // Strings take everything.
        let _ = writeln!(text, "{} {} {came}", row.node, row.uri);
        for step in &row.steps {
            let (status, name) = (step.status.as_str(), step.step.as_str());
            let _ = writeln!(
                text,
                "  {status:<7}{name:<11}{:>9.1} ms  {}",
                step.ms, step.text
            );
            if let Some(remedy) = &step.remedy {
                let _ = writeln!(text, "      {remedy}");
            }
        }
    }
    let safe: Vec<_> = text.lines().map(display_safe).collect();
    safe.join("\n")
}
