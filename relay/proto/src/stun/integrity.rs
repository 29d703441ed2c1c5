//! MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §14.5 to §14.7).

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Which integrity attribute a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegrityKind {
    /// MESSAGE-INTEGRITY: HMAC-SHA1, 20 bytes.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256: 32 bytes; TURN defines no truncation.
    Sha256,
}

impl IntegrityKind {
    /// Bytes of the value.
    #[must_use]
    pub fn value_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// Whether `value` is the integrity of `covered`, a message up to the integrity attribute.
///
/// The header's length is taken as if the message ended with that attribute. Constant time in the
/// value; a value of another length never fits.
#[must_use]
pub fn verify(kind: IntegrityKind, key: &[u8], covered: &[u8], value: &[u8]) -> bool {
    let (digest, len) = compute(kind, key, covered);
    digest[..len].ct_eq(value).into()
}

/// Computes the integrity of `covered`; the value is the first `len` bytes of the array.
#[must_use]
pub fn compute(kind: IntegrityKind, key: &[u8], covered: &[u8]) -> ([u8; 32], usize) {
    #[cfg(test)]
    COMPUTED.set(COMPUTED.get() + 1);
    let len = kind.value_len();
    let total = covered.len() + 4 + len - super::HEADER_LEN;
    let total = u16::try_from(total).unwrap_or(u16::MAX).to_be_bytes();
    let parts = [&covered[..2], &total, &covered[4..]];
    let mut digest = [0; 32];
    match kind {
        IntegrityKind::Sha1 => digest[..len].copy_from_slice(&mac::<Hmac<Sha1>>(key, parts)),
        IntegrityKind::Sha256 => digest.copy_from_slice(&mac::<Hmac<Sha256>>(key, parts)),
    }
    (digest, len)
}

#[cfg(test)]
thread_local! {
    /// How often this thread computed one, for tests of what a request costs.
    pub(crate) static COMPUTED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: [&[u8]; 3]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// The value of FINGERPRINT for a message up to that attribute whose header already counts it.
#[must_use]
pub fn fingerprint(covered: &[u8]) -> u32 {
    crc32(covered) ^ 0x5354_554e
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8;
    !bytes.iter().fold(u32::MAX, step)
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};
