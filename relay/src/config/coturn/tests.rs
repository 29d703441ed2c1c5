//! Configurations of coturn, and what they come to.

mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::config::{Args, Config, ConfigErrors, cluster_key, settings};

/// What guides begin with: a configuration that starts.
const PLAIN: &str = "realm=north.gov\nuser=alice:wonderland-wonder\n";

/// A file, and a command line around it.
struct Setup {
    folder: TempDir,
    flags: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Setup {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("turnserver.conf"), text).unwrap();
        let state = folder.path().join("state").display().to_string();
        let turndb = folder.path().join("turndb").display().to_string();
        let environment = [("RELAYD_STATE_DIR", state), ("RELAYD_STORE_TURNDB", turndb)];
        Self {
            folder,
            flags: Vec::new(),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        }
    }

    fn flags(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }

    /// The database is the one of the file.
    fn with_store(mut self) -> Self {
        self.environment.remove("RELAYD_STORE_TURNDB");
        self
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("turnserver.conf")
    }

    fn args(&self, file: &std::path::Path) -> Args {
        let mut arguments = vec!["relayd".to_owned(), "-c".to_owned()];
        arguments.push(file.display().to_string());
        arguments.extend(self.flags.clone());
        Args::new(arguments, self.environment.clone()).unwrap()
    }

    fn try_load(&self) -> Result<Config, ConfigErrors> {
        Config::load(&self.args(&self.file()))
    }

    fn load(&self) -> Config {
        self.try_load().unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn errors(&self) -> String {
        self.try_load().unwrap_err().to_string()
    }
}

/// The value of a setting in force; `realm.` stands for the default realm's document.
fn value_of(config: &Config, key: &str) -> Value {
    if let Some(key) = key.strip_prefix("realm.") {
        let realm = config
            .realms
            .iter()
            .find(|realm| realm.name == config.default_realm);
        let realm = realm.unwrap();
        return match key {
            "name" => json!(realm.name),
            "users" => realm.users.iter().map(|user| user.name.clone()).collect(),
            "secrets" => realm
                .secrets
                .iter()
                .map(|secret| secret.expose().clone())
                .collect(),
            _ => serde_json::to_value(&realm.document).unwrap()[key].clone(),
        };
    }
    let all = settings(config, config);
    let view = all.into_iter().find(|setting| setting.key == key);
    view.unwrap_or_else(|| panic!("{key}")).value
}

fn warns(config: &Config, text: &str) -> bool {
    config.warnings.iter().any(|warning| warning.contains(text))
}

fn with(lines: &str) -> Setup {
    Setup::new(&format!("{PLAIN}{lines}\n"))
}

#[test]
fn the_command_line_wins_over_the_file_and_lists_grow() {
    let text = "realm=file\nlistening-ip=192.0.2.1\nuser=alice:from-the-file-1\nno-stun\n";
    let setup = Setup::new(text).flags(&[
        "-r",
        "flag",
        "-L",
        "192.0.2.2",
        "-u",
        "bob:from-the-flag-1",
        "--no-stun=0",
    ]);
    let config = setup.load();
    assert_eq!(value_of(&config, "default_realm"), json!("flag"));
    assert_eq!(
        value_of(&config, "listen"),
        json!(["192.0.2.1:3478", "192.0.2.2:3478"])
    );
    assert_eq!(value_of(&config, "realm.users"), json!(["alice", "bob"]));
    assert_eq!(value_of(&config, "stun"), json!(true));
    let config = with("realm=file\nworkers-nothing=1\n").flags(&["-n", "-u", "a:bcdefghijklm"]);
    assert!(
        config.load().realms[0]
            .users
            .iter()
            .any(|user| user.name == "a")
    );
}

#[test]
fn devices_stand_for_their_addresses() {
    let config = with("listening-device=lo\nrelay-device=lo").load();
    let listen = value_of(&config, "listen").to_string();
    assert!(listen.contains("127.0.0.1:3478"), "{listen}");
    let relays = value_of(&config, "relay_addresses").to_string();
    assert!(relays.contains("127.0.0.1"), "{relays}");
    let errors = with("listening-device=nosuch0").errors();
    assert!(
        errors.contains("write listening-ip=ADDRESS instead"),
        "{errors}"
    );
    let warnings = with("relay-device=nosuch0\nrelay-ip=192.0.2.1")
        .load()
        .warnings;
    let told = |text: &String| text.contains("nosuch0 does not have 192.0.2.1");
    assert!(warnings.iter().any(told), "{warnings:?}");
}

#[test]
fn secrets_on_the_command_line_are_told_of() {
    let text = "every user of this machine sees it";
    let flags = ["-u", "bob:from-the-flag-1"];
    assert!(warns(&with("").flags(&flags).load(), text));
    assert!(!warns(&with("").load(), text));
}

#[test]
fn our_own_flags_and_environment_win_over_both() {
    let mut setup = with("stale-nonce=900\nuser-quota=3").flags(&["--nonce-lifetime=20m"]);
    setup
        .environment
        .insert("RELAYD_LOG_LEVEL".into(), "error".into());
    let config = setup.load();
    assert_eq!(value_of(&config, "nonce_lifetime"), json!("20m"));
    assert_eq!(value_of(&config, "log.level"), json!("error"));
}

#[test]
fn limits_keep_coturns_meaning() {
    let config = with("").load();
    assert_eq!(
        value_of(&config, "realm.max_sessions_per_user"),
        Value::Null
    );
    assert_eq!(value_of(&config, "limits.reach"), json!("node"));
    let config = with("user-quota=0\ntotal-quota=0\nmax-bps=0").load();
    assert_eq!(
        value_of(&config, "realm.max_sessions_per_user"),
        Value::Null
    );
    assert_eq!(value_of(&config, "realm.max_rate_bps"), Value::Null);
}

#[test]
fn an_open_relay_and_open_peers_are_refused_until_said_twice() {
    for open in ["realm=north.gov\n", "realm=north.gov\nno-auth\n"] {
        let errors = Setup::new(open).errors();
        assert!(errors.contains("--accept-open-relay"), "{errors}");
        let twice = Setup::new(open).flags(&["--accept-open-relay"]).load();
        assert!(twice.open_relay && warns(&twice, "open_relay"));
    }
    assert!(!with("no-auth=0").load().open_relay);
    assert!(
        Setup::new("realm=north.gov\nlt-cred-mech\n")
            .try_load()
            .is_ok()
    );
    for line in [
        "allow-loopback-peers",
        "allowed-peer-ip=0.0.0.0-255.255.255.255",
        "allowed-peer-ip=::1",
    ] {
        let errors = with(line).errors();
        assert!(errors.contains("--accept-open-peers"), "{line}: {errors}");
        let config = with(line).flags(&["--accept-open-peers"]).load();
        assert!(!config.peers.allowed.is_empty(), "{line}");
    }
    assert!(
        with("allow-loopback-peers=0")
            .load()
            .peers
            .allowed
            .is_empty()
    );
}

#[test]
fn what_is_weak_starts_with_one_warning_each() {
    let setup =
        Setup::new("realm=north.gov\nuser=test:test\nuser=bob:123456\ncli-password=123456\n");
    let warnings = setup.load().warnings;
    let count = |text: &str| warnings.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count(":2: realm.users.password"), 1, "{warnings:?}");
    assert_eq!(count(":3: realm.users.password"), 1, "{warnings:?}");
    assert_eq!(
        count(":4: the password of administrators"),
        1,
        "{warnings:?}"
    );
    assert_eq!(count("TLS and DTLS are not served"), 1, "{warnings:?}");
}

#[test]
fn users_and_secrets_exclude_each_other() {
    let config = with("use-auth-secret\nstatic-auth-secret=0123456789abcdef0123456789abcdef\nuser=bob:something-long").load();
    let told: Vec<_> = config
        .warnings
        .iter()
        .filter(|line| line.contains("users of the file are refused"))
        .collect();
    assert_eq!(told.len(), 1, "{:?}", config.warnings);
    assert!(told[0].contains("(2): remove them"), "{told:?}");
    assert!(told[0].contains("turnserver.conf:"), "{told:?}");
    assert_eq!(value_of(&config, "realm.users"), json!(["alice", "bob"]));
}

#[test]
fn what_coturn_does_not_look_at_keeps_nobody_from_serving() {
    let secret = "static-auth-secret=0123456789abcdef0123456789abcdef";
    let users = "user=guest:\nuser=eve:0xZZ\nuser=nobody\nuser=bob:something-long";
    let config = with(&format!("{secret}\n{users}")).load();
    let left_out = config
        .warnings
        .iter()
        .filter(|line| line.contains("is no user and left out"));
    assert_eq!(left_out.count(), 3, "{:#?}", config.warnings);
    assert_eq!(value_of(&config, "realm.users"), json!(["alice", "bob"]));
    // An unset variable of a template.
    let config = with("cipher-list=\nalt-tls-listening-port=").load();
    assert_eq!(value_of(&config, "tls.ciphers"), Value::Null);
    let config = with("cipher-list=PROFILE=SYSTEM").load();
    assert_eq!(value_of(&config, "tls.ciphers"), Value::Null);
    assert!(warns(&config, "all of its suites are served"));
}

#[test]
fn the_port_of_administrators_stays_on_this_machine() {
    let config = with("cli-password=open-sesame-42\ncli-ip=192.0.2.1").load();
    assert_eq!(config.admin.listen, None);
    assert!(warns(
        &config,
        "cli-ip: cli-password would cross the network"
    ));
    for password in ["tab\there-and-there", "rings\u{7}the-bell"] {
        let config = with(&format!("cli-password={password}")).load();
        assert_eq!(config.admin.listen, None, "{password:?}");
        assert!(warns(
            &config,
            "which no client can send: the port is not opened"
        ));
        assert!(!config.warnings.iter().any(|line| line.contains(password)));
    }
    let errors = with("cli-password=$5$12$34").errors();
    assert!(
        errors.contains("cli-password: has a salt that is not 16 hex digits"),
        "{errors}"
    );
    assert!(!format!("{:?}", with("cli-password=open-sesame-42").load()).contains("sesame"));
}

#[test]
fn a_database_of_redis_is_taken_by_its_connection_string() {
    let line = "redis-userdb=\"ip=127.0.0.1 dbname=2 user=turn password=hunter2 port=6380 connect_timeout=30\"";
    let config = with(line).with_store().load();
    assert_eq!(
        value_of(&config, "store.url"),
        json!("redis://127.0.0.1:6380/2")
    );
    assert_eq!(value_of(&config, "store.username"), json!("turn"));
    assert!(warns(&config, "makes a key of its own"));
    let config = with("redis-userdb=host=redis.example.org password=x")
        .with_store()
        .load();
    assert_eq!(value_of(&config, "store.insecure"), json!(true));
    let plain: Vec<_> = config
        .warnings
        .iter()
        .filter(|line| line.contains("plain text"))
        .collect();
    assert_eq!(plain.len(), 1, "{:?}", config.warnings);
    let errors = with("redis-userdb=ip=127.0.0.1 pasword=hunter2")
        .with_store()
        .errors();
    assert!(
        errors.contains("redis-userdb: has an unknown key: pasword"),
        "{errors}"
    );
    assert!(!errors.contains("hunter2"), "{errors}");
    let both = "redis-userdb=dbname=1\nredis-statsdb=\"ip=127.0.0.1 dbname=3 password=told\"";
    let config = with(both).with_store().load();
    let [store, statistics] = ["store.url", "statsdb.url"].map(|key| value_of(&config, key));
    assert_eq!(store, json!("redis://127.0.0.1:6379/1"));
    assert_eq!(statistics, json!("redis://127.0.0.1:6379/3"));
}

#[test]
fn a_database_of_sqlite_is_taken_as_it_is() {
    let config = with("userdb=/var/db/turndb").with_store().load();
    assert_eq!(value_of(&config, "store.turndb"), json!("/var/db/turndb"));
}

#[test]
fn what_cannot_be_understood_names_file_line_and_remedy() {
    let errors =
        with("listening-port=many\nlistning-ip=1.2.3.4\nuser=alice\nno-udp=perhaps\nmin-port=99")
            .errors();
    for expected in [
        "turnserver.conf:3: listening-port: is no number in range; write a number from 1 to 65535",
        "turnserver.conf:4: listning-ip: is no option that coturn ever had; did you mean listening-ip?",
        "turnserver.conf:5: user: names no user; write NAME:PASSWORD or NAME:0xKEY",
        "turnserver.conf:6: no-udp: is neither on nor off",
        "turnserver.conf:7: min-port: is no number in range",
    ] {
        assert!(errors.contains(expected), "{expected}:\n{errors}");
    }
}

#[test]
fn options_of_coturn_do_not_stand_beside_our_own_file() {
    let setup = with("");
    let toml = setup.folder.path().join("relayd.toml");
    std::fs::write(&toml, "workers = 1\n").unwrap();
    let arguments = ["relayd", "-v", "-c", &toml.display().to_string()].map(str::to_owned);
    let args = Args::new(arguments, setup.environment.clone()).unwrap();
    let errors = Config::load(&args).unwrap_err().to_string();
    assert!(
        errors.contains("flag -v: verbose: is coturn's") && errors.contains("log.level"),
        "{errors}"
    );
}

/// Configurations of all kinds; what is converted starts and means the same.
#[test]
fn a_converted_file_means_what_the_original_does() {
    let files = ["cloud", "long-term", "minimal", "wide-ports"];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/coturn_conf/configs");
    let read = |name| std::fs::read_to_string(format!("{folder}/{name}.conf")).unwrap();
    let mut texts: Vec<String> = files.map(read).to_vec();
    texts.extend(
        table::HONOURED
            .iter()
            .map(|(lines, ..)| format!("{PLAIN}{lines}\n")),
    );
    let everything = [
        "user-quota=3",
        "total-quota=9",
        "max-bps=1000",
        "bps-capacity=9000",
        "denied-peer-ip=192.0.2.0-192.0.2.255",
        "user=q\"uo\\te:pa\"ss\\word-long",
        "no-tcp-relay",
        "redis-userdb=ip=127.0.0.1 password=a\"b port=6390",
    ];
    texts.push(format!("{PLAIN}{}\n", everything.join("\n")));
    for text in texts {
        let mut setup = Setup::new(&text);
        if text.contains("redis-userdb") {
            setup = setup.with_store();
        }
        let original = setup.load();
        let converted = Config::convert(&setup.args(&setup.file())).unwrap();
        assert!(!setup.folder.path().join("state").exists(), "{text}");
        let mut notes = converted.notes.iter();
        let is_told = notes.any(|line| line.contains("relayd cluster-key"));
        assert_eq!(is_told, original.cluster_key_file.is_some(), "{text}");
        cluster_key::load_or_create(&original).unwrap();
        let toml = setup.folder.path().join("relayd.toml");
        std::fs::write(&toml, &converted.toml).unwrap();
        let again = Config::load(&setup.args(&toml))
            .unwrap_or_else(|errors| panic!("{errors}\n{}", converted.toml));
        let values = |config: &Config| {
            let all = settings(config, config).into_iter();
            all.map(|setting| (setting.key, setting.value))
                .collect::<Vec<_>>()
        };
        assert_eq!(values(&original), values(&again), "{text}");
        assert_eq!(original.realms, again.realms, "{text}");
        assert_eq!(
            (original.store, original.admin),
            (again.store, again.admin),
            "{text}"
        );
        assert_eq!(original.listeners, again.listeners, "{text}");
    }
}

#[test]
fn a_conversion_tells_what_limits_mean_for_a_cluster() {
    let setup = with("user-quota=3\ntotal-quota=100\nbps-capacity=1000\nec-curve-name=P-256");
    let notes = Config::convert(&setup.args(&setup.file())).unwrap().notes;
    for expected in [
        "max_sessions = 100: counts on each node",
        "max_sessions_per_user = 3",
        "limits.max_rate_bps = 8000",
        "ec-curve-name: TLS is rustls",
    ] {
        assert!(
            notes.iter().any(|note| note.contains(expected)),
            "{expected}: {notes:?}"
        );
    }
}
