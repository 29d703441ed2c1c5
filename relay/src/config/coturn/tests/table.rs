//! What each option comes to: coturn's whole list.

use serde_json::Value;

use super::{value_of, warns, with};
use crate::config::coturn::options::{self, Outcome, Takes};

/// Options that are honoured: the lines, the setting, its value as JSON.
#[rustfmt::skip]
pub(super) const HONOURED: &[(&str, &str, &str)] = &[
    ("listening-device=lo\nlistening-ip=127.0.0.1", "listen", r#"["127.0.0.1:3478"]"#),
    ("listening-ip=192.0.2.1\nlistening-port=3480", "listen", r#"["192.0.2.1:3480"]"#),
    ("listening-ip=192.0.2.1\nlistening-ip=2001:db8::1", "listen", r#"["192.0.2.1:3478", "[2001:db8::1]:3478"]"#),
    ("listening-ip=192.0.2.1\naux-server=192.0.2.2:99", "listen", r#"["192.0.2.1:3478", "192.0.2.2:99"]"#),
    ("listening-ip=192.0.2.1\nno-udp", "listen", r#"[{"address": "192.0.2.1:3478", "transports": ["tcp"]}]"#),
    ("listening-ip=192.0.2.1\nno-tcp", "listen", r#"[{"address": "192.0.2.1:3478", "transports": ["udp"]}]"#),
    ("listening-ip=192.0.2.1\nno-udp\ntcp-proxy-port=90", "listen",
        r#"[{"address": "192.0.2.1:90", "transports": ["tcp"], "proxy_from": ["0.0.0.0/0"]}]"#),
    ("rfc5780\nalt-listening-port=3555", "alt_listening_port", "3555"),
    ("rfc5780", "rfc5780", "true"),
    ("cpus=1", "workers", "1"),
    ("relay-threads=1", "workers", "1"),
    ("relay-device=lo\nrelay-ip=127.0.0.1", "relay_addresses", r#"["127.0.0.1"]"#),
    ("relay-ip=192.0.2.1", "relay_addresses", r#"["192.0.2.1"]"#),
    ("external-ip=198.51.100.1/192.0.2.1\nexternal-ip=198.51.100.2/192.0.2.2", "external_ips",
        r#"["198.51.100.1/192.0.2.1", "198.51.100.2/192.0.2.2"]"#),
    ("external-ip=198.51.100.1", "external_ips", r#"["198.51.100.1"]"#),
    ("min-port=50001\nmax-port=50009", "relay_ports", r#""50001-50009""#),
    ("min-port=50001", "relay_ports", r#""50001-65535""#),
    ("max-port=50009", "relay_ports", r#""49152-50009""#),
    ("no-tcp-relay", "tcp_relay", "false"),
    ("no-udp-relay", "udp_relay", "false"),
    ("fingerprint", "fingerprint", "true"),
    ("cipher-list=ECDHE-RSA-AES256-GCM-SHA384:AES256-SHA", "tls.ciphers", r#"["ECDHE-RSA-AES256-GCM-SHA384"]"#),
    ("max-allocate-lifetime=1800", "max_allocate_lifetime", r#""30m""#),
    ("channel-lifetime=700", "channel_lifetime", r#""700s""#),
    ("permission-lifetime=400", "permission_lifetime", r#""400s""#),
    ("max-allocate-timeout=50", "connections.max_allocate_timeout", r#""50s""#),
    ("rfc5766-channel-numbers=0", "rfc5766_channel_numbers", "false"),
    ("mobility", "mobility", "true"),
    ("user=bob:0x7da2270ccfa49786e0115366d3a3d14d", "realm.users", r#"["alice", "bob"]"#),
    ("realm=south.gov", "default_realm", r#""south.gov""#),
    ("use-auth-secret\nstatic-auth-secret=0123456789abcdef0123456789abcdef", "credentials", r#""secrets""#),
    ("use-auth-secret", "credentials", r#""secrets""#),
    ("lt-cred-mech", "credentials", r#""users""#),
    ("static-auth-secret=0123456789abcdef\nstatic-auth-secret=fedcba9876543210", "realm.secrets",
        r#"["0123456789abcdef", "fedcba9876543210"]"#),
    ("rest-api-separator=|", "realm.rest_separator", r#""|""#),
    ("server-name=turn.north.gov", "server_name", r#""turn.north.gov""#),
    ("oauth", "oauth", "true"),
    ("stale-nonce=900", "nonce_lifetime", r#""15m""#),
    ("stale-nonce", "nonce_lifetime", r#""10m""#),
    ("unauthorized-ratelimit", "limits.unauthorized_ratelimit_rps", "10"),
    ("unauthorized-ratelimit\nunauthorized-ratelimit-rps=25", "limits.unauthorized_ratelimit_rps", "25"),
    ("user-quota=3", "realm.max_sessions_per_user", "3"),
    ("total-quota=100", "realm.max_sessions", "100"),
    ("max-bps=64000", "realm.max_rate_bps", "512000"),
    ("max-bps=64000\nbps-capacity=1000000", "limits.max_rate_bps", r#""8000000""#),
    ("max-bps=64000\nbps-capacity=128000\ntotal-quota=9", "realm.max_sessions", "2"),
    ("no-dynamic-realms", "origin_realms", "false"),
    ("verbose", "log.level", r#""debug""#),
    ("Verbose", "log.level", r#""debug""#),
    ("log-min-level=warning", "log.level", r#""warn""#),
    ("log-file=/var/log/turn.log", "log.output", r#""/var/log/turn.log""#),
    ("log-file=stdout", "log.output", r#""stdout""#),
    ("log-file=/var/log/turn.log\nsyslog", "log.output", r#""syslog""#),
    ("syslog\nsyslog-facility=LOG_LOCAL3", "log.syslog_facility", r#""local3""#),
    ("stun-only", "turn", "false"),
    ("no-stun", "stun", "false"),
    ("software-attribute", "software", r#""relayd""#),
    ("denied-peer-ip=10.0.0.0-10.255.255.255\ndenied-peer-ip=192.0.2.1", "peers.denied", r#"["10.0.0.0/8", "192.0.2.1"]"#),
    ("allowed-peer-ip=10.0.0.1", "peers.allowed", r#"["10.0.0.1"]"#),
    ("allowed-peer-ip=223.0.0.0-239.255.255.255\nno-multicast-peers", "peers.allowed", r#"["223.0.0.0/8"]"#),
    ("prometheus", "metrics.listen", r#""0.0.0.0:9641""#),
    ("prometheus\nprometheus-port=9999\nprometheus-address=127.0.0.1", "metrics.listen", r#""127.0.0.1:9999""#),
    ("cli-password=open-sesame-42", "admin.listen", r#""127.0.0.1:5766""#),
    ("cli-password=open-sesame-42\ncli-ip=127.0.0.2\ncli-port=5767", "admin.listen", r#""127.0.0.2:5767""#),
    ("cli-password=open-sesame-42\nno-cli", "admin.listen", "null"),
    ("daemon", "detach", "true"),
    ("daemon", "pid_file", r#""/var/run/turnserver.pid""#),
    ("pidfile=\"/run/turn.pid\"", "pid_file", r#""/run/turn.pid""#),
    ("proc-user=turnserver", "proc_user", r#""turnserver""#),
    ("proc-group=turnserver", "proc_group", r#""turnserver""#),
];

/// Honoured options that tests of their own show.
const ELSEWHERE: &[&str] = &[
    "tls-listening-port",
    "alt-tls-listening-port",
    "no-tls",
    "no-dtls",
    "cert",
    "pkey",
    "userdb",
    "redis-userdb",
    "redis-statsdb",
    "allow-loopback-peers",
    "no-auth",
];

#[test]
fn every_option_that_is_honoured_becomes_its_setting() {
    let mut seen: Vec<&str> = ELSEWHERE.to_vec();
    for (lines, key, expected) in HONOURED {
        let config = with(lines).load();
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(value_of(&config, key), expected, "{lines}");
        for line in lines.lines() {
            let name = line.split('=').next().unwrap();
            let option = options::find(name).unwrap();
            assert!(matches!(option.outcome, Outcome::Honoured(_)), "{name}");
            seen.push(option.name);
        }
    }
    let honoured = options::all().filter(|option| matches!(option.outcome, Outcome::Honoured(_)));
    let missing: Vec<_> = honoured
        .map(|option| option.name)
        .filter(|name| !seen.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_option_is_taken_from_the_command_line_too() {
    for option in options::all().filter(|option| option.outcome.kind() != "honoured") {
        let flag = format!("--{}", option.name);
        let value = if option.takes == Takes::Value {
            "1"
        } else {
            "on"
        };
        let setup = with("").flags(&[&format!("{flag}={value}")]);
        let told = format!("flag {flag}: {}", option.name);
        let what = option.outcome.text();
        match option.outcome {
            Outcome::Honoured(_) => {}
            Outcome::ByDefault(_) => {
                let warnings = setup.load().warnings;
                assert!(
                    warnings.iter().all(|line| !line.starts_with(&told)),
                    "{warnings:?}"
                );
            }
            Outcome::Message(_) => {
                let warnings = setup.load().warnings;
                let told = format!("{told}: {what}");
                assert!(warnings.contains(&told), "{told}: {warnings:?}");
            }
            Outcome::Refused(_) => {
                let errors = setup.errors();
                assert!(errors.contains(&told) && errors.contains(what), "{errors}");
            }
        }
    }
}

#[test]
fn every_common_option_is_honoured_or_says_why_not() {
    let works = |outcome| matches!(outcome, Outcome::Honoured(_) | Outcome::ByDefault(_));
    let mut common = options::all().filter(|option| option.is_common());
    let excused = common.find(|option| !works(option.outcome));
    assert_eq!(excused.map(|option| option.name), None);
}

#[test]
fn settings_that_are_named_exist() {
    for option in options::all() {
        let Outcome::Honoured(keys) = option.outcome else {
            continue;
        };
        let keys = keys.split(" (").next().unwrap();
        let keys = keys.split(": ").next().unwrap();
        for key in keys.split(", ") {
            let is_known = match key.strip_prefix("realm.") {
                Some(key) => crate::config::keys::REALM_KEYS.contains(&key),
                None => crate::config::keys::find(key).is_some(),
            };
            assert!(is_known, "{}: {key}", option.name);
        }
    }
}

#[test]
fn what_cannot_be_switched_off_says_so() {
    let told = |line: &str| warns(&with(line).load(), "switching it off has no effect");
    assert!(told("no-loopback-peers=0") && told("simple-log=off"));
    assert!(!told("no-loopback-peers") && !told("no-tcp-relay=0") && !told("dtls=0"));
}

#[test]
fn names_and_letters_are_given_once() {
    let mut names: Vec<_> = options::all().map(|option| option.name).collect();
    let mut letters: Vec<_> = options::all().filter_map(|option| option.short).collect();
    let (all_names, all_letters) = (names.len(), letters.len());
    names.sort_unstable();
    names.dedup();
    letters.sort_unstable();
    letters.dedup();
    assert_eq!((names.len(), letters.len()), (all_names, all_letters));
}
