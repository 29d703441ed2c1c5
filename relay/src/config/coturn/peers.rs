//! Whom clients may talk to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    if all.is_on("no-multicast-peers") {
        allowed = allowed.iter().flat_map(without_multicast).collect();
    }
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

/// What is left of an allowed range where no multicast peers are: coturn then denies them before all else.
fn without_multicast(item: &Item) -> Vec<Item> {
    let Value::Text(written) = &item.value else {
        return Vec::new();
    };
    let Ok(range) = written.parse::<IpRange>() else {
        return Vec::new();
    };
    let multicast: IpRange = match range.first() {
        IpAddr::V4(_) => "224.0.0.0/4",
        IpAddr::V6(_) => "ff00::/8",
    }
    .parse()
    .expect("a literal range");
    if multicast.first() > range.last() || multicast.last() < range.first() {
        return vec![item.clone()];
    }
    let parts = [
        before(multicast.first()).map(|last| (range.first(), last)),
        behind(multicast.last()).map(|first| (first, range.last())),
    ];
    let parts = parts.into_iter().flatten();
    let parts = parts.filter_map(|(first, last)| IpRange::new(first, last));
    parts
        .map(|part| text(&item.origin, part.to_string()))
        .collect()
}

/// The address in front of this one.
fn before(ip: IpAddr) -> Option<IpAddr> {
    Some(match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits().checked_sub(1)?).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits().checked_sub(1)?).into(),
    })
}

/// The address behind this one.
fn behind(ip: IpAddr) -> Option<IpAddr> {
    Some(match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits().checked_add(1)?).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits().checked_add(1)?).into(),
    })
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
    fn multicast_is_taken_out_of_what_is_allowed() {
        let left = |range: &str| {
            let left = without_multicast(&text(&Origin::Default, range));
            let texts = left.into_iter().map(|item| match item.value {
                Value::Text(text) => text,
                other => panic!("{other:?}"),
            });
            texts.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left("10.0.0.0-10.255.255.255"), "10.0.0.0-10.255.255.255");
        assert_eq!(left("224.0.0.1-239.255.255.255"), "");
        assert_eq!(left("223.0.0.0-240.0.0.0"), "223.0.0.0/8 240.0.0.0");
        assert_eq!(left("239.0.0.1-255.255.255.255"), "240.0.0.0/4");
        assert_eq!(
            left("fe00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            "fe00::/8"
        );
        assert_eq!(left("2a00::1"), "2a00::1");
    }

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
