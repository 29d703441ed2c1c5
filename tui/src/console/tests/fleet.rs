//! Settings, alert rules, redirects, refusals and the audit: looked at and changed.

use crossterm::event::KeyCode;
use insta::assert_snapshot;
use serde_json::json;
use shared::api::{AuditView, ConfigPatch, Role};

use super::Rig;
use crate::client::{ConfigScope, FleetApi};
use crate::console::model::{Dialog, Place};

/// On the settings of a node, with the cursor on `log.level`.
fn on_log_level() -> Rig {
    let mut rig = Rig::writable(12);
    rig.line(":config fra1");
    rig.line("/key=log.level");
    rig
}

/// Types `value` into the first field of the form and goes to the button that confirms.
fn fill_and_confirm(rig: &mut Rig, value: &str) {
    rig.ctrl('u');
    rig.keys(value);
    rig.press(KeyCode::BackTab);
    rig.keys("y");
}

fn form_title(rig: &Rig) -> String {
    match &rig.model.dialog {
        Some(Dialog::Form(form, _)) => form.title.clone(),
        _ => panic!("{}", rig.screen()),
    }
}

#[test]
fn a_setting_is_tried_out_before_it_is_applied() {
    let mut rig = on_log_level();
    rig.keys("E");
    assert_snapshot!("setting_form_80x24", rig.screen());
    fill_and_confirm(&mut rig, "debug");
    assert_snapshot!("setting_preview_80x24", rig.screen());
    let calls = rig.called("patch_config");
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(calls[0].contains("dry_run=true") && calls[0].contains("fra1 expected=0"));
    rig.press(KeyCode::Enter);
    assert_eq!(
        form_title(&rig),
        "log.level on fra1",
        "Cancel has the focus and goes back"
    );
    rig.keys("yy");
    assert!(rig.model.dialog.is_none(), "{}", rig.screen());
    let calls = rig.called("patch_config");
    assert!(calls.last().unwrap().contains("dry_run=false"), "{calls:?}");
    rig.second();
    let screen = rig.screen();
    assert!(
        screen.contains("debug") && screen.contains("node"),
        "{screen}"
    );
}

#[test]
fn an_override_is_for_all_nodes_when_one_says_so_and_can_be_removed() {
    let mut rig = on_log_level();
    rig.keys("E");
    rig.ctrl('u');
    rig.line("debug");
    rig.keys(" ");
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::BackTab);
    rig.keys("y");
    let screen = rig.screen();
    assert!(
        screen.contains("for all nodes?") && screen.contains("and 2 more"),
        "{screen}"
    );
    rig.keys("y");
    rig.second();
    assert!(rig.screen().contains("cluster"), "{}", rig.screen());
    rig.keys("E");
    rig.press(KeyCode::Tab);
    rig.keys(" ");
    rig.press(KeyCode::Tab);
    rig.keys(" ");
    rig.press(KeyCode::Tab);
    rig.press(KeyCode::Tab);
    rig.keys("yy");
    let calls = rig.called("patch_config");
    let last = calls.last().unwrap();
    assert!(
        last.contains("all expected=1") && last.contains("unset=[\"log.level\"]"),
        "{last}"
    );
    assert!(rig.model.dialog.is_none(), "{}", rig.screen());
}

#[test]
fn a_faster_change_of_a_setting_is_shown_beside_ours() {
    let mut rig = on_log_level();
    rig.keys("E");
    rig.ctrl('u');
    rig.keys("debug");
    rig.press(KeyCode::BackTab);
    rig.keys("y");
    let theirs = ConfigPatch {
        set: [("log.level".to_owned(), json!("trace"))].into(),
        ..ConfigPatch::default()
    };
    let scope = ConfigScope::Node("fra1".parse().unwrap());
    let api = std::sync::Arc::clone(&rig.api);
    rig.runtime
        .block_on(api.patch_config(&scope, 0, &theirs))
        .unwrap();
    rig.keys("y");
    let screen = rig.screen();
    assert!(
        screen.contains("theirs") && screen.contains("trace"),
        "{screen}"
    );
    assert!(screen.contains("yours 0, now 1"), "{screen}");
    rig.keys("y");
    assert_eq!(form_title(&rig), "log.level on fra1");
    rig.press(KeyCode::BackTab);
    rig.keys("yy");
    assert!(rig.model.dialog.is_none(), "{}", rig.screen());
    let calls = rig.called("patch_config");
    assert!(calls.last().unwrap().contains("expected=1"), "{calls:?}");
}

#[test]
fn a_setting_of_the_file_tells_where_to_change_it() {
    let mut rig = Rig::writable(12);
    rig.line(":config fra1");
    rig.line("/key=node_id");
    rig.keys("E");
    let screen = rig.screen();
    assert!(
        screen.contains("set node_id in the configuration file of"),
        "{screen}"
    );
    assert!(screen.contains("[ Close ]") && rig.called("patch_config").is_empty());
}

#[test]
fn who_may_not_change_a_setting_sees_it_in_full() {
    let mut rig = Rig::new(12, (80, 24));
    rig.line(":config fra1");
    rig.line("/key=log.level");
    rig.press(KeyCode::Enter);
    let screen = rig.screen();
    assert!(screen.contains("what log.level is about"), "{screen}");
    assert!(screen.contains("[ Close ]"), "{screen}");
    rig.press(KeyCode::Esc);
    rig.keys("E");
    assert!(rig.screen().contains("read-only"), "{}", rig.screen());
}

#[test]
fn a_nodes_log_level_has_a_key_of_its_own() {
    let mut rig = Rig::writable(12);
    rig.keys("2L");
    assert_eq!(form_title(&rig), "log.level on ams1");
    fill_and_confirm(&mut rig, "debug");
    rig.keys("y");
    let calls = rig.called("patch_config ams1");
    assert_eq!(calls.len(), 2, "{calls:?} {}", rig.screen());
}

#[test]
fn settings_can_be_narrowed_to_what_is_not_at_its_default() {
    let mut rig = Rig::new(12, (80, 24));
    rig.keys("2c");
    assert_eq!(*rig.model.place(), Place::Config("ams1".parse().unwrap()));
    assert_eq!(rig.model.lists.config.rows.len(), 4);
    rig.keys("d");
    assert_eq!(rig.model.lists.config.rows.len(), 1, "{}", rig.screen());
    rig.keys("d");
    assert_eq!(rig.model.lists.config.rows.len(), 4);
}

#[test]
fn two_nodes_are_compared() {
    let mut rig = Rig::new(12, (80, 24));
    rig.line(":diff fra1 lon1");
    assert_eq!(
        rig.model.lists.diff.rows.len(),
        1,
        "node_id: {}",
        rig.screen()
    );
    assert!(rig.screen().contains("lon1"), "{}", rig.screen());
    rig.line(":diff fra1 fra1");
    assert!(rig.screen().contains("are the same"), "{}", rig.screen());
    rig.line(":diff fra1");
    assert!(
        rig.screen().contains(":diff needs two nodes"),
        "{}",
        rig.screen()
    );
}

#[test]
fn an_alert_rule_is_edited_over_its_revision() {
    let mut rig = Rig::writable(12);
    rig.line(":alerts");
    rig.press(KeyCode::Tab);
    assert_eq!(*rig.model.place(), Place::AlertRules);
    rig.keys("E");
    assert_snapshot!("alert_rule_form_80x24", rig.screen());
    fill_and_confirm(&mut rig, "70");
    let calls = rig.called("patch_alert_rule");
    assert_eq!(calls.len(), 1, "{calls:?} {}", rig.screen());
    assert!(
        calls[0].contains("\"warn\":70.0") && !calls[0].contains("crit"),
        "{calls:?}"
    );
    assert!(rig.screen().contains("node-capacity *"), "{}", rig.screen());
    rig.press(KeyCode::Tab);
    assert_eq!(*rig.model.place(), Place::Alerts);
}

#[test]
fn a_faster_change_of_a_rule_is_shown_and_can_be_written_over() {
    let mut rig = Rig::writable(12);
    rig.line(":alert-rules");
    rig.keys("E");
    let api = std::sync::Arc::clone(&rig.api);
    let theirs = shared::api::AlertRulePatch {
        crit: Some(None),
        ..Default::default()
    };
    rig.runtime
        .block_on(api.patch_alert_rule("node-capacity", 0, &theirs))
        .unwrap();
    fill_and_confirm(&mut rig, "70");
    let screen = rig.screen();
    assert!(
        screen.contains("was faster: warn 80, critical never"),
        "{screen}"
    );
    rig.keys("y");
    assert!(rig.model.dialog.is_none(), "{}", rig.screen());
    assert_eq!(rig.model.rules.as_ref().unwrap().rules[0].warn, Some(70.0));
}

#[test]
fn redirects_are_added_and_removed() {
    let mut rig = Rig::writable(12);
    rig.line(":redirects");
    rig.keys("N");
    assert_snapshot!("redirect_form_80x24", rig.screen());
    rig.press(KeyCode::Tab);
    rig.line("192.0.2.7");
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::BackTab);
    rig.press(KeyCode::BackTab);
    rig.keys("y");
    assert!(
        rig.screen().contains("target: address:port"),
        "{}",
        rig.screen()
    );
    rig.press(KeyCode::Tab);
    rig.press(KeyCode::Tab);
    rig.line(":3478");
    for _ in 0..3 {
        rig.press(KeyCode::BackTab);
    }
    rig.keys("y");
    assert_eq!(rig.called("create_redirect").len(), 1, "{}", rig.screen());
    rig.second();
    rig.line("/id=00c0ffee");
    rig.keys("X");
    rig.press(KeyCode::Enter);
    assert!(
        rig.called("delete_redirect").is_empty(),
        "Cancel has the focus"
    );
    rig.keys("Xy");
    assert_eq!(
        rig.called("delete_redirect 00c0ffee").len(),
        1,
        "{}",
        rig.screen()
    );
}

#[test]
fn who_was_refused_is_one_key_away() {
    let mut rig = Rig::new(12, (80, 24));
    rig.line(":refusals");
    rig.press(KeyCode::Enter);
    assert_eq!(rig.model.lists.sessions.filter, "user=alice realm=acme");
    rig.press(KeyCode::Esc);
    rig.press(KeyCode::Tab);
    assert_eq!(*rig.model.place(), Place::RefusalCounts);
    assert!(
        rig.screen().contains("Refusals by reason"),
        "{}",
        rig.screen()
    );
    rig.press(KeyCode::Enter);
    assert_eq!(*rig.model.place(), Place::Refusals);
    let filter = &rig.model.lists.refusals.filter;
    assert!(filter.starts_with("reason="), "{filter}");
}

#[test]
fn a_reason_is_explained_from_its_row() {
    let mut rig = Rig::new(12, (80, 24));
    rig.line(":refusals reason=user_quota");
    rig.keys("m");
    let screen = rig.screen();
    assert!(screen.contains("answered with 486"), "{screen}");
    assert!(screen.contains("what to do:"), "{screen}");
    rig.press(KeyCode::Esc);
    rig.press(KeyCode::Tab);
    rig.keys("P");
    let screen = rig.screen();
    assert!(
        screen.contains("means  ") && screen.contains("do     "),
        "{screen}"
    );
    rig.keys("m");
    assert!(rig.screen().contains("what to do:"), "{}", rig.screen());
}

#[test]
fn an_audit_record_opens_in_full() {
    let mut rig = Rig::writable(12);
    rig.api.edit_audit(|records| {
        records.push(AuditView {
            id: "000001".into(),
            at_ms: rig.model.now_ms,
            node: "fra1".parse().unwrap(),
            actor: "token:ops".into(),
            action: "session.kill".into(),
            target: "7f3a900000000001".into(),
            reason: "abuse ticket 4411 ".repeat(9),
            result: "ok".into(),
        });
    });
    rig.line(":audit");
    rig.press(KeyCode::Enter);
    let screen = rig.screen();
    assert!(
        screen.contains("Audit record") && screen.contains("2026-01-01"),
        "{screen}"
    );
    rig.press(KeyCode::Enter);
    assert!(rig.model.dialog.is_none());
}

#[test]
fn an_operator_changes_no_settings() {
    let mut rig = on_log_level();
    rig.api.set_role(Role::Operator);
    rig.model.whoami = None;
    rig.second();
    rig.keys("E");
    assert!(rig.model.dialog.is_none());
    assert!(
        rig.screen().contains("this needs admin"),
        "{}",
        rig.screen()
    );
}

#[test]
fn oauth_keys_are_added_shown_once_and_deleted() {
    let mut rig = Rig::writable(12);
    rig.line(":oauth-keys");
    assert_snapshot!("oauth_keys_80x24", rig.screen());
    rig.keys("N");
    assert_snapshot!("oauth_key_form_80x24", rig.screen());
    rig.line("south");
    for _ in 0..5 {
        rig.press(KeyCode::Tab);
    }
    rig.keys("y");
    let screen = rig.screen();
    assert!(
        screen.contains("OAuth key south") && screen.contains("ZmFrZQ=="),
        "{screen}"
    );
    rig.press(KeyCode::Esc);
    rig.second();
    let screen = rig.screen();
    assert!(
        screen.contains("south") && screen.contains("never"),
        "{screen}"
    );
    assert!(!screen.contains("ZmFrZQ=="), "{screen}");
    rig.keys("gZ");
    rig.press(KeyCode::Enter);
    assert!(
        rig.called("delete_oauth_key").is_empty(),
        "Cancel has the focus"
    );
    rig.keys("Zy");
    assert_eq!(rig.called("delete_oauth_key").len(), 1, "{}", rig.screen());
}

#[test]
fn what_is_wrong_with_an_oauth_key_is_said_before_it_is_sent() {
    let mut rig = Rig::writable(12);
    rig.line(":ok");
    rig.keys("N");
    for _ in 0..6 {
        rig.press(KeyCode::Tab);
    }
    rig.keys("y");
    assert!(rig.screen().contains("kid: the name"), "{}", rig.screen());
    assert!(rig.called("put_oauth_key").is_empty());
}

#[test]
fn who_may_not_see_oauth_keys_is_told_so() {
    let mut rig = Rig::new(12, (80, 24));
    rig.api.set_role(Role::Viewer);
    rig.line(":oauth-keys");
    rig.second();
    assert!(rig.screen().contains("admin"), "{}", rig.screen());
}

#[test]
fn a_drain_is_confirmed_shown_and_taken_back() {
    let mut rig = Rig::writable(12);
    rig.line(":nodes node=lon1");
    rig.keys("D");
    assert_snapshot!("drain_form_80x24", rig.screen());
    rig.press(KeyCode::Tab);
    rig.press(KeyCode::Tab);
    rig.keys("kernel");
    rig.press(KeyCode::Tab);
    rig.keys("soon");
    rig.press(KeyCode::Tab);
    rig.press(KeyCode::Tab);
    rig.keys("y");
    let screen = rig.screen();
    assert!(screen.contains("deadline: a duration"), "{screen}");
    assert!(rig.called("drain_node").is_empty());
    rig.press(KeyCode::Esc);
    rig.keys("Dy");
    assert_eq!(rig.called("drain_node").len(), 1);
    rig.second();
    let screen = rig.screen();
    assert!(
        screen.contains("draining") && screen.contains("half gone in about 4:00"),
        "{screen}"
    );
    rig.line(":undrain");
    assert_snapshot!("undrain_form_80x24", rig.screen());
    rig.keys("y");
    assert_eq!(rig.called("undrain_node").len(), 1);
    rig.second();
    assert!(!rig.screen().contains("draining"), "{}", rig.screen());
    rig.line(":drain nowhere");
    assert!(rig.screen().contains("no node nowhere is known"));
}

#[test]
fn a_ban_is_previewed_before_it_is_set_and_can_be_taken_back() {
    let mut rig = Rig::writable(12);
    rig.line(":bans");
    rig.keys("N");
    rig.line("203.0.113.0/24");
    for _ in 0..3 {
        rig.press(KeyCode::Tab);
    }
    rig.keys("y");
    let screen = rig.screen();
    assert!(
        screen.contains("Ban client 203.0.113.0/24") && screen.contains("users"),
        "{screen}"
    );
    assert_eq!(rig.called("preview_ban").len(), 1);
    rig.press(KeyCode::Enter);
    assert!(rig.called("create_ban").is_empty(), "Cancel has the focus");
    rig.keys("N");
    rig.line("nonsense");
    for _ in 0..3 {
        rig.press(KeyCode::Tab);
    }
    rig.keys("y");
    assert!(rig.screen().contains("net: a network"), "{}", rig.screen());
    rig.press(KeyCode::Esc);
    rig.keys("gZy");
    assert_eq!(rig.called("delete_ban").len(), 1, "{}", rig.screen());
}
