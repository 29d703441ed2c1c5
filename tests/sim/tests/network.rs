//! Whole fleets over fair and bad networks, each from a seed that is printed when it fails.

use turn_sim::network::{Report, Weather, run};

/// Names the seed of a run that panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "it plays the run again")]
            {
                eprintln!(
                    "the run of seed {} failed; SIM_SEED={} plays it again",
                    self.0, self.0
                );
            }
        }
    }
}

/// The seeds of a test: the one that `SIM_SEED` names, else the first `count`.
fn seeds(count: u64) -> Vec<u64> {
    let named = std::env::var("SIM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    named.map_or_else(|| (0..count).collect(), |seed| vec![seed])
}

fn play(seed: u64, weather: Weather) -> Report {
    let _named = Seed(seed);
    run(seed, weather)
}

#[test]
fn over_a_fair_network_everything_arrives() {
    for seed in seeds(20) {
        let report = play(seed, Weather::FAIR);
        assert!(
            report.sessions >= 8 && report.sent > 300,
            "seed {seed}: {report:?}"
        );
        // What is under way when a session is released has nowhere to go.
        assert!(
            report.reached + 40 >= report.sent,
            "seed {seed}: {report:?}"
        );
        assert!(
            report.returned + 40 >= report.reached,
            "seed {seed}: {report:?}"
        );
    }
}

#[test]
fn over_a_bad_network_nothing_is_misrouted_and_nothing_leaks() {
    for seed in seeds(60) {
        let report = play(seed, Weather::BAD);
        assert!(
            report.sessions >= 8 && report.returned > 200,
            "seed {seed}: {report:?}"
        );
    }
}

#[test]
fn a_seed_plays_the_same_run_twice() {
    assert_eq!(play(7, Weather::BAD), play(7, Weather::BAD));
}
