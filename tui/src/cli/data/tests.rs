//! Files in, rows out: forms, order of columns, errors with their lines, and what is done when something
//! fails on the way.

use shared::api::{ApiError, ErrorKind};

use crate::cli::code;
use crate::cli::tests::{Ran, Script, run_as};
use crate::client::ClientError;
use crate::client::fake::FakeAdmin;

const KEY: &str = "7da2270ccfa49786e0115366d3a3d14d";
const OTHER: &str = "cd08cbe80a4ce12dbe350e2c9299c5df";

/// Imports this text of this table.
async fn import(api: &FakeAdmin, table: &str, name: &str, text: &str, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let args = [&["import", table, &file][..], more].concat();
    run_as(api, &mut Script::default(), &args).await
}

async fn export(api: &FakeAdmin, args: &[&str]) -> Ran {
    let args = [&["export"][..], args].concat();
    run_as(api, &mut Script::default(), &args).await
}

#[tokio::test]
async fn a_second_import_changes_nothing_and_says_so() {
    let api = FakeAdmin::default();
    let rows = format!("acme,gorst,{KEY}\nacme,\"a, \"\"b\"\"\",{KEY}\n");
    let ran = import(&api, "users", "users.csv", &rows, &["--dry-run"]).await;
    assert_eq!(ran.code, code::OK, "{}", ran.err);
    assert!(ran.err.contains("+ user gorst"), "{}", ran.err);
    assert_eq!(api.changes(), [""; 0]);
    // Nobody is there to say yes.
    let ran = import(&api, "users", "users.csv", &rows, &[]).await;
    assert_eq!(ran.code, code::USAGE, "{}", ran.err);
    assert_eq!(api.changes(), [""; 0]);
    let ran = import(
        &api,
        "users",
        "users.csv",
        &rows,
        &["-y", "--reason", "move"],
    )
    .await;
    assert_eq!(ran.code, code::OK, "{}", ran.err);
    assert_eq!(
        api.changes(),
        ["import_realm acme users=2 secrets=0 dry_run=false reason=move"]
    );
    let ran = import(&api, "users", "users.csv", &rows, &["-y"]).await;
    assert_eq!(ran.code, code::OK);
    assert!(ran.err.contains("nothing changes"), "{}", ran.err);
    assert_eq!(api.changes().len(), 1);
    let all = format!("{ran}{}", ran.err, ran = ran.out);
    assert!(!all.contains(KEY), "{all}");
}

#[tokio::test]
async fn every_form_of_a_table_is_read() {
    let header = format!("name,hmackey,realm\ngorst,{KEY},acme\n");
    let tabs = format!("acme\tgo\\\\rst\t0x{KEY}\n");
    let lines = format!(
        "{{\"_id\":{{\"$oid\":\"1\"}},\"realm\":\"acme\",\"name\":\"gorst\",\"hmackey\":\"{KEY}\"}}\n\n"
    );
    // What other databases' clients write, with a column that is not read.
    let shouted = format!("REALM, Name,ID,hmacKey\nacme,gorst,1,{KEY}\n");
    let named =
        format!("{{\"table\":\"turnusers_lt\",\"name\":\"gorst\",\"hmackey\":\"{KEY}\"}}\n");
    for (table, name, text, user) in [
        ("turnusers_lt", "users.csv", header, "gorst"),
        ("users", "users.csv", shouted, "gorst"),
        ("users", "users.tsv", tabs, "go\\rst"),
        ("users", "users.jsonl", lines, "gorst"),
        ("all", "all.jsonl", named, "gorst"),
    ] {
        let api = FakeAdmin::default();
        let ran = import(&api, table, name, &text, &["-y", "--realm", "acme"]).await;
        assert_eq!(ran.code, code::OK, "{name}: {}", ran.err);
        let ran = export(&api, &["users", "--with-secrets", "-r", "acme"]).await;
        let expected = format!("realm,name,hmackey\nacme,{user},{KEY}\n");
        assert_eq!(ran.out, expected, "{name}");
    }
}

#[tokio::test]
async fn settings_become_part_of_the_realms_document() {
    let api = FakeAdmin::default();
    for (table, text, expected) in [
        ("realm-options", "acme,max-bps,1000\n", "max_rate_bps"),
        (
            "turn_origin_to_realm",
            "https://a.example:443,acme\n",
            "https://a.example",
        ),
        ("denied-peers", "acme,10.0.0.0-10.0.0.255\n", "10.0.0.0/24"),
        ("allowed_peer_ip", "acme,192.0.2.7\n", "192.0.2.7"),
    ] {
        let ran = import(&api, table, "x.csv", text, &["-y"]).await;
        assert_eq!(ran.code, code::OK, "{table}: {}", ran.err);
        assert!(ran.err.contains(expected), "{table}: {}", ran.err);
        let again = import(&api, table, "x.csv", text, &["-y"]).await;
        assert!(
            again.err.contains("nothing changes"),
            "{table}: {}",
            again.err
        );
    }
    let ran = export(&api, &["realm-options", "-r", "acme"]).await;
    assert!(ran.out.contains("acme,max-bps,1000\n"), "{}", ran.out);
    let ran = export(&api, &["origins", "-r", "acme"]).await;
    assert!(
        ran.out.contains("https://a.example:443,acme\n"),
        "{}",
        ran.out
    );
    let ran = export(&api, &["denied-peers", "-r", "acme", "-o", "jsonl"]).await;
    let line = r#"{"ip_range":"10.0.0.0-10.0.0.255","realm":"acme"}"#;
    assert!(ran.out.contains(line), "{}", ran.out);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_line_and_nothing_is_done() {
    let api = FakeAdmin::default();
    let rows = format!(
        "acme,gorst,{KEY}\nacme,short,12\n,nobody,{KEY}\nacme,two\nacme,gorst,{OTHER}\nacme,plain,\n"
    );
    let ran = import(&api, "users", "users.csv", &rows, &["-y"]).await;
    assert_eq!(ran.code, code::USAGE);
    for said in [
        "users.csv:2: hmackey",
        "users.csv:3: no realm",
        "users.csv:4: 2 columns",
        "users.csv:6: hmackey: empty",
        "nothing was done",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    let rows = format!("acme,gorst,{KEY}\nacme,gorst,{OTHER}\n");
    let ran = import(&api, "users", "users.csv", &rows, &["-y"]).await;
    assert!(
        ran.err.contains("users.csv:2: the user of line 1 again"),
        "{}",
        ran.err
    );
    for (table, text, said) in [
        ("realm-options", "acme,max-bps,fast\n", ":1: value"),
        ("realm-options", "acme,colour,1\n", ":1: opt"),
        ("origins", "nowhere,acme\n", ":1: origin"),
        ("denied-peers", "acme,here\n", ":1: ip_range"),
        ("secrets", "acme,\n", ":1: value"),
        ("users", "acme,\"open\n", ":1: "),
        (
            "secrets",
            "north.gov,abc,def\n",
            ":1: 3 columns, where these are expected: realm, value",
        ),
        ("secrets", "acme,north\nacme,a,b\n", ":2: 3 columns"),
        ("secrets", "value,realm,id\nnorth,acme\n", ":2: 2 columns"),
        (
            "secrets",
            "realm,value\nacme,north\nacme,a,b\n",
            ":3: 3 columns",
        ),
    ] {
        let ran = import(&api, table, "x.csv", text, &["-y"]).await;
        assert_eq!(ran.code, code::USAGE, "{table}: {}", ran.err);
        assert!(ran.err.contains(said), "{table}: {}", ran.err);
    }
    assert_eq!(api.changes(), [""; 0]);
}

#[tokio::test]
async fn what_was_done_before_a_failure_is_told_and_the_rest_goes_on_from_there() {
    let api = FakeAdmin::default();
    let rows: String = (0..250).map(|n| format!("acme,user{n},{KEY}\n")).collect();
    let all = format!("{rows}globex,one,{KEY}\n");
    api.fail_next_change(ClientError::Api(ApiError::new(
        ErrorKind::Unavailable,
        "away",
    )));
    let ran = import(&api, "users", "users.csv", &all, &["-y", "-o", "json"]).await;
    assert_eq!(ran.code, code::PARTIAL, "{}", ran.err);
    assert!(
        ran.err.contains(
            "of what is pending some may have been done; the same command goes on from there"
        ),
        "{}",
        ran.err
    );
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["realms"][0]["pending"], 250);
    assert_eq!(shown["realms"][1]["pending"], 1);
    let ran = import(&api, "users", "users.csv", &all, &["-y", "-o", "json"]).await;
    assert_eq!(ran.code, code::OK, "{}", ran.err);
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&shown["realms"][0]["added"], &shown["realms"][0]["pending"]),
        (&250.into(), &0.into())
    );
}

#[tokio::test]
async fn what_is_refused_only_when_it_is_written_is_named_and_the_rest_is_done() {
    let api = FakeAdmin::default();
    api.refuse_when_written("bob");
    let rows = format!("acme,alice,{KEY}\nacme,bob,{KEY}\nglobex,one,{KEY}\n");
    let ran = import(&api, "users", "u.csv", &rows, &["-y", "-o", "json"]).await;
    assert_eq!(ran.code, code::PARTIAL, "{}", ran.err);
    for said in ["u.csv:2: user bob: in the configuration file", "1 rows of "] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    for (at, counts) in [(0, [1, 1, 0]), (1, [1, 0, 0])] {
        let row = &shown["realms"][at];
        let found = ["added", "refused", "pending"].map(|column| row[column].as_u64());
        assert_eq!(found, counts.map(Some), "{row}");
    }
}

#[tokio::test]
async fn keys_and_secrets_are_written_when_they_are_asked_for() {
    let api = FakeAdmin::default();
    let users = format!("acme,gorst,{KEY}\n");
    assert_eq!(
        import(&api, "users", "u.csv", &users, &["-y"]).await.code,
        0
    );
    assert_eq!(
        import(&api, "secrets", "s.csv", "acme,north\n", &["-y"])
            .await
            .code,
        0
    );
    let ran = export(&api, &["secrets"]).await;
    assert_eq!(ran.code, code::USAGE);
    assert!(ran.err.contains("--with-secrets"), "{}", ran.err);
    let ran = export(&api, &["users"]).await;
    assert!(!ran.out.contains(KEY) && ran.code == 0, "{}", ran.out);
    let ran = export(&api, &["all", "--with-secrets", "-r", "acme"]).await;
    let user = format!(r#"{{"hmackey":"{KEY}","name":"gorst","realm":"acme","table":"users"}}"#);
    assert!(ran.out.contains(&user), "{}", ran.out);
    let secret = r#"{"realm":"acme","table":"secrets","value":"north"}"#;
    assert!(ran.out.contains(secret), "{}", ran.out);
    // And back, into another cluster.
    let other = FakeAdmin::default();
    let back = import(&other, "all", "all.jsonl", &ran.out, &["-y"]).await;
    assert_eq!(back.code, code::OK, "{}", back.err);
    let again = export(&other, &["all", "--with-secrets", "-r", "acme"]).await;
    assert_eq!(again.out, ran.out);
}

#[tokio::test]
async fn a_line_of_column_names_that_lacks_one_is_no_row() {
    let api = FakeAdmin::default();
    for (table, text, said) in [
        (
            "secrets",
            "realm,secret\nacme,north\n",
            "without value: name them",
        ),
        ("secrets", "id,value\n1,north\n", "without realm"),
        (
            "secrets",
            "acme,value\n",
            "write a line realm,value above it",
        ),
        (
            "users",
            "realm,name,password\nacme,gorst,x\n",
            "without hmackey",
        ),
        ("users", "realm,name\nacme,gorst\n", "without hmackey"),
        (
            "origins",
            "url,realm\nhttps://a.example,acme\n",
            "without origin",
        ),
        (
            "denied-peers",
            "realm,range\nacme,10.0.0.1\n",
            "without ip_range",
        ),
        ("realm-options", "realm,name,value\n", "without opt"),
    ] {
        let ran = import(&api, table, "x.csv", text, &["-y"]).await;
        assert_eq!(ran.code, code::USAGE, "{text}: {}", ran.err);
        assert!(
            ran.err.contains(":1: ") && ran.err.contains(said),
            "{text}: {}",
            ran.err
        );
    }
    assert_eq!(api.changes(), [""; 0]);
    // Realms, users and secrets may be called so.
    for (table, text) in [
        ("users", format!("realm,name,{KEY}\n")),
        ("denied-peers", "realm,10.0.0.1\n".to_owned()),
        ("secrets", "realm,value\nrealm,value\n".to_owned()),
    ] {
        let ran = import(&api, table, "x.csv", &text, &["-y"]).await;
        assert_eq!(ran.code, code::OK, "{text}: {}", ran.err);
        assert!(ran.err.contains("realm realm:"), "{text}: {}", ran.err);
    }
}

#[tokio::test]
async fn what_databases_and_spreadsheets_add_to_a_file_is_no_part_of_its_values() {
    let key = format!("{KEY}{}", " ".repeat(96));
    for (name, text, user) in [
        (
            "u.csv",
            format!("\u{feff}realm,name,hmackey\r\nacme,gorst,{KEY}\r\n"),
            "gorst",
        ),
        ("u.csv", format!("\u{feff}acme,gorst,{KEY}"), "gorst"),
        ("u.csv", format!("acme,gorst,{key}\n"), "gorst"),
        ("u.tsv", format!("acme\tgorst\t{KEY}\r\n"), "gorst"),
        ("u.tsv", format!("acme\tgorst\r\t{KEY}\r\n"), "\"gorst\r\""),
        ("u.tsv", format!("acme\ta\\\\N\\tb\t{KEY}\n"), "a\\N\tb"),
        (
            "u.tsv",
            format!("acme\ta\\0\\r\\bb\rc\t{KEY}\n"),
            "\"a\0\r\u{8}b\rc\"",
        ),
        (
            "u.jsonl",
            format!("\u{feff}{{\"realm\":\"acme\",\"name\":\"gorst\",\"hmackey\":\"{key}\"}}\r\n"),
            "gorst",
        ),
    ] {
        let api = FakeAdmin::default();
        let ran = import(&api, "users", name, &text, &["-y"]).await;
        assert_eq!(ran.code, code::OK, "{text:?}: {}", ran.err);
        let ran = export(&api, &["users", "--with-secrets", "-r", "acme"]).await;
        assert_eq!(
            ran.out,
            format!("realm,name,hmackey\nacme,{user},{KEY}\n"),
            "{text:?}"
        );
    }
    let api = FakeAdmin::default();
    let none = import(&api, "users", "u.tsv", "acme\tgorst\t\\N\n", &["-y"]).await;
    assert!(none.err.contains(":1: hmackey: empty"), "{}", none.err);
    let array = import(&api, "users", "u.json", "[{\"realm\":\"acme\"}]", &["-y"]).await;
    assert!(array.err.contains("without --jsonArray"), "{}", array.err);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin.csv");
    std::fs::write(&file, b"acme,zo\xeb,").unwrap();
    let file = file.display().to_string();
    let ran = run_as(&api, &mut Script::default(), &["import", "users", &file]).await;
    assert_eq!(ran.code, code::USAGE);
    assert!(ran.err.contains("iconv"), "{}", ran.err);
}

#[tokio::test]
async fn a_file_that_is_wrong_all_over_is_told_of_in_some_lines() {
    let api = FakeAdmin::default();
    let rows: String = (0..600).map(|n| format!("acme,secret{n}\n")).collect();
    let ran = import(&api, "secrets", "s.csv", &rows, &["-y"]).await;
    assert_eq!(ran.code, code::USAGE, "{}", ran.err);
    let told = "s.csv:501: more than 500 secrets";
    assert!(
        ran.err.contains(told) && ran.err.lines().count() < 5,
        "{}",
        ran.err
    );
    let pair = format!("acme,gorst,{KEY}\nacme,gorst,{OTHER}\n");
    let ran = import(&api, "users", "u.csv", &pair.repeat(500), &["-y"]).await;
    assert!(ran.err.contains("and 480 more"), "{}", ran.err);
    assert!(ran.err.lines().count() < 25, "{}", ran.err);
    assert_eq!(api.changes(), [""; 0]);
}
