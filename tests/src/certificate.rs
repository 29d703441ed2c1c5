//! Certificates for TLS and DTLS listeners, made for one test.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use tempfile::TempDir;

/// The host name of a certificate where nothing else is said.
pub const HOST: &str = "turn.example.org";

/// A self-signed certificate and its key, in files of their own.
#[derive(Debug)]
pub struct TestCertificate {
    folder: TempDir,
    /// The certificate as PEM.
    pub pem: String,
    key: String,
}

impl TestCertificate {
    /// With an ECDSA key on P-256.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn ecdsa() -> Self {
        Self::with(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("an ECDSA key"))
    }

    /// With an RSA key.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn rsa() -> Self {
        Self::with(&KeyPair::generate_for(&PKCS_RSA_SHA256).expect("an RSA key"))
    }

    /// With an ECDSA key, and so many days to live.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn for_days(days: u64) -> Self {
        let mut parameters = parameters();
        let end = SystemTime::now() + Duration::from_secs(days * 86_400);
        parameters.not_after = end.into();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("an ECDSA key");
        Self::made(&parameters, &key)
    }

    /// With an ECDSA key, for other names than [`HOST`].
    ///
    /// # Panics
    /// When files cannot be written, or a name is none.
    #[must_use]
    pub fn for_names(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let parameters = CertificateParams::new(names).expect("host names");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("an ECDSA key");
        Self::made(&parameters, &key)
    }

    fn with(key: &KeyPair) -> Self {
        Self::made(&parameters(), key)
    }

    fn made(parameters: &CertificateParams, key: &KeyPair) -> Self {
        let made = parameters
            .self_signed(key)
            .expect("a self-signed certificate");
        let folder = tempfile::Builder::new().prefix("certificate-").tempdir();
        let certificate = Self {
            folder: folder.expect("a folder"),
            pem: made.pem(),
            key: key.serialize_pem(),
        };
        certificate.write_to(&certificate.certificate(), &certificate.key());
        certificate
    }

    /// Where the certificate lies.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Where its key lies.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The section of a configuration file that names it.
    #[must_use]
    pub fn section(&self) -> String {
        let (certificate, key) = (self.certificate(), self.key());
        format!(
            "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    }

    /// Puts this pair in place of another one.
    ///
    /// # Panics
    /// When files cannot be written.
    pub fn replace(&self, other: &Self) {
        self.write_to(&other.certificate(), &other.key());
    }

    fn write_to(&self, certificate: &Path, key: &Path) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(certificate, &self.pem).expect("a file in a fresh folder");
        std::fs::write(key, &self.key).expect("a file in a fresh folder");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(key, private).expect("a file of ours");
    }
}

fn parameters() -> CertificateParams {
    CertificateParams::new([HOST.to_owned()]).expect("a host name")
}
