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
