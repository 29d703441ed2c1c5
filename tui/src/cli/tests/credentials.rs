//! Users, secrets, tokens.

use super::*;

#[tokio::test]
async fn passwords_come_from_people_or_pipes_and_show_nowhere() {
    let api = FakeAdmin::default();
    let add = ["user", "add", "eve", "--realm", "acme"];
    let ran = run(&api, &add).await;
    assert_eq!(ran.code, code::USAGE);
    let ran = run_asked(&api, &["hunter2", "hunter3"], &add).await;
    assert_eq!(ran.code, code::FAILURE);
    let ran = run_asked(&api, &["hunter2", "hunter2"], &add).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!format!("{}{}{:?}", ran.out, ran.err, api.calls()).contains("hunter2"));
    let ran = run_piped(&api, "hunter2", &[&add[..], &["--password-stdin"]].concat()).await;
    assert!(
        ran.code == code::FAILURE && ran.err.contains("exists"),
        "{}",
        ran.err
    );
    let passwd = [
        "user",
        "passwd",
        "eve",
        "--realm",
        "acme",
        "--password-stdin",
    ];
    assert_eq!(run_piped(&api, "other", &passwd).await.code, 0);
    assert_eq!(run_piped(&api, "", &passwd).await.code, code::USAGE);
    let unknown = [
        "user",
        "passwd",
        "nobody",
        "--realm",
        "acme",
        "--password-stdin",
    ];
    assert_eq!(run_piped(&api, "x", &unknown).await.code, code::NOT_FOUND);
    assert!(Cli::try_parse_from(["relayctl", "user", "add", "eve", "--password", "x"]).is_err());
}

#[tokio::test]
async fn users_are_edited_blocked_and_removed() {
    let api = FakeAdmin::default();
    let user = |verb| ["user", verb, "bob", "--realm", "acme"];
    let edit = [
        &user("edit")[..],
        &["--max-sessions", "3", "--disable", "-o", "json"],
    ]
    .concat();
    let edited = run(&api, &edit).await.json();
    assert_eq!(
        (&edited["limit"], &edited["disabled"]),
        (&3.into(), &true.into())
    );
    assert_eq!(run(&api, &user("edit")).await.code, code::USAGE);
    assert_eq!(
        run(&api, &[&user("block")[..], &["--for", "1h"]].concat())
            .await
            .code,
        0
    );
    assert!(
        api.calls()
            .iter()
            .any(|call| call.starts_with("put_block acme/bob 3600"))
    );
    assert!(run(&api, &["user", "blocks"]).await.out.contains("bob"));
    assert_eq!(run(&api, &user("unblock")).await.code, 0);
    assert_eq!(run(&api, &user("rm")).await.code, code::USAGE);
    assert_eq!(
        run(&api, &[&user("rm")[..], &["--yes"]].concat())
            .await
            .code,
        0
    );
    assert_eq!(run(&api, &user("show")).await.code, code::NOT_FOUND);
}

#[tokio::test]
async fn secrets_tokens_and_credentials_are_shown_once() {
    let api = FakeAdmin::default();
    let ran = run(&api, &["secret", "add", "--realm", "acme", "-o", "json"]).await;
    assert_eq!(ran.json()["value"], "generated-secret-value");
    let add = ["secret", "add", "--realm", "acme", "--value-stdin"];
    let ran = run_piped(&api, "sixteen-bytes-or-more", &add).await;
    assert!(!ran.out.contains("sixteen"), "{}", ran.out);
    let list = run(&api, &["secret", "list", "--realm", "acme"]).await.out;
    assert!(
        list.contains("2f9c01ab44de") && !list.contains("generated"),
        "{list}"
    );
    let usage = ["secret", "usage", "2f9c", "--realm", "acme", "-o", "json"];
    let usage = run(&api, &usage).await.json();
    assert_eq!(usage["items"][0]["top_users"][0]["user"], "alice");
    assert_eq!(usage["items"].as_array().unwrap().len(), 1);
    let retire = ["secret", "retire", "2f9c", "--realm", "acme", "--now"];
    let refused = run(&api, &retire).await;
    assert_ne!(refused.code, code::OK, "it has to be said: {}", refused.err);
    let retired = run(&api, &[&retire[..], &["--yes"]].concat()).await;
    assert!(retired.out.contains("retired"), "{}", retired.out);
    let rm = ["secret", "rm", "2f9c", "--realm", "acme", "--yes"];
    assert_eq!(run(&api, &rm).await.code, 0);
    assert_eq!(run(&api, &rm).await.code, code::NOT_FOUND);
    let create = [
        "token", "create", "--role", "operator", "--realm", "acme", "-o", "json",
    ];
    let token = run(&api, &create).await.json();
    assert!(token["token"].as_str().unwrap().starts_with("relayd_"));
    assert!(
        !run(&api, &["token", "list", "-o", "wide"])
            .await
            .out
            .contains("relayd_")
    );
    let minted = run(
        &api,
        &[
            "credential",
            "mint",
            "--realm",
            "acme",
            "--user",
            "w",
            "--ttl",
            "1h",
        ],
    );
    assert!(minted.await.out.contains("1767355200:w"));
}
