//! The PROXY protocol's binary header, version 2 (haproxy.org, proxy-protocol.txt §2.2): who the
//! client is, when a proxy stands in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// The longest address block and its TLVs that are read through, in bytes. The format could say 65,535;
/// a certificate of the client in a TLV fits into this.
const MAX_BODY: usize = 4096;

/// A header at the front of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Not all of it is here.
    Incomplete,
    /// All of it.
    Complete {
        /// How many bytes it is.
        consumed: usize,
        /// The client; `None`: the proxy speaks for itself (LOCAL), as in a health check.
        client: Option<SocketAddr>,
    },
}

/// No header, or none that names a TCP client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Reads the header at the front of `bytes`. What it says about the destination and its TLVs is
/// skipped.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, Broken> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(Broken);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Header::Incomplete);
    };
    let [.., command, family, high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_BODY {
        return Err(Broken);
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Broken),
    };
    let Some(body) = rest.get(..len) else {
        return Ok(Header::Incomplete);
    };
    let client = if is_local {
        None
    } else {
        Some(client(family, body).ok_or(Broken)?)
    };
    Ok(Header::Complete {
        consumed: FIXED + len,
        client,
    })
}

/// The source of a TCP connection over IPv4 (0x11) or IPv6 (0x21).
fn client(family: u8, body: &[u8]) -> Option<SocketAddr> {
    let (ip, port): (IpAddr, _) = match family {
        0x11 => {
            let block: &[u8; 12] = body.first_chunk()?;
            let ip: [u8; 4] = *block.first_chunk()?;
            (Ipv4Addr::from(ip).into(), &block[8..10])
        }
        0x21 => {
            let block: &[u8; 36] = body.first_chunk()?;
            let ip: [u8; 16] = *block.first_chunk()?;
            (Ipv6Addr::from(ip).into(), &block[32..34])
        }
        _ => return None,
    };
    let port = u16::from_be_bytes([port[0], port[1]]);
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn v4() -> Vec<u8> {
        header(
            0x21,
            0x11,
            &[192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0x0d, 0x96],
        )
    }

    #[test]
    fn a_client_is_named_over_ipv4_and_ipv6_and_tlvs_are_skipped() {
        let mut bytes = v4();
        let complete = Header::Complete {
            consumed: bytes.len(),
            client: Some("192.0.2.1:12345".parse().unwrap()),
        };
        bytes.extend(b"more");
        assert_eq!(parse(&bytes), Ok(complete));
        let mut body = Ipv6Addr::from(0x2001_0db8_u128 << 96 | 1).octets().to_vec();
        body.extend([0; 16]);
        body.extend([0x30, 0x39, 0, 1]);
        body.extend([0x03, 0, 2, 9, 9]);
        let bytes = header(0x21, 0x21, &body);
        let complete = Header::Complete {
            consumed: bytes.len(),
            client: Some("[2001:db8::1]:12345".parse().unwrap()),
        };
        assert_eq!(parse(&bytes), Ok(complete));
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        for body in [&[][..], &[1, 2, 3]] {
            let bytes = header(0x20, 0, body);
            let complete = Header::Complete {
                consumed: bytes.len(),
                client: None,
            };
            assert_eq!(parse(&bytes), Ok(complete));
        }
    }

    #[test]
    fn every_beginning_of_a_header_is_incomplete() {
        let bytes = v4();
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), Ok(Header::Incomplete), "{len}");
        }
    }

    #[test]
    fn what_names_no_tcp_client_is_broken() {
        let unix = [0; 216];
        let broken = [
            b"PROXY TCP4 192.0.2.1".to_vec(),
            vec![0x16, 0x03, 0x01],
            vec![0, 1],
            // Version 1, an unknown command, UDP, a Unix socket, no family, too short, too long.
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x12, &[0; 12]),
            header(0x21, 0x31, &unix),
            header(0x21, 0x00, &[]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x11, &[0; MAX_BODY + 1]),
        ];
        for bytes in broken {
            assert_eq!(parse(&bytes), Err(Broken), "{bytes:02x?}");
        }
        // The length is judged before it is waited for.
        assert_eq!(
            parse(&header(0x21, 0x11, &[0; MAX_BODY + 1])[..FIXED]),
            Err(Broken)
        );
    }

    /// Headers with a few bytes changed, and anything else.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let changed = (
            prop::sample::select(vec![0x11, 0x21, 0x31, 0]),
            prop::collection::vec(any::<u8>(), 0..80),
            prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        );
        let changed = changed.prop_map(|(family, body, changes)| {
            let mut bytes = header(0x21, family, &body);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
        prop_oneof![3 => changed, 1 => prop::collection::vec(any::<u8>(), 0..100)]
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_judged_once_and_what_follows_changes_nothing(
            bytes in hostile(),
            more in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let verdict = parse(&bytes);
            let longer = [&bytes[..], &more].concat();
            match verdict {
                Ok(Header::Complete { consumed, .. }) => {
                    prop_assert!(consumed <= bytes.len());
                    prop_assert_eq!(parse(&longer), verdict);
                    prop_assert_eq!(parse(&bytes[..consumed]), verdict);
                    prop_assert_eq!(parse(&bytes[..consumed - 1]), Ok(Header::Incomplete));
                }
                Ok(Header::Incomplete) => prop_assert!(bytes.len() < FIXED + MAX_BODY),
                Err(Broken) => prop_assert_eq!(parse(&longer), Err(Broken)),
            }
        }
    }
}
