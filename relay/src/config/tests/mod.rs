//! What configurations mean, and what wrong ones are told.

mod credentials;
mod nat_discovery;
mod overrides;
mod tls;
mod wrong;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// A directory with a configuration file in it.
struct Setup {
    dir: TempDir,
    flags: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Setup {
    fn new(toml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("relayd.toml"), toml).unwrap();
        fs::set_permissions(
            dir.path().join("relayd.toml"),
            fs::Permissions::from_mode(0o600),
        )
        .unwrap();
        let environment = [("HOME".to_owned(), "/home/op".to_owned())].into();
        Self {
            dir,
            flags: Vec::new(),
            environment,
        }
    }

    fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("relayd.toml")
    }

    fn args(&self) -> Args {
        let mut arguments = vec!["relayd".to_owned(), "-c".to_owned()];
        arguments.push(self.file().to_string_lossy().into_owned());
        arguments.extend(self.flags.clone());
        Args::new(arguments, self.environment.clone()).unwrap()
    }

    fn load(&self) -> Config {
        Config::load(&self.args()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn errors(&self) -> Vec<String> {
        let errors = Config::load(&self.args()).unwrap_err();
        let directory = format!("{}/", self.dir.path().display());
        errors
            .as_slice()
            .iter()
            .map(|error| error.to_string().replace(&directory, ""))
            .collect()
    }
}

fn private_file(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_empty_file_is_a_safe_node() {
    let setup = Setup::new("").flag("--state-dir=/srv/relayd");
    let config = setup.load();
    assert_eq!(config.roles, [NodeRole::Relay, NodeRole::Gateway]);
    let addresses: Vec<String> = config
        .listeners
        .iter()
        .map(|l| l.address.to_string())
        .collect();
    assert_eq!(addresses, ["0.0.0.0:3478", "[::]:3478"]);
    assert_eq!(config.relay_ports, 49152..=65535);
    assert!(config.workers >= 1);
    assert_eq!(config.metrics, Some("127.0.0.1:9641".parse().unwrap()));
    assert_eq!(config.admin.socket, Path::new("/srv/relayd/relayd.sock"));
    assert_eq!(config.admin.listen, None);
    let StoreConfig::Sqlite { turndb, db } = config.store else {
        panic!("not SQLite")
    };
    assert_eq!(turndb, Path::new("/srv/relayd/turndb"));
    assert_eq!(db, Path::new("/srv/relayd/relayd.db"));
    // Nobody can allocate: there is no credential that nobody wrote.
    assert_eq!(config.realms.len(), 1);
    assert!(config.realms[0].users.is_empty() && config.realms[0].secrets.is_empty());
    assert_eq!(config.realms[0].document.max_sessions_per_user, Some(12));
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let setup = Setup::new("workers = 2\ncluster = \"file\"\nsoftware = \"file\"\n");
    assert_eq!(
        (setup.load().workers, setup.load().cluster.as_str()),
        (2, "file")
    );
    let setup = setup
        .variable("RELAYD_WORKERS", "3")
        .variable("RELAYD_CLUSTER", "environment");
    assert_eq!(
        (setup.load().workers, setup.load().cluster.as_str()),
        (3, "environment")
    );
    let setup = setup.flag("--workers=4");
    let config = setup.load();
    assert_eq!(
        (config.workers, config.cluster.as_str()),
        (4, "environment")
    );
    assert_eq!(config.software.as_deref(), Some("file"));
    assert_eq!(config.default_realm.as_str(), "relayd");
}

#[test]
fn lists_and_labels_come_from_anywhere() {
    let setup = Setup::new("[labels]\nregion = \"eu\"\n")
        .variable("RELAYD_RELAY_ADDRESSES", "192.0.2.1, 2001:db8::1")
        .flag("--listen=127.0.0.1:0")
        .flag("--listen=127.0.0.1:0")
        .flag("--external-ips=203.0.113.5/10.0.0.5");
    let config = setup.load();
    assert_eq!(config.labels["region"], "eu");
    assert_eq!(config.relay_addresses.len(), 2);
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(
        config.external_ips[0].local,
        Some("10.0.0.5".parse().unwrap())
    );
    let config = setup
        .flag("--labels=region=us")
        .flag("--labels=ring=1")
        .load();
    assert_eq!(config.labels.len(), 2);
    assert_eq!(config.labels["region"], "us");
}

#[test]
fn a_certificate_brings_tls_and_its_port() {
    use Transport::{Dtls, Tcp, Tls, Udp};
    let config = Setup::new("").load();
    assert_eq!(config.listeners[0].transports, [Udp, Tcp]);
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/tests");
    let section =
        format!("[tls]\ncertificate = \"{files}/certificate.pem\"\nkey = \"{files}/key.pem\"\n");
    let config = Setup::new(&section).load();
    let ports: Vec<u16> = config.listeners.iter().map(|l| l.address.port()).collect();
    assert_eq!(ports, [3478, 3478, 5349, 5349]);
    let all = |listener: &ListenerConfig| listener.transports == [Udp, Tcp, Tls, Dtls];
    assert!(config.listeners.iter().all(all));
}

#[test]
fn a_listener_may_name_its_transports_and_proxies() {
    let config = Setup::new(
        "listen = [\"192.0.2.1\", { address = \"192.0.2.1:443\", transports = [\"tcp\"], \
         proxy_from = [\"10.0.0.0/30\", \"10.0.1.1\"] }]",
    )
    .load();
    assert!(config.listeners[0].proxy_from.is_empty());
    assert_eq!(config.listeners[1].transports, [Transport::Tcp]);
    assert_eq!(config.listeners[1].proxy_from.len(), 2);
    let views = settings(&config, &config);
    let listen = views.iter().find(|view| view.key == "listen").unwrap();
    assert_eq!(
        listen.value,
        serde_json::json!(["192.0.2.1:3478", {
            "address": "192.0.2.1:443",
            "transports": ["tcp"],
            "proxy_from": ["10.0.0.0/30", "10.0.1.1"],
        }])
    );
}

#[test]
fn a_gateway_has_no_listeners() {
    let config = Setup::new("").flag("--gateway").load();
    assert_eq!(config.roles, [NodeRole::Gateway]);
    assert!(config.listeners.is_empty());
    let errors = Setup::new("listen = [\"127.0.0.1:3478\"]")
        .flag("--gateway")
        .errors();
    assert!(
        errors[0].starts_with("relayd.toml:1: listen:"),
        "{errors:?}"
    );
}

#[test]
fn realms_carry_documents_users_and_secrets() {
    let config = Setup::new(
        r#"
        [[realm]]
        name = "example.org"
        max_sessions = 100
        max_sessions_per_user = "unlimited"
        max_rate_bps = "2M"
        denied_peers = ["198.51.100.0/24"]
        origins = ["https://app.example.org", "http://localhost:8080"]
        users = [
            { name = "alice", password = "a long password" },
            { name = "bob", key = "0x5b1d0c3f7d7e3c2d7d2f8e6b8a9c0d1e" },
        ]
        secrets = ["0123456789abcdef0123456789abcdef"]
        "#,
    )
    .load();
    assert_eq!(config.default_realm.as_str(), "example.org");
    let [realm] = config.realms.as_slice() else {
        panic!("one realm")
    };
    assert_eq!(realm.document.max_sessions, Some(100));
    assert_eq!(realm.document.max_sessions_per_user, None);
    assert_eq!(realm.document.max_rate_bps, Some(2_000_000));
    let origins = ["https://app.example.org", "http://localhost:8080"];
    assert_eq!(realm.document.origins, origins);
    assert_eq!(realm.users[1].keys.md5.expose()[0], 0x5b);
    assert_eq!(realm.secrets.len(), 1);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn flags_and_variables_are_named_in_errors() {
    let errors = Setup::new("")
        .flag("--relay-ports=1-2")
        .variable("RELAYD_WORKERS", "many")
        .errors();
    assert!(
        errors[0].starts_with("flag --relay-ports: relay_ports:"),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with("environment RELAYD_WORKERS: workers:"),
        "{errors:?}"
    );
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_file() {
    let errors = Setup::new(
        "workers = 0\nrelay_ports = \"x\"\ncolour = \"red\"\n[log]\nformat = \"xml\"\n[[realm]]\nname = \"\"\n",
    )
    .errors();
    let places: Vec<&str> = errors.iter().map(|error| &error[..13]).collect();
    let expected = [1, 2, 3, 5, 7].map(|line| format!("relayd.toml:{line}"));
    assert_eq!(places, expected, "{errors:?}");
}

#[test]
fn syntax_errors_name_their_line_beside_other_errors() {
    let errors = Setup::new("workers = 0\ncluster = \"unclosed\nnode_id = = 1\n").errors();
    assert!(
        errors
            .iter()
            .any(|error| error.starts_with("relayd.toml:1: workers:")),
        "{errors:?}"
    );
    assert!(
        errors
            .iter()
            .any(|error| error.starts_with("relayd.toml:2: TOML:")),
        "{errors:?}"
    );
}

#[test]
fn a_file_that_is_named_and_absent_is_an_error() {
    let setup = Setup::new("");
    fs::remove_file(setup.file()).unwrap();
    assert!(setup.errors()[0].starts_with("relayd.toml: file: cannot be read"));
}

#[test]
fn redis_needs_a_cluster_key_and_says_how_to_make_one() {
    let errors = Setup::new("[store]\nurl = \"redis://127.0.0.1\"").errors();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("cluster_key_file: is missing"),
        "{errors:?}"
    );
    assert!(errors[0].contains("relayd cluster-key"), "{errors:?}");
}

#[test]
fn the_cluster_key_is_checked_for_content_and_mode() {
    let setup = Setup::new("");
    let path = setup.dir.path().join("key");
    let setup = setup.flag(&format!("--cluster-key-file={}", path.display()));
    assert!(
        setup.errors()[0].contains("No such file"),
        "{:?}",
        setup.errors()
    );
    private_file(&path, "hello", 0o600);
    assert!(setup.errors()[0].contains("64 hex digits"));
    let key = cluster_key::generate().unwrap();
    private_file(&path, &key, 0o640);
    let errors = setup.errors();
    assert!(
        errors[0].contains("mode 0640") && errors[0].contains("chmod 600"),
        "{errors:?}"
    );
    assert!(!errors[0].contains(&key));
    private_file(&path, &format!("{key}\n"), 0o400);
    assert!(cluster_key::load_or_create(&setup.load()).is_ok());
}

#[test]
fn a_lone_node_makes_its_cluster_key_once() {
    let setup = Setup::new("");
    let state = setup.dir.path().join("state");
    let config = setup
        .flag(&format!("--state-dir={}", state.display()))
        .load();
    let first = cluster_key::load_or_create(&config).unwrap();
    assert_eq!(cluster_key::load_or_create(&config).unwrap(), first);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state.join("cluster-key")), 0o600);
    assert_eq!(mode(&state), 0o700);
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
}

/// `[store]` with a valid cluster key.
fn redis(store: &str) -> Setup {
    let setup = Setup::new(&format!("[store]\n{store}"));
    let path = setup.dir.path().join("key");
    private_file(&path, &cluster_key::generate().unwrap(), 0o600);
    setup.flag(&format!("--cluster-key-file={}", path.display()))
}

#[test]
fn plaintext_redis_on_another_host_must_be_asked_for() {
    let errors = redis("url = \"redis://10.1.2.3\"").errors();
    assert!(
        errors[0].starts_with("relayd.toml:2: store.url: speaks plaintext"),
        "{errors:?}"
    );
    assert!(errors[0].contains("insecure = true"));
    for store in [
        "url = \"redis://10.1.2.3\"\ninsecure = true",
        "url = \"rediss://10.1.2.3\"",
        "url = \"redis://[::1]:7000\"",
        "url = \"redis://localhost\"",
    ] {
        redis(store).load();
    }
}

#[test]
fn a_redis_cluster_is_named_by_its_servers() {
    let setup =
        redis("url = \"rediss://node@10.0.0.7\"\ncluster = [\"10.0.0.8:7000\", \"[::1]:7001\"]");
    let StoreConfig::Redis(redis_config) = setup.load().store else {
        panic!("not Redis")
    };
    assert_eq!(redis_config.cluster, ["10.0.0.8:7000", "[::1]:7001"]);
    for (store, problem, remedy) in [
        (
            "url = \"redis://localhost/3\"\ncluster = [\"localhost:7000\"]",
            "store.cluster: names a cluster, which has no database but 0",
            "no database in store.url",
        ),
        (
            "url = \"redis://localhost\"\ncluster = [\"localhost:1\"]\nsentinels = [\"localhost:2\"]",
            "store.cluster: and store.sentinels are both set",
            "keep one",
        ),
        (
            "url = \"redis://localhost\"\ncluster = [\"localhost\"]",
            "store.cluster: \"localhost\" is not valid",
            "host:port",
        ),
        (
            "url = \"redis://localhost\"\ncluster = [\"10.0.0.8:7000\"]",
            "store.url: speaks plaintext",
            "insecure = true",
        ),
        (
            "cluster = [\"localhost:7000\"]",
            "store.cluster: has no meaning with SQLite",
            "store.url",
        ),
    ] {
        let errors = redis(store).errors();
        let is_it = |error: &String| error.contains(problem) && error.contains(remedy);
        assert!(errors.iter().any(is_it), "{store}: {errors:?}");
    }
}

#[test]
fn the_redis_password_comes_from_url_file_or_environment() {
    let url = |setup: &Setup| {
        let StoreConfig::Redis(redis) = setup.load().store else {
            panic!("not Redis")
        };
        redis.url.expose().clone()
    };
    let setup = redis("url = \"redis://node:p%40ss@localhost/2\"");
    assert_eq!(url(&setup), "redis://node:p%40ss@localhost:6379/2");
    let setup = redis("url = \"redis://node@localhost\"").variable("RELAYD_STORE_PASSWORD", "a/b");
    assert_eq!(url(&setup), "redis://node:a%2Fb@localhost:6379/0");
    let setup = redis("url = \"redis://localhost\"\nusername = \"n\"");
    let path = setup.dir.path().join("password");
    private_file(&path, "from file\n", 0o600);
    let setup = setup.flag(&format!("--store-password-file={}", path.display()));
    assert_eq!(url(&setup), "redis://n:from%20file@localhost:6379/0");
    private_file(&path, "from file\n", 0o644);
    assert!(setup.errors()[0].contains("mode 0644"));
}

#[test]
fn errors_and_debug_never_show_secrets() {
    let setup = redis("url = \"redis://u:hunter2hunter2@h:x/\"");
    assert!(!setup.errors().concat().contains("hunter2"));
    let setup = redis("url = \"redis://u:hunter2hunter2@localhost\"");
    assert!(!format!("{:?}", setup.load()).contains("hunter2"));
    assert!(!format!("{:?}", setup.args()).contains("hunter2"));
    let setup = Setup::new(
        "[[realm]]\nname = \"a\"\nsecrets = [\"hun ter2\"]\nusers = [{name=\"x\", password=\"hunter2\", key=\"hunter2\"}]",
    );
    let errors = setup.errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(!errors.concat().contains("ter2"));
}

#[test]
fn sample_credentials_are_refused_and_short_ones_warned_about() {
    let realm = |password: &str, secret: &str| {
        Setup::new(&format!(
            "[[realm]]\nname = \"a\"\nusers = [{{ name = \"x\", password = \"{password}\" }}]\nsecrets = [\"{secret}\"]"
        ))
    };
    let errors = realm("changeme", "NORTH").errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0].starts_with("relayd.toml:3: realm.users.password:"),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with("relayd.toml:4: realm.secrets:"),
        "{errors:?}"
    );
    let warnings = realm("hunter2", "short").load().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(!warnings.concat().contains("hunter2"));
}

#[test]
fn unknown_variables_of_ours_are_warned_about() {
    let warnings = Setup::new("")
        .variable("RELAYD_WORKER", "1")
        .load()
        .warnings;
    assert!(warnings[0].contains("RELAYD_WORKER"), "{warnings:?}");
}

#[test]
fn hostile_strings_in_a_file_reach_no_terminal() {
    let errors = Setup::new("\"\\u001b[2J\" = 1\nnode_id = \"\\u001b]0;x\\u0007\"").errors();
    assert_eq!(errors.len(), 2);
    assert!(!errors.concat().contains('\u{1b}'), "{errors:?}");
}

#[test]
fn tasks_come_from_subcommands_and_flags_go_anywhere() {
    let task = |arguments: &[&str]| Args::new(arguments, BTreeMap::new()).unwrap();
    assert_eq!(task(&["relayd"]).task, Task::Run);
    assert_eq!(task(&["relayd", "run", "-c", "x"]).config, Some("x".into()));
    assert_eq!(
        task(&["relayd", "-c", "x", "check-config"]).config,
        Some("x".into())
    );
    assert_eq!(task(&["relayd", "--check-config"]).task, Task::CheckConfig);
    assert_eq!(task(&["relayd", "cluster-key"]).task, Task::ClusterKey);
    assert!(Args::new(["relayd", "--store-password=x"], BTreeMap::new()).is_err());
    assert!(Args::new(["relayd", "--gateway", "--roles=relay"], BTreeMap::new()).is_err());
}

#[test]
fn the_sample_file_is_valid_and_mentions_every_setting() {
    const SAMPLE: &str = include_str!("../../../relayd.toml");
    let config = Setup::new(SAMPLE).load();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let mentions = |key: &str| {
        SAMPLE.lines().any(|line| {
            line.trim_start_matches("# ")
                .starts_with(&format!("{key} ="))
        })
    };
    let names = keys::KEYS
        .iter()
        .map(|key| key.name.rsplit('.').next().unwrap());
    for key in names
        .chain(keys::REALM_KEYS.iter().copied())
        .filter(|key| *key != "labels")
    {
        assert!(mentions(key), "{key}");
    }
}

#[test]
fn lifetimes_of_seconds_are_accepted_and_told_of() {
    let config = Setup::new(
        "nonce_lifetime = 2\npermission_lifetime = 1\nchannel_lifetime = \"2s\"\n\
         reservation_lifetime = 1\nmin_allocate_lifetime = 1\ndefault_allocate_lifetime = 3\n\
         max_allocate_lifetime = 5\nrfc5766_channel_numbers = true\n\
         [[realm]]\nname = \"short\"\n[[realm]]\nname = \"own\"\n\
         default_lifetime_secs = 1\nmax_lifetime_secs = 900\n",
    )
    .load();
    let secs = Duration::from_secs;
    let given = [
        config.nonce_lifetime,
        config.permission_lifetime,
        config.channel_lifetime,
        config.reservation_lifetime,
    ];
    assert_eq!(given, [secs(2), secs(1), secs(2), secs(1)]);
    assert_eq!(config.allocation.min_lifetime, Some(secs(1)));
    assert!(config.allocation.rfc5766_channel_numbers);
    let realms: Vec<_> = config
        .realms
        .iter()
        .map(|realm| {
            let document = &realm.document;
            (document.default_lifetime_secs, document.max_lifetime_secs)
        })
        .collect();
    assert_eq!(realms, [(3, 5), (1, 900)]);
    for key in ["permission", "channel", "reservation", "default_allocate"] {
        let told = |warning: &String| warning.starts_with(&format!("{key}_lifetime: "));
        assert!(
            config.warnings.iter().any(told),
            "{key}: {:?}",
            config.warnings
        );
    }
}

#[test]
fn lifetimes_are_those_of_the_rfc_unless_set() {
    let config = Setup::new("").load();
    let secs = Duration::from_secs;
    assert_eq!(config.permission_lifetime, secs(300));
    assert_eq!(config.channel_lifetime, secs(600));
    assert_eq!(config.reservation_lifetime, secs(30));
    assert_eq!(config.nonce_lifetime, secs(3600));
    assert_eq!(config.allocation, AllocationConfig::default());
    assert_eq!(config.realms[0].document, RealmDocument::default());
    assert_eq!(config.relay_ports, 49152..=65535);
    let about = |warning: &&String| warning.contains("lifetime");
    assert_eq!(config.warnings.iter().find(about), None);
}

#[test]
fn lifetimes_that_contradict_each_other_are_refused() {
    let errors =
        Setup::new("default_allocate_lifetime = 20\nmax_allocate_lifetime = 10\n").errors();
    assert!(
        errors
            .iter()
            .any(|error| error.contains("min <= default <= max")),
        "{errors:?}"
    );
    let errors = Setup::new("min_allocate_lifetime = 700\n").errors();
    assert!(
        errors
            .iter()
            .any(|error| error.contains("min <= default <= max")),
        "{errors:?}"
    );
}
