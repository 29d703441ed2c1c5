//! Banned networks: one more, after a look at whom it hits, or one less.

use shared::api::{BanCreate, BanKind, BanResult, BanView, Page};
use shared::units::grouped;

use super::super::model::Model;
use super::super::purpose::Purpose;
use super::change::{open, reason_field};
use crate::widgets::form::{Field, Form};

/// Takes the bans in.
pub(super) fn take(model: &mut Model, page: Page<BanView>) {
    let list = &mut model.lists.bans;
    list.error = None;
    let total = page.items.len();
    list.set_rows(page.items, total, page.as_of_ms);
}

/// `N` in the list of bans.
pub(super) fn create(model: &mut Model) {
    let fields = vec![
        Field::text("net", "net", "", "as in 203.0.113.0/24"),
        Field::text("of", "of", "client", "client or peer"),
        Field::text("for", "for", "1h", "as in 10m or 7d"),
        reason_field(),
    ];
    let form = Form::new("Ban a network", "Go on (y)", fields)
        .note(
            "Sessions of clients there end, and new ones are refused. With a network of peers no data \
             passes to or from there, and calls go on with other peers. First you see whom it hits.",
        )
        .focus_first();
    open(model, form, Purpose::NewBan);
}

/// What it would hit: asks before it does.
pub(super) fn previewed(model: &mut Model, create: &BanCreate, would: &BanResult) {
    let effect = match create.kind {
        BanKind::Client => "They end, and their clients are refused on every node.",
        BanKind::Peer => "They lose their peers there, and go on with others.",
    };
    let mut form = Form::new(
        format!("Ban {} {}", create.kind.as_str(), create.net),
        "Ban (y)",
        Vec::new(),
    )
    .fact("sessions", grouped(would.sessions))
    .fact("users", grouped(would.users))
    .note(effect);
    for node in &would.missing {
        form = form.fact("not counted", format!("{}: {}", node.node, node.reason));
    }
    for node in &would.partly {
        form = form.note(format!("Not so on {}: {}.", node.node, node.reason));
    }
    let create = BanCreate {
        dry_run: false,
        // A few may have come meanwhile; many more are somebody else's question.
        expected: Some(would.sessions + would.sessions / 10 + 10),
        ..create.clone()
    };
    open(model, form, Purpose::ConfirmBan(Box::new(create)));
}

/// `Z` in the list of bans.
pub(super) fn delete(model: &mut Model) {
    let Some(ban) = model.lists.bans.selected().cloned() else {
        return;
    };
    let title = format!("Take the ban of {} {} back", ban.kind.as_str(), ban.net);
    let form = Form::new(title, "Take back (y)", vec![reason_field()])
        .fact("by", ban.by)
        .fact("reason", ban.reason);
    open(model, form, Purpose::DeleteBan(ban.id));
}

/// What was done, in words.
pub(super) fn done(create: &BanCreate, result: &BanResult) -> String {
    let (kind, net, sessions) = (create.kind.as_str(), create.net, grouped(result.sessions));
    match result.ban.stored {
        true => format!("{kind} {net} is banned: {sessions} sessions"),
        false => format!("{kind} {net} is banned on this node, elsewhere when the store is back"),
    }
}
