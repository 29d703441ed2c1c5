//! TLS of the admin API's TCP listener.

use std::sync::Arc;

use crate::certificate::{self, CertificateError, Certificates};
use crate::config::TlsFiles;

/// TLS 1.2 and 1.3 for an HTTP/1.1 server, and the certificates behind it, exchangeable while it
/// serves.
///
/// # Errors
/// See [`CertificateError`].
pub fn server_config(
    files: &TlsFiles,
) -> Result<(Arc<rustls::ServerConfig>, Arc<Certificates>), CertificateError> {
    let certificates = Arc::new(Certificates::load(vec![files.clone()])?);
    let config = certificate::server_config(&certificates, &[b"http/1.1"], None)?;
    Ok((config, certificates))
}
