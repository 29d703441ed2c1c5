//! The table of rules is whole: every row has its tests, every test exists, no number is missing.

use kit::rules::{breaks, exists, root, table};

/// The sections of the table and how many rows each has.
const SECTIONS: &[(&str, u32)] = &[
    ("RFC 8489", 25),
    ("RFC 8656", 24),
    ("RFC 6062", 14),
    ("RFC 5780", 7),
    ("RFC 8016", 13),
    ("RFC 7635", 7),
    ("Transports", 11),
    ("Published attacks", 18),
    ("Classes of attack", 22),
    ("Survival", 65),
    ("Coming from coturn", 45),
];
/// How many ways to break a rule there are at least.
const MIN_BREAKS: usize = 48;

#[test]
fn no_row_is_missing() {
    let rows = table();
    for &(section, count) in SECTIONS {
        let numbers: Vec<u32> = rows
            .iter()
            .filter(|row| row.section == section)
            .map(|row| row.number)
            .collect();
        assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "{section}");
    }
}

#[test]
fn every_row_names_tests_that_exist_or_says_why_not() {
    let complaints: Vec<String> = table()
        .iter()
        .flat_map(|row| {
            let place = format!("{} {}", row.section, row.number);
            let reason = row
                .text
                .strip_prefix("None: ")
                .is_some_and(|why| why.len() > 20);
            let silent = row.tests.is_empty() && !reason;
            let missing = row.tests.iter().filter(|test| !exists(test));
            let mut found: Vec<_> = missing.map(|test| format!("{place}: no {test}")).collect();
            if silent {
                found.push(format!("{place}: neither a test nor `None: ` and a reason"));
            }
            found
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_way_to_break_a_rule_still_applies() {
    let list = breaks();
    assert!(list.len() >= MIN_BREAKS, "{} ways", list.len());
    let rows = table();
    for one in &list {
        let row = rows
            .iter()
            .find(|row| format!("{} {}", row.section, row.number) == one.rule);
        let row = row.unwrap_or_else(|| panic!("{}: no such rule", one.rule));
        assert!(
            row.tests.contains(&one.test),
            "{}: not a test of that rule: {}",
            one.rule,
            one.test
        );
        let text = std::fs::read_to_string(root().join(&one.file)).unwrap();
        assert_eq!(
            text.matches(&one.old).count(),
            1,
            "{}: {} has not one {:?}",
            one.rule,
            one.file,
            one.old
        );
        assert_ne!(one.old, one.new, "{}", one.rule);
    }
}

#[test]
fn a_test_that_is_not_there_is_found_missing() {
    assert!(exists(
        "tests/tidy/table.rs::a_test_that_is_not_there_is_found_missing"
    ));
    assert!(!exists("tests/tidy/table.rs::nobody_wrote_this"));
    assert!(!exists("tests/tidy/nowhere.rs::no_row_is_missing"));
}
