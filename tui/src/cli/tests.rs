//! Whole commands against the cluster in memory: output, questions, calls, exit codes.

use std::collections::VecDeque;
use std::io;

use clap::Parser as _;
use serde_json::Value;
use shared::Secret;
use shared::api::{ApiError, ErrorKind, Role};

use super::*;
use crate::client::ClientError;
use crate::client::fake::FakeAdmin;

type Edit = Box<dyn FnOnce(&str) -> String + Send>;

/// A person who gives these answers, or nobody.
#[derive(Default)]
struct Script {
    person: bool,
    answers: VecDeque<String>,
    edits: VecDeque<Edit>,
}

impl Script {
    fn next(&mut self) -> io::Result<String> {
        self.answers
            .pop_front()
            .ok_or_else(|| io::Error::other("asked once too often"))
    }
}

impl Asked for Script {
    fn is_person(&self) -> bool {
        self.person
    }

    fn line(&mut self) -> io::Result<String> {
        self.next()
    }

    fn secret(&mut self) -> io::Result<Secret<String>> {
        self.next().map(Secret::new)
    }

    fn piped_secret(&mut self) -> io::Result<Secret<String>> {
        self.next().map(Secret::new)
    }

    fn edit(&mut self, text: &str) -> io::Result<String> {
        let edit = self
            .edits
            .pop_front()
            .ok_or_else(|| io::Error::other("edited too often"))?;
        Ok(edit(text))
    }
}

struct Ran {
    code: u8,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

async fn run_as(api: &FakeAdmin, script: &mut Script, args: &[&str]) -> Ran {
    let args = ["relayctl"].iter().chain(args);
    let cli = Cli::try_parse_from(args).unwrap_or_else(|e| panic!("{e}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
        asked: script,
        out_is_terminal: false,
        err_is_terminal: false,
    };
    let command = cli.command.expect("a command");
    let result = run_with(command, &cli.global, api, &mut terminal).await;
    let code = finish(result, &mut terminal);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code,
        out: text(out),
        err: text(err),
    }
}

/// A script runs the command: nobody answers.
async fn run(api: &FakeAdmin, args: &[&str]) -> Ran {
    run_as(api, &mut Script::default(), args).await
}

/// A person runs it, and gives these answers.
async fn run_asked(api: &FakeAdmin, answers: &[&str], args: &[&str]) -> Ran {
    let answers = answers.iter().map(|a| (*a).to_owned()).collect();
    run_as(
        api,
        &mut Script {
            person: true,
            answers,
            ..Script::default()
        },
        args,
    )
    .await
}

/// A script runs it with this on standard input.
async fn run_piped(api: &FakeAdmin, input: &str, args: &[&str]) -> Ran {
    let answers = [input.to_owned()].into();
    run_as(
        api,
        &mut Script {
            answers,
            ..Script::default()
        },
        args,
    )
    .await
}

const FIRST: &str = "7f3a900000000001";

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
async fn exit_codes_tell_scripts_what_happened() {
    let api = FakeAdmin::default();
    assert_eq!(run(&api, &["node", "list"]).await.code, code::OK);
    assert_eq!(
        run(&api, &["node", "show", "nope"]).await.code,
        code::NOT_FOUND
    );
    assert_eq!(
        run(&api, &["session", "show", "zz"]).await.code,
        code::USAGE
    );
    assert_eq!(
        run(&api, &["session", "list", "-f", "rate>x"]).await.code,
        code::USAGE
    );
    assert_eq!(
        run(&api, &["session", "list", "-s", "rate:up"]).await.code,
        code::USAGE
    );
    api.set_role(Role::Viewer);
    assert_eq!(
        run(&api, &["session", "kill", FIRST, "--yes"]).await.code,
        code::DENIED
    );
    api.set_role(Role::Admin);
    api.set_missing(&["ams1"]);
    let ran = run(&api, &["session", "list", "-o", "json"]).await;
    assert_eq!(ran.code, code::PARTIAL);
    assert_eq!(ran.json()["missing"][0]["node"], "ams1");
    assert!(ran.err.contains("ams1 (no answer"), "{}", ran.err);
    assert_eq!(run(&api, &["overview"]).await.code, code::PARTIAL);
    api.set_unreachable(true);
    let ran = run(&api, &["node", "list"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (code::UNREACHABLE, ""));
    api.set_unreachable(false);
    for (kind, expected) in [
        (ErrorKind::Unauthenticated, code::DENIED),
        (ErrorKind::Unconfirmed, code::UNREACHABLE),
        (ErrorKind::Unavailable, code::FAILURE),
        (ErrorKind::CursorExpired, code::FAILURE),
        (ErrorKind::Internal, code::FAILURE),
    ] {
        api.fail_next(ClientError::Api(ApiError::new(kind, "why")));
        assert_eq!(run(&api, &["whoami"]).await.code, expected, "{kind:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let failure = Failure::Io(io::ErrorKind::BrokenPipe.into());
    assert!(failure.is_silent());
    assert_eq!(failure.code(), code::OK);
}

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
    assert!(ran.err.contains("at revision 42, not 41"), "{}", ran.err);
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

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}
