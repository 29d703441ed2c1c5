//! TLS on TCP: who the server is, and whether it is believed.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_rustls::TlsConnector;

use super::TlsOptions;
use super::certificate::Summary;
use super::stream::StreamLink;
use crate::turn::TurnError;

/// ALPN of STUN and TURN (RFC 7443).
const ALPN: &[u8] = b"stun.turn";

/// What is known of the server behind a secured connection.
#[derive(Clone, Debug, Default)]
pub struct Secured {
    /// As in `TLSv1.3`.
    pub version: String,
    /// What its certificate says.
    pub certificate: String,
    /// What is doubtful about it.
    pub warning: Option<String>,
}

/// What the verifier saw.
#[derive(Debug, Default)]
struct Seen {
    certificate: Option<Summary>,
    /// Why it is not believed, where it is taken all the same.
    doubt: Option<String>,
}

/// Judges as the system would, and remembers what it saw.
#[derive(Debug)]
struct Judge {
    /// `None`: there are no trusted certificates at all.
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    insecure: bool,
    seen: Mutex<Seen>,
}

impl Judge {
    /// What was seen so far.
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut seen = self.seen();
        seen.certificate = Summary::read(leaf);
        let judged = match &self.inner {
            Some(inner) => inner.verify_server_cert(leaf, chain, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        match judged {
            Err(error) if self.insecure => {
                seen.doubt = Some(error.to_string());
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// How clients shake hands whom nobody tells what they saw: benchmarks. No session is resumed, since
/// clients are strangers to each other.
///
/// # Errors
/// The certificates to check with cannot be used.
pub(crate) fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, TurnError> {
    let (mut config, _) = configured(options)?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The configuration of a client, and what will have seen the server.
fn configured(options: &TlsOptions) -> Result<(ClientConfig, Arc<Judge>), TurnError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let judge = Arc::new(Judge {
        inner: verifier(options, &provider)?,
        provider: provider.clone(),
        insecure: options.insecure,
        seen: Mutex::default(),
    });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let mut config = config
        .dangerous()
        .with_custom_certificate_verifier(judge.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok((config, judge))
}

/// Connects and shakes hands.
pub(super) async fn connect(
    server: SocketAddr,
    name: &str,
    options: &TlsOptions,
) -> Result<(StreamLink, Secured), TurnError> {
    let (config, judge) = configured(options)?;
    let name = options.name_for(name)?;
    let stream = StreamLink::connect(server).await?;
    let local = stream.local_addr()?;
    let connected = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    let stream = connected.map_err(|error| refused(error, &judge))?;
    let secured = secured(stream.get_ref().1, &judge);
    Ok((StreamLink::new(stream, local), secured))
}

/// Trust: what the options name, else what the system trusts.
pub(super) fn verifier(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, TurnError> {
    let mut roots = RootCertStore::empty();
    match &options.ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| unusable(&error.to_string()))?;
                let added = roots.add(certificate);
                added.map_err(|error| unusable(&error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("holds no certificate"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Ok(None);
    }
    let roots = Arc::new(roots);
    let built = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
    Ok(Some(built.map_err(io::Error::other)?))
}

fn unusable(why: &str) -> TurnError {
    io::Error::other(format!("the file of --ca: {why}")).into()
}

impl TlsOptions {
    /// Whom the certificate must name.
    pub(crate) fn name_for(&self, host: &str) -> Result<ServerName<'static>, TurnError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        // A URI has brackets around IPv6, and DNS a dot behind a whole name: a certificate neither.
        let name = name.trim_start_matches('[').trim_end_matches([']', '.']);
        let parsed = ServerName::try_from(name.to_owned());
        parsed.map_err(|_| io::Error::other(format!("{name} is no name of a server")).into())
    }
}

fn secured(connection: &rustls::ClientConnection, judge: &Judge) -> Secured {
    let version = connection.protocol_version();
    let version = version
        .and_then(|version| version.as_str())
        .unwrap_or("TLS");
    let seen = judge.seen();
    let now = SystemTime::now();
    let certificate = seen.certificate.as_ref();
    let doubt = seen.doubt.as_ref();
    let doubt = doubt.map(|why| format!("not believed, but --insecure takes it: {why}"));
    let soon = certificate.and_then(|certificate| certificate.warning(now));
    Secured {
        version: version.replace('_', "."),
        certificate: told(certificate, now),
        warning: doubt.or(soon),
    }
}

/// A certificate in words.
pub(super) fn told(certificate: Option<&Summary>, now: SystemTime) -> String {
    let unreadable = || "a certificate that cannot be read".to_owned();
    certificate.map_or_else(unreadable, |certificate| certificate.describe(now))
}

/// What became of the handshake, with what the server showed until then.
fn refused(error: io::Error, judge: &Judge) -> TurnError {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let Some(tls) = tls.cloned() else {
        return error.into();
    };
    let certificate = judge.seen().certificate.clone();
    let shown = certificate.map(|certificate| certificate.describe(SystemTime::now()));
    TurnError::Tls {
        error: tls,
        certificate: shown,
    }
}
