//! Configuration, alerts, redirects, refusals, audit, history, groups.

use super::*;

#[tokio::test]
async fn settings_are_shown_compared_and_named() {
    let api = FakeAdmin::default();
    let shown = run(&api, &["config", "show", "ams1", "-o", "json"])
        .await
        .json();
    assert_eq!(
        (&shown["schema"], &shown["node"]),
        (&"config/1".into(), &"ams1".into())
    );
    assert!(shown["as_of_ms"].is_u64());
    let rows = run(&api, &["config", "show", "-f", "source=file", "-o", "id"]).await;
    assert_eq!(rows.out, "node_id\n");
    let one = run(
        &api,
        &["config", "get", "log.level", "-n", "ams1", "-o", "json"],
    )
    .await
    .json();
    assert_eq!(
        (&one["value"], &one["applies"]),
        (&"info".into(), &"live".into())
    );
    let ran = run(&api, &["config", "get", "log.levl"]).await;
    assert_eq!(ran.code, code::NOT_FOUND);
    assert!(ran.err.contains("did you mean 'log.level'"), "{}", ran.err);
    let diff = run(&api, &["config", "diff", "fra1", "ams1", "-o", "csv"]).await;
    assert_eq!(diff.out, "key,a,b\r\nnode_id,fra1,ams1\r\n");
    assert_eq!(
        run(&api, &["config", "show", "nope"]).await.code,
        code::NOT_FOUND
    );
}

#[tokio::test]
async fn an_override_is_previewed_asked_for_and_held_to_its_revision() {
    let api = FakeAdmin::default();
    let set = ["config", "set", "log.level=debug", "--all"];
    let ran = run(&api, &set).await;
    assert_eq!(ran.code, code::USAGE);
    assert!(
        ran.err.contains("fra1 log.level: info -> debug (live)"),
        "{}",
        ran.err
    );
    let ran = run(&api, &[&set[..], &["--dry-run", "-o", "json"]].concat()).await;
    assert_eq!(ran.json()["changes"][0]["new"], "debug");
    let ran = run_asked(
        &api,
        &["y"],
        &[&set[..], &["--reason", "ticket 7"]].concat(),
    )
    .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let done = "patch_config all expected=0 set={\"log.level\":\"debug\"} unset=[] dry_run=false \
                reason=ticket 7";
    assert!(api.calls().contains(&done.to_owned()), "{:?}", api.calls());
    let stale = [&set[..], &["--if-rev", "0", "-y"]].concat();
    let ran = run(&api, &stale).await;
    assert!(
        ran.code == code::FAILURE && ran.err.contains("it is revision 1 now, not 0"),
        "{}",
        ran.err
    );
    let overrides = run(&api, &["config", "overrides", "-o", "json"])
        .await
        .json();
    assert_eq!(
        (&overrides["revision"], &overrides["settings"]["log.level"]),
        (&1.into(), &"debug".into())
    );
    let ran = run(&api, &["config", "unset", "log.level", "--all", "-y"]).await;
    assert!(ran.out.contains("debug"), "{}", ran.out);
    for wrong in [
        &["config", "set", "log.levl=x", "-a"][..],
        &["config", "set", "node_id=x", "-a"],
    ] {
        assert_eq!(run(&api, wrong).await.code, code::USAGE, "{wrong:?}");
    }
    assert!(Cli::try_parse_from(["relayctl", "config", "set", "a=b"]).is_err());
}

#[tokio::test]
async fn a_log_level_is_an_override_of_its_node() {
    let api = FakeAdmin::default();
    let ran = run(&api, &["node", "log-level", "lon1", "debug", "-y"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let call = "patch_config lon1 expected=0 set={\"log.level\":\"debug\"}";
    assert!(
        api.calls().iter().any(|c| c.starts_with(call)),
        "{:?}",
        api.calls()
    );
}

#[tokio::test]
async fn alerts_and_their_thresholds() {
    let api = FakeAdmin::default();
    assert!(
        run(&api, &["alert", "list"])
            .await
            .out
            .contains("lon1 is 81% full")
    );
    let rules = run(&api, &["alert", "rules", "-o", "json"]).await.json();
    assert_eq!(
        (&rules["schema"], &rules["revision"]),
        (&"alert-rules/1".into(), &0.into())
    );
    let set = [
        "alert",
        "set",
        "node-capacity",
        "--warn",
        "70",
        "--crit",
        "none",
        "--for",
        "1m",
    ];
    let rule = run(&api, &[&set[..], &["-o", "json"]].concat())
        .await
        .json();
    assert_eq!(
        (&rule["warn"], &rule["crit"], &rule["for_secs"]),
        (&70.0.into(), &Value::Null, &60.into())
    );
    let ran = run(&api, &[&set[..], &["--if-rev", "0"]].concat()).await;
    assert!(ran.err.contains("revision 1 now, not 0"), "{}", ran.err);
    let reset = run(
        &api,
        &["alert", "set", "node-capacity", "--reset", "-o", "json"],
    )
    .await
    .json();
    assert_eq!(reset["warn"], 80.0);
    assert_eq!(
        run(&api, &["alert", "set", "node-capacity"]).await.code,
        code::USAGE
    );
    let ran = run(&api, &["alert", "set", "node-capacit", "--disable"]).await;
    assert_eq!(ran.code, code::NOT_FOUND);
    assert!(
        ran.err.contains("did you mean 'node-capacity'"),
        "{}",
        ran.err
    );
    assert!(Cli::try_parse_from(["relayctl", "alert", "set", "x", "--warn", "NaN"]).is_err());
}

#[tokio::test]
async fn redirects_come_and_go() {
    let api = FakeAdmin::default();
    let add = [
        "redirect",
        "add",
        "-t",
        "tls",
        "192.0.2.9:5349",
        "-n",
        "ams1",
        "-o",
        "json",
    ];
    let added = run(&api, &add).await.json();
    assert_eq!(
        (&added["transport"], &added["weight"]),
        (&"tls".into(), &1.into())
    );
    let id = added["id"].as_str().unwrap();
    assert_eq!(
        run(
            &api,
            &["redirect", "list", "-f", "transport=tls", "-o", "id"]
        )
        .await
        .out,
        format!("{id}\n")
    );
    assert_eq!(
        run(&api, &["redirect", "remove", id]).await.code,
        code::USAGE
    );
    let ran = run_asked(&api, &["y"], &["redirect", "rm", id]).await;
    assert!(
        ran.code == 0 && ran.err.contains("192.0.2.9:5349"),
        "{}",
        ran.err
    );
    assert_eq!(
        run(&api, &["redirect", "rm", id, "-y"]).await.code,
        code::NOT_FOUND
    );
}

#[tokio::test]
async fn refusals_are_counted_and_listed_one_by_one() {
    let api = FakeAdmin::default();
    assert!(run(&api, &["refusals"]).await.out.contains("user_quota"));
    let ran = run(
        &api,
        &["refusals", "--recent", "-f", "err=403", "-o", "json"],
    )
    .await
    .json();
    assert_eq!(
        (&ran["schema"], &ran["items"][0]["peer"]),
        (&"refusals-recent/1".into(), &"10.0.0.5".into())
    );
    assert_eq!(
        run(&api, &["refusals", "-f", "source=x"]).await.code,
        code::USAGE
    );
}

#[tokio::test]
async fn the_audit_is_filtered_and_sorted_by_the_node() {
    let api = FakeAdmin::default();
    let ran = run(
        &api,
        &[
            "audit",
            "-f",
            "action=session.kill",
            "-s",
            "time:asc",
            "-l",
            "5",
        ],
    )
    .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let call = "audit filter=action=session.kill sort=time:asc";
    assert!(api.calls().contains(&call.to_owned()), "{:?}", api.calls());
    assert_eq!(run(&api, &["audit", "-f", "who=x"]).await.code, code::USAGE);
}

#[tokio::test]
async fn groups_are_ranked_and_filtered() {
    let api = FakeAdmin::default();
    let top = [
        "session",
        "top",
        "--by",
        "node",
        "-s",
        "sessions:desc",
        "-o",
        "json",
    ];
    let groups = run(&api, &top).await.json();
    assert_eq!(groups["schema"], "groups/1");
    assert_eq!(groups["items"][0]["sessions"], 4);
    let ran = run(&api, &["session", "top", "-f", "node=fra1"]).await;
    assert!(
        ran.out.starts_with("KEY") && ran.out.contains("alice@web"),
        "{}",
        ran.out
    );
    assert_eq!(
        run(&api, &["session", "top", "-s", "age"]).await.code,
        code::USAGE
    );
    assert!(Cli::try_parse_from(["relayctl", "session", "top", "--by", "colour"]).is_err());
}

#[tokio::test]
async fn peers_of_a_session_are_ranked_by_rate() {
    let api = FakeAdmin::default();
    let id = api.all_sessions()[0].id.to_string();
    let peers = run(&api, &["session", "peers", &id, "-o", "json"])
        .await
        .json();
    assert_eq!(
        (&peers["schema"], &peers["matched"]),
        (&"peers/1".into(), &1.into())
    );
}

#[tokio::test]
async fn history_is_a_line_per_figure_or_every_sample() {
    let api = FakeAdmin::default();
    let table = run(&api, &["history", "node", "fra1", "--ascii"]).await;
    assert_eq!(table.out.lines().count(), 4, "{}", table.out);
    assert!(
        table.out.contains("sessions") && table.out.contains('#'),
        "{}",
        table.out
    );
    let json = run(&api, &["history", "realm", "acme", "-o", "json"])
        .await
        .json();
    assert_eq!(
        (&json["schema"], &json["subject"]),
        (&"history/1".into(), &"realm/acme".into())
    );
    let csv = run(&api, &["history", "user", "acme", "alice", "-o", "csv"]).await;
    assert_eq!(csv.out.lines().count(), 1 + 270, "gaps are left out");
    let session = api.all_sessions()[0].id.to_string();
    for args in [
        &["history", "cluster", "-o", "wide"][..],
        &["history", "session", &session],
    ] {
        assert_eq!(run(&api, args).await.code, 0);
    }
    api.set_missing(&["ams1"]);
    assert_eq!(run(&api, &["history", "cluster"]).await.code, code::PARTIAL);
}

#[tokio::test]
async fn a_drain_says_what_it_ends_and_is_shown_with_its_node() {
    let api = FakeAdmin::default();
    let drain = [
        "node",
        "drain",
        "fra1",
        "--deadline",
        "30m",
        "--refuse-refresh",
    ];
    let ran = run_asked(&api, &["n"], &drain).await;
    assert_ne!(ran.code, 0);
    for words in ["calls end with their lifetimes", "after 30:00 is ended"] {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    assert!(api.changes().is_empty());
    let ran = run(&api, &[&drain[..], &["--yes", "-o", "json"]].concat()).await;
    let shown = ran.json();
    assert_eq!(
        (&shown["refuse_refresh"], &shown["by"]),
        (&true.into(), &"unix:0".into())
    );
    let done = "drain_node fra1 deadline=1800 refuse_refresh=true reason=";
    assert_eq!(api.changes(), [done]);
    let node = run(&api, &["node", "show", "fra1"]).await.out;
    assert!(
        node.contains("sessions left, half gone in about 4:00"),
        "{node}"
    );
    let listed = run(&api, &["node", "list", "-f", "state=draining", "-o", "id"]).await;
    assert_eq!(listed.out, "fra1\n");
    let ran = run(&api, &["node", "undrain", "fra1"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        run(&api, &["node", "undrain", "fra1"]).await.code,
        code::NOT_FOUND
    );
}
