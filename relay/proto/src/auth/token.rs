//! Self-contained access tokens (RFC 7635 §6.2).
//!
//! Every length is checked before anything is decrypted or copied: the token comes from somebody who
//! has proved nothing yet.

use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use shared::{OauthAlgorithm, Secret};

use crate::policy::OauthKey;

/// Bytes of the nonce of AES-GCM (RFC 5116 §5.1).
const NONCE_LEN: usize = 12;
/// Bytes that AES-GCM appends.
const TAG_LEN: usize = 16;
/// The shortest session key: what truncated HMACs hold at least.
const MIN_MAC_KEY: usize = 16;
/// The longest session key: HMAC hashes what is longer.
const MAX_MAC_KEY: usize = 64;
/// Bytes behind the session key: timestamp and lifetime.
const TIMES_LEN: usize = 12;
/// The longest encrypted block.
const MAX_BLOCK: usize = 2 + MAX_MAC_KEY + TIMES_LEN + TAG_LEN;
/// How far clocks may be apart (RFC 7635 §7).
const DELTA: u64 = 5;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A length that no token has.
    #[error("malformed token")]
    Malformed,
    /// Made with another key or for another server, or changed on its way.
    #[error("token does not decrypt")]
    NotAuthentic,
}

/// The session key of a token: an HMAC key as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacKey {
    bytes: Secret<[u8; MAX_MAC_KEY]>,
    len: u8,
}

impl MacKey {
    /// Takes 16 to 64 bytes.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        if !(MIN_MAC_KEY..=MAX_MAC_KEY).contains(&key.len()) {
            return None;
        }
        let mut bytes = [0; MAX_MAC_KEY];
        bytes[..key.len()].copy_from_slice(key);
        Some(Self {
            bytes: Secret::new(bytes),
            len: key.len() as u8,
        })
    }

    /// The part of it that coturn signs with, client and server alike: of the 20 bytes that an
    /// HMAC-SHA1 key has in a token the 16 of an MD5 key.
    #[must_use]
    pub fn as_coturn_reads_it(&self) -> Option<Self> {
        (self.len == 20).then(|| Self {
            bytes: self.bytes.clone(),
            len: 16,
        })
    }

    /// The key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes.expose()[..usize::from(self.len)]
    }
}

/// When a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSpan {
    /// When it was made, in Unix seconds.
    pub made: u64,
    /// For how many seconds it is good.
    pub lifetime: u32,
}

impl TokenSpan {
    /// What is left of it, the tolerance for clocks included: `lifetime + Delta - abs(now - made)`
    /// (RFC 7635 §9); `None`: nothing.
    #[must_use]
    pub fn left(self, unix: u64) -> Option<Duration> {
        let whole = u64::from(self.lifetime) + DELTA;
        let left = whole.checked_sub(unix.abs_diff(self.made))?;
        (left > 0).then(|| Duration::from_secs(left))
    }

    /// When it ends, in Unix seconds.
    #[must_use]
    pub fn end(self) -> u64 {
        self.made.saturating_add(self.lifetime.into())
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The session key.
    pub mac_key: MacKey,
    /// When it is good.
    pub span: TokenSpan,
}

impl Token {
    /// Decrypts the value of an ACCESS-TOKEN; `server_name` is what it must have been made for.
    ///
    /// # Errors
    /// It is no token, or not one of that key for that server.
    pub fn open(value: &[u8], key: &OauthKey, server_name: &str) -> Result<Self, TokenError> {
        let (len, rest) = value.split_first_chunk().ok_or(TokenError::Malformed)?;
        if usize::from(u16::from_be_bytes(*len)) != NONCE_LEN {
            return Err(TokenError::Malformed);
        }
        let (nonce, sealed) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(TokenError::Malformed)?;
        let mut block = [0; MAX_BLOCK];
        let block = block
            .get_mut(..sealed.len())
            .filter(|block| block.len() >= 2 + MIN_MAC_KEY + TIMES_LEN + TAG_LEN)
            .ok_or(TokenError::Malformed)?;
        block.copy_from_slice(sealed);
        let cipher = cipher(key).ok_or(TokenError::NotAuthentic)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(server_name.as_bytes());
        let plain = cipher
            .open_in_place(nonce, aad, block)
            .map_err(|_| TokenError::NotAuthentic)?;
        let token = Self::read(plain);
        plain.fill(0);
        token.ok_or(TokenError::Malformed)
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let (len, rest) = plain.split_first_chunk()?;
        let (key, times) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
        let (stamp, lifetime) = times.split_first_chunk()?;
        Some(Self {
            mac_key: MacKey::new(key)?,
            span: TokenSpan {
                // 48 bits of seconds, 16 of their fractions.
                made: u64::from_be_bytes(*stamp) >> 16,
                lifetime: u32::from_be_bytes(lifetime.try_into().ok()?),
            },
        })
    }
}

fn cipher(key: &OauthKey) -> Option<LessSafeKey> {
    let algorithm = match key.algorithm {
        OauthAlgorithm::A256gcm => &AES_256_GCM,
        OauthAlgorithm::A128gcm => &AES_128_GCM,
    };
    let bytes = key.key.expose().get(..key.algorithm.key_len())?;
    UnboundKey::new(algorithm, bytes).ok().map(LessSafeKey::new)
}
