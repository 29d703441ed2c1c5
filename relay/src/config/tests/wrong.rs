//! One wrong file each: line, key and remedy.

use super::Setup;

/// A wrong file, how its one error starts, and a word of the remedy.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "relay_port = \"1-2\"",
        "relayd.toml:1: relay_port: unknown key",
        "relay_ports",
    ),
    (
        "\nlistening-port = 3478",
        "relayd.toml:2: listening-port: unknown",
        "use listen",
    ),
    (
        "[statsdb]\nurl = \"redis://192.0.2.7/0\"",
        "relayd.toml:2: statsdb.url: speaks plaintext",
        "[statsdb]",
    ),
    (
        "[statsdb]\nurl = \"sqlite\"",
        "relayd.toml:2: statsdb.url: is no store",
        "redis://",
    ),
    (
        "[statsdb]\nusername = \"stats\"",
        "relayd.toml:2: statsdb.username: has no meaning",
        "name the server",
    ),
    (
        "workers = 0",
        "relayd.toml:1: workers: 0 is out",
        "from 1 to 256",
    ),
    (
        "workers = \"two\"",
        "relayd.toml:1: workers: is text",
        "a number from 1",
    ),
    (
        "relay_ports = \"65535-1\"",
        "relayd.toml:1: relay_ports:",
        "first-last",
    ),
    (
        "relay_ports = \"50000-65536\"",
        "relayd.toml:1: relay_ports:",
        "first-last",
    ),
    (
        "node_id = \"a b\"",
        "relayd.toml:1: node_id:",
        "63 characters",
    ),
    (
        "roles = [\"relay\",\n\"boss\"]",
        "relayd.toml:2: roles:",
        "gateway",
    ),
    (
        "listen = [\"localhost\"]",
        "relayd.toml:1: listen:",
        "0.0.0.0:3478",
    ),
    (
        "listen = [\n{ address = \"::1\", addres = 1 }]",
        "relayd.toml:2: listen.addres:",
        "address =",
    ),
    (
        "listen = [{ address = \"::1\", transports = [\"tcp\", \"sctp\"] }]",
        "relayd.toml:1: listen.transports: \"sctp\"",
        "udp, tcp, tls or dtls",
    ),
    (
        "listen = [{ address = \"::1\", transports = [] }]",
        "relayd.toml:1: listen.transports: is empty",
        "remove it",
    ),
    (
        "listen = [{ address = \"::1\", transports = [\"tls\"] }]",
        "relayd.toml:1: listen.transports: tls needs a certificate",
        "[tls]",
    ),
    (
        "listen = [{ address = \"::1\", proxy_from = [\"10.0.0.1\"] }]",
        "relayd.toml:1: listen.proxy_from: works for tcp and tls only",
        "transports = [\"tcp\", \"tls\"]",
    ),
    (
        "[tls]\nkey = \"key.pem\"",
        "relayd.toml:2: tls.certificate: is missing",
        "name the certificate",
    ),
    (
        "[connections]\nmax_per_source = 0",
        "relayd.toml:2: connections.max_per_source: 0 is out",
        "a number from 1",
    ),
    (
        "[connections]\nhandshake_timeout = \"0s\"",
        "relayd.toml:2: connections.handshake_timeout:",
        "a duration from 1s",
    ),
    (
        "relay_addresses = [\"0.0.0.0\"]",
        "relayd.toml:1: relay_addresses:",
        "this machine",
    ),
    (
        "external_ips = [\"1.2.3.4/::1\"]",
        "relayd.toml:1: external_ips:",
        "one family",
    ),
    (
        "external_ips = [\"1.2.3.4\", \"1.2.3.5\"]",
        "relayd.toml:1: external_ips:",
        "PUBLIC/LOCAL",
    ),
    (
        "nonce_lifetime = \"2 weeks\"",
        "relayd.toml:1: nonce_lifetime:",
        "from 1s",
    ),
    (
        "[peers]\ndenied = [\"10.0.0.0/99\"]",
        "relayd.toml:2: peers.denied:",
        "10.0.0.0/8",
    ),
    (
        "[peers]\ndeny = []",
        "relayd.toml:2: peers.deny: unknown",
        "peers.denied",
    ),
    (
        "store = \"redis://x\"",
        "relayd.toml:1: store: is a section",
        "[store]",
    ),
    (
        "[store]\nurl = \"mysql://x\"",
        "relayd.toml:2: store.url:",
        "redis://",
    ),
    (
        "[admin]\nlisten = \"0.0.0.0:5766\"",
        "relayd.toml:2: admin.listen:",
        "tls_certificate",
    ),
    (
        "[admin]\ntls_key = \"/x\"",
        "relayd.toml:2: admin.tls_certificate: is missing",
        "name",
    ),
    (
        "[metrics]\nlisten = \"9641\"",
        "relayd.toml:2: metrics.listen:",
        "\"off\"",
    ),
    (
        "[log]\nlevel = \"loud\"",
        "relayd.toml:2: log.level:",
        "trace",
    ),
    (
        "[log]\nformat = \"xml\"",
        "relayd.toml:2: log.format:",
        "json",
    ),
    (
        "[[realm]]\nmax_sessions = 1",
        "relayd.toml:1: realm.name: is missing",
        "name =",
    ),
    (
        "[[realm]]\nname = \"a/b\"",
        "relayd.toml:2: realm.name:",
        "without '/'",
    ),
    (
        "[[realm]]\nname = \"a\"\nmax_session = 1",
        "relayd.toml:3: realm.max_session:",
        "max_sessions",
    ),
    (
        "[[realm]]\nname = \"a\"\nmax_rate_bps = 1",
        "relayd.toml:3: realm.max_rate_bps:",
        "8000",
    ),
    (
        "[realm]\nname = \"a\"",
        "relayd.toml:1: realm:",
        "[[realm]]",
    ),
    (
        "[[realm]]\nname=\"a\"\n[[realm]]\nname=\"a\"",
        "relayd.toml:4: realm.name:",
        "join",
    ),
    (
        "workers = 1.5",
        "relayd.toml:1: workers: is a number with",
        "a number",
    ),
    (
        "labels = { \"a b\" = \"x\" }",
        "relayd.toml:1: labels.a b:",
        "63 characters",
    ),
];

#[test]
fn every_wrong_setting_names_line_key_and_remedy() {
    for (toml, start, remedy) in WRONG {
        let errors = Setup::new(toml).errors();
        assert!(errors[0].starts_with(start), "{toml}\n{errors:?}");
        assert!(errors[0].contains(remedy), "{toml}\n{errors:?}");
        assert_eq!(errors.len(), 1, "{toml}\n{errors:?}");
    }
}
