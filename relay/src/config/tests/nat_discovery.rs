//! `rfc5780` and what belongs to it.

use super::*;

#[test]
fn nat_discovery_is_off_with_everything_that_belongs_to_it() {
    let usage = Setup::new("").load().nat_discovery;
    assert_eq!(usage, NatDiscoveryConfig::default());
    assert!(!usage.enabled && !usage.padding && !usage.response_port);
}

#[test]
fn the_second_port_is_the_first_listeners_plus_one_or_what_is_said() {
    let top = "rfc5780 = true\nlisten = [\"192.0.2.1:5000\", \"192.0.2.2:5000\"]\n";
    let usage = Setup::new(top).load().nat_discovery;
    assert_eq!((usage.first_port, usage.alt_port), (5000, 5001));
    let said = Setup::new(&format!("{top}alt_listening_port = 6000")).load();
    assert_eq!(said.nat_discovery.alt_port, 6000);
}

#[test]
fn two_ports_are_two_ports() {
    let same = Setup::new("rfc5780 = true\nalt_listening_port = 3478");
    assert!(same.errors()[0].contains("rfc5780: has no two ports"));
    let any = Setup::new("rfc5780 = true\nlisten = [\"192.0.2.1:0\"]");
    assert!(any.errors()[0].contains("rfc5780: has no two ports"));
}

#[test]
fn a_port_with_tls_has_a_second_one_where_it_is_said() {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/tests");
    let certificate =
        format!("[tls]\ncertificate = \"{files}/certificate.pem\"\nkey = \"{files}/key.pem\"\n");
    let listen = "listen = [\"192.0.2.1:3478\", \"192.0.2.1:5349\"]\n";
    let with = |line: &str| {
        let text = format!("rfc5780 = true\n{listen}{line}\n{certificate}");
        Setup::new(&text)
    };
    assert_eq!(with("").load().nat_discovery.tls_ports, None);
    let usage = with("alt_tls_listening_port = 5350").load().nat_discovery;
    assert_eq!(usage.tls_ports, Some([5349, 5350]));
    let ports: Vec<_> = usage.ports().collect();
    assert_eq!(ports, [[3478, 3479], [5349, 5350]]);
    for taken in ["3478", "3479", "5349"] {
        let errors = with(&format!("alt_tls_listening_port = {taken}")).errors();
        assert!(
            errors[0].contains("alt_tls_listening_port: needs a port of its own"),
            "{errors:?}"
        );
    }
}
