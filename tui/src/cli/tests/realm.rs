//! `realm`.

use super::*;

#[tokio::test]
async fn realm_set_shows_the_change_and_holds_to_the_revision() {
    let api = FakeAdmin::default();
    let set = [
        "realm",
        "set",
        "acme",
        "max_sessions=5k",
        "max_sessions_per_user=none",
    ];
    let ran = run(&api, &[&set[..], &["-o", "json"]].concat()).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.err,
        "max_sessions: none -> 5000\nmax_sessions_per_user: 12 -> none\n"
    );
    assert_eq!(ran.json()["revision"], 42);
    assert_eq!(ran.json()["document"]["max_sessions_per_user"], Value::Null);
    let ran = run(&api, &["realm", "set", "acme", "note=x", "--if-rev", "41"]).await;
    assert_eq!(ran.code, code::FAILURE);
    assert!(ran.err.contains("revision 42 now, not 41"), "{}", ran.err);
    let ran = run(&api, &["realm", "set", "acme", "max_rate_bps=1"]).await;
    assert!(
        ran.code == code::USAGE && ran.err.contains("at least 8000"),
        "{}",
        ran.err
    );
    assert_eq!(run(&api, &["realm", "add", "new", "note=hi"]).await.code, 0);
    assert_eq!(
        run_asked(&api, &["y"], &["realm", "rm", "new"]).await.code,
        code::FAILURE
    );
    assert_eq!(
        run_asked(&api, &["new"], &["realm", "rm", "new"])
            .await
            .code,
        0
    );
}

#[tokio::test]
async fn realm_edit_corrects_mistakes_and_survives_a_lost_race() {
    let api = Arc::new(FakeAdmin::default());
    let rival = api.clone();
    let mut script = Script {
        person: true,
        ..Script::default()
    };
    script.answers = ["y", "y", "y", "y"].map(str::to_owned).into();
    script.edits.push_back(Box::new(|text| {
        text.replace("per_user = 12", "per_user = x")
    }));
    script.edits.push_back(Box::new(move |text| {
        // Between the editor and the write somebody else writes.
        let (realm, note) = ("acme".parse().unwrap(), "theirs".to_owned());
        let document = shared::api::RealmDocument {
            note,
            ..Default::default()
        };
        let put = shared::api::RealmPut {
            document,
            reason: String::new(),
        };
        let write = async move { rival.put_realm(&realm, 41, &put).await };
        futures_util::FutureExt::now_or_never(write)
            .unwrap()
            .unwrap();
        text.replace("per_user = x", "per_user = 7")
    }));
    script.edits.push_back(Box::new(|text| {
        assert!(
            text.contains("per_user = 7") && text.contains("note = \"theirs\""),
            "{text}"
        );
        text.to_owned()
    }));
    let ran = run_as(&api, &mut script, &["realm", "edit", "acme"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err.contains("changed the realm meanwhile"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("note: \"\" -> \"theirs\""), "{}", ran.err);
    assert!(
        ran.err.contains("max_sessions_per_user: 12 -> 7"),
        "{}",
        ran.err
    );
    assert!(
        ran.out.contains("43") && ran.out.contains("theirs"),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn a_document_is_previewed_and_applied_from_a_file() {
    let api = FakeAdmin::default();
    let preview = [
        "realm",
        "preview",
        "acme",
        "max_rate_bps=8000",
        "-o",
        "json",
    ];
    let seen = run(&api, &preview).await;
    assert_eq!(seen.json()["schema"], "realm-preview/1");
    assert!(
        seen.json()["sessions_over_rate"].as_u64() > Some(0),
        "{}",
        seen.out
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acme.toml");
    std::fs::write(&file, "max_sessions = 500\nmax_rate_bps = 8000\n").unwrap();
    let file = file.to_str().unwrap();
    let apply = ["realm", "apply", "acme", file];
    let ran = run(&api, &[&apply[..], &["--dry-run", "-o", "json"]].concat()).await;
    assert_eq!(ran.json()["revision"], 41, "{}", ran.err);
    let ran = run_asked(&api, &["n"], &apply).await;
    assert_eq!(ran.code, code::FAILURE);
    assert!(ran.err.contains("max_sessions: none -> 500"), "{}", ran.err);
    assert!(ran.err.contains("sessions are above"), "{}", ran.err);
    assert!(api.changes().is_empty());
    let ran = run(&api, &[&apply[..], &["-y", "--if-rev", "40"]].concat()).await;
    assert!(ran.err.contains("revision 41 now, not 40"), "{}", ran.err);
    assert_eq!(run(&api, &[&apply[..], &["-y"]].concat()).await.code, 0);
    std::fs::write(file, "max_sessons = 1\n").unwrap();
    let ran = run(&api, &apply).await;
    assert!(
        ran.code == code::USAGE && ran.err.contains("did you mean 'max_sessions'"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn origins_and_peer_rules_are_entries_of_the_document() {
    let api = FakeAdmin::default();
    let origin = ["realm", "origin", "add", "acme", "https://app.example.org"];
    assert_eq!(run(&api, &origin).await.code, 0);
    let again = run(&api, &origin).await;
    assert!(
        again.code == 0 && again.err.contains("nothing changes"),
        "{}",
        again.err
    );
    let deny = [
        "realm",
        "peer-rule",
        "add",
        "acme",
        "deny",
        "198.51.100.0/24",
    ];
    assert_eq!(run(&api, &deny).await.code, 0);
    let rules = run(&api, &["realm", "peer-rule", "list", "acme", "-o", "csv"]).await;
    assert!(rules.out.contains("deny,198.51.100.0/24"), "{}", rules.out);
    let listed = run(&api, &["realm", "origin", "list", "acme", "-o", "json"])
        .await
        .json();
    assert_eq!(listed["items"][0]["value"], "https://app.example.org");
    let remove = ["realm", "origin", "rm", "acme", "https://app.example.org"];
    let stale = [&remove[..], &["--if-rev", "41"]].concat();
    assert_eq!(run(&api, &stale).await.code, code::FAILURE);
    assert_eq!(run(&api, &remove).await.code, 0);
    assert_eq!(run(&api, &remove).await.code, code::NOT_FOUND);
}

#[tokio::test]
async fn an_entry_is_added_over_what_somebody_else_wrote_meanwhile() {
    let api = FakeAdmin::default();
    let conflict = ApiError::new(ErrorKind::RevisionConflict, "it is at revision 42 now");
    api.fail_next_change(ClientError::Api(conflict));
    let deny = ["realm", "peer-rule", "add", "acme", "deny", "198.51.100.7"];
    let ran = run(&api, &deny).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(api.changes().len(), 2);
}

#[tokio::test]
async fn realms_go_to_a_folder_and_come_back_where_somebody_changed_them() {
    let api = FakeAdmin::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("realms");
    let place = path.to_str().unwrap();
    let ran = run(&api, &["realm", "export", place, "-o", "json"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let count = ran.json()["realms"].as_array().unwrap().len();
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), count);
    // Unchanged files change nothing, and nobody is asked.
    let ran = run(&api, &["realm", "apply", "-f", place, "-o", "json"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let steps = ran.json();
    let steps = steps["realms"].as_array().unwrap();
    assert!(
        steps.iter().all(|row| row["step"] == "unchanged"),
        "{steps:?}"
    );
    // One is changed, one is new.
    let acme = path.join("acme.toml");
    let text = std::fs::read_to_string(&acme).unwrap();
    std::fs::write(&acme, format!("{text}\nmax_sessions = 4321\n")).unwrap();
    std::fs::write(path.join("new%20one.toml"), "note = \"fresh\"\n").unwrap();
    let dry = ["realm", "apply", "-f", place, "--dry-run", "-o", "json"];
    let ran = run(&api, &dry).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let shown = ran.json().to_string();
    assert!(shown.contains("max_sessions: none -> 4321"), "{shown}");
    assert!(
        shown.contains("\"create\"") && shown.contains("new one"),
        "{shown}"
    );
    assert_eq!(
        api.realm(&"acme".parse().unwrap()).await.unwrap().revision,
        41
    );
    let ran = run_asked(&api, &["y"], &["realm", "apply", "-f", place]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let acme = api.realm(&"acme".parse().unwrap()).await.unwrap();
    assert_eq!(
        (acme.revision, acme.document.max_sessions),
        (42, Some(4321))
    );
    let new = api.realm(&"new one".parse().unwrap()).await.unwrap();
    assert_eq!(new.document.note, "fresh");
    let again = run(&api, &["realm", "export", place, "-o", "json"]).await;
    let again = again.json().to_string();
    assert!(
        again.contains("\"changed\"") && again.contains("\"unchanged\""),
        "{again}"
    );
}

#[tokio::test]
async fn folders_that_make_no_sense_say_why() {
    let api = FakeAdmin::default();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let ran = run(&api, &["realm", "apply", "-f", place]).await;
    assert!(
        ran.code == code::USAGE && ran.err.contains("realm export"),
        "{}",
        ran.err
    );
    std::fs::write(folder.path().join("acme.toml"), "max_sesions = 1\n").unwrap();
    let ran = run(&api, &["realm", "apply", "-f", place]).await;
    assert!(
        ran.code == code::USAGE && ran.err.contains("max_sesions"),
        "{}",
        ran.err
    );
    std::fs::write(folder.path().join("a%zz.toml"), "").unwrap();
    let ran = run(&api, &["realm", "apply", "-f", place]).await;
    assert!(
        ran.code == code::USAGE && ran.err.contains("not named for a realm"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn a_change_is_shown_compared_and_undone() {
    let api = FakeAdmin::default();
    let ran = run(&api, &["realm", "history", "acme"]).await;
    assert_eq!(ran.code, code::OK, "{}", ran.err);
    for text in ["41", "room for all", "max_sessions", "token:cafe0001"] {
        assert!(ran.out.contains(text), "{text}\n{}", ran.out);
    }
    let ran = run(&api, &["realm", "diff", "acme", "-o", "json"]).await;
    let diff = ran.json();
    assert_eq!((&diff["from"], &diff["to"]), (&40.into(), &41.into()));
    assert_eq!(diff["changes"][0]["before"], 800);
    let ran = run(&api, &["realm", "undo", "acme"]).await;
    assert_eq!(ran.code, code::USAGE, "nobody said yes");
    let told = &ran.err;
    assert!(told.contains("max_sessions: none -> 800"), "{told}");
    assert!(!api.changes().iter().any(|call| call.contains("undo")));
    let args = ["realm", "undo", "acme", "--yes", "-o", "json"];
    let undone = run(&api, &args).await.json();
    assert_eq!(undone["revision"], 42, "{undone}");
    assert_eq!(undone["document"]["max_sessions"], 800);
    // The undo is undone like any change, and another revision can be named.
    let undone = run(&api, &args).await.json();
    assert_eq!(undone["document"]["max_sessions"], Value::Null);
    let lost = run(&api, &[&args[..], &["--if-rev", "41"]].concat()).await;
    assert_ne!(lost.code, code::OK);
    assert!(lost.err.contains("43"), "{}", lost.err);
    let ran = run(&api, &[&args[..], &["--to", "40"]].concat()).await;
    assert_eq!(ran.json()["document"]["max_sessions"], 800);
}
