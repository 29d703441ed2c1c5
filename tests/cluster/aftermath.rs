//! What is left when everything that can happen to a cluster has happened once: the short form of the soak. Tests begin
//! in the order of their names, and this one is the longest.

use std::time::Duration;

use kit::soak::Soak;

#[expect(clippy::print_stderr, reason = "the seed makes it happen again")]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[test]
fn whatever_happens_nothing_is_misrouted_and_nothing_is_left() {
    let seed = std::env::var("SOAK_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let soak = Soak {
        length: Duration::from_secs(45),
        warm_up: Duration::from_secs(8),
        callers: 16,
        seed: seed.unwrap_or_else(rand::random),
    };
    let outcome = soak.run(&tell);
    tell(&outcome.to_string());
    assert!(outcome.findings.is_empty(), "{outcome}");
}
