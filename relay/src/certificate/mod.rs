//! Certificates and their keys, from PEM files, exchanged while they are used.

mod cipher;
mod pair;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use cipher::CipherSuite;
pub use pair::{KeyKind, Pair};
pub use store::{Certificates, Reload, Standing};

/// Why certificate and key cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or is no PEM.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// They do not fit each other, or TLS refuses them.
    #[error("certificate and key are refused: {0}")]
    Refused(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3 without early data, for a server of these application protocols (ALPN). A client
/// that names none is served, one that names only others is refused (RFC 7301 §3.2). Each handshake
/// takes the certificate that is in force then. Of TLS 1.2 these cipher suites are spoken; `None`: all.
///
/// # Errors
/// When TLS cannot be set up at all.
pub fn server_config(
    certificates: &Arc<Certificates>,
    protocols: &[&[u8]],
    ciphers: Option<&[CipherSuite]>,
) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
    let certificates = Arc::clone(certificates);
    let mut config =
        rustls::ServerConfig::builder_with_provider(cipher::limited(provider(), ciphers))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
