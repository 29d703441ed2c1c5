//! Draining a node, and taking it back.

use shared::NodeId;
use shared::api::{NodeState, NodeView, Role};
use shared::units::grouped;

use super::super::model::{Model, Place};
use super::super::purpose::Purpose;
use super::super::theme::Tone;
use super::change;
use crate::drain;
use crate::widgets::form::{Field, Form};

/// `D`: the node under the cursor.
pub(super) fn selected(model: &mut Model) {
    if let Some(node) = model.lists.nodes.selected().cloned() {
        of_node(model, &node);
    }
}

/// `:drain` and `:undrain`, with the name of a node, or in the list of nodes for the one under the
/// cursor.
pub(super) fn command(model: &mut Model, name: &str) -> Result<(), String> {
    model.may(Role::Operator)?;
    if let Some(node) = named(model, ":drain", name)? {
        of_node(model, &node);
    }
    Ok(())
}

/// The node of that name; without one that under the cursor, in the list of nodes.
pub(super) fn named(model: &Model, command: &str, name: &str) -> Result<Option<NodeView>, String> {
    if name.is_empty() {
        if *model.place() != Place::Nodes {
            return Err(format!("{command} needs the name of a node"));
        }
        return Ok(model.lists.nodes.selected().cloned());
    }
    let id: NodeId = name.parse().map_err(|e| format!("{e}"))?;
    let mut known = model.lists.nodes.rows.iter().chain(&model.cluster);
    let node = known.find(|node| node.id == id).cloned();
    let unknown = || format!("no node {id} is known; :nodes lists them");
    node.map(Some).ok_or_else(unknown)
}

fn of_node(model: &mut Model, node: &NodeView) {
    if node.state == NodeState::Gone {
        let text = format!("{} has stopped: there is nothing to drain", node.id);
        model.say(Tone::Warn, text);
    } else if node.drain.is_some() {
        if !refused(model, node, "node.undrain") {
            end(model, node);
        }
    } else if !refused(model, node, "node.drain") {
        begin(model, node);
    }
}

/// Tells why a node that speaks for another server cannot do this, if it cannot.
pub(super) fn refused(model: &mut Model, node: &NodeView, action: &str) -> bool {
    let Some(beside) = &node.beside else {
        return false;
    };
    let Some(why) = beside.refusal(action) else {
        return false;
    };
    let form = Form::message(format!("{}: {action} is not possible", node.id))
        .fact("software", beside.software.clone())
        .note(why.to_owned());
    change::open(model, form, Purpose::Look);
    true
}

fn begin(model: &mut Model, node: &NodeView) {
    let fields = vec![
        change::reason_field(),
        Field::text("deadline", "deadline", "", "as in 30m; empty: none"),
        Field::toggle("refuse_refresh", drain::ENDS_CALLS, false),
    ];
    let differs = node
        .beside
        .as_ref()
        .and_then(|beside| beside.differs.get("node.drain"));
    let mut form = Form::new(format!("Drain {}", node.id), "Drain (y)", fields)
        .fact("sessions", grouped(node.sessions))
        .fact("state", node.state.as_str());
    if let Some(differs) = differs {
        form = form.note(differs.clone());
        return change::open(model, form, Purpose::Drain(node.id.clone()));
    }
    let form = form
        .note("It takes no new sessions, also after a restart, until it is undrained.")
        .note(
            "Sessions go on; a deadline ends what is left. \"ends calls\" refuses refreshes, so that \
             each ends with the lifetime that it has.",
        );
    change::open(model, form, Purpose::Drain(node.id.clone()));
}

fn end(model: &mut Model, node: &NodeView) {
    let Some(drain) = &node.drain else { return };
    let mut form = Form::new(
        format!("Undrain {}", node.id),
        "Undrain (y)",
        vec![change::reason_field()],
    )
    .fact("drained by", drain.by.clone())
    .fact("since", model.moment(drain.started_at_ms))
    .fact("progress", drain::progress(node, drain));
    if !drain.reason.is_empty() {
        form = form.fact("because", drain.reason.clone());
    }
    let form = form.note("It takes new sessions again.");
    change::open(model, form, Purpose::Undrain(node.id.clone()));
}
