//! One chain and its key.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use dimpl::DtlsCertificate;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureAlgorithm};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::{CertificateError, provider};
use crate::config::TlsFiles;

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256 or P-384: for TLS and DTLS.
    Ecdsa,
    /// RSA: for TLS only.
    Rsa,
    /// Ed25519 and such: for TLS only, and few clients.
    Other,
}

impl KeyKind {
    /// The word for operators.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA",
            Self::Rsa => "RSA",
            Self::Other => "EdDSA",
        }
    }
}

/// A certificate chain with its key, ready to be shown.
#[derive(Clone, Debug)]
pub struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// For DTLS; `None` where the engine cannot sign with the key.
    pub(super) dtls: Option<Arc<DtlsCertificate>>,
    /// What the key signs with.
    pub kind: KeyKind,
    /// The last second of the leaf's life, Unix time.
    pub not_after: u64,
    /// The DNS names that the leaf is for (subjectAltName), in lower case; `*.example.org` among them.
    pub names: Vec<String>,
}

impl Pair {
    /// Whether DTLS can be served with it.
    #[must_use]
    pub fn serves_dtls(&self) -> bool {
        self.dtls.is_some()
    }

    /// Reads a pair.
    ///
    /// # Errors
    /// When a file cannot be read or is no PEM of its kind, or when the key is another certificate's.
    pub fn load(files: &TlsFiles) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable(&files.certificate, &error))?;
        let Some(leaf) = chain.first().cloned() else {
            return Err(wrong(&files.certificate, "holds no certificate"));
        };
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| unreadable(&files.key, &error))?;
        let not_after = not_after(&leaf).ok_or_else(|| {
            wrong(
                &files.certificate,
                "holds a certificate that cannot be read",
            )
        })?;
        let signing = provider().key_provider.load_private_key(key.clone_key())?;
        let kind = match signing.algorithm() {
            SignatureAlgorithm::ECDSA => KeyKind::Ecdsa,
            SignatureAlgorithm::RSA => KeyKind::Rsa,
            _ => KeyKind::Other,
        };
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            certified: Arc::new(certified),
            dtls: for_dtls(&leaf, &key).map(Arc::new),
            kind,
            not_after,
            names: names(&leaf),
        })
    }
}

/// The DNS names of a certificate.
fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let alternatives = Certificate::from_der(leaf).ok().and_then(|leaf| {
        let found = leaf.tbs_certificate().get_extension::<SubjectAltName>();
        found.ok().flatten().map(|(_, names)| names)
    });
    let all = alternatives.into_iter().flat_map(|names| names.0);
    let name = |name: GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    };
    all.filter_map(name).collect()
}

/// The pair for DTLS, if its engine can sign with the key (ECDSA on P-256 and P-384 only).
fn for_dtls(leaf: &CertificateDer<'_>, key: &PrivateKeyDer<'_>) -> Option<DtlsCertificate> {
    let engine = dimpl::crypto::aws_lc_rs::default_provider();
    let private_key = key.secret_der().to_vec();
    engine.key_provider.load_private_key(&private_key).ok()?;
    Some(DtlsCertificate {
        certificate: leaf.to_vec(),
        private_key,
    })
}

fn not_after(leaf: &CertificateDer<'_>) -> Option<u64> {
    let certificate = Certificate::from_der(leaf).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some(validity.not_after.to_unix_duration().as_secs())
}

/// What tells a version of a file from the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that a path leads to; `None` when there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata: Metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

fn wrong(path: &Path, reason: &str) -> CertificateError {
    CertificateError::File {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> CertificateError {
    let reason = match error {
        rustls::pki_types::pem::Error::Io(error) => match error.kind() {
            io::ErrorKind::NotFound => "does not exist".to_owned(),
            _ => error.to_string(),
        },
        // Never the content: it may be a key.
        _ => "is no PEM file of the kind that is needed".to_owned(),
    };
    wrong(path, &reason)
}
