//! What TLS and DTLS clients are shown, exchangeable while the node serves.

use std::sync::Arc;

use crate::certificate::{self, CertificateError, Certificates, CipherSuite};
use crate::config::TlsFiles;

/// Application protocols of a TURN server over TLS (RFC 7443 §2). Clients that name none are served;
/// those that name only others get the alert `no_application_protocol` (RFC 7301 §3.2).
const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// What workers answer handshakes with. Certificates are read at each handshake, so that a new one
/// counts for the next client and disturbs none.
#[derive(Debug, Default)]
pub struct TlsContext {
    tls: Option<Arc<rustls::ServerConfig>>,
    certificates: Option<Arc<Certificates>>,
}

impl TlsContext {
    /// The context of a node that starts: without files it refuses TLS. Of TLS 1.2 these cipher suites are
    /// spoken; `None`: all.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn load(
        files: &[TlsFiles],
        ciphers: Option<&[CipherSuite]>,
    ) -> Result<Self, CertificateError> {
        if files.is_empty() {
            return Ok(Self::default());
        }
        let certificates = Arc::new(Certificates::load(files.to_vec())?);
        Ok(Self {
            tls: Some(certificate::server_config(&certificates, &ALPN, ciphers)?),
            certificates: Some(certificates),
        })
    }

    /// For a TLS handshake that begins; `None`: TLS is not served.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.tls.clone()
    }

    /// The certificates behind it.
    #[must_use]
    pub fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.certificates.as_ref()
    }
}
