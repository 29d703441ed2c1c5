//! Whom clients may talk to.

use shared::IpRange;

use super::translation::{Translation, text};
use crate::config::file::{Item, Value};

const RANGE: &str = "an address or first-last, as in 10.0.0.0-10.255.255.255";
/// Peers that nobody should reach through a relay: its own machine.
const OPEN: &str = "lets clients reach services of this machine through the relay";
const TWICE: &str = "remove it, or say it a second time with --accept-open-peers";

/// Loopback, the unspecified address, and link-local ones, where clouds keep what a machine may know alone.
const HERE: [&str; 5] = [
    "127.0.0.0/8",
    "0.0.0.0/8",
    "169.254.0.0/16",
    "::/127",
    "fe80::/10",
];

pub(super) fn translate(all: &mut Translation<'_>) {
    let denied = ranges(all, "denied-peer-ip");
    if let Some(first) = denied.first() {
        let origin = first.origin.clone();
        all.set("peers.denied", &origin, Value::List(denied.clone()));
    }
    let mut allowed = ranges(all, "allowed-peer-ip");
    let reaches_all = allowed.iter().find(|item| reaches_this_machine(item));
    if let Some(origin) = reaches_all.map(|item| item.origin.clone())
        && !all.consent.open_peers
    {
        all.refuse_at(&origin, "allowed-peer-ip", OPEN, TWICE);
    }
    if let (true, Some(given)) = (
        all.is_on("allow-loopback-peers"),
        all.last("allow-loopback-peers"),
    ) {
        if !all.consent.open_peers {
            all.refuse(given, OPEN, TWICE);
        }
        allowed.extend(["127.0.0.0/8", "::1"].map(|range| text(&given.origin, range)));
    }
    if denied.is_empty() && allowed.is_empty() {
        all.tell_all(
            "denied-peer-ip: is not given, and coturn would let clients reach private addresses; relayd denies \
             them and all other special-use ranges: write allowed-peer-ip for those that are needed",
        );
    }
    if let Some(first) = allowed.first() {
        let origin = first.origin.clone();
        all.set("peers.allowed", &origin, Value::List(allowed));
    }
}

fn ranges(all: &mut Translation<'_>, name: &'static str) -> Vec<Item> {
    let mut ranges = Vec::new();
    for given in all.all(name) {
        if all.parsed::<IpRange>(given, RANGE).is_some() {
            ranges.push(text(&given.origin, given.value.clone().unwrap_or_default()));
        }
    }
    ranges
}

/// Whether a range has an address of the machine itself, or one that only its link knows.
fn reaches_this_machine(item: &Item) -> bool {
    let Value::Text(range) = &item.value else {
        return false;
    };
    let overlaps = |range: &IpRange, here: &str| {
        let here: IpRange = here.parse().expect("a literal range");
        range.first().is_ipv4() == here.first().is_ipv4()
            && range.first() <= here.last()
            && here.first() <= range.last()
    };
    let range = range.parse::<IpRange>();
    range.is_ok_and(|range| HERE.iter().any(|here| overlaps(&range, here)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::Origin;

    #[test]
    fn ranges_with_the_loopback_in_them_are_known() {
        let reaches = |range: &str| reaches_this_machine(&text(&Origin::Default, range));
        assert!(reaches("127.0.0.1") && reaches("0.0.0.0-255.255.255.255") && reaches("::1"));
        for range in [
            "127.0.0.53",
            "0.0.0.0-126.255.255.255",
            "169.254.169.254",
            "fe80::1",
        ] {
            assert!(reaches(range), "{range}");
        }
        assert!(!reaches("10.0.0.0-10.255.255.255") && !reaches("2001:db8::/32"));
    }
}
