//! Having a node pass all sessions on to a new process.

use shared::api::{NodeState, Role};
use shared::units::grouped;

use super::super::model::Model;
use super::super::purpose::Purpose;
use super::super::theme::Tone;
use super::{change, drain};
use crate::widgets::form::Form;

/// `:upgrade`, with the name of a node, or in the list of nodes for the one under the cursor.
pub(super) fn command(model: &mut Model, name: &str) -> Result<(), String> {
    model.may(Role::Admin)?;
    let Some(node) = drain::named(model, ":upgrade", name)? else {
        return Ok(());
    };
    if let Some(heir) = &node.elder_of {
        let text = format!("{} was upgraded already: {heir} serves", node.id);
        model.say(Tone::Warn, text);
        return Ok(());
    }
    if node.state == NodeState::Gone {
        let text = format!("{} has stopped: start it instead", node.id);
        model.say(Tone::Warn, text);
        return Ok(());
    }
    if drain::refused(model, &node, "node.upgrade") {
        return Ok(());
    }
    let title = format!("Upgrade {}", node.id);
    let form = Form::new(title, "Upgrade (y)", vec![change::reason_field()])
        .fact("sessions", grouped(node.sessions))
        .fact("version", node.version.clone())
        .note("Its program is started again and takes over: no packet over UDP and TCP is lost.")
        .note(
            "TLS and DTLS clients stay with the process before, a node of its own in the list, until \
             they end.",
        );
    change::open(model, form, Purpose::Upgrade(node.id.clone()));
    Ok(())
}
