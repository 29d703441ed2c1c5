//! A set of networks that is asked often and changed hardly ever.

use std::net::IpAddr;

use shared::IpRange;

/// Ranges of addresses of both families, found in the logarithm of their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetSet(Vec<(IpAddr, IpAddr)>);

impl NetSet {
    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address lies in one of them; an IPv4 address in IPv6 clothes is what it holds.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.0.partition_point(|(first, _)| *first <= address);
        let before = after.checked_sub(1).and_then(|at| self.0.get(at));
        before.is_some_and(|(_, last)| address <= *last)
    }
}

impl FromIterator<IpRange> for NetSet {
    fn from_iter<T: IntoIterator<Item = IpRange>>(ranges: T) -> Self {
        let ranges = ranges.into_iter();
        let mut sorted: Vec<_> = ranges.map(|range| (range.first(), range.last())).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(IpAddr, IpAddr)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match merged.last_mut() {
                // An IPv4 address is less than any IPv6 address.
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_nets_that_touch_nest_and_differ_in_family() {
        let nets = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.7",
            "198.51.100.0/25",
            "198.51.100.100-198.51.100.200",
            "2001:db8::/32",
        ];
        let set: NetSet = nets.iter().map(|net| net.parse().unwrap()).collect();
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "192.0.2.7",
            "198.51.100.150",
            "::ffff:10.2.3.4",
            "2001:db8:ffff::1",
        ] {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "192.0.2.8",
            "198.51.100.201",
            "2001:db9::",
            "::1",
        ] {
            assert!(!set.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(!NetSet::default().contains("10.0.0.1".parse().unwrap()));
    }
}
