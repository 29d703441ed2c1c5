//! Instructions of single steps of the data plane, held against what is recorded.
//!
//! Times on a shared machine say little; instructions repeat to within a percent, so that one allocation
//! or hash too many per packet is found. `turn-proto` and `turn-udp` are optimised in test builds for this
//! (the worker around them is not, so a turn's own share is larger than it is in a release).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kit::program::{Sinks, finish, ours, spawn, text};

/// Set to anything, it has the test write down what it counts.
const RECORD: &str = "RECORD_INSTRUCTIONS";
/// What is recorded.
const RECORDED: &str = "speed/instructions.toml";
/// By how much a count may differ, in percent. The seeds of hash tables make less than one; the rest is for
/// other libraries of C, and for what the compiler inlines in one folder and not in another (7 % were seen).
const TOLERANCE: u64 = 8;
/// How long all steps may take under a simulated processor.
const PATIENCE: Duration = Duration::from_secs(600);

/// Instructions by step.
type Counts = BTreeMap<String, u64>;

#[test]
fn every_step_takes_as_many_instructions_as_recorded() {
    let counted = count();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDED);
    if std::env::var_os(RECORD).is_some() {
        fs::write(&file, written(&counted)).unwrap();
    }
    let recorded = read(&fs::read_to_string(&file).unwrap());
    let differences = differences(&recorded, &counted);
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn a_step_that_costs_more_or_less_or_is_missing_is_told() {
    let counts = |steps: &[(&str, u64)]| -> Counts {
        let owned = steps
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        owned.collect()
    };
    let recorded = counts(&[("read", 1_000), ("send", 500)]);
    assert_eq!(read(&written(&recorded)), recorded);
    let about = counts(&[("read", 1_079), ("send", 461)]);
    assert!(differences(&recorded, &about).is_empty());
    for (read, send, word) in [(1_090, 500, "regression"), (1_000, 450, "improvement")] {
        let found = differences(&recorded, &counts(&[("read", read), ("send", send)]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(word) && found[0].contains(RECORD));
    }
    assert_eq!(differences(&recorded, &counts(&[("read", 1_000)])).len(), 1);
    assert_eq!(differences(&counts(&[("send", 500)]), &recorded).len(), 1);
}

/// What is wrong, one sentence per step.
fn differences(recorded: &Counts, counted: &Counts) -> Vec<String> {
    let again = format!(
        "if that is meant, record it: {RECORD}=1 cargo test --workspace --test speed instructions"
    );
    let names: std::collections::BTreeSet<_> = recorded.keys().chain(counted.keys()).collect();
    let complaint = |name: &String| match (recorded.get(name), counted.get(name)) {
        (Some(&before), Some(&now)) => {
            let percent = now as f64 / before as f64 * 100.0 - 100.0;
            let word = match percent {
                _ if before.abs_diff(now) * 100 <= before * TOLERANCE => return None,
                more if more > 0.0 => "a regression",
                _ => "an improvement",
            };
            Some(format!(
                "{name}: {now} instructions, {before} recorded: {word} of {:.0} %; {again}",
                percent.abs()
            ))
        }
        (None, Some(now)) => Some(format!(
            "{name}: {now} instructions, none recorded; {again}"
        )),
        _ => Some(format!("{name}: recorded, but no step any more; {again}")),
    };
    names.into_iter().filter_map(complaint).collect()
}

/// Counts the instructions of one repetition of every step.
fn count() -> Counts {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile");
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        // Only what is inside `counted`, and a file for each step.
        .args(["--collect-atstart=no", "--toggle-collect=*counted*"])
        .args(["--dump-after=*step_is_over*", "--dump-instr=no"])
        .arg(ours("count-steps"))
        // Nothing of the caller's: a node would read its settings from there.
        .env_clear();
    let output = finish(
        "count-steps",
        spawn("valgrind", command, &Sinks::Pipes),
        PATIENCE,
    );
    assert!(output.status.success(), "{}", text(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let counts: Counts = lines
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let (times, name) = line.split_once(' ').expect("a number and a name");
            let total = total(&numbered(&profile, index + 1));
            (name.to_owned(), total / times.parse::<u64>().unwrap())
        })
        .collect();
    assert!(counts.len() > 10, "{counts:?}");
    assert!(counts.values().all(|count| *count > 10), "{counts:?}");
    counts
}

/// The file of the step with that number, from 1.
fn numbered(profile: &Path, step: usize) -> PathBuf {
    profile.with_extension(step.to_string())
}

/// All instructions of a profile.
fn total(profile: &Path) -> u64 {
    let text = fs::read_to_string(profile).unwrap();
    let mut totals = text
        .lines()
        .filter_map(|line| line.strip_prefix("totals: "));
    totals.next().expect("a total").trim().parse().unwrap()
}

fn read(text: &str) -> Counts {
    let table: toml::Table = text.parse().unwrap();
    let number = |value: &toml::Value| u64::try_from(value.as_integer().unwrap()).unwrap();
    let counts = table
        .iter()
        .map(|(name, value)| (name.clone(), number(value)));
    counts.collect()
}

fn written(counts: &Counts) -> String {
    let mut text = format!(
        "# Instructions of one repetition of each step of tests/steps, in a test build.\n\
         # Written by: {RECORD}=1 cargo test --workspace --test speed instructions\n\n"
    );
    for (name, count) in counts {
        text.push_str(&format!("{name:?} = {count}\n"));
    }
    text
}
