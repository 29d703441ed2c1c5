//! The cookie exchange in front of the engine: nothing is kept for a client before its cookie is
//! back (RFC 6347 §4.2.1, RFC 9147 §5.1).
//!
//! dimpl makes its cookies per connection object, so that an object would have to exist before the
//! cookie came back. Here a first hello is answered from a secret alone; the object is made when a
//! second hello brings the cookie, and is shown the first hello again, written anew from the second.
//! It then asks for a cookie itself: the same one, since its HMAC provider is ours
//! ([`CookieProvider`]), and what it asks with, byte for byte what the client was sent, is dropped.

use std::cell::Cell;
use std::time::Instant;

use dimpl::crypto::{CryptoProvider, HmacProvider};
use dimpl::{Config, CryptoError, HashAlgorithm};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use turn_proto::five_tuple::FiveTuple;

use super::hello::{Change, ClientHello, DTLS_1_2, write_message};

/// Bytes of a cookie: what the engine makes, and accepts.
const COOKIE: usize = 32;
/// Seconds after which a cookie is made anew; one is good for up to twice as long.
const WINDOW: u64 = 30;
/// HandshakeType hello_verify_request.
const HELLO_VERIFY_REQUEST: u8 = 3;
/// HandshakeType server_hello, which a HelloRetryRequest is.
const SERVER_HELLO: u8 = 2;
/// DTLS 1.0, which a HelloVerifyRequest says whatever follows (RFC 6347 §4.2.1).
const DTLS_1_0: [u8; 2] = [0xfe, 0xff];
/// The random of a HelloRetryRequest (RFC 8446 §4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Descriptions of fatal alerts (RFC 8446 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alert {
    HandshakeFailure = 40,
    IllegalParameter = 47,
    ProtocolVersion = 70,
}

/// The version of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Dtls12,
    Dtls13,
}

/// What a hello of somebody unknown leads to.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is sent a cookie, and forgotten.
    Cookie,
    /// It is told that nothing can come of it, and forgotten.
    Alert,
    /// Its sender is where it says.
    Genuine {
        version: Version,
        /// Its first hello, for the engine.
        first: Vec<u8>,
        cookie: [u8; COOKIE],
    },
}

/// Makes and checks cookies.
pub(super) struct CookieMint {
    secret: [u8; 32],
    started: Instant,
}

impl std::fmt::Debug for CookieMint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CookieMint").finish_non_exhaustive()
    }
}

impl CookieMint {
    /// A mint with this secret, which lives as long as the process.
    pub(super) fn new(secret: [u8; 32], now: Instant) -> Self {
        Self {
            secret,
            started: now,
        }
    }

    /// Judges a hello, and writes into `out` what is to be sent back.
    pub(super) fn judge(
        &self,
        now: Instant,
        tuple: &FiveTuple,
        hello: &ClientHello<'_>,
        config: &Config,
        out: &mut Vec<u8>,
    ) -> Verdict {
        if hello.version != DTLS_1_2 {
            return alert(Alert::ProtocolVersion, out);
        }
        if hello.offers_1_3 && config.dtls13_cipher_suites().next().is_some() {
            self.judge_1_3(now, tuple, hello, config, out)
        } else {
            self.judge_1_2(now, tuple, hello, config, out)
        }
    }

    fn judge_1_2(
        &self,
        now: Instant,
        tuple: &FiveTuple,
        hello: &ClientHello<'_>,
        config: &Config,
        out: &mut Vec<u8>,
    ) -> Verdict {
        // The engine would say nothing, and the client ask for as long as it likes.
        let mut ours = config
            .dtls12_cipher_suites()
            .map(|ours| ours.suite().as_u16());
        if !ours.any(|suite| numbers(hello.suites).any(|theirs| theirs == suite)) {
            return alert(Alert::HandshakeFailure, out);
        }
        let parts = hello.fixed_parameters();
        if let Some(cookie) = self.accept(now, tuple, &parts, hello.cookie()) {
            return Verdict::Genuine {
                version: Version::Dtls12,
                first: hello.first_of_1_2(),
                cookie,
            };
        }
        let cookie = self.cookie(self.window(now), tuple, &parts);
        let mut body = Vec::with_capacity(3 + COOKIE);
        body.extend_from_slice(&DTLS_1_0);
        body.push(COOKIE as u8);
        body.extend_from_slice(&cookie);
        write_message(out, HELLO_VERIFY_REQUEST, &body);
        Verdict::Cookie
    }

    fn judge_1_3(
        &self,
        now: Instant,
        tuple: &FiveTuple,
        hello: &ClientHello<'_>,
        config: &Config,
        out: &mut Vec<u8>,
    ) -> Verdict {
        if !hello.cookie().is_empty() {
            for change in Change::ALL {
                let first = hello.first_of_1_3(change);
                let body = ClientHello::parse(&first).map_or(&[][..], |first| first.body());
                if let Some(cookie) = self.accept(now, tuple, &[body], hello.cookie()) {
                    return Verdict::Genuine {
                        version: Version::Dtls13,
                        first,
                        cookie,
                    };
                }
            }
            return alert(Alert::IllegalParameter, out);
        }
        let Some((suite, group)) = choose(hello, config) else {
            return alert(Alert::HandshakeFailure, out);
        };
        let cookie = self.cookie(self.window(now), tuple, &[hello.body()]);
        write_message(out, SERVER_HELLO, &retry_request(suite, group, &cookie));
        Verdict::Cookie
    }

    /// The cookie, if it is one of ours for this client and hello and not too old.
    fn accept(
        &self,
        now: Instant,
        tuple: &FiveTuple,
        parts: &[&[u8]],
        cookie: &[u8],
    ) -> Option<[u8; COOKIE]> {
        let cookie: &[u8; COOKIE] = cookie.try_into().ok()?;
        let window = self.window(now);
        [Some(window), window.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|window| self.mac(window, tuple, parts).verify_slice(cookie).is_ok())
            .then_some(*cookie)
    }

    fn window(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() / WINDOW
    }

    fn cookie(&self, window: u64, tuple: &FiveTuple, parts: &[&[u8]]) -> [u8; COOKIE] {
        let tag = self.mac(window, tuple, parts).finalize().into_bytes();
        tag.into()
    }

    fn mac(&self, window: u64, tuple: &FiveTuple, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret)
            .expect("HMAC takes keys of any length (RFC 2104 §2)");
        mac.update(&window.to_be_bytes());
        for address in [tuple.client, tuple.server] {
            match address.ip() {
                std::net::IpAddr::V4(ip) => mac.update(&ip.octets()),
                std::net::IpAddr::V6(ip) => mac.update(&ip.octets()),
            }
            mac.update(&address.port().to_be_bytes());
        }
        for part in parts {
            mac.update(&(part.len() as u32).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

/// The 16-bit numbers of a list.
fn numbers(list: &[u8]) -> impl Iterator<Item = u16> {
    let pairs = list.chunks_exact(2);
    pairs.map(|p| u16::from_be_bytes([p[0], p[1]]))
}

/// The cipher suite for DTLS 1.3, and the group to ask for when the client brought no share, both
/// as the engine chooses them.
fn choose(hello: &ClientHello<'_>, config: &Config) -> Option<(u16, Option<u16>)> {
    let ours: Vec<u16> = config
        .dtls13_cipher_suites()
        .map(|suite| suite.suite().as_u16())
        .collect();
    let suite = numbers(hello.suites).find(|s| ours.contains(s))?;
    let groups: Vec<u16> = config.kx_groups().map(|g| g.name().as_u16()).collect();
    if share_groups(hello.key_shares).any(|group| groups.contains(&group)) {
        return Some((suite, None));
    }
    // Shares of groups that we do not have would be exchanged for others, and the first hello could
    // not be told from the second.
    if !hello.key_shares.is_empty() {
        return None;
    }
    let is_theirs = |group: &u16| numbers(hello.groups).any(|theirs| theirs == *group);
    let group = groups.into_iter().find(is_theirs)?;
    Some((suite, Some(group)))
}

fn share_groups(mut shares: &[u8]) -> impl Iterator<Item = u16> {
    std::iter::from_fn(move || {
        let (head, rest) = shares.split_first_chunk::<4>()?;
        shares = rest.get(usize::from(u16::from_be_bytes([head[2], head[3]]))..)?;
        Some(u16::from_be_bytes([head[0], head[1]]))
    })
}

/// A HelloRetryRequest (RFC 9147 §5.3), byte for byte the engine's: the transcript has it.
fn retry_request(suite: u16, group: Option<u16>, cookie: &[u8; COOKIE]) -> Vec<u8> {
    let mut extensions = vec![0, 43, 0, 2, 0xfe, 0xfc];
    if let Some(group) = group {
        extensions.extend_from_slice(&[0, 51, 0, 2]);
        extensions.extend_from_slice(&group.to_be_bytes());
    }
    extensions.extend_from_slice(&[0, 44, 0, COOKIE as u8 + 2, 0, COOKIE as u8]);
    extensions.extend_from_slice(cookie);
    let mut body = DTLS_1_2.to_be_bytes().to_vec();
    body.extend_from_slice(&RETRY_RANDOM);
    // No session id.
    body.push(0);
    body.extend_from_slice(&suite.to_be_bytes());
    // No compression.
    body.push(0);
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    body
}

fn alert(alert: Alert, out: &mut Vec<u8>) -> Verdict {
    write_alert(alert, out);
    Verdict::Alert
}

/// Writes a fatal alert in plain text.
pub(super) fn write_alert(alert: Alert, out: &mut Vec<u8>) {
    out.push(21);
    out.extend_from_slice(&DTLS_1_2.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[0, 2, 2, alert as u8]);
}

thread_local! {
    /// The cookie that the engine shall make and accept; its own where there is none.
    static COOKIE_OF_CALL: Cell<Option<[u8; COOKIE]>> = const { Cell::new(None) };
}

/// Calls the engine while it makes and accepts this cookie and no other.
pub(super) fn with_cookie<T>(cookie: [u8; COOKIE], call: impl FnOnce() -> T) -> T {
    COOKIE_OF_CALL.set(Some(cookie));
    let result = call();
    COOKIE_OF_CALL.set(None);
    result
}

/// The crypto of the engine: aws-lc-rs, but for cookies.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        hmac_provider: &CookieProvider,
        ..dimpl::crypto::aws_lc_rs::default_provider()
    }
}

/// HMAC-SHA256 on its own is what the engine makes cookies with, and nothing else; keys and
/// Finished go through [`HmacProvider::hmac`].
#[derive(Debug)]
struct CookieProvider;

impl HmacProvider for CookieProvider {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        if let Some(cookie) = COOKIE_OF_CALL.get() {
            return Ok(cookie);
        }
        let mut tag = [0; 32];
        self.hmac(HashAlgorithm::SHA256, key, data, &mut tag)?;
        Ok(tag)
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let engine = dimpl::crypto::aws_lc_rs::default_provider();
        engine.hmac_provider.hmac(hash, key, data, out)
    }
}
