//! Guardrails bind the command line as they bind the console.

use super::*;
use crate::guardrails::Rule;

fn rails(toml: &str) -> Guardrails {
    let table: toml::Table = toml::from_str(toml).unwrap();
    let rules = table["guardrails"].clone().try_into::<Vec<Rule>>().unwrap();
    Guardrails {
        context: "prod-eu".to_owned(),
        rules,
    }
}

async fn guarded(api: &FakeAdmin, toml: &str, answers: &[&str], args: &[&str]) -> Ran {
    let mut script = Script {
        person: !answers.is_empty(),
        answers: answers.iter().map(|a| (*a).to_owned()).collect(),
        guardrails: rails(toml),
        ..Script::default()
    };
    run_as(api, &mut script, args).await
}

const TYPED: &str = "[[guardrails]]\naction = \"*.kill\"\nlevel = \"type-context\"";

#[tokio::test]
async fn what_is_denied_is_denied_to_scripts_and_people() {
    let api = FakeAdmin::default();
    let deny = "[[guardrails]]\nrealm = \"acme\"\nlevel = \"deny\"\nreason = \"ask in #ops\"";
    for args in [
        &["session", "kill", "7f3a900000000001", "-y"][..],
        &[
            "realm",
            "set",
            "acme",
            "note=x",
            "-y",
            "--confirm",
            "prod-eu",
        ],
        &["user", "rm", "bob", "--realm", "acme", "-y"],
        &["realm", "origin", "add", "acme", "https://a.example"],
        &["session", "kill", "-f", "node=fra1", "-y"],
    ] {
        let ran = guarded(&api, deny, &["y"], args).await;
        assert_eq!(ran.code, code::DENIED, "{args:?} {}", ran.err);
        assert!(ran.err.contains("ask in #ops"), "{}", ran.err);
    }
    assert!(api.changes().is_empty(), "{:?}", api.changes());
    // Another realm is none of its business: the nodes are asked which realms a filter hits.
    let args = ["session", "kill", "-f", "realm=globex", "-y"];
    assert_eq!(guarded(&api, deny, &[], &args).await.code, 0);
}

#[tokio::test]
async fn the_context_is_typed_or_named() {
    let api = FakeAdmin::default();
    let kill = ["session", "kill", "7f3a900000000001"];
    let ran = guarded(&api, TYPED, &[], &[&kill[..], &["-y"]].concat()).await;
    assert_eq!(ran.code, code::USAGE);
    assert!(ran.err.contains("--confirm prod-eu"), "{}", ran.err);
    let wrong = [&kill[..], &["-y", "--confirm", "stage"]].concat();
    assert_eq!(guarded(&api, TYPED, &[], &wrong).await.code, code::USAGE);
    assert_eq!(
        guarded(&api, TYPED, &["y"], &kill).await.code,
        code::FAILURE
    );
    assert!(api.changes().is_empty());
    let named = [&kill[..], &["-y", "--confirm", "prod-eu"]].concat();
    assert_eq!(guarded(&api, TYPED, &[], &named).await.code, 0);
    let many = ["session", "kill", "-f", "node=ams1"];
    let ran = guarded(&api, TYPED, &["4", "prod-eu"], &many).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[tokio::test]
async fn bounds_and_reasons_are_kept() {
    let api = FakeAdmin::default();
    let rules = "[[guardrails]]\nrequire_reason = true\nmax_bulk = 3\nmax_rate = 20";
    let kill = ["session", "kill", "-f", "node=fra1", "-y"];
    let ran = guarded(&api, rules, &[], &kill).await;
    assert_eq!(ran.code, code::DENIED, "{}", ran.err);
    let one = ["session", "kill", "-f", "node=fra1 user=alice@web", "-y"];
    let ran = guarded(&api, rules, &[], &one).await;
    assert!(
        ran.code == code::USAGE && ran.err.contains("--reason"),
        "{}",
        ran.err
    );
    let fast = [&one[..], &["--reason", "x", "--rate", "21"]].concat();
    assert_eq!(guarded(&api, rules, &[], &fast).await.code, code::DENIED);
    assert!(api.changes().is_empty());
    let fine = [&one[..], &["--reason", "x"]].concat();
    assert_eq!(guarded(&api, rules, &[], &fine).await.code, 0);
    assert!(api.changes()[0].contains("rate=20"), "{:?}", api.changes());
}

#[tokio::test]
async fn what_asks_nothing_asks_where_a_rule_says_so() {
    let api = FakeAdmin::default();
    let plain = "[[guardrails]]\naction = \"user.patch\"\nlevel = \"plain\"";
    let edit = ["user", "edit", "bob", "--realm", "acme", "--disable"];
    assert_eq!(guarded(&api, plain, &[], &edit).await.code, code::USAGE);
    assert_eq!(
        guarded(&api, plain, &["n"], &edit).await.code,
        code::FAILURE
    );
    assert_eq!(guarded(&api, plain, &["y"], &edit).await.code, 0);
}

#[tokio::test]
async fn a_ban_is_previewed_and_has_to_be_confirmed() {
    let api = FakeAdmin::default();
    let add = [
        "ban",
        "add",
        "203.0.113.0/24",
        "--for",
        "2h",
        "--reason",
        "flood",
    ];
    let dry = run(&api, &[&add[..], &["--dry-run", "-o", "json"]].concat()).await;
    assert_eq!(dry.json()["users"], 3);
    assert_ne!(run(&api, &add).await.code, code::OK, "it has to be said");
    assert_eq!(api.changes(), ["preview_ban client 203.0.113.0/24"; 2]);
    let done = run(&api, &[&add[..], &["--yes"]].concat()).await;
    assert_eq!(done.code, code::OK, "{}", done.err);
    let call = "create_ban client 203.0.113.0/24 secs=7200 expected=Some(14) reason=flood";
    assert_eq!(api.changes().last().map(String::as_str), Some(call));
    let list = run(&api, &["ban", "list"]).await.out;
    assert!(list.contains("203.0.113.0/24"), "{list}");
    let rm = run(&api, &["ban", "rm", "203.0.113.0/24", "--yes"]).await;
    assert_eq!(rm.code, code::OK, "{}", rm.err);
    assert!(api.changes().last().unwrap().starts_with("delete_ban "));
}
