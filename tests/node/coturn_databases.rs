//! What exists around coturn's databases: scripts for `turnadmin`, files of rows, and both servers on one
//! database.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kit::client::Login;
use kit::cluster::cluster_key;
use kit::coturn::{FOR_UCLIENT, Uclient, UserDb, Way, turnadmin};
use kit::node::{Node, NodeOptions, REALM, stored_login};
use kit::program::{self, Sinks, finish, ours, spawn};
use kit::redis::RedisServer;
use kit::subscriber::Subscriber;
use kit::turnserver::Turnserver;
use kit::wait::{wait_for, wait_until};

use super::coturn_sql::{line_of, page};

/// How soon what another tool wrote takes effect, on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// A script as operators have it. `turnadmin` is whatever the variable says.
const SCRIPT: &str = r#"
set -e
t() { echo "$ $*"; $TURNADMIN "$@" -b "$TURNDB" | grep -v '^0: :' || true; }
R=script.example
t -a -u alice -r $R -p wonderland
t --add --user='bob-b' --realm=$R --password 'x y'
t -auclara -r$R -psecret
t -l -r $R
t -l
t --list --realm $R
t -s a-north-secret-of-16 -r $R
t --set-secret=another-secret-of-16 --realm=$R
t -S -r $R | sort
t --show-secret | sort
t -X a-north-secret-of-16 -r $R
t -S -r $R
t --delete-all-secrets -r $R
t -S -r $R
t -O -o https://a.example:443 -r $R
t --add-origin --origin=http://b.example:8080 --realm=$R
t -I -r $R
t -I
t -R -o https://a.example:443
t -I -r $R
t -g -r $R --max-bps=1000 --total-quota=50 --user-quota=3
t -G -r $R
t -G
t -g -r $R --total-quota 7
t -G -r $R
t -k -u alice -r $R -p wonderland
t --key --user=alice --realm=$R --password=wonderland
t -d -u clara -r $R
t -l -r $R
"#;

/// What the script says with this for `turnadmin`.
fn run_script(turnadmin: &str, turndb: &Path, environment: &[(&str, String)]) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT]);
    command.env("TURNADMIN", turnadmin).env("TURNDB", turndb);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        program::text(&output)
    );
    // What coturn's says of its own log, when it takes its time, is no answer.
    let answers = said
        .lines()
        .filter(|line| !line.contains(": log file opened: "));
    answers.map(|line| format!("{line}\n")).collect()
}

/// Newer releases log to where they answer: `2026-11-22T13:58:52.798+0000 INFO ...`.
fn without_log(said: &str) -> String {
    let is_log = |line: &&str| {
        let mut words = line.split(' ');
        let time = words.next().unwrap_or_default();
        time.starts_with("20") && time.contains('T') && words.next() == Some("INFO")
    };
    let answers = said.split_inclusive('\n').filter(|line| !is_log(line));
    answers.collect()
}

fn socket(node: &Node) -> String {
    format!("unix:{}", node.socket().display())
}

#[test]
fn a_script_for_turnadmin_gets_the_same_answers_from_relayctl() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = without_log(&run_script("turnadmin", &folder.path().join("turndb"), &[]));
    let node = Node::start(NodeOptions::default());
    let relayctl = format!("{} turnadmin", ours("relayctl").display());
    let environment = [
        ("RELAYCTL_CONTEXT", socket(&node)),
        ("RELAYCTL_TURNADMIN_DATABASE", "ignore".to_owned()),
    ];
    let ours = run_script(&relayctl, &folder.path().join("nowhere"), &environment);
    assert_eq!(theirs, ours);
    assert!(
        theirs.contains("bob-b[script.example]") && theirs.contains("0x"),
        "{theirs}"
    );
    // And what it wrote is where Debian's finds it.
    let turndb = UserDb::Sqlite(node.state_dir().join("turndb"));
    let said = turnadmin(&turndb, &["-l", "-r", "script.example"]);
    assert!(
        said.contains("alice[script.example]\nbob-b[script.example]"),
        "{said}"
    );
    assert!(turnadmin(&turndb, &["-G"]).contains("total-quota[script.example]=7"));
    assert!(turnadmin(&turndb, &["-I"]).contains("http://b.example:8080 ==>> script.example"));
}

#[test]
fn turnadmin_says_what_it_does_not_do_and_exit_codes_say_what_happened() {
    let node = Node::start(NodeOptions::default());
    let run = |words: &[&str]| node.ctl().run(&[&["turnadmin"], words].concat());
    for (words, code, said) in [
        (&["-d", "-u", "nobody", "-r", REALM][..], 3, "nobody"),
        (&["-X", "no-such-secret", "-r", REALM], 3, "no such secret"),
        (&["-R", "-o", "https://nowhere.example:443"], 3, "no realm"),
        (
            &["-l", "-b", "/var/lib/turn/turndb"],
            2,
            "RELAYCTL_TURNADMIN_DATABASE",
        ),
        (&["-l", "-N", "ip=127.0.0.1"], 2, "--redis-userdb"),
        (&["-A", "-u", "admin", "-p", "x"], 2, "token create"),
        (&["-L"], 2, "token create"),
        (&["-E", "-f", "key", "-p", "x"], 2, "MySQL"),
        (&["-a", "-u", "alice", "-r", REALM], 2, "-p"),
        // In the configuration file of the node.
        (
            &["-a", "-u", "alice", "-r", REALM, "-p", "x"],
            1,
            "config file",
        ),
        (&["-Z"], 2, "-Z"),
        (&[], 2, "nothing to do"),
    ] {
        let answer = run(words);
        assert_eq!(
            answer.code, code,
            "{words:?}: {}{}",
            answer.stdout, answer.stderr
        );
        assert!(answer.stderr.contains(said), "{words:?}: {}", answer.stderr);
        assert_eq!(answer.stdout, "", "{words:?}");
    }
    assert!(run(&["--help"]).stdout.contains("--delete-all-secrets"));
    // Offline: nobody is there to be asked.
    let nowhere = kit::ctl::Ctl::new(Path::new("/nowhere/relayd.sock"));
    let key = nowhere.run(&[
        "turnadmin",
        "-k",
        "-u",
        "gorst",
        "-r",
        "north.gov",
        "-p",
        "hero",
    ]);
    assert_eq!(
        (key.code, key.stdout.as_str()),
        (0, "0x7da2270ccfa49786e0115366d3a3d14d\n")
    );
    let hash = nowhere.run(&["turnadmin", "-P", "-p", "qwerty"]).stdout;
    assert!(
        hash.starts_with("$5$") && hash.trim_end().len() == 3 + 16 + 1 + 64,
        "{hash}"
    );
    assert_eq!(nowhere.run(&["turnadmin", "-l"]).code, 6);
}

/// Some messages through a server, and back.
#[track_caller]
fn relays(server: SocketAddr, name: &str, password: &str) {
    let uclient = Uclient {
        server,
        login: Login::new(name, password),
        way: Way::Channels,
        clients: 1,
        messages: 5,
        flags: &[],
        peer: None,
    };
    let totals = uclient.run(Duration::from_secs(60));
    assert!(
        totals.sent >= 5 && totals.received == totals.sent,
        "{name}: {}",
        totals.text
    );
}

/// `relayctl turnadmin` adds a user.
fn add(node: &Node, name: &str, password: &str) {
    let words = ["turnadmin", "-a", "-u", name, "-r", REALM, "-p", password];
    let answer = node.ctl().run(&words);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
}

/// A node waits until it has heard of a user that another tool wrote.
fn accepted(node: &Node, name: &str, password: &str) {
    wait_until("a user that another tool wrote", SOON, || {
        node.client(&Login::new(name, password)).allocate().is_ok()
    });
}

#[test]
fn one_turndb_serves_both_servers_at_once() {
    let node = Node::start(NodeOptions {
        top: FOR_UCLIENT.to_owned(),
        ..NodeOptions::default()
    });
    let turndb = node.state_dir().join("turndb");
    let before = node.client(&stored_login()).allocate();
    assert!(before.is_ok());
    let userdb = format!("--userdb={}", turndb.display());
    let turnserver = Turnserver::start_with(&["--no-tls", &userdb]);
    let db = UserDb::Sqlite(turndb);
    turnadmin(&db, &["-a", "-u", "theirs", "-r", REALM, "-p", "tea"]);
    add(&node, "ours", "cake");
    accepted(&node, "theirs", "tea");
    for server in [turnserver.address, node.turn] {
        relays(server, "theirs", "tea");
        relays(server, "ours", "cake");
    }
    assert_eq!(
        node.ctl()
            .items(&["session", "list", "-f", "user=alice"])
            .len(),
        1
    );
}

/// All keys but those of the statistics.
fn keys(redis: &RedisServer) -> Vec<String> {
    let text = redis.cli(&["--scan"]);
    let keys = text.lines().filter(|key| !key.contains("/allocation/"));
    keys.map(str::to_owned).collect()
}

/// How many status keys the call of this test has.
fn status(redis: &RedisServer) -> usize {
    let text = redis.cli(&["--scan", "--pattern", "turn/*/user/alice/*/status"]);
    text.lines().count()
}

#[test]
fn one_redis_serves_both_servers_and_coturns_start_costs_relayd_nothing() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let statsdb = format!("[statsdb]\nurl = \"{}\"\n", redis.url());
    let node = Node::start(NodeOptions {
        redis: Some(redis.url()),
        cluster_key: Some(cluster_key(&folder)),
        top: FOR_UCLIENT.to_owned(),
        end: statsdb,
        ..NodeOptions::default()
    });
    let connection = format!("ip=127.0.0.1 port={} dbname=0", redis.port);
    let db = UserDb::Redis(connection.clone());
    turnadmin(&db, &["-a", "-u", "theirs", "-r", REALM, "-p", "tea"]);
    add(&node, "ours", "cake");
    let key = node
        .ctl()
        .run(&["turnadmin", "-k", "-u", "by-hand", "-r", REALM, "-p", "jam"]);
    let key = key.stdout.trim().trim_start_matches("0x").to_owned();
    redis.cli(&["SET", &format!("turn/realm/{REALM}/user/by-hand/key"), &key]);
    for (name, password) in [("theirs", "tea"), ("ours", "cake"), ("by-hand", "jam")] {
        accepted(&node, name, password);
    }
    let mut call = node.client(&stored_login());
    call.allocate().unwrap();
    wait_until("the status key of the call", SOON, || status(&redis) == 1);
    let before = keys(&redis);
    let subscriber = Subscriber::start(&redis);
    let (userdb, statsdb) = (
        format!("--redis-userdb={connection}"),
        format!("--redis-statsdb={connection}"),
    );
    let turnserver = Turnserver::start_with(&["--no-tls", &userdb, &statsdb]);
    // A starting coturn removes status keys, whosoever; ours come back.
    assert!(call.refresh(600).unwrap() > 0);
    wait_until("the status key again", SOON, || status(&redis) == 1);
    let lost: Vec<_> = {
        let now = keys(&redis);
        before
            .into_iter()
            .filter(|key| !now.contains(key))
            .collect()
    };
    assert_eq!(lost, [""; 0]);
    for server in [turnserver.address, node.turn] {
        relays(server, "theirs", "tea");
        relays(server, "ours", "cake");
        relays(server, "by-hand", "jam");
    }
    assert_eq!(
        node.ctl()
            .items(&["session", "list", "-f", "user=alice"])
            .len(),
        1
    );
    // One listener hears both.
    let channels: Vec<_> = subscriber
        .messages()
        .into_iter()
        .map(|(channel, _)| channel)
        .collect();
    assert!(
        channels
            .iter()
            .filter(|channel| channel.contains("/user/ours/"))
            .count()
            > 10
    );
}

/// Runs a line of the page about coturn in a folder, with this for its database.
fn run_line(folder: &Path, line: &str, turndb: &Path) {
    let line = line.replace("DB", &turndb.display().to_string());
    let mut command = Command::new("sh");
    command.args(["-ec", &line]).current_dir(folder);
    let output = finish(&line, spawn("dash", command, &Sinks::Pipes), SOON * 4);
    assert!(
        output.status.success(),
        "{line}: {}",
        program::text(&output)
    );
}

/// A database with a bit of everything, as coturn's own tools write it.
fn fill(turndb: &Path) {
    let db = UserDb::Sqlite(turndb.to_owned());
    turnadmin(&db, &["-a", "-u", "bob,baker", "-r", REALM, "-p", "bread"]);
    turnadmin(&db, &["-a", "-u", "clara", "-r", REALM, "-p", "wool"]);
    turnadmin(&db, &["-s", "north", "-r", REALM]);
    turnadmin(&db, &["-O", "-o", "https://a.example:443", "-r", REALM]);
    turnadmin(&db, &["-g", "-r", REALM, "--total-quota=70"]);
    for (list, range) in [
        ("allowed", "192.0.2.1-192.0.2.9"),
        ("denied", "198.51.100.7"),
    ] {
        let insert =
            format!("insert into {list}_peer_ip(realm, ip_range) values ('{REALM}', '{range}')");
        let run = Command::new("sqlite3").arg(turndb).arg(insert).status();
        assert!(run.unwrap().success());
    }
}

/// Imports all tables, each of them twice; what was said.
fn import_all(node: &Node, turndb: &Path, folder: &Path) -> String {
    let mut all = String::new();
    let line = line_of("| database | from it", "SQLite");
    for (table, sql) in page("| TABLE | QUERY") {
        let line = line.replace("TABLE", table).replace("QUERY", sql);
        run_line(folder, &line, turndb);
        let file = folder.join(format!("{table}.csv")).display().to_string();
        let import = ["import", table, &file, "-y", "--reason", "migration"];
        let answer = node.ctl().run(&import);
        let (out, err) = (&answer.stdout, &answer.stderr);
        assert_eq!(answer.code, 0, "{table}: {out}{err}");
        let _ = write!(all, "{out}{err}");
        let again = node.ctl().run(&import);
        assert_eq!(again.code, 0, "{table}: {}", again.stderr);
        assert!(
            again.stderr.contains("nothing changes"),
            "{table}: {}",
            again.stderr
        );
    }
    all
}

#[test]
fn everything_in_a_turndb_is_imported_exported_and_imported_again() {
    let folder = tempfile::tempdir().unwrap();
    let turndb = folder.path().join("turndb");
    fill(&turndb);
    let node = Node::start(NodeOptions::default());
    let said = import_all(&node, &turndb, folder.path());
    let db = UserDb::Sqlite(turndb.clone());
    let key = turnadmin(&db, &["-k", "-u", "clara", "-r", REALM, "-p", "wool"]);
    let key = key.lines().find_map(|line| line.trim().strip_prefix("0x"));
    let key = key.expect("a key");
    assert!(!said.contains(key) && !said.contains("north\n"), "{said}");
    for (name, password) in [("bob,baker", "bread"), ("clara", "wool")] {
        node.client(&Login::new(name, password)).allocate().unwrap();
    }
    let rest = Login::rest("4000000000:dora", "north");
    node.client(&rest).allocate().unwrap();
    let realm = node.ctl().json(&["realm", "show", REALM]).to_string();
    for part in [
        "https://a.example",
        "192.0.2.1-192.0.2.9",
        "198.51.100.7",
        "70",
    ] {
        assert!(realm.contains(part), "{part}: {realm}");
    }
    // Into another node, without a difference.
    let exported = node.ctl().run(&["export", "all", "--with-secrets"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    assert!(exported.stdout.contains(key), "{}", exported.stdout);
    let file = folder.path().join("all.jsonl");
    std::fs::write(&file, &exported.stdout).unwrap();
    let other = Node::start(NodeOptions::default());
    let import = ["import", "all", &file.display().to_string(), "-y"];
    let answer = other.ctl().run(&import);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let login = Login::new("clara", "wool");
    other.client(&login).allocate().unwrap();
    let again = other.ctl().run(&["export", "all", "--with-secrets"]);
    assert_eq!(again.stdout, exported.stdout);
    // And back to coturn.
    let words = ["turnadmin", "-a", "-u", "clara", "-r", REALM, "-p", "silk"];
    assert_eq!(node.ctl().run(&words).code, 0);
    let users = node
        .ctl()
        .run(&["export", "users", "--with-secrets", "-o", "csv"]);
    std::fs::write(folder.path().join("users.csv"), &users.stdout).unwrap();
    let line = line_of("| database | back into it", "SQLite");
    run_line(folder.path(), line, &turndb);
    let keys = |file: &Path| {
        let sql = "select realm, name, hmackey from turnusers_lt order by name";
        let file = file.display().to_string();
        let run = program::run("sqlite3", "sqlite3", &[&file, sql], SOON);
        let said = program::text(&run);
        assert!(run.status.success() && !said.is_empty(), "{file}: {said}");
        said
    };
    assert_eq!(keys(&turndb), keys(&node.state_dir().join("turndb")));
    // The trail is written a little after what it tells of.
    let audit = wait_for("the whole trail", SOON, || {
        let audit = node.ctl().json(&["audit"]).to_string();
        let is_whole = audit.contains("realm.reveal") && audit.contains("migration");
        is_whole.then_some(audit)
    });
    assert!(!audit.contains(key), "{audit}");
}
