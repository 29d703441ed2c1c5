//! The certificate that TLS clients are shown, exchangeable while the node serves.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::certificate::{self, CertificateError};
use crate::config::TlsFiles;

/// Application protocols of a TURN server over TLS (RFC 7443 §2). Clients that name none are served;
/// those that name only others get the alert `no_application_protocol` (RFC 7301 §3.2).
const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

/// What workers answer handshakes with. Read at each handshake, so that a new certificate counts for
/// the next client and disturbs none.
#[derive(Debug, Default)]
pub struct TlsContext {
    tls: ArcSwapOption<rustls::ServerConfig>,
}

impl TlsContext {
    /// The context of a node that starts: without files it refuses TLS.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn load(files: Option<&TlsFiles>) -> Result<Self, CertificateError> {
        let context = Self::default();
        if let Some(files) = files {
            context.tls.store(Some(server_config(files)?));
        }
        Ok(context)
    }

    /// For a TLS handshake that begins; `None`: TLS is not served.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.tls.load_full()
    }
}

/// Checks that the files hold a certificate chain and its key.
///
/// # Errors
/// See [`CertificateError`].
pub fn check(files: &TlsFiles) -> Result<(), CertificateError> {
    server_config(files).map(drop)
}

fn server_config(files: &TlsFiles) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
    certificate::server_config(files, &ALPN).map(Arc::new)
}
