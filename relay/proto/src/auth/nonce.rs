//! Stateless nonces (RFC 8489 §9.2): a time and a MAC over it and the client's address.
//!
//! A nonce costs no memory, is good for one source only, and every node of a cluster accepts it.
//! The MAC key changes every hour by itself, because it is derived for the hour the nonce was made.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use shared::{PasswordAlgorithm, Secret};
use subtle::ConstantTimeEq;

/// The nonce cookie before its security features (RFC 8489 §9.2).
const COOKIE: &str = "obMatJos2";
/// Bit 0 of the features, counted from the most significant one (§18.1).
const PASSWORD_ALGORITHMS: u8 = 0x80;
/// Bit 1.
const USERNAME_ANONYMITY: u8 = 0x40;
/// Seconds that a key is in use.
const PERIOD: u64 = 3600;
/// Seconds that another node's clock may be ahead.
const MAX_SKEW: u64 = 5;
/// No client comes from there: stands for all of its ports.
const ANY_PORT: u16 = 0;
const FEATURES_LEN: usize = 4;
const TIME_LEN: usize = 2;
const MAC_LEN: usize = 12;
/// The cookie and 14 bytes in base64: a multiple of four, so that a challenge stays small.
const NONCE_LEN: usize = 32;

/// What a realm's challenge offers: its nonces say so and are good for nothing else, so that nobody
/// on the path can take an offer out of a challenge (RFC 8489 §9.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer<'r> {
    /// The algorithms of PASSWORD-ALGORITHMS, in order of preference; none: no such attribute.
    pub algorithms: &'r [PasswordAlgorithm],
    /// Whether USERHASH is understood.
    pub anonymity: bool,
}

impl Offer<'_> {
    /// The 24 bits of the nonce cookie, in base64.
    fn features(&self) -> [u8; FEATURES_LEN] {
        let algorithms = u8::from(!self.algorithms.is_empty()) * PASSWORD_ALGORITHMS;
        let anonymity = u8::from(self.anonymity) * USERNAME_ANONYMITY;
        let mut text = [0; FEATURES_LEN];
        STANDARD_NO_PAD
            .encode_slice([algorithms | anonymity, 0, 0], &mut text)
            .expect("three bytes are four characters");
        text
    }
}

/// Makes and checks nonces.
#[derive(Debug)]
pub struct NonceMint {
    master: Secret<[u8; 32]>,
    lifetime: u64,
    /// The keys of the two periods used last, worked out as far as HMAC can be without a message.
    keys: [Option<(u64, Hmac<Sha256>)>; 2],
}

impl NonceMint {
    /// A mint under the cluster's nonce key. Lifetimes above an hour are cut to it (RFC 8656 §5).
    #[must_use]
    pub fn new(master: &Secret<[u8; 32]>, lifetime: Duration) -> Self {
        Self {
            master: master.clone(),
            lifetime: lifetime.as_secs().min(PERIOD),
            keys: [None, None],
        }
    }

    /// Judges all nonces by another lifetime from now on, cut like that of [`new`](Self::new).
    pub fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime.as_secs().min(PERIOD);
    }

    /// Uses another cluster key from now on.
    pub fn set_master(&mut self, master: &Secret<[u8; 32]>) {
        if self.master != *master {
            self.master = master.clone();
            self.keys = [None, None];
        }
    }

    /// A nonce for a client, at a Unix second.
    pub fn mint(&mut self, client: SocketAddr, unix: u64, offer: Offer<'_>) -> String {
        let mut raw = [0; TIME_LEN + MAC_LEN];
        raw[..TIME_LEN].copy_from_slice(&(unix as u16).to_be_bytes());
        raw[TIME_LEN..].copy_from_slice(&self.mac(client, unix, offer));
        let mut nonce = String::with_capacity(NONCE_LEN);
        nonce.push_str(COOKIE);
        nonce.extend(offer.features().map(char::from));
        STANDARD_NO_PAD.encode_string(raw, &mut nonce);
        nonce
    }

    /// A nonce for whatever port this client comes from next.
    pub fn mint_for_all_ports(&mut self, client: IpAddr, unix: u64, offer: Offer<'_>) -> String {
        self.mint(SocketAddr::new(client, ANY_PORT), unix, offer)
    }

    /// Whether a nonce was made for this client, or all ports of it, with this offer and is young enough.
    pub fn accepts(
        &mut self,
        nonce: &[u8],
        client: SocketAddr,
        unix: u64,
        offer: Offer<'_>,
    ) -> bool {
        let mut raw = [0; TIME_LEN + MAC_LEN];
        let cookie = nonce.strip_prefix(COOKIE.as_bytes());
        let Some(text) = cookie.and_then(|rest| rest.strip_prefix(&offer.features())) else {
            return false;
        };
        if STANDARD_NO_PAD.decode_slice(text, &mut raw) != Ok(raw.len()) {
            return false;
        }
        // The time is sent modulo 2^16 s, which is longer than any nonce lives.
        let latest = unix.saturating_add(MAX_SKEW);
        let age = u64::from((latest as u16).wrapping_sub(u16::from_be_bytes([raw[0], raw[1]])));
        let Some(made) = latest.checked_sub(age) else {
            return false;
        };
        let mut is_for = |client| -> bool {
            let mac = self.mac(client, made, offer);
            mac.ct_eq(&raw[TIME_LEN..]).into()
        };
        let fits = is_for(client) || is_for(SocketAddr::new(client.ip(), ANY_PORT));
        fits && age <= self.lifetime + MAX_SKEW
    }

    fn mac(&mut self, client: SocketAddr, unix: u64, offer: Offer<'_>) -> [u8; MAC_LEN] {
        let key = self.key(unix / PERIOD);
        // No two offers read the same: a list has one number per algorithm and is short.
        let mut list = 0_u64;
        for algorithm in offer.algorithms.iter().take(4) {
            list = list << 16 | u64::from(algorithm.number());
        }
        let parts = [
            &address_bytes(client.ip())[..],
            &client.port().to_be_bytes(),
            &unix.to_be_bytes(),
            &offer.features(),
            &list.to_be_bytes(),
        ];
        let full = finish(key, &parts);
        let mut mac = [0; MAC_LEN];
        mac.copy_from_slice(&full[..MAC_LEN]);
        mac
    }

    fn key(&mut self, period: u64) -> Hmac<Sha256> {
        let cached = self.keys.iter().flatten().find(|(of, _)| *of == period);
        if let Some((_, key)) = cached {
            return key.clone();
        }
        let parts = [&b"turn nonce"[..], &period.to_be_bytes()];
        let key = begin(&hmac(self.master.expose(), &parts));
        // The newest period stays; older ones share the other place.
        let place = usize::from(self.keys[0].as_ref().is_some_and(|(of, _)| *of > period));
        if place == 0 {
            self.keys.swap(0, 1);
        }
        self.keys[place] = Some((period, key.clone()));
        key
    }
}

/// An address as MACs cover it.
pub(crate) fn address_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
    .octets()
}

/// HMAC-SHA256 over the parts, one after the other.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    finish(begin(key), parts)
}

fn begin(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn finish(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u64 = 1_800_000_000;
    const NONE: Offer<'_> = Offer {
        algorithms: &[],
        anonymity: false,
    };

    fn mint(key: u8) -> NonceMint {
        NonceMint::new(&Secret::new([key; 32]), Duration::from_secs(600))
    }

    fn client(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 7], port))
    }

    #[test]
    fn a_nonce_is_good_for_its_lifetime_on_every_node_of_the_cluster() {
        let nonce = mint(1).mint(client(5), T, NONE);
        assert_eq!(nonce.len(), NONCE_LEN);
        assert!(nonce.starts_with("obMatJos2AAAA"));
        for age in [0, 1, 599, 600] {
            assert!(
                mint(1).accepts(nonce.as_bytes(), client(5), T + age, NONE),
                "{age}"
            );
        }
        for age in [601, 3600, 65_536, 65_541, 1 << 32] {
            assert!(
                !mint(1).accepts(nonce.as_bytes(), client(5), T + age, NONE),
                "{age}"
            );
        }
    }

    #[test]
    fn a_nonce_from_a_clock_slightly_ahead_is_accepted() {
        let nonce = mint(1).mint(client(5), T + 5, NONE);
        assert!(mint(1).accepts(nonce.as_bytes(), client(5), T, NONE));
        assert!(!mint(1).accepts(nonce.as_bytes(), client(5), T - 1, NONE));
    }

    #[test]
    fn a_nonce_is_refused_from_another_source_or_under_another_key() {
        let nonce = mint(1).mint(client(5), T, NONE);
        assert!(!mint(1).accepts(nonce.as_bytes(), client(6), T, NONE));
        assert!(!mint(2).accepts(nonce.as_bytes(), client(5), T, NONE));
        for bad in ["", "obMatJos2AAAA", &nonce[..31], &format!("{nonce}A"), "x"] {
            assert!(
                !mint(1).accepts(bad.as_bytes(), client(5), T, NONE),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_nonce_survives_the_change_of_the_hour() {
        let hour = T / 3600 * 3600 + 3600;
        let mut mint = mint(1);
        let nonce = mint.mint(client(5), hour - 1, NONE);
        let _ = mint.mint(client(5), hour, NONE);
        assert!(mint.accepts(nonce.as_bytes(), client(5), hour + 1, NONE));
    }

    #[test]
    fn a_nonce_for_all_ports_is_good_for_one_address_only() {
        let here: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let nonce = mint(1).mint_for_all_ports(here.ip(), T, NONE);
        for port in [1, 4000, 65_535] {
            let client = SocketAddr::new(here.ip(), port);
            assert!(mint(1).accepts(nonce.as_bytes(), client, T, NONE));
        }
        let elsewhere = "192.0.2.2:4000".parse().unwrap();
        assert!(!mint(1).accepts(nonce.as_bytes(), elsewhere, T, NONE));
        assert!(!mint(2).accepts(nonce.as_bytes(), here, T, NONE));
        let late = T + 2 * PERIOD;
        assert!(!mint(1).accepts(nonce.as_bytes(), here, late, NONE));
        let of_one_port = mint(1).mint(here, T, NONE);
        let another = SocketAddr::new(here.ip(), 4001);
        assert!(!mint(1).accepts(of_one_port.as_bytes(), another, T, NONE));
    }

    #[test]
    fn features_are_counted_from_the_left() {
        use PasswordAlgorithm::{Md5, Sha256};
        let offer = |algorithms, anonymity| Offer {
            algorithms,
            anonymity,
        };
        let cases = [
            (offer(&[], false), "AAAA"),
            (offer(&[Md5], false), "gAAA"),
            (offer(&[], true), "QAAA"),
            (offer(&[Sha256, Md5], true), "wAAA"),
        ];
        for (offer, features) in cases {
            let nonce = mint(1).mint(client(5), T, offer);
            assert_eq!(&nonce[9..13], features);
            assert_eq!(nonce.len(), NONCE_LEN);
        }
    }

    #[test]
    fn a_nonce_is_good_for_the_very_offer_it_was_made_with() {
        use PasswordAlgorithm::{Md5, Sha256};
        let offers: Vec<_> = [&[][..], &[Md5], &[Sha256], &[Md5, Sha256], &[Sha256, Md5]]
            .into_iter()
            .flat_map(|algorithms| {
                [false, true].map(|anonymity| Offer {
                    algorithms,
                    anonymity,
                })
            })
            .collect();
        for made in &offers {
            let nonce = mint(1).mint(client(5), T, *made);
            for asked in &offers {
                let accepted = mint(1).accepts(nonce.as_bytes(), client(5), T, *asked);
                assert_eq!(accepted, made == asked);
                // Nor does it help to write the features of the other into it.
                let other = mint(1).mint(client(5), T, *asked);
                let forged = format!("{}{}", &other[..13], &nonce[13..]);
                let accepted = mint(1).accepts(forged.as_bytes(), client(5), T, *asked);
                assert_eq!(accepted, made == asked);
            }
        }
    }
}
