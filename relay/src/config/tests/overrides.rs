//! Overrides of the store between the other layers.

use serde_json::{Value, json};
use shared::api::{Applies, SettingSource, SettingView};

use super::*;

fn overrides(cluster: Value, node: Value) -> Overrides {
    let layer = |value: Value| OverrideLayer {
        revision: 1,
        settings: serde_json::from_value(value).unwrap(),
    };
    Overrides {
        cluster: layer(cluster),
        node: layer(node),
    }
}

fn find<'a>(settings: &'a [SettingView], key: &str) -> &'a SettingView {
    settings.iter().find(|setting| setting.key == key).unwrap()
}

#[test]
fn each_layer_wins_over_the_weaker_ones() {
    let setup = Setup::new("cluster = \"file\"\nsoftware = \"file\"\n[log]\nlevel = \"warn\"\n")
        .variable("RELAYD_PEERS_DENIED", "192.0.2.0/24")
        .flag("--nonce-lifetime=2h");
    let all = json!({
        "software": "all", "log.level": "debug", "peers.denied": ["10.0.0.0/8"],
        "nonce_lifetime": "5m", "channel_lifetime": 900, "labels": {"ring": "1"},
    });
    let config = setup.load();
    let config = config
        .with_overrides(&overrides(all, json!({"log.level": "trace"})))
        .unwrap();
    let settings = settings(&config, &config);
    let shown = |key| {
        let setting = find(&settings, key);
        (setting.value.clone(), setting.source)
    };
    use SettingSource::{Cluster, Default, Environment, File, Flag, Node};
    assert_eq!(shown("cluster"), (json!("file"), File));
    assert_eq!(shown("software"), (json!("all"), Cluster));
    assert_eq!(shown("log.level"), (json!("trace"), Node));
    assert_eq!(
        shown("peers.denied"),
        (json!(["192.0.2.0/24"]), Environment)
    );
    assert_eq!(shown("nonce_lifetime"), (json!("2h"), Flag));
    assert_eq!(shown("channel_lifetime"), (json!("15m"), Cluster));
    assert_eq!(shown("labels"), (json!({"ring": "1"}), Cluster));
    assert_eq!(shown("permission_lifetime"), (json!("5m"), Default));
    let level = find(&settings, "log.level");
    assert_eq!(
        (&level.default, level.applies),
        (&json!("info"), Applies::Live)
    );
}

#[test]
fn every_setting_is_shown_with_help_and_no_secret() {
    let setup = Setup::new(
        "cluster_key_file = \"KEY\"\n[store]\nurl = \"redis://op:hush@127.0.0.1:7000/3\"\n",
    );
    let key = setup.dir.path().join("key");
    private_file(&key, &"ab".repeat(32), 0o600);
    let text = fs::read_to_string(setup.file()).unwrap();
    fs::write(setup.file(), text.replace("KEY", &key.to_string_lossy())).unwrap();
    let setup = setup.variable("RELAYD_STORE_PASSWORD", "hush-too");
    let config = setup.load();
    let settings = settings(&config, &config);
    assert_eq!(settings.len(), keys::KEYS.len());
    let text = serde_json::to_string(&settings).unwrap();
    assert!(!text.contains("hush"), "{text}");
    let password = find(&settings, "store.password");
    assert!(password.secret && password.value.is_null() && password.pending.is_none());
    assert_eq!(password.source, SettingSource::Environment);
    let url = find(&settings, "store.url");
    assert_eq!(url.value, json!("redis://127.0.0.1:7000/3"));
    assert_eq!(
        (&url.default, url.applies),
        (&json!("sqlite"), Applies::File)
    );
    for setting in &settings {
        assert!(
            !setting.help.is_empty() && setting.pending.is_none(),
            "{setting:?}"
        );
    }
    let debug = format!("{config:?}");
    assert!(!debug.contains("hush"), "{debug}");
}

#[test]
fn the_statistics_database_is_off_unless_it_is_named_and_shown_without_its_password() {
    let off = Setup::new("").load();
    assert_eq!(off.statsdb, None);
    let on = Setup::new("[statsdb]\nurl = \"redis://op:hush@127.0.0.1:7000/3\"\n");
    let on = on.variable("RELAYD_STATSDB_PASSWORD", "hush-too").load();
    let redis = on.statsdb.clone().unwrap();
    assert_eq!(
        (redis.host.as_str(), redis.port, redis.database),
        ("127.0.0.1", 7000, 3)
    );
    assert_eq!(redis.username.as_deref(), Some("op"));
    let password = redis.password.map(|password| password.expose().clone());
    assert_eq!(password.as_deref(), Some("hush-too"));
    let settings = settings(&on, &on);
    assert_eq!(
        find(&settings, "statsdb.url").value,
        json!("redis://127.0.0.1:7000/3")
    );
    let password = find(&settings, "statsdb.password");
    assert!(password.secret && password.value.is_null());
    let text = format!("{}{on:?}", serde_json::to_string(&settings).unwrap());
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn what_waits_for_a_restart_is_shown_as_pending() {
    let started = Setup::new("workers = 2\n").load();
    let wanted = overrides(json!({"workers": 3, "software": "x"}), json!({}));
    let loaded = started.with_overrides(&wanted).unwrap();
    let settings = settings(&started, &loaded);
    let workers = find(&settings, "workers");
    assert_eq!(
        (&workers.value, workers.source),
        (&json!(2), SettingSource::File)
    );
    assert_eq!(workers.pending, Some(json!(3)));
    let software = find(&settings, "software");
    assert_eq!((&software.value, &software.pending), (&json!("x"), &None));
    assert_eq!(changed(&started, &loaded, &[Applies::Live]), ["software"]);
    assert_eq!(changed(&started, &loaded, &[Applies::Restart]), ["workers"]);
}

#[test]
fn a_bad_override_is_named_with_its_remedy_and_scope() {
    let config = Setup::new("").load();
    let errors = |cluster, node| {
        let result = config.with_overrides(&overrides(cluster, node));
        result.unwrap_err().to_string()
    };
    let text = errors(json!({"log.level": "loud"}), json!({}));
    assert!(
        text.starts_with("override for all nodes: log.level:"),
        "{text}"
    );
    assert!(text.contains("write error, warn"), "{text}");
    let text = errors(json!({}), json!({"workers": 0, "relay_ports": "9-1"}));
    assert!(
        text.contains("override for this node: workers: 0 is out of range"),
        "{text}"
    );
    assert!(text.contains("relay_ports"), "{text}");
    let text = errors(
        json!({"labels": [1], "peers.denied": {"a": 1.5}}),
        json!({}),
    );
    assert!(
        text.contains("labels: is a list") && text.contains("peers.denied"),
        "{text}"
    );
}

#[test]
fn faults_of_the_surroundings_are_not_blamed_on_overrides() {
    let setup = Setup::new("cluster_key_file = \"KEY\"\n");
    let key = setup.dir.path().join("key");
    private_file(&key, &"ab".repeat(32), 0o600);
    let text = fs::read_to_string(setup.file()).unwrap();
    fs::write(setup.file(), text.replace("KEY", &key.to_string_lossy())).unwrap();
    let config = setup.load();
    fs::remove_file(&key).unwrap();
    let wanted = overrides(json!({"log.level": "debug"}), json!({}));
    assert_eq!(config.with_overrides(&wanted).unwrap().log.level, "debug");
    let wanted = overrides(json!({"log.level": "loud"}), json!({}));
    let errors = config.with_overrides(&wanted).unwrap_err();
    assert_eq!(errors.as_slice().len(), 1, "{errors}");
}

#[test]
fn what_the_store_cannot_override_stays_whatever_it_says() {
    let config = Setup::new("").flag("--state-dir=/s").load();
    let hostile = json!({
        "admin.listen": "0.0.0.0:1", "roles": ["relay"], "state_dir": "/elsewhere",
        "store.url": "redis://attacker", "no.such.setting": 1,
    });
    let after = config
        .with_overrides(&overrides(hostile, json!({})))
        .unwrap();
    assert_eq!((after.admin.listen, after.is_gateway()), (None, true));
    assert_eq!(after.state_dir, Path::new("/s"));
    assert!(matches!(after.store, StoreConfig::Sqlite { .. }));
}

#[test]
fn values_are_taken_as_text_too_and_misspelt_keys_are_recognised() {
    let value = |name: &str, value| override_value(name, &value);
    assert_eq!(value("workers", json!("4")), Ok(json!(4)));
    assert_eq!(
        value("peers.denied", json!("10.0.0.0/8, fc00::/7")),
        Ok(json!(["10.0.0.0/8", "fc00::/7"]))
    );
    assert_eq!(
        value("labels", json!("a=1,b=2")),
        Ok(json!({"a": "1", "b": "2"}))
    );
    assert_eq!(value("peers.denied", json!("")), Ok(json!([])));
    let refused = |name: &str| value(name, json!("x")).unwrap_err();
    assert!(refused("log.levle").contains("did you mean log.level?"));
    assert!(refused("admin.listen").contains("the file"));
    assert!(refused("\u{1b}[2J").find('\u{1b}').is_none());
    assert!(value("workers", Value::Null).unwrap_err().contains("unset"));
}
