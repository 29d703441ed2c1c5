//! coturn's PostgreSQL and MySQL: their rows come to a node, and go back, by the lines of `relay/COTURN.md`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kit::client::{Login, TurnClient};
use kit::coturn::turnadmin;
use kit::node::{Node, NodeOptions, REALM};
use kit::sql_server::{DATABASE, Kind, SqlServer};
use kit::turnserver::Turnserver;
use kit::wait::wait_until;

/// How soon what a process leaves behind is gone, on a busy machine.
const SOON: Duration = Duration::from_secs(15);
/// What operators read.
const PAGE: &str = include_str!("../../relay/COTURN.md");
/// The password of all users here.
const PASSWORD: &str = "bread";
/// Names that turnadmin writes.
const NAMES: [&str; 5] = ["plain", "bob,baker", "NULL", "100%s%n", "=cmd|1"];
/// Names that turnadmin refuses or stumbles over, and that other programs write.
const FOREIGN: [&str; 8] = [
    "o'hara",
    "back\\slash",
    "\\N",
    "\\.",
    "zoë-日本-😀",
    " begins with a space",
    "realm",
    "hmackey",
];
/// Names that no node takes: what its own keys cannot hold.
const REFUSED: [&str; 4] = ["a/b", "qu\"ote", "new\nline", "tab\there\r"];
/// Printable, and all that a client of databases could stumble over.
const SECRET: &str = "it's,\"quoted\"\\N;%s";

/// Lines of a table of the page: what stands in the first column, and in the second without its backquotes.
pub(super) fn page(begins: &str) -> Vec<(&'static str, &'static str)> {
    let lines = PAGE.lines().skip_while(|line| !line.starts_with(begins));
    let lines = lines.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| {
        let (first, second) = line.strip_prefix("| ")?.split_once(" | ")?;
        let second = second.strip_suffix(" |")?;
        Some((first.trim_matches('`'), second.trim_matches('`')))
    };
    let lines: Vec<_> = lines.map(|line| cells(line).expect(line)).collect();
    assert!(lines.len() > 1, "the page has no table {begins}");
    lines
}

/// The line of the page for a database.
pub(super) fn line_of(begins: &str, database: &str) -> &'static str {
    let lines = page(begins);
    let line = lines.iter().find(|(name, _)| *name == database);
    line.unwrap_or_else(|| panic!("{database}: {lines:?}")).1
}

/// A database with all that coturn's own tools write, and with what others do.
fn fill(server: &SqlServer) {
    let db = server.userdb();
    for name in NAMES {
        turnadmin(&db, &["-a", "-u", name, "-r", REALM, "-p", PASSWORD]);
    }
    // A realm that is called like a column.
    turnadmin(&db, &["-a", "-u", "name", "-r", "realm", "-p", PASSWORD]);
    turnadmin(&db, &["-s", "a-north-secret", "-r", REALM]);
    turnadmin(&db, &["-O", "-o", "https://a.example:443", "-r", REALM]);
    turnadmin(&db, &["-g", "-r", REALM, "--total-quota=70"]);
    turnadmin(&db, &["-g", "-r", REALM, "--max-bps=1000000"]);
    let realm = server.text(REALM);
    for name in FOREIGN.iter().chain(&REFUSED) {
        let (name, text) = (server.text(name), format!("{name}:{REALM}:{PASSWORD}"));
        let key = server.text(&text);
        server.sql(&format!(
            "insert into turnusers_lt (realm, name, hmackey) values ({realm}, {name}, md5({key}))"
        ));
    }
    let secret = server.text(SECRET);
    server.sql(&format!(
        "insert into turn_secret (realm, value) values ({realm}, {secret})"
    ));
    for (list, range) in [
        ("allowed", "192.0.2.1-192.0.2.9"),
        ("denied", "198.51.100.7"),
    ] {
        server.sql(&format!(
            "insert into {list}_peer_ip (realm, ip_range) values ({realm}, '{range}')"
        ));
    }
}

/// Runs the line of the page for each table and imports what it wrote, twice.
fn import_all(server: &SqlServer, line: &str, node: &Node, folder: &Path) {
    let name = |text: &str, table: &str, query: &str| {
        let text = text.replace("TABLE", table).replace("QUERY", query);
        text.replace("DB", DATABASE)
    };
    let tables = page("| TABLE | QUERY");
    assert_eq!(tables.len(), 6, "{tables:?}");
    for (table, query) in tables {
        let line = name(line, table, query);
        server.shell(folder, &line);
        let end = if line.contains(".tsv") { "tsv" } else { "csv" };
        let file = folder.join(format!("{table}.{end}")).display().to_string();
        let import = ["import", table, &file, "-y", "--reason", "migration"];
        let first = node.ctl().run(&import);
        let again = node.ctl().run(&import);
        let (said, said_again) = (&first.stderr, &again.stderr);
        let expected = if table == "users" { 5 } else { 0 };
        assert_eq!(
            (first.code, again.code),
            (expected, expected),
            "{line}: {said}"
        );
        assert!(
            said_again.contains("nothing changes"),
            "{table}: {said_again}"
        );
        if table == "users" {
            let refused = said.lines().filter(|line| line.contains(": user ")).count();
            assert_eq!(refused, REFUSED.len(), "{said}");
        }
    }
}

/// All of the rows, from a database to a node and its clients.
#[track_caller]
fn comes_over(server: &SqlServer, database: &str, node: &Node, folder: &Path) {
    fill(server);
    let line = line_of("| database | from it", database);
    import_all(server, line, node, folder);
    for name in NAMES.iter().chain(&FOREIGN) {
        let mut client = node.client(&Login::new(name, PASSWORD));
        client
            .allocate()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for secret in ["a-north-secret", SECRET] {
        let rest = Login::rest("4000000000:dora", secret);
        node.client(&rest).allocate().unwrap();
    }
    let users = node.ctl().run(&["export", "users", "-r", "realm"]).stdout;
    assert!(users.contains("realm,name,\n"), "{users}");
    let realm = node.ctl().json(&["realm", "show", REALM]);
    for (field, value) in [
        ("max_rate_bps", "8000000"),
        ("max_sessions", "70"),
        ("allowed_peers", "[\"192.0.2.1-192.0.2.9\"]"),
        ("denied_peers", "[\"198.51.100.7\"]"),
        ("origins", "[\"https://a.example\"]"),
    ] {
        assert_eq!(
            realm["document"][field].to_string(),
            value,
            "{field}: {realm}"
        );
    }
}

/// A line of an export, as a table's rows are compared.
fn row(line: &str) -> (String, String, String) {
    let line: serde_json::Value = serde_json::from_str(line).expect(line);
    let text = |column: &str| line[column].as_str().expect(column).to_owned();
    (text("realm"), text("name"), text("hmackey"))
}

/// What a node has meanwhile, in a database, and a coturn there.
#[track_caller]
fn goes_back(server: &SqlServer, database: &str, node: &Node, folder: &Path, option: &str) {
    for (name, password) in [("new", "tea"), ("plain", "changed")] {
        let words = ["turnadmin", "-a", "-u", name, "-r", REALM, "-p", password];
        let answer = node.ctl().run(&words);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
    }
    let exported = node
        .ctl()
        .run(&["export", "users", "--with-secrets", "-o", "csv"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    std::fs::write(folder.join("users.csv"), &exported.stdout).unwrap();
    let line = line_of("| database | back into it", database).replace("DB", DATABASE);
    server.shell(folder, &line);
    let replaced = server.rows();
    // Once more: nothing in the file is new to the table.
    server.shell(folder, &line);
    assert_eq!(server.rows(), replaced);
    // What is in the table then came by the line, and not from before.
    server.sql("delete from turnusers_lt");
    server.shell(folder, &line);
    let as_lines = ["export", "users", "--with-secrets", "-o", "jsonl"];
    let exported: BTreeSet<_> = node.ctl().run(&as_lines).stdout.lines().map(row).collect();
    // One that only realm "realm" has, and the new one.
    assert!(
        exported.len() >= NAMES.len() + FOREIGN.len() + 2,
        "{exported:?}"
    );
    assert_eq!(server.rows(), exported);
    assert!(replaced.is_superset(&exported), "{replaced:?}");
    let turnserver = Turnserver::start_with(&["--no-tls", "--no-dtls", option]);
    for (name, password) in [
        ("new", "tea"),
        ("plain", "changed"),
        ("bob,baker", PASSWORD),
    ] {
        let login = Login::new(name, password);
        let mut client = TurnClient::new(turnserver.address, login).unwrap();
        let allocated = client.allocate();
        allocated.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn what_is_in_postgresql_comes_over_and_goes_back_by_the_lines_of_the_page() {
    let server = SqlServer::start(Kind::Postgres);
    let node = Node::start(NodeOptions::default());
    let folder = tempfile::tempdir().unwrap();
    comes_over(&server, "PostgreSQL", &node, folder.path());
    let option = format!("--psql-userdb={}", server.connection());
    goes_back(&server, "PostgreSQL", &node, folder.path(), &option);
}

#[test]
fn what_is_in_mariadb_comes_over_and_goes_back_by_the_lines_of_the_page() {
    let server = SqlServer::start(Kind::Mariadb);
    let node = Node::start(NodeOptions::default());
    let folder = tempfile::tempdir().unwrap();
    comes_over(&server, "MySQL, MariaDB", &node, folder.path());
    let option = format!("--mysql-userdb={}", server.connection());
    goes_back(&server, "MySQL, MariaDB", &node, folder.path(), &option);
}

#[test]
fn names_that_are_one_to_mysql_are_found_before_one_replaces_the_other() {
    let server = SqlServer::start(Kind::Mariadb);
    let node = Node::start(NodeOptions::default());
    let folder = tempfile::tempdir().unwrap();
    for name in ["Bob", "bob", "alone"] {
        let words = ["turnadmin", "-a", "-u", name, "-r", REALM, "-p", PASSWORD];
        assert_eq!(node.ctl().run(&words).code, 0);
    }
    // In the table only, and in the file as another one.
    turnadmin(
        &server.userdb(),
        &["-a", "-u", "ALONE", "-r", REALM, "-p", PASSWORD],
    );
    let csv = ["export", "users", "--with-secrets", "-o", "csv"];
    let exported = node.ctl().run(&csv);
    std::fs::write(folder.path().join("users.csv"), &exported.stdout).unwrap();
    let line = |of: &str| line_of("| database | back into it", of).replace("DB", DATABASE);
    let found = server.shell(folder.path(), &line("MySQL, MariaDB: look first"));
    let found: Vec<_> = found.lines().map(str::to_lowercase).collect();
    let expected = ["alone", "bob"].map(|name| format!("{REALM}\t{name}\t2"));
    assert_eq!(found, expected);
    server.shell(folder.path(), &line("MySQL, MariaDB: tell them apart"));
    let found = server.shell(folder.path(), &line("MySQL, MariaDB: look first"));
    assert_eq!(found, "");
    server.shell(folder.path(), &line("MySQL, MariaDB"));
    let names: BTreeSet<_> = server.rows().into_iter().map(|(_, name, _)| name).collect();
    let expected = ["ALONE", "Bob", "alone", "bob"].map(str::to_owned);
    assert_eq!(names, expected.into());
    let option = format!("--mysql-userdb={}", server.connection());
    let turnserver = Turnserver::start_with(&["--no-tls", "--no-dtls", &option]);
    for name in ["Bob", "bob"] {
        let login = Login::new(name, PASSWORD);
        let mut client = TurnClient::new(turnserver.address, login).unwrap();
        let allocated = client.allocate();
        allocated.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_server_of_databases_ends_with_who_started_it() {
    for kind in [Kind::Postgres, Kind::Mariadb] {
        // The end of the thread that started it is enough for the kernel.
        let server = std::thread::spawn(move || SqlServer::start(kind));
        let server = server.join().unwrap();
        wait_until("the end of a server", SOON, || !server.is_running());
    }
}
