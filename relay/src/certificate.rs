//! Certificates and their keys, from PEM files.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
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
/// that names none is served, one that names only others is refused (RFC 7301 §3.2).
///
/// # Errors
/// See [`CertificateError`].
pub fn server_config(
    files: &TlsFiles,
    protocols: &[&[u8]],
) -> Result<rustls::ServerConfig, CertificateError> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&files.certificate, &error))?;
    if chain.is_empty() {
        let reason = "holds no certificate".to_owned();
        return Err(CertificateError::File {
            path: files.certificate.clone(),
            reason,
        });
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn unreadable(path: &std::path::Path, error: &rustls::pki_types::pem::Error) -> CertificateError {
    let reason = match error {
        rustls::pki_types::pem::Error::Io(error) => match error.kind() {
            io::ErrorKind::NotFound => "does not exist".to_owned(),
            _ => error.to_string(),
        },
        // Never the content: it may be a key.
        _ => "is no PEM file of the kind that is needed".to_owned(),
    };
    CertificateError::File {
        path: path.to_owned(),
        reason,
    }
}
