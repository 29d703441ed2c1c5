//! An authorization server (RFC 7635): makes access tokens, good ones and others.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// The names of the keys that the server shares: the first encrypts with AES-256-GCM, the second with
/// AES-128-GCM.
pub const KIDS: [&str; 2] = ["north", "south"];
/// Both keys.
pub const KEY: [u8; 32] = *b"thirty-two bytes of a shared key";
/// The name of the server where it is not that of its realm.
pub const SERVER_NAME: &str = "turn.example.org";

/// A token in the hands of a client.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The name of the key that it was encrypted with: the client's USERNAME.
    pub kid: &'static str,
    /// ACCESS-TOKEN.
    pub value: Vec<u8>,
    /// What the client signs with.
    pub mac_key: Vec<u8>,
}

/// Makes a token at a Unix second for a server; every bit of `flaws` but the first two spoils it.
///
/// # Panics
/// Never: the keys have the lengths of their ciphers.
#[must_use]
pub fn token(flaws: u8, unix: u64, server: &str) -> AccessToken {
    let has = |bit: u8| flaws & bit != 0;
    let kid = KIDS[usize::from(has(1))];
    let mut mac_key = vec![0x2a; if has(2) { 32 } else { 20 }];
    if has(4) {
        mac_key.truncate(8);
    }
    let made = if has(8) { unix - 10_000 } else { unix };
    let lifetime: u32 = if has(16) { 60 } else { 3600 };
    let mut block = (mac_key.len() as u16).to_be_bytes().to_vec();
    block.extend(&mac_key);
    block.extend((made << 16).to_be_bytes());
    block.extend(lifetime.to_be_bytes());
    let server = if has(32) { "elsewhere.example" } else { server };
    let mut value = seal(has(1), server, [flaws; 12], block);
    if has(64) {
        value.pop();
    }
    // As coturn signs: with so many bytes as an MD5 key has.
    if has(128) {
        mac_key.truncate(16);
    }
    AccessToken {
        kid,
        value,
        mac_key,
    }
}

/// Encrypts what a token says, for a server, under the second key if `second`.
///
/// # Panics
/// Never: the keys have the lengths of their ciphers.
#[must_use]
pub fn seal(second: bool, server: &str, nonce: [u8; 12], mut block: Vec<u8>) -> Vec<u8> {
    let (cipher, len) = if second {
        (&AES_128_GCM, 16)
    } else {
        (&AES_256_GCM, 32)
    };
    let cipher = LessSafeKey::new(UnboundKey::new(cipher, &KEY[..len]).expect("its length"));
    let aad = Aad::from(server.as_bytes());
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut block)
        .expect("a short block");
    [&[0, 12][..], &nonce, &block].concat()
}
