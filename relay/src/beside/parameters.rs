//! What `pc` prints: the switches and limits that `tc` and `cc` change, and what else is of use.

use std::collections::BTreeMap;

/// By this line the answer is known to be whole.
pub(super) const LAST: &str = "  (Note 2";

/// Whether time-limited usernames are taken.
const REST: &str = "TURN REST API support";
/// What stands in them.
const REST_SEPARATOR: &str = "TURN REST API separator ASCII number";
/// The realm of clients that name none.
const DEFAULT_REALM: &str = "Default realm";

/// A switch of `tc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Switch {
    /// coturn's name.
    pub(super) name: &'static str,
    /// The name of 4.6 and before, where it says the opposite.
    pub(super) opposite: Option<&'static str>,
}

/// All switches, as 4.18 names them.
pub(super) const SWITCHES: [Switch; 8] = [
    switch("stun-only"),
    switch("no-stun"),
    switch("secure-stun"),
    switch("no-udp-relay"),
    switch("no-tcp-relay"),
    switch("no-multicast-peers"),
    Switch {
        name: "allow-loopback-peers",
        opposite: Some("no-loopback-peers"),
    },
    switch("mobility"),
];

/// The limits of `cc`, with the labels that `pc` has for them.
pub(super) const LIMITS: [(&str, &str); 4] = [
    ("total-quota", "Default total-quota"),
    ("user-quota", "Default user-quota"),
    ("max-bps", "Default max-bps"),
    ("bps-capacity", "Total server bps-capacity"),
];

/// coturn prints more, and something else might print without end.
fn is_of_use(name: &str) -> bool {
    let is_switch = |switch: &Switch| switch.name == name || switch.opposite == Some(name);
    SWITCHES.iter().any(is_switch)
        || LIMITS.iter().any(|(_, label)| *label == name)
        || [REST, REST_SEPARATOR, DEFAULT_REALM].contains(&name)
}

const fn switch(name: &'static str) -> Switch {
    Switch {
        name,
        opposite: None,
    }
}

/// What `pc` said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Takes the next line: `  mobility: OFF (*)`.
    pub(super) fn line(&mut self, line: &str) {
        let Some((name, value)) = line.trim().split_once(": ") else {
            return;
        };
        if !is_of_use(name) {
            return;
        }
        let value = value.trim_end_matches(" (*)").trim_end_matches(" (**)");
        // Of what there are several the first is as good as any.
        self.0
            .entry(name.to_owned())
            .or_insert_with(|| value.to_owned());
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "ON" => Some(true),
            "OFF" => Some(false),
            _ => None,
        }
    }

    /// A switch, and the name by which this release turns it.
    pub(super) fn switch(&self, switch: Switch) -> Option<(&'static str, bool)> {
        if let Some(value) = self.flag(switch.name) {
            return Some((switch.name, value));
        }
        let opposite = switch.opposite?;
        Some((opposite, !self.flag(opposite)?))
    }

    /// A limit by its label; 0: none.
    pub(super) fn limit(&self, label: &str) -> Option<u64> {
        self.get(label)?.parse().ok()
    }

    /// The separator of time-limited usernames, where coturn takes those.
    pub(super) fn rest_separator(&self) -> Option<char> {
        if self.flag(REST) != Some(true) {
            return None;
        }
        let code = self.get(REST_SEPARATOR);
        let code = code.and_then(|number| number.parse::<u8>().ok());
        Some(code.map_or(':', char::from))
    }

    /// The realm of clients that name none.
    pub(super) fn default_realm(&self) -> Option<&str> {
        self.get(DEFAULT_REALM)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Parameters {
        let mut read = Parameters::default();
        text.lines().for_each(|line| read.line(line));
        read
    }

    #[test]
    fn parameters_of_both_releases_are_read() {
        for text in [
            include_str!("transcripts/pc-4.6.1.txt"),
            include_str!("transcripts/pc-4.18.0.txt"),
        ] {
            assert!(text.lines().any(|line| line.starts_with(LAST)));
            let read = read(text);
            for switch in SWITCHES {
                assert!(read.switch(switch).is_some(), "{}", switch.name);
            }
            for (name, label) in LIMITS {
                assert!(read.limit(label).is_some(), "{name}");
            }
            assert_eq!(read.default_realm(), Some("north.gov"));
        }
    }

    #[test]
    fn time_limited_usernames_have_their_separator() {
        let read = read(include_str!("transcripts/pc-4.18.0.txt"));
        assert_eq!(read.rest_separator(), Some(':'));
        assert_eq!(read.limit("Default max-bps"), Some(125_000));
    }

    proptest! {
        #[test]
        fn garbage_breaks_nothing(lines: Vec<String>) {
            let mut read = Parameters::default();
            lines.iter().for_each(|line| read.line(line));
            let _ = (read.rest_separator(), read.switch(SWITCHES[6]));
        }
    }
}
