//! Lists in every format.

use super::*;

#[tokio::test]
async fn tables_are_as_pinned() {
    let api = FakeAdmin::default();
    let ran = run(
        &api,
        &["session", "list", "--sort", "id:asc", "--limit", "3"],
    )
    .await;
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!("session_table", ran.out);
    assert_eq!(ran.err, "3 of 12 shown; --all shows the rest\n");
    insta::assert_snapshot!(
        "node_wide",
        run(&api, &["node", "list", "-o", "wide"]).await.out
    );
    insta::assert_snapshot!(
        "user_csv",
        run(&api, &["user", "list", "-o", "csv"]).await.out
    );
    insta::assert_snapshot!("overview", run(&api, &["overview"]).await.out);
}

#[tokio::test]
async fn json_is_an_envelope_with_schema_and_time() {
    let api = FakeAdmin::default();
    let page = run(&api, &["session", "list", "-o", "json", "--limit", "5"])
        .await
        .json();
    assert_eq!(page["schema"], "sessions/1");
    assert!(page["as_of_ms"].is_u64());
    assert_eq!(page["items"].as_array().unwrap().len(), 5);
    assert_eq!((&page["matched"], &page["total"]), (&12.into(), &12.into()));
    assert_eq!(page["next"], "5");
    let none = run(
        &api,
        &["session", "list", "-o", "json", "--filter", "user=nobody"],
    )
    .await;
    assert_eq!(none.json()["items"], serde_json::json!([]));
    let one = run(&api, &["node", "show", "fra1", "-o", "json"])
        .await
        .json();
    assert_eq!(
        (&one["schema"], &one["id"]),
        (&"node/1".into(), &"fra1".into())
    );
    let session = run(&api, &["session", "show", FIRST, "-o", "json"])
        .await
        .json();
    assert_eq!(
        (&session["schema"], &session["id"]),
        (&"session/1".into(), &FIRST.into())
    );
}

#[tokio::test]
async fn all_walks_the_pages_in_an_order_that_stands_still() {
    let api = FakeAdmin::with_sessions(2345);
    for format in ["json", "jsonl", "csv", "id", "table"] {
        api.clear_calls();
        let ran = run(&api, &["session", "list", "--all", "-o", format]).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(api.calls().len(), 3);
        assert!(api.calls().iter().all(|call| call.contains("sort=id:asc")));
        let rows = match format {
            "json" => ran.json()["items"].as_array().unwrap().len(),
            "csv" | "table" => ran.out.lines().count() - 1,
            _ => ran.out.lines().count(),
        };
        assert_eq!(rows, 2345, "{format}");
    }
}

#[tokio::test]
async fn fields_choose_and_order_columns_in_every_format() {
    let api = FakeAdmin::default();
    let list = ["session", "list", "--fields", "user,id", "--limit", "1"];
    let with = |format| [&list[..], &["-o", format]].concat();
    assert_eq!(
        run(&api, &with("csv")).await.out,
        format!("user,id\r\nalice@web,{FIRST}\r\n")
    );
    let line: Value = serde_json::from_str(&run(&api, &with("jsonl")).await.out).unwrap();
    assert_eq!(line, serde_json::json!({"user": "alice@web", "id": FIRST}));
    let ran = run(&api, &["session", "list", "--fields", "usr"]).await;
    assert_eq!(ran.code, code::USAGE);
    assert!(ran.err.contains("did you mean 'user'"), "{}", ran.err);
}

#[tokio::test]
async fn hostile_names_reach_no_terminal() {
    let api = FakeAdmin::default();
    let hostile = "a\u{1b}]0;x\u{7},\"b\"\r\n\u{202e}";
    api.edit_sessions(|sessions| sessions[0].user = hostile.into());
    for format in ["table", "wide", "csv", "id"] {
        let ran = run(&api, &["session", "list", "-o", format, "--limit", "1"]).await;
        let text = ran.out.replace(['\r', '\n'], "");
        assert!(
            !text.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{:?}",
            ran.out
        );
        assert!(ran.out.lines().count() <= 2, "{:?}", ran.out);
    }
    let ran = run(&api, &["session", "list", "-o", "json", "--limit", "1"]).await;
    assert!(!ran.out.contains('\u{1b}'));
    assert_eq!(ran.json()["items"][0]["user"], hostile);
    let ran = run_asked(&api, &["n"], &["session", "kill", FIRST]).await;
    assert!(!ran.err.contains('\u{1b}'), "{:?}", ran.err);
}

#[tokio::test]
async fn events_are_filtered_and_the_tail_survives_lost_streams() {
    let api = FakeAdmin::default();
    let ran = run(
        &api,
        &["event", "list", "-f", "severity=warn", "-o", "json"],
    )
    .await
    .json();
    assert_eq!(ran["matched"], 1);
    let ran = run(&api, &["event", "tail", "--count", "2", "-o", "json"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out.lines().count(), 2);
    let first: Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert_eq!(first["id"], "000001");
    assert_eq!(
        run(&api, &["event", "list", "-f", "sev=warn"]).await.code,
        code::USAGE
    );
}

#[tokio::test]
async fn everything_else_answers_too() {
    let api = FakeAdmin::default();
    for args in [
        &["whoami"][..],
        &["check"],
        &["refusals"],
        &["audit"],
        &["job", "list"],
        &["realm", "list"],
        &["realm", "show", "acme"],
        &["node", "forget", "lon1", "--yes"],
        &["snapshot", "sessions", "--size", "100x20"],
    ] {
        let ran = run(&api, args).await;
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        assert!(!ran.out.is_empty() || args[1] == "forget", "{args:?}");
    }
    assert!(run(&api, &["check", "-o", "json"]).await.json()["answer_ms"].is_number());
}
