//! Keys that do not exist: what was probably meant.

use super::coturn;
use super::keys::KEYS;

/// What to write instead of the unknown key `name`, given the keys known at its place.
pub(super) fn remedy_for_unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let plain = name.rsplit('.').next().unwrap_or(name).replace('-', "_");
    let known: Vec<&str> = known.collect();
    if let Some(nearest) = nearest(name, known.iter().copied()) {
        return format!("did you mean {nearest}?");
    }
    if let Some(hint) = coturn::hint(&plain) {
        return hint;
    }
    let elsewhere = KEYS.iter().map(|key| key.name).find(|candidate| {
        candidate
            .rsplit('.')
            .next()
            .is_some_and(|last| is_near(&plain, last))
    });
    match elsewhere {
        Some(key) => format!("did you mean {key}?"),
        None => "remove it; relayd --help lists all settings".to_owned(),
    }
}

/// The name among `known` that `name` is likely a misspelling of.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known.min_by_key(|candidate| distance(name, candidate));
    nearest.filter(|candidate| is_near(name, candidate))
}

/// Whether one is likely a misspelling of the other.
fn is_near(a: &str, b: &str) -> bool {
    distance(a, b) <= (a.len().min(b.len()) / 3).min(3)
}

/// Levenshtein distance, dashes counting as underscores.
fn distance(a: &str, b: &str) -> usize {
    /// Longer keys than this are no misspelling of ours.
    const LONGEST: usize = 64;
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    let plain = |c: u8| {
        if c == b'-' {
            b'_'
        } else {
            c.to_ascii_lowercase()
        }
    };
    let b: Vec<u8> = b.bytes().map(plain).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().map(plain).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(name: &str) -> String {
        remedy_for_unknown(name, KEYS.iter().map(|key| key.name))
    }

    #[test]
    fn misspelt_keys_are_recognised() {
        assert_eq!(remedy("relay_port"), "did you mean relay_ports?");
        assert_eq!(remedy("store.ulr"), "did you mean store.url?");
        assert_eq!(remedy("node-id"), "did you mean node_id?");
        assert_eq!(remedy("url"), "did you mean store.url?");
    }

    #[test]
    fn options_of_coturn_are_translated() {
        assert!(remedy("listening-port").contains("use listen"));
        assert!(remedy("max-bps").contains("bits: times 8"));
        assert!(remedy("static-auth-secret").contains("realm.secrets"));
        assert!(remedy("no-loopback-peers").contains("remove the line"));
        assert!(remedy("psql_userdb").contains("relayctl import"));
    }

    #[test]
    fn nonsense_gets_no_false_hint() {
        assert!(remedy("frobnicate_everything").starts_with("remove it"));
        assert!(remedy(&"x".repeat(5000)).starts_with("remove it"));
    }
}
