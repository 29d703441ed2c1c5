//! `session kill`.

use super::*;

#[tokio::test]
async fn a_kill_names_what_ends_and_asks() {
    let api = FakeAdmin::default();
    let ran = run(&api, &["session", "kill", FIRST]).await;
    assert_eq!(ran.code, code::USAGE);
    assert!(ran.err.contains("--yes"), "{}", ran.err);
    let ran = run_asked(&api, &["n"], &["session", "kill", FIRST]).await;
    assert_eq!(ran.code, code::FAILURE);
    for word in [
        FIRST,
        "alice@web",
        "acme",
        "fra1",
        "203.0.113.1:51000",
        "--block 10m",
    ] {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
    assert!(!api.calls().iter().any(|call| call.starts_with("kill")));
    let args = [
        "session",
        "kill",
        "7f3a900000000001",
        "--block",
        "10m",
        "--reason",
        "abuse",
    ];
    let ran = run_asked(&api, &["y"], &[&args[..], &["-o", "json"]].concat()).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.json()["items"][0]["outcome"], "killed");
    assert!(ran.json()["items"][0]["blocked_until_ms"].is_u64());
    let call = format!("kill_session {FIRST} block=600 reason=abuse");
    assert!(api.calls().contains(&call), "{:?}", api.calls());
    assert_eq!(
        run(&api, &["session", "kill", FIRST, "-y"]).await.code,
        code::NOT_FOUND
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let api = FakeAdmin::default();
    for what in [&["7f3a900000000001"][..], &["--filter", "node=fra1"]] {
        let args = [&["session", "kill", "--dry-run", "-o", "json"], what].concat();
        let ran = run(&api, &args).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(ran.json()["items"][0]["outcome"], "would_kill");
    }
    assert_eq!(api.all_sessions().len(), 12);
}

#[tokio::test]
async fn a_bulk_kill_wants_the_count_typed_and_stays_below_its_bound() {
    let api = FakeAdmin::default();
    let kill = ["session", "kill", "--filter", "node=fra1"];
    let ran = run_asked(&api, &["y"], &kill).await;
    assert_eq!(ran.code, code::FAILURE);
    let ran = run(&api, &[&kill[..], &["--max", "3", "--yes"]].concat()).await;
    assert_eq!(ran.code, code::FAILURE);
    assert!(ran.err.contains("more than --max 3"), "{}", ran.err);
    assert_eq!(api.all_sessions().len(), 12);
    let ran = run_asked(&api, &["4"], &kill).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out.matches("killed").count(), 4);
    assert_eq!(api.all_sessions().len(), 8);
    assert_eq!(
        run(&api, &[&kill[..], &["--yes"]].concat()).await.code,
        code::NOT_FOUND
    );
    assert_eq!(
        run(&api, &["session", "kill", "-f", " ", "-y"]).await.code,
        code::USAGE
    );
}

#[tokio::test]
async fn a_kill_that_could_not_ask_every_node_is_partial_and_names_them() {
    let api = FakeAdmin::default();
    api.set_missing(&["ams1"]);
    let kill = ["session", "kill", "-f", "node=fra1", "-y", "-o", "json"];
    for what in ["killed", "no session matches"] {
        let ran = run(&api, &kill).await;
        assert_eq!(ran.code, code::PARTIAL, "{what}: {}", ran.err);
        assert!(ran.err.contains("ams1"), "{}", ran.err);
        assert!((ran.out + &ran.err).contains(what));
    }
}

#[tokio::test]
async fn of_several_ids_each_gets_its_result() {
    let api = FakeAdmin::default();
    let gone = "7f3a900000ffffff";
    let ran = run(
        &api,
        &["session", "kill", FIRST, gone, "--yes", "-o", "json"],
    )
    .await;
    assert_eq!(ran.code, code::PARTIAL, "{}", ran.err);
    let outcomes: Vec<_> = ran.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["killed", "not_found"]);
}
