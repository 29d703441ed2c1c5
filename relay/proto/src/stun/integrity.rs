//! MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT (RFC 8489 §14.5 to §14.7).

use hmac::block_api::HmacCore;
use hmac::digest::Output;
use hmac::digest::block_api::{Buffer, FixedOutputCore, UpdateCore};
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
    let total = total_len(kind, covered);
    let parts = [&covered[..2], &total, &covered[4..]];
    let mut digest = [0; 32];
    match kind {
        IntegrityKind::Sha1 => digest[..len].copy_from_slice(&mac::<Hmac<Sha1>>(key, parts)),
        IntegrityKind::Sha256 => digest.copy_from_slice(&mac::<Hmac<Sha256>>(key, parts)),
    }
    (digest, len)
}

/// What the header's length says while the integrity is computed.
fn total_len(kind: IntegrityKind, covered: &[u8]) -> [u8; 2] {
    let total = covered.len() + 4 + kind.value_len() - super::HEADER_LEN;
    u16::try_from(total).unwrap_or(u16::MAX).to_be_bytes()
}

/// HMAC-SHA1 under one key, worked out as far as it can be before there is a message: as good as
/// the key, in 56 bytes.
#[derive(Clone)]
pub struct PreparedSha1(HmacCore<Sha1>);

impl PreparedSha1 {
    /// Takes a key of any length in.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(HmacCore::new_from_slice(key).expect("HMAC takes keys of any length"))
    }

    /// What [`compute`] answers for [`IntegrityKind::Sha1`] and the key.
    #[must_use]
    pub fn compute(&self, covered: &[u8]) -> ([u8; 32], usize) {
        #[cfg(test)]
        COMPUTED.set(COMPUTED.get() + 1);
        let total = total_len(IntegrityKind::Sha1, covered);
        let mut mac = self.0.clone();
        let mut buffer = Buffer::<HmacCore<Sha1>>::default();
        for part in [&covered[..2], &total, &covered[4..]] {
            buffer.digest_blocks(part, |blocks| mac.update_blocks(blocks));
        }
        let mut value = Output::<HmacCore<Sha1>>::default();
        mac.finalize_fixed_core(&mut buffer, &mut value);
        let mut digest = [0; 32];
        digest[..value.len()].copy_from_slice(&value);
        (digest, value.len())
    }
}

impl std::fmt::Debug for PreparedSha1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_key_signs_as_the_key_does_whatever_the_lengths() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
        for key in [0, 1, 16, 20, 63, 64, 65, 200] {
            let key = &bytes[bytes.len() - key..];
            let prepared = PreparedSha1::new(key);
            for covered in 20..bytes.len() {
                let covered = &bytes[..covered];
                let plain = compute(IntegrityKind::Sha1, key, covered);
                assert_eq!(prepared.compute(covered), plain);
            }
        }
    }
}
