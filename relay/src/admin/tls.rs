//! TLS of the admin API's TCP listener.

use std::sync::Arc;

use crate::certificate::{self, CertificateError};
use crate::config::TlsFiles;

/// Checks that the files hold a certificate chain and its key.
///
/// # Errors
/// See [`CertificateError`].
pub fn check(files: &TlsFiles) -> Result<(), CertificateError> {
    server_config(files).map(drop)
}

/// TLS 1.2 and 1.3 for an HTTP/1.1 server.
///
/// # Errors
/// See [`CertificateError`].
pub fn server_config(files: &TlsFiles) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
    certificate::server_config(files, &[b"http/1.1"]).map(Arc::new)
}
