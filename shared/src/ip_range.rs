//! Address ranges as operators write them: one address, CIDR, or `first-last`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An inclusive range of addresses of one family.
///
/// Parses `192.0.2.1`, `192.0.2.0/24` and coturn's `192.0.2.1-192.0.2.9`; prints the shortest of
/// the three. Compared as whole numbers, never per byte (coturn's IPv6 ranges once were).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpRange {
    first: IpAddr,
    last: IpAddr,
}

impl IpRange {
    /// The range from `first` to `last`, or `None` when the families differ or it is empty.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// The lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// The form that coturn's `allowed-peer-ip` and `denied-peer-ip` accept: one address, or
    /// `first-last`; never CIDR, which coturn refuses.
    #[must_use]
    pub fn to_coturn(&self) -> String {
        if self.first == self.last {
            return self.first.to_string();
        }
        format!("{}-{}", self.first, self.last)
    }
}

impl From<IpNet> for IpRange {
    fn from(net: IpNet) -> Self {
        Self {
            first: net.network(),
            last: net.broadcast(),
        }
    }
}

impl FromStr for IpRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self {
                first: address,
                last: address,
            });
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(net.into());
        }
        let (first, last) = text.split_once('-').ok_or(InvalidRange)?;
        let parse = |s: &str| s.trim().parse().map_err(|_| InvalidRange);
        Self::new(parse(first)?, parse(last)?).ok_or(InvalidRange)
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return f.pad(&self.first.to_string());
        }
        let host = if self.first.is_ipv4() { 32 } else { 128 };
        let cidr = (0..host)
            .filter_map(|prefix| IpNet::new(self.first, prefix).ok())
            .find(|net| net.network() == self.first && net.broadcast() == self.last);
        match cidr {
            Some(net) => f.pad(&net.to_string()),
            None => f.pad(&self.to_coturn()),
        }
    }
}

impl TryFrom<String> for IpRange {
    type Error = InvalidRange;

    fn try_from(text: String) -> Result<Self, InvalidRange> {
        text.parse()
    }
}

impl From<IpRange> for String {
    fn from(range: IpRange) -> Self {
        range.to_string()
    }
}

/// A text that is no address range; says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a range is an address, address/prefix or first-last of one family, as in 10.0.0.0/8")]
pub struct InvalidRange;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_parse_and_print_shortest() {
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0-10.255.255.255", "10.0.0.0/8"),
            ("192.0.2.1-192.0.2.9", "192.0.2.1-192.0.2.9"),
            ("fc00::/7", "fc00::/7"),
        ] {
            assert_eq!(text.parse::<IpRange>().unwrap().to_string(), shown);
        }
        for bad in ["", "10.0.0.0/33", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "x"] {
            assert!(bad.parse::<IpRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ipv6_is_compared_as_a_whole_number() {
        let range: IpRange = "2001:db8::ff00-2001:db8::1:00ff".parse().unwrap();
        assert!(range.contains("2001:db8::1:0001".parse().unwrap()));
        assert!(!range.contains("2001:db8::1:0100".parse().unwrap()));
        assert!(!range.contains("192.0.2.1".parse().unwrap()));
    }
}
