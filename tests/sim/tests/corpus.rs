//! The corpora that fuzzers found, replayed; and scripts of random bytes.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use turn_sim::{script, targets};

/// Runs `target` over every file of a corpus.
fn replay(name: &str, least: usize, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut count = 0;
    for file in files {
        let path = file.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        let result = std::panic::catch_unwind(|| target(&bytes));
        assert!(result.is_ok(), "{} fails", path.display());
        count += 1;
    }
    assert!(
        count >= least,
        "only {count} inputs in {}",
        folder.display()
    );
}

#[test]
fn the_server_stands_every_script_of_the_corpus() {
    replay("server", 100, script::run);
}

#[test]
fn the_codec_stands_its_corpus() {
    replay("codec", 20, targets::codec);
}

#[test]
fn the_framing_stands_its_corpus() {
    replay("framing", 20, targets::framing);
}

#[test]
fn access_tokens_stand_their_corpus() {
    replay("token", 5, targets::token);
}

#[test]
fn channel_data_stands_its_corpus() {
    replay("channel_data", 5, targets::channel_data);
}

#[test]
fn the_server_stands_random_scripts() {
    for seed in 0..400 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = vec![0; random.random_range(1..2000)];
        random.fill(&mut bytes[..]);
        let result = std::panic::catch_unwind(|| script::run(&bytes));
        assert!(result.is_ok(), "the script of seed {seed} fails");
    }
}
