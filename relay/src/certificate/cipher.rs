//! Cipher suites of TLS 1.2 and DTLS 1.2, by the names of OpenSSL.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use dimpl::crypto::Dtls12CipherSuite;
use rustls::crypto::CryptoProvider;

/// One that we speak (RFC 5289, RFC 7905): all have an ephemeral key exchange and authenticated encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CipherSuite {
    /// With an ECDSA key and AES of 256 bits.
    EcdsaAes256,
    /// With an ECDSA key and AES of 128 bits.
    EcdsaAes128,
    /// With an ECDSA key and ChaCha20.
    EcdsaChacha20,
    /// With an RSA key and AES of 256 bits; TLS only.
    RsaAes256,
    /// With an RSA key and AES of 128 bits; TLS only.
    RsaAes128,
    /// With an RSA key and ChaCha20; TLS only.
    RsaChacha20,
}

impl CipherSuite {
    /// All of them, in our order of preference.
    pub const ALL: [Self; 6] = [
        Self::EcdsaAes256,
        Self::EcdsaAes128,
        Self::EcdsaChacha20,
        Self::RsaAes256,
        Self::RsaAes128,
        Self::RsaChacha20,
    ];

    /// What OpenSSL calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaAes256 => "ECDHE-ECDSA-AES256-GCM-SHA384",
            Self::EcdsaAes128 => "ECDHE-ECDSA-AES128-GCM-SHA256",
            Self::EcdsaChacha20 => "ECDHE-ECDSA-CHACHA20-POLY1305",
            Self::RsaAes256 => "ECDHE-RSA-AES256-GCM-SHA384",
            Self::RsaAes128 => "ECDHE-RSA-AES128-GCM-SHA256",
            Self::RsaChacha20 => "ECDHE-RSA-CHACHA20-POLY1305",
        }
    }

    /// Whether the server's key has to be an ECDSA one; otherwise an RSA one.
    #[must_use]
    pub const fn is_ecdsa(self) -> bool {
        matches!(
            self,
            Self::EcdsaAes256 | Self::EcdsaAes128 | Self::EcdsaChacha20
        )
    }

    fn of_tls(self) -> rustls::CipherSuite {
        use rustls::CipherSuite as Suite;
        match self {
            Self::EcdsaAes256 => Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            Self::EcdsaAes128 => Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            Self::EcdsaChacha20 => Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            Self::RsaAes256 => Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            Self::RsaAes128 => Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            Self::RsaChacha20 => Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        }
    }

    /// As the engine of DTLS has it, which signs with ECDSA only.
    pub(crate) fn of_dtls(self) -> Option<Dtls12CipherSuite> {
        match self {
            Self::EcdsaAes256 => Some(Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384),
            Self::EcdsaAes128 => Some(Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256),
            Self::EcdsaChacha20 => Some(Dtls12CipherSuite::ECDHE_ECDSA_CHACHA20_POLY1305_SHA256),
            Self::RsaAes256 | Self::RsaAes128 | Self::RsaChacha20 => None,
        }
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// That is no name of a suite that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCipherSuite;

impl FromStr for CipherSuite {
    type Err = UnknownCipherSuite;

    /// By OpenSSL's name, or by that of the standard (`TLS_ECDHE_...`), as OpenSSL takes both.
    fn from_str(text: &str) -> Result<Self, UnknownCipherSuite> {
        let is_meant = |suite: &Self| {
            text.eq_ignore_ascii_case(suite.name())
                || suite.of_tls().as_str().is_some_and(|name| name == text)
        };
        Self::ALL
            .into_iter()
            .find(is_meant)
            .ok_or(UnknownCipherSuite)
    }
}

/// `provider` with these suites of TLS 1.2 alone, and all of its suites of TLS 1.3.
pub(super) fn limited(
    mut provider: Arc<CryptoProvider>,
    ciphers: Option<&[CipherSuite]>,
) -> Arc<CryptoProvider> {
    let Some(ciphers) = ciphers else {
        return provider;
    };
    let wanted: Vec<_> = ciphers.iter().map(|suite| suite.of_tls()).collect();
    let suites = &mut Arc::make_mut(&mut provider).cipher_suites;
    suites.retain(|suite| suite.tls13().is_some() || wanted.contains(&suite.suite()));
    provider
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_are_all_that_the_library_has() {
        let provider = super::super::provider();
        let older = provider.cipher_suites.iter();
        let older: Vec<_> = older.filter(|suite| suite.tls13().is_none()).collect();
        assert_eq!(older.len(), CipherSuite::ALL.len());
        for suite in CipherSuite::ALL {
            assert!(older.iter().any(|known| known.suite() == suite.of_tls()));
            assert_eq!(suite.name().parse(), Ok(suite));
            assert_eq!(suite.of_tls().as_str().unwrap().parse(), Ok(suite));
            assert_eq!(suite.of_dtls().is_some(), suite.is_ecdsa());
        }
        assert!("AES256-SHA".parse::<CipherSuite>().is_err());
    }

    #[test]
    fn suites_of_tls_1_3_stay_whatever_is_named() {
        let count = |ciphers: Option<&[CipherSuite]>| {
            limited(super::super::provider(), ciphers)
                .cipher_suites
                .len()
        };
        assert_eq!(count(None), 9);
        assert_eq!(count(Some(&[CipherSuite::RsaAes128])), 4);
        assert_eq!(count(Some(&[])), 3);
    }
}
