//! Address ranges that no peer may have unless an operator allows them: everything in IANA's
//! special-purpose registries, multicast, and forms that embed an IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared (CGN)
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, cloud metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // IETF protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 31, 196, 0), 24), // AS112
    (Ipv4Addr::new(192, 52, 193, 0), 24), // AMT
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relay anycast
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(192, 175, 48, 0), 24), // AS112
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarking
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, broadcast
];

const fn v6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

const V6: &[(Ipv6Addr, u8)] = &[
    (v6(0, 0, 0, 0), 8), // ::, ::1, compatible, mapped, SIIT, 64:ff9b::/96 and :1::/48
    (v6(0x100, 0, 0, 0), 63), // discard-only, dummy
    (v6(0x200, 0, 0, 0), 7), // NSAP (withdrawn)
    (v6(0x2001, 0, 0, 0), 23), // IETF protocol assignments, Teredo, ORCHID
    (v6(0x2001, 0xdb8, 0, 0), 32), // documentation
    (v6(0x2002, 0, 0, 0), 16), // 6to4
    (v6(0x2620, 0x4f, 0x8000, 0), 48), // AS112
    (v6(0x3fff, 0, 0, 0), 20), // documentation
    (v6(0x5f00, 0, 0, 0), 16), // SRv6 SIDs
    (v6(0xfc00, 0, 0, 0), 7), // unique local
    (v6(0xfe80, 0, 0, 0), 10), // link-local
    (v6(0xfec0, 0, 0, 0), 10), // site-local (withdrawn)
    (v6(0xff00, 0, 0, 0), 8), // multicast
];

/// Whether the address itself lies in a special-use range; embedded forms are judged apart.
#[must_use]
pub fn is_special_use(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let bits = u32::from(ip);
            V4.iter()
                .any(|&(net, len)| (bits ^ u32::from(net)) >> (32 - len) == 0)
        }
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            V6.iter()
                .any(|&(net, len)| (bits ^ u128::from(net)) >> (128 - len) == 0)
        }
    }
}

/// Whether the address is one of Teredo or 6to4, which a TURN server must never accept as a peer
/// (RFC 8656 §21.4): a packet to a tunnel could come back as a request of its own for ever.
#[must_use]
pub fn is_tunnelled(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => matches!(ip.segments(), [0x2002, ..] | [0x2001, 0, ..]),
    }
}

/// Every IPv4 address that an IPv6 address may be translated or tunnelled to.
///
/// Mapped, compatible and SIIT forms, NAT64 under both prefixes (RFC 6052 §2.2 puts the octets
/// differently under the /48), 6to4, Teredo (server and client) and ISATAP.
pub fn embedded_v4(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let s = ip.segments();
    let o = ip.octets();
    let low = Some(Ipv4Addr::new(o[12], o[13], o[14], o[15]));
    let zeros = |n: usize| s[..n].iter().all(|&x| x == 0);
    let mut found = [None; 2];
    match s {
        [0, 0, 0, 0, 0, 0, hi, lo] if (hi, lo) != (0, 0) && (hi, lo) != (0, 1) => found[0] = low,
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => found[0] = low,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => found[0] = low,
        [0x64, 0xff9b, 1, ..] => {
            found = [low, Some(Ipv4Addr::new(o[6], o[7], o[9], o[10]))];
        }
        [0x2002, ..] => found[0] = Some(Ipv4Addr::new(o[2], o[3], o[4], o[5])),
        [0x2001, 0, ..] => {
            let client = Ipv4Addr::new(!o[12], !o[13], !o[14], !o[15]);
            found = [Some(Ipv4Addr::new(o[4], o[5], o[6], o[7])), Some(client)];
        }
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] if !zeros(4) => found[0] = low,
        _ => {}
    }
    found.into_iter().flatten()
}
