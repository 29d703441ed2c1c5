//! Addresses in attributes, plain and XORed (RFC 8489 §14.1, §14.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAGIC_COOKIE, TransactionId};

/// Bytes of the longest address value (IPv6).
pub const MAX_LEN: usize = 20;

/// Writes the value of a plain address, as in ALTERNATE-SERVER, and returns its length: 8 or 20.
pub fn write_plain(address: SocketAddr, out: &mut [u8; MAX_LEN]) -> usize {
    out[0] = 0;
    out[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            out[1] = 1;
            out[4..8].copy_from_slice(&ip.octets());
            8
        }
        IpAddr::V6(ip) => {
            out[1] = 2;
            out[4..20].copy_from_slice(&ip.octets());
            20
        }
    }
}

/// Reads the value of a plain address; `None`: unknown family or wrong length.
#[must_use]
pub fn read_plain(value: &[u8]) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], rest) = value.split_first_chunk()?;
    let ip: IpAddr = match family {
        1 => <[u8; 4]>::try_from(rest).ok()?.into(),
        2 => <[u8; 16]>::try_from(rest).ok()?.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([p0, p1])))
}

/// Writes the value of an XOR-*-ADDRESS attribute and returns its length: 8 or 20.
pub fn write_xor(address: SocketAddr, id: TransactionId, out: &mut [u8; MAX_LEN]) -> usize {
    let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
    out[0] = 0;
    out[2..4].copy_from_slice(&port.to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            out[1] = 1;
            out[4..8].copy_from_slice(&(u32::from(ip) ^ MAGIC_COOKIE).to_be_bytes());
            8
        }
        IpAddr::V6(ip) => {
            out[1] = 2;
            out[4..20].copy_from_slice(&(u128::from(ip) ^ mask(id)).to_be_bytes());
            20
        }
    }
}

/// Reads the value of an XOR-*-ADDRESS attribute; `None`: unknown family or wrong length.
#[must_use]
pub fn read_xor(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], rest) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([p0, p1]) ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match family {
        1 => Ipv4Addr::from(u32::from_be_bytes(rest.try_into().ok()?) ^ MAGIC_COOKIE).into(),
        2 => Ipv6Addr::from(u128::from_be_bytes(rest.try_into().ok()?) ^ mask(id)).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn mask(id: TransactionId) -> u128 {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    bytes[4..].copy_from_slice(&id.0);
    u128::from_be_bytes(bytes)
}
