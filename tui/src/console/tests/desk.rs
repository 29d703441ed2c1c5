//! What operators arrange for themselves: scope, lines typed before, texts, copies, the preview.

use std::collections::BTreeMap;

use crossterm::event::KeyCode;
use insta::assert_snapshot;

use super::Rig;
use crate::console::export::ExportNews;
use crate::console::message::Message;
use crate::console::model::{Dialog, Place};

fn prompt(rig: &Rig) -> &str {
    rig.model.prompt.as_ref().unwrap().input.value()
}

#[test]
fn a_scope_narrows_every_list_until_it_is_lifted() {
    let mut rig = Rig::writable(300);
    rig.line(":scope node=fra1");
    rig.keys("3");
    let asked = rig.called("sessions").pop().unwrap();
    assert!(asked.contains("filter=node=fra1"), "{asked}");
    let screen = rig.screen();
    assert!(screen.contains("scope node=fra1"), "{screen}");
    assert!(screen.contains("of 100 match (300 total)"), "{screen}");
    rig.line("/user~a");
    let asked = rig.called("sessions").pop().unwrap();
    assert!(asked.contains("filter=node=fra1 user~a"), "{asked}");
    rig.press(KeyCode::Esc);
    // All that match are all that match in scope.
    rig.keys("aX");
    assert!(
        rig.screen().contains("Kill 100 sessions"),
        "{}",
        rig.screen()
    );
    rig.press(KeyCode::Esc);
    rig.line(":kill user~o");
    let asked = rig.called("sessions").pop().unwrap();
    assert!(asked.contains("filter=node=fra1 user~o"), "{asked}");
    assert!(rig.model.dialog.is_some(), "{}", rig.screen());
    rig.press(KeyCode::Esc);
    rig.line(":scope");
    rig.keys("A");
    assert!(rig.screen().contains("of 300"), "{}", rig.screen());
    rig.line(":scope bob");
    assert!(rig.model.prompt.as_ref().unwrap().error.is_some());
    assert_eq!(rig.model.desk.scope, "");
}

#[test]
fn lines_come_back_and_complete_each_other() {
    let mut rig = Rig::new(12, (80, 24));
    rig.line(":node fra1");
    rig.line(":realm acme");
    rig.keys(":");
    rig.press(KeyCode::Up);
    assert_eq!(prompt(&rig), "realm acme");
    rig.press(KeyCode::Up);
    rig.press(KeyCode::Up);
    assert_eq!(prompt(&rig), "node fra1");
    rig.press(KeyCode::Down);
    rig.press(KeyCode::Down);
    assert_eq!(prompt(&rig), "");
    rig.keys("re");
    assert!(rig.screen().contains(":realm acme"), "{}", rig.screen());
    rig.press(KeyCode::Right);
    assert_eq!(prompt(&rig), "realm acme");
    rig.ctrl('u');
    rig.keys("sess");
    assert!(rig.screen().contains(":sessions"), "{}", rig.screen());
    rig.ctrl('u');
    rig.keys("rdr");
    rig.press(KeyCode::Tab);
    assert_eq!(prompt(&rig), "redirects");
}

#[test]
fn an_alias_stands_for_the_beginning_of_a_command_and_hides_none() {
    let mut rig = Rig::new(12, (80, 24));
    rig.model.aliases = BTreeMap::from([
        ("fast".to_owned(), "sessions rate>1".to_owned()),
        ("nodes".to_owned(), "realms".to_owned()),
    ]);
    rig.line(":fast node=fra1");
    assert_eq!(rig.model.lists.sessions.filter, "rate>1 node=fra1");
    rig.line(":nodes");
    assert_eq!(*rig.model.place(), Place::Nodes);
    rig.line(":alias");
    assert!(rig.screen().contains(":fast"), "{}", rig.screen());
}

#[test]
fn the_refresh_rate_is_set_by_name() {
    let mut rig = Rig::new(12, (80, 24));
    rig.line(":set rate 5s");
    assert_eq!(rig.model.refresh_ms(), 5_000);
    rig.line(":set rate 3s");
    let error = rig.model.prompt.as_ref().unwrap().error.clone().unwrap();
    assert!(error.contains("1s, 2s, 5s"), "{error}");
    rig.ctrl('c');
    rig.api.edit_sessions(Vec::clear);
    rig.keys("3");
    rig.line(":reload");
    assert!(rig.model.lists.sessions.rows.is_empty());
}

#[test]
fn who_we_are_says_what_each_change_needs() {
    let mut rig = Rig::new(12, (80, 24));
    rig.api.set_role(shared::api::Role::Operator);
    rig.model.whoami = None;
    rig.second();
    rig.line(":can-i");
    let screen = rig.screen();
    assert!(screen.contains("role      operator"), "{screen}");
    assert!(screen.contains("X  operator  yes"), "{screen}");
    assert!(screen.contains("E  admin     NO"), "{screen}");
}

#[test]
fn a_row_is_read_as_json_and_searched() {
    for size in [(60, 15), (80, 24), (160, 45)] {
        let mut rig = Rig::new(12, size);
        rig.keys("3J");
        assert_snapshot!(format!("json_{}x{}", size.0, size.1), rig.screen());
    }
    let mut rig = Rig::new(12, (80, 24));
    rig.keys("3J");
    rig.line("/permissions");
    let Some(Dialog::Document(document)) = &rig.model.dialog else {
        panic!("{}", rig.screen())
    };
    let found = document.found.unwrap();
    assert!(document.lines[found].contains("permissions"));
    assert!(rig.screen().contains("lines with permissions"));
    rig.line("/no such thing");
    assert!(
        rig.screen().contains("is not in this text"),
        "{}",
        rig.screen()
    );
    rig.keys("y");
    assert!(rig.copied[0].contains("\"schema\": \"session/1\""));
    rig.keys("q");
    assert!(rig.model.dialog.is_none());
}

#[test]
fn each_list_gives_its_row_as_json() {
    for keys in [
        "2",
        "4",
        "5",
        "6",
        ":audit\n",
        ":refusals\n",
        ":alerts\n",
        ":redirects\n",
        ":config\n",
        ":top user\n",
    ] {
        let mut rig = Rig::new(30, (80, 24));
        for c in keys.chars() {
            rig.press(if c == '\n' {
                KeyCode::Enter
            } else {
                KeyCode::Char(c)
            });
        }
        rig.second();
        rig.keys("J");
        let text = match &rig.model.dialog {
            Some(Dialog::Document(document)) => document.lines.join("\n"),
            _ => {
                // A list without rows has nothing to show.
                assert!(
                    rig.screen().contains("nothing here"),
                    "{keys} {}",
                    rig.screen()
                );
                continue;
            }
        };
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value.is_object(), "{keys}");
    }
}

#[test]
fn the_copy_menu_offers_cells_a_filter_and_json() {
    for size in [(60, 15), (80, 24), (160, 45)] {
        let mut rig = Rig::new(12, size);
        rig.keys("3y");
        assert_snapshot!(format!("copy_{}x{}", size.0, size.1), rig.screen());
    }
    let mut rig = Rig::new(12, (80, 24));
    let id = |rig: &Rig| rig.model.lists.sessions.cursor.clone().unwrap();
    rig.keys("3yjjjjjy");
    assert_eq!(rig.copied, [format!("id={}", id(&rig))]);
    rig.keys("yjjjjjjj");
    rig.press(KeyCode::Enter);
    assert!(rig.copied[1].contains(&id(&rig)) && rig.copied[1].starts_with('{'));
    rig.keys("y");
    rig.press(KeyCode::Esc);
    assert_eq!(rig.copied.len(), 2);
}

#[test]
fn the_preview_opens_and_closes_at_any_size() {
    let mut rig = Rig::new(40, (80, 24));
    rig.keys("3");
    assert!(!rig.screen().contains("Selected session"));
    rig.keys("P");
    assert_snapshot!("sessions_preview_80x24", rig.screen());
    rig.keys("GP");
    assert!(!rig.screen().contains("Selected session"));
    rig.model.size = (60, 15);
    rig.keys("P");
    assert_snapshot!("sessions_preview_60x15", rig.screen());
    rig.keys("2");
    assert!(rig.screen().contains("listens"), "{}", rig.screen());
}

#[test]
fn sessions_are_grouped_by_one_thing_after_the_other() {
    let mut rig = Rig::new(40, (80, 24));
    rig.keys("3");
    rig.line("/node=fra1");
    rig.keys("t");
    assert!(
        rig.screen().contains("Sessions by user"),
        "{}",
        rig.screen()
    );
    let asked = rig.called("groups").pop().unwrap();
    assert!(asked.contains("node=fra1"), "{asked}");
    for by in ["realm", "client", "peer", "node", "user"] {
        rig.keys("t");
        assert!(
            rig.screen().contains(&format!("Sessions by {by}")),
            "{}",
            rig.screen()
        );
        assert!(!rig.model.lists.groups.rows.is_empty(), "{by}");
    }
    rig.press(KeyCode::Enter);
    assert_eq!(*rig.model.place(), Place::Sessions);
}

#[test]
fn a_list_is_exported_whole_and_never_over_a_file_by_accident() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut rig = Rig::new(2_500, (100, 24));
    rig.keys("3");
    rig.line("/node=fra1");
    for name in ["a.csv", "b.jsonl", "c.json"] {
        rig.line(&format!(":export {}", file(name)));
        let screen = rig.screen();
        assert!(screen.contains("834 rows written"), "{screen}");
    }
    let lines = |name: &str| std::fs::read_to_string(file(name)).unwrap().lines().count();
    assert_eq!((lines("a.csv"), lines("b.jsonl")), (835, 834));
    let text = std::fs::read_to_string(file("c.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["items"].as_array().unwrap().len(), 834);
    rig.line("/");
    rig.press(KeyCode::Esc);
    rig.line(&format!(":export {}", file("a.csv")));
    assert!(
        rig.screen().contains(":export! writes over it"),
        "{}",
        rig.screen()
    );
    assert_eq!(lines("a.csv"), 835);
    rig.line(&format!(":export! {}", file("a.csv")));
    assert!(rig.screen().contains("rows written"), "{}", rig.screen());
    rig.line(&format!(":export {}", file("no/such/folder.csv")));
    assert!(rig.screen().contains("not exported"), "{}", rig.screen());
    rig.line(":export x.doc");
    let error = rig.model.prompt.as_ref().unwrap().error.clone().unwrap();
    assert!(error.contains(".csv, .json or .jsonl"), "{error}");
    rig.ctrl('c');
    rig.keys("e");
    assert!(
        prompt(&rig).starts_with("export sessions-20"),
        "{}",
        prompt(&rig)
    );
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 3, "nothing half-written stays");
}

#[test]
fn an_export_that_fails_or_is_stopped_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(30, (100, 24));
    rig.keys("3");
    rig.api.set_unreachable(true);
    rig.line(&format!(
        ":export {}",
        folder.path().join("x.csv").display()
    ));
    assert!(rig.screen().contains("not exported"), "{}", rig.screen());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let (to, mut from) = tokio::sync::mpsc::channel(4);
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    let job = crate::console::export::ExportJob {
        kind: crate::console::message::Kind::Sessions,
        filter: None,
        sort: None,
        file: folder.path().join("y.csv"),
        overwrite: false,
    };
    let api = std::sync::Arc::clone(&rig.api);
    rig.api.set_unreachable(false);
    let run = crate::console::export::run(api, job, to, stop);
    rig.runtime.block_on(run);
    let news = from.try_recv();
    assert!(matches!(news, Ok(Message::Exported(ExportNews::Stopped))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    rig.line(":export stop");
    let error = rig.model.prompt.as_ref().unwrap().error.clone().unwrap();
    assert!(error.contains("no export runs"), "{error}");
}

#[test]
fn a_list_is_saved_with_its_filter_order_and_columns() {
    let mut rig = Rig::new(40, (80, 24));
    rig.keys("3");
    rig.line("/node=fra1");
    rig.keys(">w");
    rig.keys("jj ");
    rig.press(KeyCode::Enter);
    let list = &rig.model.lists.sessions;
    let (sort, columns) = (list.sort, list.columns.clone().unwrap());
    let shown = |columns: &[(&'static str, bool)]| -> Vec<&'static str> {
        columns.iter().filter(|c| c.1).map(|c| c.0).collect()
    };
    rig.line(":save mine");
    assert!(rig.screen().contains(":view opens it"), "{}", rig.screen());
    rig.line(":sessions");
    rig.keys("wro");
    rig.keys("2");
    rig.line(":view mine");
    let list = &rig.model.lists.sessions;
    assert_eq!((list.filter.as_str(), list.sort), ("node=fra1", sort));
    assert_eq!(shown(list.columns.as_ref().unwrap()), shown(&columns));
    assert!(rig.screen().contains("of 14 match"), "{}", rig.screen());
    rig.line(":view mien");
    let error = rig.model.prompt.as_ref().unwrap().error.clone().unwrap();
    assert!(error.contains("did you mean mine?"), "{error}");
    rig.ctrl('c');
    rig.line(":save ../x");
    assert!(rig.model.prompt.as_ref().unwrap().error.is_some());
    rig.press(KeyCode::Esc);
    rig.line(":diag");
    assert!(rig.screen().contains("written to"), "{}", rig.screen());
}
